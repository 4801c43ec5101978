//! An algorithm whose state is in records, even if it fits a word.

use std::time::Duration;

use tollgate::algorithm::Algorithm;
use tollgate::{Allowed, Denied, Quota, Timestamp};

/// All of `A` but that it fits a word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InRecords<A>(pub(crate) A);

impl<A: Algorithm> Algorithm for InRecords<A> {
    type State = A::State;

    fn quota(&self) -> Quota {
        self.0.quota()
    }
    fn set_quota(&mut self, quota: Quota) {
        self.0.set_quota(quota);
    }
    fn decide(&self, state: &A::State, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        self.0.decide(state, cost, now)
    }
    fn charge(&self, state: &mut A::State, cost: u64, now: Timestamp) {
        self.0.charge(state, cost, now);
    }
    fn idle_at(&self, state: &A::State) -> Timestamp {
        self.0.idle_at(state)
    }
    fn bound(&self, within: Duration) -> u64 {
        self.0.bound(within)
    }
    fn settle(&self, state: &mut A::State, charged: u64, at: Timestamp, cost: u64, now: Timestamp) {
        self.0.settle(state, charged, at, cost, now);
    }
    fn counts_denied(&self) -> bool {
        self.0.counts_denied()
    }
    fn ahead(&self, identity: u64) -> Duration {
        self.0.ahead(identity)
    }
    fn convert(&self, before: &Self, state: &mut A::State, now: Timestamp) {
        self.0.convert(&before.0, state, now);
    }
    fn bytes(state: &A::State) -> usize {
        A::bytes(state)
    }
}
