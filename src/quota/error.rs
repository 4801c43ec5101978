//! [`QuotaError`]: the reasons for which a constructor or the parser of
//! [`Quota`](crate::Quota) refuses its input.

use std::fmt;

/// Why a quota is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuotaError {
    /// A count of 0 would never refill.
    ZeroCount,
    /// A period of 0 gives no rate.
    ZeroPeriod,
    /// More than 2^36 units a second cannot be counted exactly.
    TooFast,
    /// A full bucket takes so long to refill that a tick would be longer than 1 ms.
    TooSlow,
    /// A burst above 2^60 units does not fit in the state.
    BurstTooLarge,
    /// The period is longer than a clock can run (2^64 ns, 584 years), or so close to this that the
    /// quota's ticks overflow. For that its nanoseconds and the count must sum to over 2^64.
    PeriodTooLong,
    /// The text is not a quota. The message says what is expected.
    Syntax(&'static str),
}

impl fmt::Display for QuotaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            QuotaError::ZeroCount => {
                "a count of 0 would never refill; a burst of 0 denies everything"
            }
            QuotaError::ZeroPeriod => "a period of 0 is no rate",
            QuotaError::TooFast => {
                "more than 2^36 units a second cannot be counted exactly; count in larger units"
            }
            QuotaError::TooSlow => {
                "a full bucket takes too long to refill: its ticks would be coarser than 1 ms; \
                 lower the burst or shorten the period"
            }
            QuotaError::BurstTooLarge => "a burst is at most 2^60 units; count in larger units",
            QuotaError::PeriodTooLong => "a period is at most 584 years, as long as a clock runs",
            QuotaError::Syntax(what) => what,
        })
    }
}

impl std::error::Error for QuotaError {}
