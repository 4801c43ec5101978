//! States without an algorithm: a caller changes what is kept of a key by rules of its own.

use crate::time::Timestamp;

use super::{Keep, Records};

impl<A: Keep> Records<A> {
    /// Runs `step` on the key's state at `now`, or the latest moment at which one was run. It must
    /// not ask of these records. A newcomer for whom there is no room is forgotten at once.
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

    /// Runs `look` on the key's state as [`update`](Self::update) would, changing nothing.
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
