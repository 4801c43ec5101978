//! Every algorithm, with every option: the laws that the trait states, its own rule over a naive
//! list of what was admitted, and a search for the arrivals that get the most out of it.

mod laws;
mod naive;
mod repricing;
mod search;
mod settling;

use crate::oracle::{self, at};
use tollgate::Quota;
use tollgate::algorithm::Algorithm;

/// A test of each algorithm: `$check::<A>(make, rule)`.
macro_rules! every {
    ($check:ident) => {
        every!($check,
            gcra: Gcra::new, |_| Rule::Bucket;
            leaky_bucket: LeakyBucket::new, |_| Rule::Bucket;
            fixed_window: FixedWindow::new, |_| Rule::Window;
            fixed_window_shifted: |quota| FixedWindow::new(quota).shifted_per_key(),
                |_| Rule::Window;
            fixed_window_from_first_hit: |quota| FixedWindow::new(quota).from_first_hit(),
                |_| Rule::FirstHit;
            fixed_window_counting_denied: |quota| FixedWindow::new(quota).counting_denied(),
                |_| Rule::WindowOfAll;
            fixed_window_from_first_hit_counting_denied:
                |quota| FixedWindow::new(quota).from_first_hit().counting_denied(),
                |_| Rule::FirstHitOfAll;
            sliding_window: SlidingWindow::new, |_| Rule::TwoWindows;
            sliding_granules_one: |quota| SlidingGranules::new(quota, 1),
                |quota| Rule::granules(quota, 1, 0);
            sliding_granules: |quota| SlidingGranules::new(quota, 7),
                |quota| Rule::granules(quota, 7, 0);
            sliding_granules_strict: |quota| SlidingGranules::new(quota, 4).strict(),
                |quota| Rule::granules(quota, 4, 1);
            sliding_log: SlidingLog::new, |_| Rule::Log;
        );
    };
    ($check:ident, $($name:ident: $make:expr, $rule:expr;)+) => {
        mod $check {
            use crate::algorithms::naive::Rule;
            use tollgate::algorithm::{FixedWindow, Gcra, LeakyBucket, SlidingGranules, SlidingLog, SlidingWindow};
            $(#[test]
            fn $name() {
                super::$check($make, $rule);
            })+
        }
    };
}
pub(crate) use every;

/// Peer bug 31: a clock that is read before the lock runs backwards for a key, and an old window
/// reopens.
fn row_31_an_old_window_never_reopens<A: Algorithm>(
    make: impl Fn(Quota) -> A,
    _: impl Fn(&Quota) -> naive::Rule,
) {
    const PERIOD: u64 = 60 * oracle::SECOND;
    let algorithm = make(Quota::per_minute(3));
    let mut state = A::State::default();
    let mut admitted = 0;
    for _ in 0..5 {
        // Twice at the end of a window, thrice in the next.
        for now in [PERIOD - 1, PERIOD - 1, PERIOD, PERIOD, PERIOD] {
            if algorithm.decide(&state, 1, at(now)).is_ok() {
                algorithm.charge(&mut state, 1, at(now));
                admitted += 1;
            }
        }
    }
    let bound = algorithm.bound(std::time::Duration::from_nanos(1));
    assert!((3..=bound).contains(&admitted), "{admitted} of {bound}");
    let mut early = A::State::default();
    for now in [PERIOD, PERIOD, PERIOD] {
        algorithm.charge(&mut early, 1, at(now));
    }
    for now in [PERIOD - 1, 1, 0] {
        assert!(algorithm.decide(&early, 1, at(now)).is_err(), "reopened at {now}");
    }
}
every!(row_31_an_old_window_never_reopens);

#[test]
fn the_level_of_a_leaky_bucket_is_in_whole_units_rounded_up() {
    let bucket = tollgate::algorithm::LeakyBucket::new(Quota::per_second(10).burst(5));
    let mut state = tollgate::algorithm::Tat::default();
    assert_eq!(bucket.level(&state, at(0)), 0);
    bucket.charge(&mut state, 3, at(0));
    for (now, level) in [(0, 3), (1, 3), (99_999_999, 3), (100_000_000, 2), (299_999_999, 1)] {
        assert_eq!(bucket.level(&state, at(now)), level, "at {now}");
    }
    assert_eq!(bucket.level(&state, at(300_000_000)), 0);
    bucket.settle(&mut state, 0, at(0), 100, at(400_000_000));
    assert_eq!(bucket.level(&state, at(400_000_000)), 5);
}

#[test]
fn each_key_of_shifted_windows_is_ahead_by_less_than_a_period() {
    let quota = Quota::per_second(10);
    let shifted = tollgate::algorithm::FixedWindow::new(quota).shifted_per_key();
    let ahead = |identity| oracle::nanos(shifted.ahead(identity));
    assert_eq!([ahead(7), ahead(oracle::SECOND), ahead(oracle::SECOND + 7)], [7, 0, 7]);
    assert_eq!(oracle::nanos(tollgate::algorithm::FixedWindow::new(quota).ahead(7)), 0);
}

#[test]
fn only_what_fits_a_word_says_so() {
    let window = tollgate::algorithm::FixedWindow::new(Quota::per_second(10));
    assert!(window.in_word().is_some());
    for not in [window.from_first_hit(), window.shifted_per_key(), window.counting_denied()] {
        assert!(not.in_word().is_none(), "{not:?}");
    }
    assert!(tollgate::algorithm::SlidingWindow::new(Quota::per_second(10)).in_word().is_none());
}

#[test]
fn a_log_takes_memory_for_what_it_holds_and_no_more() {
    use tollgate::algorithm::SlidingLog;
    let log = SlidingLog::new(Quota::per_second(100));
    let mut state = Default::default();
    let empty = SlidingLog::bytes(&state);
    for n in 0..10_000_u64 {
        // 50 stamps a second, of two charges each.
        log.charge(&mut state, 1, at(n / 2 * (oracle::SECOND / 50)));
    }
    let held = SlidingLog::bytes(&state) - empty;
    assert!((50 * 16..=4 * 50 * 16).contains(&held), "{held}");
}

#[test]
fn granules_are_whole_nanoseconds_and_a_window_is_not_shorter_than_the_period() {
    use tollgate::algorithm::SlidingGranules;
    // Period, granules wanted; granule, window.
    for (period, granules, granule, window) in
        [(10, 5, 2, 10), (10, 4, 3, 12), (10, 6, 2, 10), (5, 10, 1, 5), (7, 1, 7, 7), (7, 0, 7, 7)]
    {
        let of = SlidingGranules::new(oracle::quota(1, period, 1), granules);
        assert_eq!(oracle::nanos(of.granule()), granule);
        let mut state = Default::default();
        of.charge(&mut state, 1, at(0));
        assert_eq!(of.idle_at(&state), at(window), "{period} ns in {granules}");
    }
}
