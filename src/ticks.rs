//! Ticks: the scale on which both a quota's units and the clock's nanoseconds are whole numbers.
//!
//! A charge of n units adds exactly `n * unit` ticks, so sums never drift, whatever the rate. Only
//! a time that falls between two ticks is rounded, and the caller chooses the direction. The
//! decisions in ticks are in `algorithm::bucket`.

use crate::quota::QuotaError;

/// The largest capacity of a bucket, in ticks. A word holds twice that (see `cells`).
pub(crate) const MAX_CAPACITY: u64 = 1 << 60;

/// The finest ticks. With them a limiter's time axis reaches 145 days ahead of the time for which
/// its origin was chosen (see `cells::parameters`); later times move the origin.
const MAX_TICKS_PER_SECOND: u128 = 1 << 36;

/// The coarsest tick, in nanoseconds. A quota that would need a coarser one is refused.
const MAX_TICK_NANOS: u128 = 1_000_000;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// `unit` ticks are one unit, and `num / den` ticks pass per nanosecond. With a `step`, the ticks
/// of each step pass all at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    pub(crate) unit: u64,
    pub(crate) num: u64,
    pub(crate) den: u64,
    /// The length of a step in nanoseconds, in which a whole number of ticks pass. 0: time passes
    /// steadily.
    pub(crate) step: u64,
}

impl Scale {
    /// The scale of `count` units per `per` nanoseconds whose full bucket holds `burst` units.
    ///
    /// One unit takes `per / count` ns, so `unit * count / per` ticks pass per nanosecond. In order
    /// of preference, `unit` gives a whole number of ticks per nanosecond (no time is rounded), a
    /// whole number per second (no whole second is rounded), or ticks of at most 1 ns. If the
    /// bucket does not fit with any of these, `unit` gives the finest ticks with which it fits.
    pub(crate) const fn fit(count: u64, per: u64, burst: u64) -> Result<Scale, QuotaError> {
        if count == 0 {
            return Err(QuotaError::ZeroCount);
        }
        if per == 0 {
            return Err(QuotaError::ZeroPeriod);
        }
        let (c, p) = (count as u128, per as u128);
        if c * NANOS_PER_SECOND > MAX_TICKS_PER_SECOND * p {
            return Err(QuotaError::TooFast);
        }
        // With a burst of 0 nothing is ever charged, so any unit fits.
        let widest = match MAX_CAPACITY.checked_div(burst) {
            Some(widest) => widest as u128,
            None => MAX_CAPACITY as u128,
        };
        if widest == 0 {
            return Err(QuotaError::BurstTooLarge);
        }

        let common = gcd(c, p);
        let exact = p / common;
        if c / common * NANOS_PER_SECOND <= MAX_TICKS_PER_SECOND && exact <= widest {
            return Scale::of(exact, c, p);
        }
        let nanosecond = p.div_ceil(c);
        let second = p / gcd(NANOS_PER_SECOND * c, p);
        let unit = nanosecond.div_ceil(second) * second;
        // No overflow: `unit` is below 2^65, and the product is only computed if `unit` is at most
        // `widest`, which is at most 2^60; `c` is below 2^64.
        if unit <= widest && unit * c <= (MAX_TICKS_PER_SECOND * p) / NANOS_PER_SECOND {
            return Scale::of(unit, c, p);
        }
        if nanosecond <= widest {
            return Scale::of(nanosecond, c, p);
        }
        let unit = if second <= widest { widest / second * second } else { widest };
        if p > MAX_TICK_NANOS * c * unit {
            return Err(QuotaError::TooSlow);
        }
        Scale::of(unit, c, p)
    }

    const fn of(unit: u128, count: u128, per: u128) -> Result<Scale, QuotaError> {
        let (num, den) = (unit * count, per);
        let common = gcd(num, den);
        let (num, den) = (num / common, den / common);
        if unit > MAX_CAPACITY as u128 {
            return Err(QuotaError::TooSlow);
        }
        // Only if `per` and `count` sum to over 2^64.
        if num > u64::MAX as u128 {
            return Err(QuotaError::PeriodTooLong);
        }
        Ok(Scale { unit: unit as u64, num: num as u64, den: den as u64, step: 0 })
    }

    /// How many ticks pass in how many nanoseconds: evenly, or if time passes in steps, all at the
    /// end of a step.
    pub(crate) fn passes(&self) -> (u64, u64) {
        if self.step == 0 {
            return (self.num, self.den);
        }
        let ticks = u128::from(self.step) * u128::from(self.num) / u128::from(self.den);
        // Saturates only if a step is longer than all time that a word can hold.
        (u64::try_from(ticks).unwrap_or(u64::MAX), self.step)
    }

