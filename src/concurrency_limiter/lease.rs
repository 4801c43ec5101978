//! [`Lease`]: slots that are held, and come back.

use std::fmt;
use std::time::Duration;

use crate::slots::Held;
use crate::sync::Arc;

use super::room::Room;

/// Slots that are held. Dropping it gives them back, and at the end of its time they come back by
/// themselves.
///
/// It may move to another thread or task, and may outlive its limiter. Giving back after the end,
/// or after a reset, changes nothing; [`Usage::late`](crate::Usage::late) counts it, and says how
/// exactly.
#[must_use = "dropping a lease gives its slots back at once"]
pub struct Lease {
    room: Arc<Room>,
    held: Held,
}

/// The lease was over: its slots may be somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over;

impl Lease {
    #[inline]
    pub(crate) fn new(room: Arc<Room>, held: Held) -> Lease {
        Lease { room, held }
    }

    /// Makes the lease as long as a new one, from now on, if it is not longer already.
    ///
    /// # Errors
    /// If it is over. It stays so.
    pub fn renew(&self) -> Result<(), Over> {
        let renewed = self.room.slots.renew(&self.held, self.room.clock().now());
        if renewed { Ok(()) } else { Err(Over) }
    }

    /// Whether the slots are still its own.
    pub fn is_live(&self) -> bool {
        self.remaining() > Duration::ZERO
    }

    /// How long they still are: zero if they are not, [`Duration::MAX`] if the lease has no end.
    pub fn remaining(&self) -> Duration {
        match self.room.slots.end_of(&self.held) {
            Some(crate::time::Timestamp::MAX) => Duration::MAX,
            Some(end) => end.since(self.room.clock().now()),
            None => Duration::ZERO,
        }
    }

    /// How many slots it holds.
    pub fn weight(&self) -> u32 {
        self.held.units
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        self.room.give_back(&self.held);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("weight", &self.held.units).finish_non_exhaustive()
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lease is over: acquire another before going on")
    }
}

impl std::error::Error for Over {}
