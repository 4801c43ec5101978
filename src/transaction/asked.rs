//! [`Asked`]: what a request asks of one limit.
//!
//! The key and the limit themselves are in the participant (`entry`).

use crate::cells::Queued;
use crate::time::Timestamp;

/// What a request asks of one limit.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    /// The place of the limit among all limits of the request.
    pub(crate) place: u32,
    /// Units of a rate, or slots.
    pub(crate) cost: u64,
    pub(crate) now: Timestamp,
    /// Whether a denial refuses the request. If not, a rate is charged if it agrees, and slots are
    /// always taken.
    pub(crate) enforced: bool,
    /// Whether the request is the head of the line of this limit.
    pub(crate) turn: bool,
}

impl Asked {
    /// Units that callers in the line of the key wait for before this request.
    pub(super) fn ahead(&self, queued: &Queued, tag: u64) -> u64 {
        if self.turn { 0 } else { queued.ahead(tag) }
    }
}
