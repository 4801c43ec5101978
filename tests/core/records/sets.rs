//! Several keys in one set: all or none.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use tollgate::algorithm::{Algorithm, FixedWindow, Gcra, SlidingLog, SlidingWindow};
use tollgate::{
    Allowed, ConcurrencyLimiter, Denied, Overflow, Quota, RateLimiter, Timestamp, VirtualClock, all,
};

use crate::records::{Limiter, at, each_algorithm, full, key, left, limiter, nanos, quota};

#[test]
fn new_keys_of_one_limiter_in_one_shard() {
    each_algorithm!(3, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let limiter = limiter(algorithm, &time);
        let keys: [u64; 8] = std::array::from_fn(|number| key(1, number as u64 + 1));
        all(keys.each_ref().map(|key| limiter.key(key))).admit(2).unwrap();
        assert_eq!(keys.map(|key| left(&limiter, key)), [1; 8]);
        assert_eq!(limiter.len(), 8);
        assert!(all(keys.each_ref().map(|key| limiter.key(key))).admit(2).is_err());
    });
}

#[test]
fn new_keys_without_room_share_the_pool() {
    each_algorithm!(4, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let limiter = full(algorithm, &time, 1, Overflow::Pool);
        limiter.check(&key(1, 1)).unwrap();
        let set = || all((limiter.key(&key(1, 2)), limiter.key(&key(1, 3))));
        set().admit(2).unwrap();
        assert_eq!(limiter.overflows(), 2);
        assert!(set().admit(1).is_err(), "both are in the pool");
        assert!(limiter.check(&key(1, 4)).is_err());
        assert_eq!(left(&limiter, key(1, 1)), 3);
    });
}

#[test]
fn a_refused_set_charges_no_limit_wherever_the_refusal_stands() {
    each_algorithm!(3, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let record = limiter(algorithm, &time);
        let word = limiter(Gcra::new(quota(3)), &time);
        let slots = ConcurrencyLimiter::builder(1).clock(time.clock()).build();
        let empty = record.memory();
        let held = slots.try_acquire().unwrap();
        let refused = all((record.key(&7), word.key(&7), slots.slot())).admit(1).unwrap_err();
        assert_eq!((refused.index(), refused.limit()), (2, "third"));
        assert_eq!((left(&record, 7), left(&word, 7), record.memory()), (3, 3, empty));
        drop(held);
        // By a word.
        word.check_n(&7, 3).unwrap();
        let refused = all((record.key(&7), slots.slot(), word.key(&7))).admit(1).unwrap_err();
        assert_eq!(refused.index(), 2);
        assert_eq!((left(&record, 7), slots.usage().in_use), (3, 0));
        // By a record.
        record.check_n(&8, 3).unwrap();
        let refused = all((word.key(&8), slots.slot(), record.key(&8))).admit(1).unwrap_err();
        assert_eq!(refused.index(), 2);
        assert_eq!((left(&word, 8), slots.usage().in_use), (3, 0));
        let permit = all((word.key(&9), slots.slot(), record.key(&9))).admit(2).unwrap();
        assert_eq!((left(&word, 9), slots.usage().in_use, left(&record, 9)), (1, 1, 1));
        permit.cancel();
        assert_eq!((left(&word, 9), slots.usage().in_use, left(&record, 9)), (3, 0, 3));
    });
}

#[test]
fn only_the_limit_that_denied_counts_the_denial() {
    let time = VirtualClock::starting_at(at(1_000));
    let [a, b] = [2, 3].map(|n| limiter(FixedWindow::new(quota(n)).counting_denied(), &time));
    assert_eq!(all((a.key(&1), b.key(&1))).admit(3).unwrap_err().index(), 0);
    assert_eq!((left(&a, 1), left(&b, 1)), (0, 3));
    assert_eq!(all((b.key(&1), a.key(&1))).admit(1).unwrap_err().index(), 1);
    assert_eq!(left(&b, 1), 3);
}

