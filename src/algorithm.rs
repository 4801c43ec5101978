//! Algorithms: pure functions from a state to a decision. No clock, no key, no lock.
//!
//! The laws that hold for each, and that the tests check against a naive oracle:
//! - the default state means "never seen", and an idle state decides like the default;
//! - denied changes nothing; a cost of 0 is allowed and changes nothing;
//! - an earlier `now` than the last admits no more than the last would have;
//! - at `now` plus the wait of a denial the same call is allowed, a nanosecond earlier it is not.

mod gcra;

pub(crate) use gcra::{Gcra, Moment};
