//! States without an algorithm: what a caller keeps of a key and changes by rules of its own.

use std::time::Duration;

use crate::algorithm::Algorithm;
use crate::time::Timestamp;

use super::Records;

/// What records must know of the states they keep.
pub(crate) trait Keep: Clone + Send + Sync + 'static {
    /// What is remembered of a key.
    type Kept: Clone + Default + Send + 'static;

    /// [`Algorithm::idle_at`].
    fn kept_until(&self, kept: &Self::Kept) -> Timestamp;

    /// [`Algorithm::ahead`].
    fn time_ahead(&self, identity: u64) -> Duration;

    /// [`Algorithm::bytes`].
    fn kept_bytes(kept: &Self::Kept) -> usize;
}

impl<A: Algorithm> Keep for A {
    type Kept = A::State;

    fn kept_until(&self, state: &A::State) -> Timestamp {
        self.idle_at(state)
    }

    fn time_ahead(&self, identity: u64) -> Duration {
        self.ahead(identity)
    }

    fn kept_bytes(state: &A::State) -> usize {
        A::bytes(state)
    }
}

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
