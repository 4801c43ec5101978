//! [`AlgorithmName`]: which algorithm a limit of a policy decides by. The algorithms themselves are
//! in `algorithm`.

use std::fmt;

use crate::algorithm::{
    FixedWindow, Gcra, LeakyBucket, SlidingGranules, SlidingLog, SlidingWindow,
};
use crate::cells::Overflow;
use crate::quota::Quota;
use crate::rate_limiter::Store;
use crate::time::Clock;

/// Names the algorithm that a limit of a policy decides by:
/// [`Limit::algorithm`](super::Limit::algorithm).
///
/// Displays as its name in a policy file. Other configurations of the algorithms exist only in
/// code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlgorithmName {
    /// `gcra`: [`Gcra`].
    #[default]
    Gcra,
    /// `leaky-bucket`: [`LeakyBucket`].
    LeakyBucket,
    /// `fixed-window`: [`FixedWindow`], aligned to the epoch.
    FixedWindow,
    /// `fixed-window-from-first-hit`: [`FixedWindow::from_first_hit`].
    FixedWindowFromFirstHit,
    /// `fixed-window-shifted-per-key`: [`FixedWindow::shifted_per_key`].
    FixedWindowShiftedPerKey,
    /// `fixed-window-counting-denied`: [`FixedWindow::counting_denied`].
    FixedWindowCountingDenied,
    /// `sliding-window`: [`SlidingWindow`], two weighted windows.
    SlidingWindow,
    /// `sliding-granules`: [`SlidingGranules`], 60 to a window.
    SlidingGranules,
    /// `sliding-granules-strict`: [`SlidingGranules::strict`], 60 to a window.
    SlidingGranulesStrict,
    /// `sliding-log`: [`SlidingLog`].
    SlidingLog,
}

/// Granules per window, in a policy.
const GRANULES: u32 = 60;

impl AlgorithmName {
    /// All names.
    pub const ALL: &'static [AlgorithmName] = &[
        AlgorithmName::Gcra,
        AlgorithmName::LeakyBucket,
        AlgorithmName::FixedWindow,
        AlgorithmName::FixedWindowFromFirstHit,
        AlgorithmName::FixedWindowShiftedPerKey,
        AlgorithmName::FixedWindowCountingDenied,
        AlgorithmName::SlidingWindow,
        AlgorithmName::SlidingGranules,
        AlgorithmName::SlidingGranulesStrict,
        AlgorithmName::SlidingLog,
    ];

    /// The name in a policy file.
    pub const fn name(self) -> &'static str {
        match self {
            AlgorithmName::Gcra => "gcra",
            AlgorithmName::LeakyBucket => "leaky-bucket",
            AlgorithmName::FixedWindow => "fixed-window",
            AlgorithmName::FixedWindowFromFirstHit => "fixed-window-from-first-hit",
            AlgorithmName::FixedWindowShiftedPerKey => "fixed-window-shifted-per-key",
            AlgorithmName::FixedWindowCountingDenied => "fixed-window-counting-denied",
            AlgorithmName::SlidingWindow => "sliding-window",
            AlgorithmName::SlidingGranules => "sliding-granules",
            AlgorithmName::SlidingGranulesStrict => "sliding-granules-strict",
            AlgorithmName::SlidingLog => "sliding-log",
        }
    }

    /// Whether the algorithm uses the burst of a quota.
    pub(crate) const fn has_burst(self) -> bool {
        !matches!(
            self,
            AlgorithmName::SlidingWindow
                | AlgorithmName::SlidingGranules
                | AlgorithmName::SlidingGranulesStrict
                | AlgorithmName::SlidingLog
        )
    }

    /// Creates the store for the keys of a limit.
    pub(crate) fn store(
        self,
        quota: Quota,
        max_keys: usize,
        overflow: Overflow,
        clock: &Clock,
    ) -> Store {
        let window = FixedWindow::new(quota);
        let granules = SlidingGranules::new(quota, GRANULES);
        match self {
            AlgorithmName::Gcra => Store::new(Gcra::new(quota), max_keys, overflow, clock),
            AlgorithmName::LeakyBucket => {
                Store::new(LeakyBucket::new(quota), max_keys, overflow, clock)
            }
            AlgorithmName::FixedWindow => Store::new(window, max_keys, overflow, clock),
            AlgorithmName::FixedWindowFromFirstHit => {
                Store::new(window.from_first_hit(), max_keys, overflow, clock)
            }
            AlgorithmName::FixedWindowShiftedPerKey => {
                Store::new(window.shifted_per_key(), max_keys, overflow, clock)
            }
            AlgorithmName::FixedWindowCountingDenied => {
                Store::new(window.counting_denied(), max_keys, overflow, clock)
            }
            AlgorithmName::SlidingWindow => {
                Store::new(SlidingWindow::new(quota), max_keys, overflow, clock)
            }
            AlgorithmName::SlidingGranules => Store::new(granules, max_keys, overflow, clock),
            AlgorithmName::SlidingGranulesStrict => {
                Store::new(granules.strict(), max_keys, overflow, clock)
            }
            AlgorithmName::SlidingLog => {
                Store::new(SlidingLog::new(quota), max_keys, overflow, clock)
            }
        }
    }
}

impl fmt::Display for AlgorithmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
