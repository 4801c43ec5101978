//! The shards of the records of a transaction, locked.
//!
//! They are locked in one order, by limiter and number, before anything is held, and unlocked after
//! all is charged: what is decided on cannot change, so it needs no second look. A holder of a word
//! or of slots waits for no lock, so a wait for a hold under these locks ends.

use smallvec::SmallVec;

use crate::records::{Locked, Recorded};
use crate::sync::{LockedAs, mutant};

use super::INLINE;

/// A shard by its limiter's address and its number: in this order they are locked.
pub(super) type Which = (usize, usize);

/// Filled in place: it is large.
#[derive(Default)]
pub(super) struct Locks<'a>(SmallVec<[(Which, LockedAs<'a, dyn Locked>); INLINE]>);

impl<'a> Locks<'a> {
    /// Locks these shards, those excepted that are locked already. `None`: a quota changes.
    pub(super) fn lock(
        &mut self,
        shards: impl Iterator<Item = (Which, &'a dyn Recorded)> + Clone,
    ) -> Option<()> {
        loop {
            let is_left = |which: Which| self.0.iter().all(|(locked, _)| *locked != which);
            let mut left = shards.clone().filter(|(which, _)| is_left(*which));
            let next = if mutant("lock_unordered") {
                left.next()
            } else {
                left.min_by_key(|(which, _)| *which)
            };
            let Some((which, records)) = next else { return Some(()) };
            self.0.push((which, records.lock(which.1)?));
        }
    }

    pub(super) fn unlock(&mut self) {
        self.0.clear();
    }

    pub(super) fn get(&mut self, which: Which) -> Option<&mut (dyn Locked + 'a)> {
        let (_, shard) = self.0.iter_mut().find(|(locked, _)| *locked == which)?;
        Some(shard.get())
    }
}
