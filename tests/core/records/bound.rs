//! What is admitted while threads race and another moves the time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use tollgate::VirtualClock;
use tollgate::algorithm::{Algorithm, SlidingLog};

use crate::records::{at, each_algorithm, limiter, nanos, quota};

const THREADS: u64 = 3;
const BEGIN: u64 = 1_000;
const END: u64 = 10_000;

/// Runs `call` on threads over and over while another moves the time from `BEGIN` to `END`, by a
/// step for each few calls.
fn race(time: &VirtualClock, call: impl Fn(u64) + Sync) {
    let (calls, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    call(calls.fetch_add(1, Ordering::Relaxed));
                }
            });
        }
        let (mut step, mut seen) = (1, 0);
        while time.now() < at(END) {
            let now = calls.load(Ordering::Relaxed);
            if now < seen + 4 {
                thread::yield_now();
                continue;
            }
            seen = now;
            step = step * 29 % 31;
            time.advance(nanos(step));
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn never_more_than_its_own_bound_in_any_interval() {
    each_algorithm!(5, |algorithm| {
        let time = VirtualClock::starting_at(at(BEGIN));
        let limiter = limiter(algorithm.clone(), &time);
        // Units, and the clock before and after.
        let admitted = Mutex::new(Vec::new());
        let denied = AtomicU64::new(0);
        race(&time, |call| {
            let before = time.now().as_nanos();
            let cost = match call % 4 {
                0 => limiter.grant_up_to(&1, 3).map(|granted| granted.cost()),
                cost => limiter.check_n(&1, cost).map(|_| cost),
            };
            let after = time.now().as_nanos();
            match cost {
                Ok(cost) => admitted.lock().unwrap().push((before, after, cost)),
                Err(_) => drop(denied.fetch_add(1, Ordering::Relaxed)),
            }
        });
        let (admitted, denied) = (admitted.into_inner().unwrap(), denied.into_inner());
        assert!(admitted.len() > 100 && denied > 100, "{} {denied}", admitted.len());
        for (from, ..) in &admitted {
            // The admissions that lie wholly in the window, ordered by their end.
            let mut within: Vec<_> =
                admitted.iter().filter(|(before, ..)| before >= from).collect();
            within.sort_by_key(|(_, after, _)| *after);
            let mut units = 0;
            for (_, after, cost) in within {
                units += cost;
                let bound = algorithm.bound(nanos(after - from));
                assert!(units <= bound, "{units} of {bound} in {from}..={after}");
            }
        }
    });
}

/// Where the answer shows when the charge was.
#[test]
fn a_log_admits_no_more_than_its_count_in_a_window() {
    const COUNT: u64 = 5;
    const PERIOD: u64 = 100;
    let time = VirtualClock::starting_at(at(BEGIN));
    let limiter = limiter(SlidingLog::new(quota(COUNT)), &time);
    let stamps = Mutex::new(Vec::new());
    race(&time, |call| {
        // Some are late.
        let now = time.now() - nanos(call % 3 * 7);
        if let Ok(allowed) = limiter.check_at(&1, 1, now) {
            let end = now + allowed.reset_after();
            stamps.lock().unwrap().push(end.as_nanos() - PERIOD);
        }
    });
    let mut stamps = stamps.into_inner().unwrap();
    stamps.sort_unstable();
    assert!(stamps.len() > 100, "{}", stamps.len());
    for (index, stamp) in stamps.iter().enumerate() {
        let held = stamps[index..].iter().take_while(|other| **other < stamp + PERIOD).count();
        assert!(held as u64 <= COUNT, "{held} in a window from {stamp}");
    }
}

#[test]
fn while_the_time_stands_threads_are_admitted_exactly_the_count() {
    const COUNT: u64 = 500;
    each_algorithm!(COUNT, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let limiter = limiter(algorithm, &time);
        let admitted = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..COUNT {
                        if limiter.check(&1).is_ok() {
                            admitted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), COUNT);
    });
}