    /// Whole ticks in `nanos`, rounded down and at most `u64::MAX`, and whether a fraction was cut
    /// off.
    #[inline]
    pub(crate) fn ticks(&self, nanos: u64) -> (u64, bool) {
        let nanos = nanos - nanos.checked_rem(self.step).unwrap_or(0);
        if self.den == 1 {
            return (nanos.saturating_mul(self.num), false);
        }
        // Whole steps are whole ticks.
        self.ticks_cut(nanos)
    }

    /// A separate function, because this rare and long part would prevent inlining of `ticks`.
    #[inline(never)]
    fn ticks_cut(&self, nanos: u64) -> (u64, bool) {
        let (floor, ceil) = ticks_around(nanos, self.num, self.den);
        (floor, floor != ceil)
    }

    /// Nanoseconds until at least `ticks` have passed: rounded up, at most `u64::MAX`.
    #[inline]
    pub(crate) fn nanos(&self, ticks: u64) -> u64 {
        let nanos = match (self.den, self.num) {
            (1, 1) => ticks,
            (1, num) => ticks.div_ceil(num),
            _ => self.nanos_cut(ticks),
        };
        match self.step {
            0 => nanos,
            step => nanos.div_ceil(step).saturating_mul(step),
        }
    }

    #[inline(never)]
    fn nanos_cut(&self, ticks: u64) -> u64 {
        nanos_until(ticks, self.num, self.den)
    }

