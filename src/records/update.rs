//! Reads and writes of a key's state by a closure of the caller, for states that have no
//! [`Algorithm`](crate::algorithm::Algorithm). Decisions are in `snapshot`.

use crate::time::Timestamp;

use super::{Keep, Records};

impl<A: Keep> Records<A> {
    /// Runs `step` on the key's state at `now`, or at the latest time of an earlier step if that is
    /// later. `step` runs under the shard's lock, so it must not use these records. For a new key
    /// without room the result is dropped, or kept in the pool if there is one.
    pub(crate) fn update<R>(
        &self,
        tag: u64,
        now: Timestamp,
        step: impl FnOnce(&mut A::Kept, Timestamp) -> R,
    ) -> R {
        let mut shard = self.shard(tag);
        let place = self.place(&mut shard, tag, now);
        shard.write(tag, place, now, |_, kept, now| step(kept, now))
    }

    /// Runs `look` on the state that [`update`](Self::update) would use, without changing it.
    pub(crate) fn view<R>(
        &self,
        tag: u64,
        now: Timestamp,
        look: impl Fn(&A::Kept, Timestamp) -> R,
    ) -> R {
        let mut shard = self.shard(tag);
        let place = shard.place(tag);
        shard.ask(tag, place, now, |_, kept, now| look(kept, now)).0
    }
}
