//! Another quota: what was owed stays owed, in units.

use tollgate::Quota;
use tollgate::algorithm::{Algorithm, FixedWindow, Gcra, LeakyBucket, SlidingLog, SlidingWindow};

use crate::oracle::{Rng, at, quota};

/// `old` units taken at `then`; what remains at `now` of a quota that holds then.
fn remains<A: Algorithm>(mut algorithm: A, taken: u64, then: u64, quota: Quota, now: u64) -> u64 {
    let mut state = A::State::default();
    algorithm.charge(&mut state, taken, at(then));
    let before = algorithm.clone();
    algorithm.set_quota(quota);
    algorithm.convert(&before, &mut state, at(now));
    algorithm.decide(&state, 0, at(now)).unwrap().remaining()
}

#[test]
fn what_was_owed_stays_owed() {
    let mut rng = Rng(13);
    for _ in 0..2_000 {
        let per = 2 + rng.below(100);
        let (old, new) = (quota(10, per, 10), quota(20, 1 + rng.below(100), 20));
        let then = rng.below(1 << 40);
        let taken = 1 + rng.below(10);
        // In the same instant nothing has come back.
        let kept = [
            remains(Gcra::new(old), taken, then, new, then),
            remains(LeakyBucket::new(old), taken, then, new, then),
            remains(FixedWindow::new(old), taken, then, new, then),
            remains(FixedWindow::new(old).from_first_hit(), taken, then, new, then),
            remains(FixedWindow::new(old).counting_denied(), taken, then, new, then),
            remains(SlidingWindow::new(old), taken, then, new, then),
            remains(SlidingLog::new(old), taken, then, new, then),
        ];
        assert_eq!(kept, [20 - taken; 7], "{taken} at {then}, {old} then {new}");
    }
}

#[test]
fn a_window_under_way_goes_on_with_the_new_period() {
    let (old, new) = (quota(10, 100, 10), quota(10, 30, 10));
    let aligned = |now| remains(FixedWindow::new(old), 10, 260, new, now);
    let first_hit = |now| remains(FixedWindow::new(old).from_first_hit(), 10, 260, new, now);
    // The window of 100 that began at 200 is still under way, and so nothing came back.
    assert_eq!([aligned(260), aligned(299), aligned(300)], [0, 0, 10]);
    // From 260 to 360, though a new one would have ended at 290.
    assert_eq!([first_hit(289), first_hit(290), first_hit(359), first_hit(360)], [0, 0, 0, 10]);
}

#[test]
fn what_has_not_faded_counts_in_the_window_under_way() {
    // 10 in the window from 0, of which half counts at 150, rounded up.
    let left = |period, now| {
        remains(SlidingWindow::new(quota(10, 100, 10)), 10, 0, quota(10, period, 10), now)
    };
    assert_eq!([left(100, 150), left(30, 150), left(30, 151), left(1000, 200)], [5, 5, 5, 10]);
}

#[test]
fn a_log_looks_back_over_the_new_period() {
    let left = |period, now| {
        remains(SlidingLog::new(quota(10, 100, 10)), 10, 0, quota(10, period, 10), now)
    };
    // What was free when the quota changed stays so.
    assert_eq!([left(30, 29), left(30, 30), left(1000, 99), left(1000, 999)], [0, 10, 0, 10]);
}