    /// The most nanoseconds in which at most `ticks` ticks pass, if time passes steadily.
    pub(crate) fn span(&self, ticks: u64) -> u64 {
        let nanos = u128::from(ticks) * u128::from(self.den) / u128::from(self.num);
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

/// The last tick at or before `nanos` and the first at or after it, if `num` ticks pass in `den`
/// nanoseconds. Each is at most `u64::MAX`.
#[inline(always)]
pub(crate) fn ticks_around(nanos: u64, num: u64, den: u64) -> (u64, u64) {
    let (ticks, den) = (u128::from(nanos) * u128::from(num), u128::from(den));
    let at_most = |ticks| u64::try_from(ticks).unwrap_or(u64::MAX);
    (at_most(ticks / den), at_most(ticks.div_ceil(den)))
}

/// Nanoseconds until at least `ticks` have passed, if `num` ticks pass in `den` nanoseconds; at
/// most `u64::MAX`.
#[inline(always)]
pub(crate) fn nanos_until(ticks: u64, num: u64, den: u64) -> u64 {
    let nanos = (u128::from(ticks) * u128::from(den)).div_ceil(u128::from(num));
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

const fn gcd(a: u128, b: u128) -> u128 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const DAY: u64 = 86_400 * SECOND;

    #[test]
    fn natural_quotas_round_no_stamp() {
        for (count, per) in
            [(50, SECOND), (60, SECOND), (7, SECOND), (7, 60 * SECOND), (1000, 60 * SECOND)]
        {
            assert_eq!(Scale::fit(count, per, count).unwrap().den, 1, "{count}/{per}");
        }
    }

    #[test]
    fn a_unit_takes_exactly_its_share_of_the_period() {
        let decade = 3650 * DAY;
        for (count, per, burst) in [
            (1, decade, 1),
            (1, decade, 1000),
            (10_000_000_000, SECOND, 10_000_000_000),
            (97, 61 * SECOND, 97),
            (12_345, 1_234_567_891, 7),
            (1_000_000_000, 1_000_000_007, 3),
            (u64::MAX, u64::MAX, 1),
            (3, 10, 10),
        ] {
            let scale = Scale::fit(count, per, burst).unwrap();
            // unit / (num / den) and per / count are both the nanoseconds per unit.
            assert_eq!(
                u128::from(scale.unit) * u128::from(scale.den) * u128::from(count),
                u128::from(scale.num) * u128::from(per),
            );
            assert!(scale.unit.checked_mul(burst).unwrap() <= MAX_CAPACITY);
        }
    }

    #[test]
    fn whole_seconds_are_whole_ticks_even_when_a_bucket_takes_centuries() {
        let scale = Scale::fit(1, 3650 * DAY, 1000).unwrap();
        assert!(!scale.ticks(1_700_000_000 * SECOND).1);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(Scale::fit(0, SECOND, 1), Err(QuotaError::ZeroCount));
        assert_eq!(Scale::fit(1, 0, 1), Err(QuotaError::ZeroPeriod));
        assert_eq!(Scale::fit(u64::MAX, SECOND, 1), Err(QuotaError::TooFast));
        assert_eq!(Scale::fit(1, SECOND, u64::MAX), Err(QuotaError::BurstTooLarge));
        assert_eq!(Scale::fit(1, DAY, 1 << 59), Err(QuotaError::TooSlow));
    }

    #[test]
    fn the_way_back_is_the_least_time_that_suffices() {
        let scale = Scale::fit(97, 61 * SECOND, 97).unwrap();
        for ticks in [1, 2, 999, 1_000_000_007, 1 << 59] {
            let nanos = scale.nanos(ticks);
            assert!(scale.ticks(nanos).0 >= ticks);
            assert!(scale.ticks(nanos - 1).0 < ticks);
        }
    }

    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A random number, with each number of bits equally likely.
    fn magnitude(state: &mut u64) -> u64 {
        let bits = random(state) % 64;
        random(state) >> bits
    }

    #[test]
    fn what_fits_is_exact_and_what_does_not_has_a_reason() {
        let mut seed = 1;
        let (mut fitted, mut whole_seconds, mut coarse, mut refused) = (0, 0, 0, 0);
        for _ in 0..300_000 {
            let (count, burst) = (magnitude(&mut seed), magnitude(&mut seed));
            let per = match random(&mut seed) % 3 {
                0 => SECOND * (1 + magnitude(&mut seed) % 1_000_000_000),
                _ => magnitude(&mut seed),
            };
            let (c, p, b) = (u128::from(count), u128::from(per), u128::from(burst));
            let scale = match Scale::fit(count, per, burst) {
                Ok(scale) => scale,
                Err(error) => {
                    refused += 1;
                    let holds = match error {
                        QuotaError::ZeroCount => count == 0,
                        QuotaError::ZeroPeriod => per == 0,
                        QuotaError::TooFast => c * NANOS_PER_SECOND > MAX_TICKS_PER_SECOND * p,
                        QuotaError::BurstTooLarge => burst > MAX_CAPACITY,
                        // A full bucket takes more than 2^60 ticks of about 1 ms.
                        QuotaError::TooSlow => {
                            let whole_nanos = p.checked_mul(b).map_or(u128::MAX, |w| w / c);
                            whole_nanos >> 60 >= MAX_TICK_NANOS / 2
                        }
                        QuotaError::PeriodTooLong => c + p > 1 << 63,
                        QuotaError::Syntax(_) => false,
                    };
                    assert!(holds, "{count}/{per} burst {burst}: {error:?}");
                    continue;
                }
            };
            fitted += 1;
            let Scale { unit, num, den, .. } = scale;
            let (u, n, d) = (u128::from(unit), u128::from(num), u128::from(den));
            // Both sides are the ticks per nanosecond, as a fraction in lowest terms.
            assert!(n > 0 && d > 0 && gcd(n, d) == 1);
            let common = gcd(u * c, p);
            assert_eq!((u * c / common, p / common), (n, d), "{count}/{per} burst {burst}");
            assert!(u * b.max(1) <= u128::from(MAX_CAPACITY));
            assert!(n <= d * MAX_TICKS_PER_SECOND.div_ceil(NANOS_PER_SECOND));
            // A tick is at most 1 ns long, unless the bucket does not fit with such ticks.
            if n < d {
                coarse += 1;
                assert!(d <= MAX_TICK_NANOS * n);
                assert!(
                    b.max(1) * p.div_ceil(c) > u128::from(MAX_CAPACITY),
                    "{count}/{per}: {scale:?}"
                );
            }
            whole_seconds += u64::from(!scale.ticks(SECOND).1);
            let nanos = magnitude(&mut seed);
            let (ticks, cut) = scale.ticks(nanos);
            if let Ok(exact) = u64::try_from(u128::from(nanos) * n / d) {
                assert_eq!((ticks, cut), (exact, u128::from(nanos) * n % d != 0));
                assert!(scale.nanos(ticks) <= nanos && scale.span(ticks) <= nanos);
                assert!(scale.nanos(ticks.saturating_add(1)) > nanos || ticks == u64::MAX);
            } else {
                assert_eq!(ticks, u64::MAX);
            }
        }
        println!(
            "{fitted} fitted, {whole_seconds} of them whole on seconds, {coarse} coarse, {refused} refused"
        );
        assert!(fitted > 30_000 && whole_seconds > 3_000 && coarse > 300 && refused > 3_000);
    }

    #[test]
    fn a_rate_up_to_a_billion_a_second_per_whole_seconds_is_whole_on_seconds() {
        let mut seed = 2;
        for _ in 0..100_000 {
            let seconds = 1 + magnitude(&mut seed) % 315_360_000;
            let count = 1 + magnitude(&mut seed) % (seconds * SECOND).min(1 << 35);
            let scale = Scale::fit(count, seconds * SECOND, 1).unwrap();
            assert!(!scale.ticks(SECOND).1, "{count} per {seconds} s: {scale:?}");
            assert!(scale.num >= scale.den);
        }
    }
}
