//! The limiters of `compat` beyond the timelines: limits that change between two calls, reused ids,
//! late calls, time that runs backwards, extreme numbers, races.

mod extremes;
mod granules;
mod queries;
mod races;
mod slots;
mod windows;

use std::time::Duration;

use tollgate::{Timestamp, VirtualClock};

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

pub(crate) const NANO: Duration = Duration::from_nanos(1);

pub(crate) fn time() -> VirtualClock {
    VirtualClock::starting_at(at(1_000))
}
