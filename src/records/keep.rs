//! [`Keep`]: what records must know of the states that they keep. Every [`Algorithm`] has this;
//! `compat` keeps states without an algorithm.

use std::time::Duration;

use crate::algorithm::Algorithm;
use crate::time::Timestamp;

/// A kind of state that records can keep, with the time until which they must keep each.
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
