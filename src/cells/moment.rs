//! The current time on the axis of a quota, as the fast path computes it. Must agree with
//! `Bucket::moment`, which all other paths use.

use std::num::NonZeroU64;

use crate::ticks::{nanos_until, ticks_around};

use super::sequence::is_stepped;

/// A stamp on the axis of the parameters in force.
#[derive(Clone, Copy)]
pub(crate) struct FastMoment {
    /// The sequence word under which the axis was read.
    pub(crate) sequence: u64,
    /// Nanoseconds since the axis begins. `floor` and `ceil` are the ticks around them.
    nanos: u64,
    pub(crate) floor: u64,
    pub(crate) ceil: u64,
    /// `num` ticks pass in `den` nanoseconds: evenly, or all at the end if time passes in steps.
    pub(crate) num: u64,
    den: u64,
}

impl FastMoment {
    /// `None` if ticks are not whole and `WHOLE` asks that they are. Accepts any values, since a
    /// reader may see those of two quotas; the moment is valid only if all are of one quota.
    #[inline(always)]
    pub(super) fn new<const WHOLE: bool>(
        sequence: u64,
        nanos: u64,
        num: u64,
        den: u64,
    ) -> Option<FastMoment> {
        let (floor, ceil) = if den == 1 {
            // Within the span of an axis this does not wrap.
            let tick = nanos.wrapping_mul(num);
            (tick, tick)
        } else if WHOLE {
            return None;
        } else {
            ticks(is_stepped(sequence), nanos, num, den)
        };
        Some(FastMoment { sequence, nanos, floor, ceil, num, den })
    }

    /// Whether each nanosecond has a whole number of ticks, which is then `num`.
    #[inline(always)]
    pub(crate) fn is_whole(&self) -> bool {
        self.den == 1
    }

    /// How long until `floor` reaches `tick`, in parts, and how many parts make a nanosecond.
    #[inline(always)]
    pub(crate) fn until(&self, tick: u64) -> (u64, NonZeroU64) {
        if self.is_whole() {
            // `NonZeroU64`: the compiler drops a division with an unused result only if it cannot
            // panic.
            let per_nano = NonZeroU64::new(self.num).unwrap_or(NonZeroU64::MIN);
            (tick.saturating_sub(self.floor), per_nano)
        } else {
            let at = nanos(is_stepped(self.sequence), tick, self.num, self.den);
            (at.saturating_sub(self.nanos), NonZeroU64::MIN)
        }
    }
}

// Both functions take values, since what is passed by reference does not stay in registers. They
// are separate, since they divide.

/// The ticks around a moment, if they are not whole.
#[cold]
#[inline(never)]
fn ticks(is_stepped: bool, nanos: u64, num: u64, den: u64) -> (u64, u64) {
    // Never 0 in parameters in force.
    let den = den.max(1);
    if is_stepped {
        let ticks = (nanos / den).saturating_mul(num);
        return (ticks, ticks);
    }
    ticks_around(nanos, num, den)
}

/// Nanoseconds until at least `tick` ticks have passed.
#[cold]
#[inline(never)]
fn nanos(is_stepped: bool, tick: u64, num: u64, den: u64) -> u64 {
    // Never 0 in parameters in force.
    let num = num.max(1);
    if is_stepped {
        return tick.div_ceil(num).saturating_mul(den);
    }
    nanos_until(tick, num, den)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use crate::algorithm::Refill;
    use crate::cells::parameters::Parameters;
    use crate::cells::published::Published;
    use crate::cells::word;
    use crate::quota::Quota;
    use crate::time::Timestamp;

    proptest! {
        /// The fast path places any stamp where the axis itself does.
        #[test]
        fn the_fast_path_has_the_ticks_of_the_scale(
            count in prop_oneof![1..100_u64, any::<u32>().prop_map(u64::from)],
            nanos in prop_oneof![1..10_000_000_000_u64, 1..u64::MAX / 4],
            burst in 1..1_000_u64,
            refill in prop_oneof![Just(Refill::Steady), Just(Refill::Stepped)],
            at: u64,
            tick in 0..word::MAX_TICK,
        ) {
            let period = Duration::from_nanos(nanos);
            let Ok(quota) = Quota::new(count, period).and_then(|quota| quota.with_burst(burst)) else {
                return Ok(());
            };
            let params = Parameters::unset(0, quota, refill).changed(quota, Timestamp::ZERO);
            let params = params.moved(Timestamp::ZERO);
            let published = Published::new(&params);
            let scale = params.bucket.scale;
            let now = Timestamp::from_nanos(params.origin + at % params.span);
            let moment = published.moment::<false>(now).unwrap();
            let exact = params.moment(now);
            prop_assert_eq!((moment.floor, moment.ceil), (exact.floor, exact.ceil));
            prop_assert_eq!(published.moment::<true>(now).is_some(), scale.den == 1 && scale.step <= 1);
            let (parts, per_nano) = moment.until(tick);
            let wait = parts.div_ceil(per_nano.get());
            prop_assert_eq!(wait, exact.until(tick, &scale));
        }
    }
}
