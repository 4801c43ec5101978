//! [`Quota`]: a count of units per period, and the burst. Parsing and printing are here too; the
//! conversion to ticks is in `ticks`.

mod error;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::ticks::Scale;

pub use error::QuotaError;

const SECOND: u64 = 1_000_000_000;

/// `count` units per period, with at most `burst` of them at one instant.
///
/// With GCRA a quota admits at most `burst + floor(t * count / period)` units in any closed
/// interval of length `t`. In plain words: "100 per minute" with a burst of 100 admits 100 at
/// once and then one every 600 ms, so up to 199 in some minute. [`Quota::strict`] avoids this.
///
/// A quota is kept as given, never as a rounded interval, and prints as it parses:
///
/// ```
/// use tollgate::Quota;
///
/// const LOGIN: Quota = Quota::per_minute(10).burst(3);
/// assert_eq!(LOGIN.to_string(), "10/m burst 3");
/// assert_eq!("10/m burst 3".parse(), Ok(LOGIN));
/// assert_eq!("100/10s".parse::<Quota>()?.burst_size(), 100);
/// # Ok::<(), tollgate::QuotaError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    count: u64,
    per_nanos: u64,
    burst: u64,
}

impl Quota {
    /// `count` per second; the burst is the count.
    ///
    /// # Panics
    /// If `count` is 0 or the rate is above 2^36 units per second; in a `const` the panic is a
    /// compile error. For values that are only known at run time use [`Quota::new`].
    pub const fn per_second(count: u64) -> Quota {
        Quota::literal(count, SECOND, count)
    }

    /// `count` per minute. Otherwise as [`Quota::per_second`].
    ///
    /// # Panics
    /// As [`Quota::per_second`].
    pub const fn per_minute(count: u64) -> Quota {
        Quota::literal(count, 60 * SECOND, count)
    }

    /// `count` per hour. Otherwise as [`Quota::per_second`].
    ///
    /// # Panics
    /// As [`Quota::per_second`].
    pub const fn per_hour(count: u64) -> Quota {
        Quota::literal(count, 3600 * SECOND, count)
    }

    /// `count` per day. Otherwise as [`Quota::per_second`].
    ///
    /// # Panics
    /// As [`Quota::per_second`].
    pub const fn per_day(count: u64) -> Quota {
        Quota::literal(count, 86_400 * SECOND, count)
    }

    /// The same rate with another burst. A burst of 0 denies everything.
    ///
    /// # Panics
    /// If the bucket does not fit ([`QuotaError`] says when); in a `const` the panic is a compile
    /// error. For values that are only known at run time use [`Quota::with_burst`].
    #[must_use]
    pub const fn burst(self, burst: u64) -> Quota {
        Quota::literal(self.count, self.per_nanos, burst)
    }

    /// `count` per `period`; the burst is the count.
    pub const fn new(count: u64, period: Duration) -> Result<Quota, QuotaError> {
        let nanos = period.as_nanos();
        if nanos > u64::MAX as u128 {
            return Err(QuotaError::PeriodTooLong);
        }
        Quota::checked(count, nanos as u64, count)
    }

    /// `n` per `period` with a burst of 1. With GCRA, this admits at most `n` in any half-open
    /// interval of length `period`, evenly spaced.
    ///
    /// With a burst of `b`, `Quota::new(n - b + 1, period)?.with_burst(b)?` has the same bound, at
    /// a lower rate.
    pub const fn strict(n: u64, period: Duration) -> Result<Quota, QuotaError> {
        match Quota::new(n, period) {
            Ok(quota) => quota.with_burst(1),
            Err(error) => Err(error),
        }
    }

    /// The same rate with another burst. A burst of 0 denies everything.
    pub const fn with_burst(self, burst: u64) -> Result<Quota, QuotaError> {
        Quota::checked(self.count, self.per_nanos, burst)
    }

    /// Units per period.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The period.
    pub const fn period(&self) -> Duration {
        Duration::from_nanos(self.per_nanos)
    }

    /// The most units that one instant can admit.
    pub const fn burst_size(&self) -> u64 {
        self.burst
    }

    const fn checked(count: u64, per_nanos: u64, burst: u64) -> Result<Quota, QuotaError> {
        match Scale::fit(count, per_nanos, burst) {
            Ok(_) => Ok(Quota { count, per_nanos, burst }),
            Err(error) => Err(error),
        }
    }

    const fn literal(count: u64, per_nanos: u64, burst: u64) -> Quota {
        match Quota::checked(count, per_nanos, burst) {
            Ok(quota) => quota,
            Err(QuotaError::ZeroCount) => panic!("a quota's count must be above 0"),
            Err(QuotaError::TooFast) => panic!("a quota is at most 2^36 units a second"),
            Err(QuotaError::BurstTooLarge) => panic!("a burst is at most 2^60 units"),
            Err(_) => panic!("a full bucket of this quota takes too long to refill"),
        }
    }

