//! The entries of this crate's algorithms.

use super::entry::Entry;
use super::report::Origin;
use tollgate::Quota;
use tollgate::algorithm::{
    Algorithm, FixedWindow, Gcra, LeakyBucket, SlidingGranules, SlidingLog, SlidingWindow,
};

/// Granules of a window: a minute in steps of five seconds.
const GRANULES: u32 = 12;

/// All of this crate's algorithms, in all variants that a user can choose.
pub fn algorithms() -> Vec<Entry> {
    fn entry<A: Algorithm>(name: &str, algorithm: fn(Quota) -> A, what: &str) -> Entry {
        Entry::new(name, algorithm).origin(Origin::Tollgate).what(what)
    }
    vec![
        entry("gcra", Gcra::new, "units come back one by one, evenly; a word"),
        entry("leaky-bucket", LeakyBucket::new, "as gcra, told as a level; a word"),
        entry("fixed-window", FixedWindow::new, "a count for each window of the clock; a word"),
        entry(
            "fixed-first-hit",
            |quota| FixedWindow::new(quota).from_first_hit(),
            "a count for each window, which the first request begins",
        ),
        entry(
            "fixed-shifted",
            |quota| FixedWindow::new(quota).shifted_per_key(),
            "a count for each window, of each key at another moment",
        ),
        entry(
            "fixed-counting",
            |quota| FixedWindow::new(quota).counting_denied(),
            "a count for each window, denied requests included",
        ),
        entry("sliding-window", SlidingWindow::new, "the last window fades out evenly"),
        entry(
            "granules",
            |quota| SlidingGranules::new(quota, GRANULES),
            "a count for each twelfth of a window",
        ),
        entry(
            "granules-strict",
            |quota| SlidingGranules::new(quota, GRANULES).strict(),
            "a count for each twelfth, kept for a thirteenth",
        ),
        entry("sliding-log", SlidingLog::new, "every stamp is kept: exact"),
    ]
}
