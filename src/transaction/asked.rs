//! What a request asks of one limit.

use crate::cells::Queued;
use crate::time::Timestamp;

/// What is asked of a limit.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    /// Its place among all limits of the request.
    pub(crate) place: u32,
    /// Units of a rate; slots.
    pub(crate) cost: u64,
    pub(crate) now: Timestamp,
    /// Whether its denial refuses the request. If not it is charged if it agrees, and its slots are
    /// taken all the same.
    pub(crate) enforced: bool,
    /// Whether the request is at the head of the line before it.
    pub(crate) turn: bool,
}

impl Asked {
    /// Units of the key's line that come before it.
    pub(super) fn ahead(&self, queued: &Queued, tag: u64) -> u64 {
        if self.turn { 0 } else { queued.ahead(tag) }
    }
}
