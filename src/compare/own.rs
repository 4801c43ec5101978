//! This crate's algorithms as contenders.

use std::collections::HashMap;

use super::contender::{Answer, Contender, Entry, Setup};
use super::report::Origin;
use crate::algorithm::{Algorithm, Gcra};
use crate::time::Timestamp;

/// An algorithm with a state for each key.
pub(crate) struct Limited<A: Algorithm> {
    algorithm: A,
    states: HashMap<u64, (A::State, Timestamp)>,
}

impl<A: Algorithm> Limited<A> {
    pub(crate) fn new(algorithm: A, _setup: Setup) -> Limited<A> {
        Limited { algorithm, states: HashMap::new() }
    }
}

impl<A: Algorithm> Contender for Limited<A> {
    fn decide(&mut self, key: u64, cost: u64, now: Timestamp) -> Answer {
        let (state, latest) = self.states.entry(key).or_default();
        let now = now.max(*latest);
        *latest = now;
        match self.algorithm.decide(state, cost, now) {
            Ok(_) => {
                self.algorithm.charge(state, cost, now);
                Answer::Allowed
            }
            Err(denied) => {
                if self.algorithm.counts_denied() {
                    self.algorithm.charge(state, cost, now);
                }
                denied.into()
            }
        }
    }
}

/// All of this crate's algorithms.
pub fn algorithms() -> Vec<Entry> {
    let own = |entry: Entry, what: &str| entry.origin(Origin::Tollgate).what(what);
    vec![own(Entry::new("gcra", Gcra::new), "units come back one by one, evenly")]
}
