//! Arithmetic on times in whole nanoseconds that may lie past [`Timestamp::MAX`]. Algorithms
//! compute such times in `u128` and convert them here. Ticks are in `ticks`.

use std::time::Duration;

use crate::quota::Quota;
use crate::time::Timestamp;

/// The timestamp of a time; [`Timestamp::MAX`] if the time lies beyond that.
pub(super) fn stamp(nanos: u128) -> Timestamp {
    u64::try_from(nanos).map_or(Timestamp::MAX, Timestamp::from_nanos)
}

/// The time from `now` until `nanos`: 0 if that is past, and at most 584 years.
pub(super) fn until(nanos: u128, now: Timestamp) -> Duration {
    stamp(nanos.saturating_sub(u128::from(now.as_nanos()))).since(Timestamp::ZERO)
}

/// The latest multiple of `step`, which is above 0, that is not after `now`.
pub(super) fn aligned(now: Timestamp, step: u64) -> Timestamp {
    let nanos = now.as_nanos();
    Timestamp::from_nanos(nanos - nanos % step)
}

/// The nanoseconds of a quota's period. Above 0; a quota's constructors ensure that they fit.
pub(super) fn period(quota: &Quota) -> u64 {
    quota.period().as_nanos() as u64
}