    /// A quota from the parts of an existing one, whose constructor has checked them.
    pub(crate) fn known(count: u64, per_nanos: u64, burst: u64) -> Quota {
        Quota { count, per_nanos, burst }
    }

    /// The scale of the quota's ticks. Every constructor has checked that it exists.
    pub(crate) fn scale(&self) -> Scale {
        Scale::fit(self.count, self.per_nanos, self.burst).unwrap_or(Scale {
            unit: 1,
            num: 1,
            den: 1,
            step: 0,
        })
    }
}

/// Names of periods, the longest first, since printing takes the first that divides.
const PERIODS: [(&str, u64); 7] = [
    ("d", 86_400 * SECOND),
    ("h", 3600 * SECOND),
    ("m", 60 * SECOND),
    ("s", SECOND),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.count)?;
        let (number, unit) = in_units(self.per_nanos.into());
        if number != 1 {
            write!(f, "{number}")?;
        }
        f.write_str(unit)?;
        if self.burst != self.count {
            write!(f, " burst {}", self.burst)?;
        }
        Ok(())
    }
}

impl FromStr for Quota {
    type Err = QuotaError;

    /// Parses `count/period`, optionally followed by ` burst n`: `50/s`, `100/10s burst 20`.
    ///
    /// Counts are whole numbers. A period is one of `ns us ms s m h d`, optionally after a whole
    /// number.
    fn from_str(text: &str) -> Result<Quota, QuotaError> {
        let mut words = text.split_whitespace();
        let rate = words.next().unwrap_or("");
        let Some((count, period)) = rate.split_once('/') else {
            return Err(QuotaError::Syntax(
                "a rate is a count per period: write `50/s` or `100/10s`",
            ));
        };
        let count = whole(count, "the count is a whole number up to 2^64 - 1")?;
        let per_nanos = period_nanos(period)?;
        let burst = match (words.next(), words.next(), words.next()) {
            (None, ..) => count,
            (Some("burst"), Some(burst), None) => {
                whole(burst, "the burst is a whole number up to 2^64 - 1")?
            }
            _ => {
                return Err(QuotaError::Syntax(
                    "after the rate only `burst n` may follow: write `50/s burst 100`",
                ));
            }
        };
        Quota::checked(count, per_nanos, burst)
    }
}

/// Nanoseconds as a number of the largest unit that divides them.
pub(crate) fn in_units(nanos: u128) -> (u128, &'static str) {
    let divides = |(_, unit): &(&str, u64)| nanos % u128::from(*unit) == 0;
    let (name, unit) = PERIODS.into_iter().find(divides).unwrap_or(("ns", 1));
    (nanos / u128::from(unit), name)
}

/// A period's nanoseconds: `s`, `10s`, `250ms`.
pub(crate) fn period_nanos(text: &str) -> Result<u64, QuotaError> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let Some((_, nanos)) = PERIODS.into_iter().find(|(name, _)| *name == unit) else {
        return Err(QuotaError::Syntax(
            "a period is one of ns us ms s m h d, perhaps with a whole number before it",
        ));
    };
    match &text[..text.len() - unit.len()] {
        "" => Ok(nanos),
        number => whole(number, "a period's number is at most 2^64 - 1")?
            .checked_mul(nanos)
            .ok_or(QuotaError::PeriodTooLong),
    }
}

fn whole(text: &str, otherwise: &'static str) -> Result<u64, QuotaError> {
    // `parse` alone would accept a sign.
    match text.parse() {
        Ok(number) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(number),
        _ => Err(QuotaError::Syntax(otherwise)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_it_parses() {
        for text in ["50/s", "50/s burst 100", "100/10s burst 20", "1/3650d", "7/m", "3/10ns"] {
            assert_eq!(text.parse::<Quota>().unwrap().to_string(), text);
        }
        assert_eq!("60/60s".parse::<Quota>().unwrap().to_string(), "60/m");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, said) in [
            ("50", "count per period"),
            ("", "count per period"),
            ("-5/s", "the count is"),
            ("+5/s", "the count is"),
            ("NaN/s", "the count is"),
            ("1.5/s", "the count is"),
            ("99999999999999999999/s", "the count is"),
            ("0/s", "count of 0"),
            ("5/0s", "period of 0"),
            ("5/", "a period is one of"),
            ("5/10", "a period is one of"),
            ("5/fortnight", "a period is one of"),
            ("5/s bust 3", "only `burst n`"),
            ("5/s burst", "only `burst n`"),
            ("5/s burst -1", "the burst is"),
            ("18446744073709551615/s", "2^36"),
            ("1/s burst 18446744073709551615", "2^60"),
            ("1/99999999999d", "584 years"),
            ("1/d burst 576460752303423488", "coarser than 1 ms"),
        ] {
            let error = text.parse::<Quota>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn per_second_means_n_per_second() {
        // Peer bug 24: in a peer library `per_second(n)` means one per n seconds.
        assert_eq!(Quota::per_second(5), Quota::new(5, Duration::from_secs(1)).unwrap());
    }
}