#[test]
fn a_key_that_is_listed_twice_is_charged_twice() {
    each_algorithm!(5, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let limiter = limiter(algorithm.clone(), &time);
        let twice = || all((limiter.key(&1), limiter.key(&1)));
        twice().admit(2).unwrap();
        assert_eq!(left(&limiter, 1), 1);
        // Where it was counted by then, the first is too much as well.
        let counts_denied = algorithm.counts_denied();
        let refused = twice().admit(1).unwrap_err();
        assert!(refused.index() == 1 || counts_denied, "the second is too much");
        limiter.reset(&1);
        let granted = twice().grant_up_to(9).unwrap();
        assert_eq!(granted.cost(), 2);
        assert_eq!(left(&limiter, 1), 1);
        granted.settle(1);
        assert_eq!(left(&limiter, 1), 3);
    });
}

#[test]
fn a_set_grants_what_all_have() {
    each_algorithm!(10, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let (a, b) = (limiter(algorithm, &time), limiter(Gcra::new(quota(7)), &time));
        let set = || all((a.key(&1), b.key(&1)));
        assert_eq!(set().grant_up_to(4).unwrap().cost(), 4);
        let rest = set().grant_up_to(9).unwrap();
        assert_eq!(rest.cost(), 3);
        assert_eq!(set().grant_up_to(9).unwrap_err().index(), 1);
        assert_eq!(left(&a, 1), 3);
        rest.cancel();
        assert_eq!((left(&a, 1), left(&b, 1)), (6, 3));
        assert_eq!(set().grant_up_to(0).unwrap().cost(), 0);
    });
}

/// Says that a unit remains, whatever was charged.
#[derive(Clone)]
struct AlwaysOneLeft;

impl Algorithm for AlwaysOneLeft {
    type State = u64;
    fn quota(&self) -> Quota {
        quota(1)
    }
    fn set_quota(&mut self, _: Quota) {}
    fn decide(&self, _: &u64, _: u64, _: Timestamp) -> Result<Allowed, Denied> {
        Ok(Allowed::new(1, 1, nanos(0)))
    }
    fn charge(&self, state: &mut u64, cost: u64, _: Timestamp) {
        *state += cost;
    }
    fn idle_at(&self, _: &u64) -> Timestamp {
        Timestamp::MAX
    }
    fn bound(&self, _: std::time::Duration) -> u64 {
        u64::MAX
    }
}

#[test]
fn a_standing_that_cannot_be_ends_no_call() {
    let time = VirtualClock::new();
    let limiter = limiter(AlwaysOneLeft, &time);
    assert_eq!(limiter.grant_up_to(&1, 9).unwrap().cost(), 1);
    assert_eq!(all((limiter.key(&1),)).grant_up_to(9).unwrap().cost(), 1);
}

const THREADS: usize = 4;

/// Runs `body` on all threads concurrently.
fn on_threads(body: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        for index in 0..THREADS {
            let body = &body;
            scope.spawn(move || body(index));
        }
    });
}

