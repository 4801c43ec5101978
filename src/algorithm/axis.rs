//! Moments in whole nanoseconds that may lie past the end of the axis.

use std::time::Duration;

use crate::quota::Quota;
use crate::time::Timestamp;

/// The stamp of a moment; the last there is if it lies beyond.
pub(super) fn stamp(nanos: u128) -> Timestamp {
    u64::try_from(nanos).map_or(Timestamp::MAX, Timestamp::from_nanos)
}

/// How long it is from `now` until a moment, at most 584 years.
pub(super) fn until(nanos: u128, now: Timestamp) -> Duration {
    stamp(nanos.saturating_sub(u128::from(now.as_nanos()))).since(Timestamp::ZERO)
}

/// The latest multiple of `step`, which is above 0, that is not after `now`.
pub(super) fn aligned(now: Timestamp, step: u64) -> Timestamp {
    let nanos = now.as_nanos();
    Timestamp::from_nanos(nanos - nanos % step)
}

/// The nanoseconds of a quota's period: above 0, and they fit.
pub(super) fn period(quota: &Quota) -> u64 {
    quota.period().as_nanos() as u64
}
