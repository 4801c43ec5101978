//! Which algorithm a limit of a policy decides by.

use std::fmt;

use crate::algorithm::{
    FixedWindow, Gcra, LeakyBucket, SlidingGranules, SlidingLog, SlidingWindow,
};
use crate::cells::Overflow;
use crate::quota::Quota;
use crate::rate_limiter::Store;

/// Which algorithm a limit of a policy decides by: [`Limit::algorithm`](super::Limit::algorithm).
///
/// Its name in a policy file is how it prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arithmetic {
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

/// Granules to a window, in a policy.
const GRANULES: u32 = 60;

impl Arithmetic {
    /// All there are.
    pub const ALL: [Arithmetic; 10] = [
        Arithmetic::Gcra,
        Arithmetic::LeakyBucket,
        Arithmetic::FixedWindow,
        Arithmetic::FixedWindowFromFirstHit,
        Arithmetic::FixedWindowShiftedPerKey,
        Arithmetic::FixedWindowCountingDenied,
        Arithmetic::SlidingWindow,
        Arithmetic::SlidingGranules,
        Arithmetic::SlidingGranulesStrict,
        Arithmetic::SlidingLog,
    ];

    /// Its name in a policy file.
    pub const fn name(self) -> &'static str {
        match self {
            Arithmetic::Gcra => "gcra",
            Arithmetic::LeakyBucket => "leaky-bucket",
            Arithmetic::FixedWindow => "fixed-window",
            Arithmetic::FixedWindowFromFirstHit => "fixed-window-from-first-hit",
            Arithmetic::FixedWindowShiftedPerKey => "fixed-window-shifted-per-key",
            Arithmetic::FixedWindowCountingDenied => "fixed-window-counting-denied",
            Arithmetic::SlidingWindow => "sliding-window",
            Arithmetic::SlidingGranules => "sliding-granules",
            Arithmetic::SlidingGranulesStrict => "sliding-granules-strict",
            Arithmetic::SlidingLog => "sliding-log",
        }
    }

    /// Whether the burst of a quota plays a part.
    pub(crate) const fn has_burst(self) -> bool {
        !matches!(
            self,
            Arithmetic::SlidingWindow
                | Arithmetic::SlidingGranules
                | Arithmetic::SlidingGranulesStrict
                | Arithmetic::SlidingLog
        )
    }

    /// The states of the keys of a limit.
    pub(crate) fn store(self, quota: Quota, max_keys: usize, overflow: Overflow) -> Store {
        let window = FixedWindow::new(quota);
        let granules = SlidingGranules::new(quota, GRANULES);
        match self {
            Arithmetic::Gcra => Store::new(Gcra::new(quota), max_keys, overflow),
            Arithmetic::LeakyBucket => Store::new(LeakyBucket::new(quota), max_keys, overflow),
            Arithmetic::FixedWindow => Store::new(window, max_keys, overflow),
            Arithmetic::FixedWindowFromFirstHit => {
                Store::new(window.from_first_hit(), max_keys, overflow)
            }
            Arithmetic::FixedWindowShiftedPerKey => {
                Store::new(window.shifted_per_key(), max_keys, overflow)
            }
            Arithmetic::FixedWindowCountingDenied => {
                Store::new(window.counting_denied(), max_keys, overflow)
            }
            Arithmetic::SlidingWindow => Store::new(SlidingWindow::new(quota), max_keys, overflow),
            Arithmetic::SlidingGranules => Store::new(granules, max_keys, overflow),
            Arithmetic::SlidingGranulesStrict => Store::new(granules.strict(), max_keys, overflow),
            Arithmetic::SlidingLog => Store::new(SlidingLog::new(quota), max_keys, overflow),
        }
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
