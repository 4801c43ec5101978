//! [`Locks`]: the locked record shards of a transaction.
//!
//! Shards are locked in one order, by limiter and number, before anything is held, and unlocked
//! after all charges. So a record cannot change after its snapshot and needs no validation. A
//! thread that holds a word or slots waits for no lock, so waiting for a hold under these locks
//! ends.

use smallvec::SmallVec;

use crate::records::{Locked, Recorded};
use crate::sync::LockedAs;

use super::INLINE;

/// A shard: the address of its limiter's records, and its number. Shards are locked in this order.
pub(super) type Which = (usize, usize);

/// Large, so it is filled in place.
#[derive(Default)]
pub(super) struct Locks<'a>(SmallVec<[(Which, LockedAs<'a, dyn Locked>); INLINE]>);

impl<'a> Locks<'a> {
    /// Locks the shards of `shards` that are not yet locked. `None`: a quota is being changed.
    pub(super) fn lock(
        &mut self,
        shards: impl Iterator<Item = (Which, &'a dyn Recorded)> + Clone,
    ) -> Option<()> {
        loop {
            let is_left = |which: Which| self.0.iter().all(|(locked, _)| *locked != which);
            let left = shards.clone().filter(|(which, _)| is_left(*which));
            let next = left.min_by_key(|(which, _)| *which);
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