#[test]
fn threads_in_opposite_orders_charge_all_or_none() {
    const UNITS: u64 = 500;
    let time = VirtualClock::starting_at(at(1_000));
    let log = limiter(SlidingLog::new(quota(UNITS)), &time);
    let window = limiter(SlidingWindow::new(quota(UNITS + 100)), &time);
    let word = limiter(Gcra::new(quota(UNITS + 200)), &time);
    let slots = ConcurrencyLimiter::builder(2).clock(time.clock()).build();
    let (admitted, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    on_threads(|thread| {
        for _ in 0..4 * UNITS {
            let (a, b, c, d) = (log.key(&1), window.key(&1), word.key(&1), slots.slot());
            let decided = match thread % 4 {
                0 => all((a, b, c, d)).admit(1),
                1 => all((d, c, b, a)).admit(1),
                2 => all((b, a, d, c)).admit(1),
                _ => all((c, a, d, b)).admit(1),
            };
            match decided {
                Ok(_) => admitted.fetch_add(1, Ordering::Relaxed),
                Err(_) => refused.fetch_add(1, Ordering::Relaxed),
            };
        }
    });
    let (admitted, refused) = (admitted.into_inner(), refused.into_inner());
    assert!(admitted <= UNITS && refused > 0, "{admitted} {refused}");
    assert_eq!(left(&log, 1), UNITS - admitted);
    assert_eq!(left(&window, 1), UNITS + 100 - admitted);
    assert_eq!(left(&word, 1), UNITS + 200 - admitted);
    assert_eq!(slots.usage().in_use, 0);
}

#[test]
fn threads_over_two_keys_of_one_limiter_admit_as_many_as_there_are() {
    const UNITS: u64 = 300;
    each_algorithm!(UNITS, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let limiter = limiter(algorithm, &time);
        let admitted = AtomicU64::new(0);
        on_threads(|thread| {
            // In one shard, in opposite orders.
            let [mut a, mut b] = [key(1, 1), key(1, 2)];
            if thread % 2 == 0 {
                std::mem::swap(&mut a, &mut b);
            }
            for _ in 0..2 * UNITS {
                if all((limiter.key(&a), limiter.key(&b))).admit(1).is_ok() {
                    admitted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        assert_eq!(admitted.into_inner(), UNITS);
        assert_eq!((left(&limiter, key(1, 1)), left(&limiter, key(1, 2))), (0, 0));
    });
}

#[test]
fn threads_that_grant_give_out_all_there_is_and_no_more() {
    const UNITS: u64 = 1_000;
    each_algorithm!(UNITS, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let record = limiter(algorithm, &time);
        let word = limiter(Gcra::new(quota(UNITS)), &time);
        let granted = AtomicU64::new(0);
        on_threads(|thread| {
            let mut ask = thread as u64 + 3;
            loop {
                ask = ask % 7 + 1;
                let cost = match thread % 2 {
                    0 => record.grant_up_to(&1, ask).map(|granted| granted.cost()).ok(),
                    _ => {
                        let set = all((word.key(&1), record.key(&1)));
                        set.grant_up_to(ask).map(|granted| granted.cost()).ok()
                    }
                };
                match cost {
                    Some(cost) => {
                        assert!((1..=ask).contains(&cost), "{cost} of {ask}");
                        granted.fetch_add(cost, Ordering::Relaxed);
                    }
                    None => break,
                }
            }
        });
        assert_eq!(granted.into_inner(), UNITS);
        assert_eq!(left(&record, 1), 0);
    });
}

#[test]
fn a_changing_quota_is_one_quota_in_a_set() {
    const CHANGES: usize = 300;
    let time = VirtualClock::starting_at(at(1_000));
    let limiter: Limiter<SlidingLog> = limiter(SlidingLog::new(quota(10)), &time);
    // The second has one unit more left under each quota: (9, 10) or (99, 100).
    let (a, b) = (key(1, 1), key(60, 2));
    limiter.check(&a).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for change in 0..CHANGES {
                limiter.set_quota(quota(if change % 2 == 0 { 100 } else { 10 }));
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let mut seen = [0; 2];
        while !is_over.load(Ordering::Relaxed) {
            // Of a there are 9 or 99 left, of b 10 or 100: under two quotas 10 would be the least.
            let permit = all((limiter.key(&b), limiter.key(&a))).admit(0).unwrap();
            match permit.allowed().remaining() {
                9 => seen[0] += 1,
                99 => seen[1] += 1,
                least => panic!("{least} under two quotas"),
            }
        }
        println!("{seen:?}");
    });
    // All of it was one algorithm's: a key new to the limiter and one that was there agree.
    assert_eq!((left(&limiter, a), left(&limiter, b)), (9, 10));
}

#[test]
fn the_plain_fixed_window_is_a_word() {
    // It says so by how little it takes.
    let time = VirtualClock::new();
    let word: RateLimiter<FixedWindow, _> =
        full(FixedWindow::new(quota(1)), &time, 8, Overflow::Pool);
    let record = full(FixedWindow::new(quota(1)).from_first_hit(), &time, 8, Overflow::Pool);
    assert!(word.memory() < record.memory());
}
