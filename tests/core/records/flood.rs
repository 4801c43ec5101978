//! More keys than the capacity of the records.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tollgate::algorithm::{Algorithm, History, SlidingLog};
use tollgate::{Allowed, Denied, Overflow, Quota, Retry, Timestamp, VirtualClock, all};

use crate::records::{at, each_algorithm, full, key, left, nanos, quota};

const KEYS: u64 = 640;

#[test]
fn a_flood_forgets_no_key_in_debt() {
    for overflow in [Overflow::Pool, Overflow::Deny, Overflow::Allow] {
        each_algorithm!(2, |algorithm| {
            let time = VirtualClock::starting_at(at(10_000));
            let counts_denied = algorithm.counts_denied();
            let limiter = full(algorithm, &time, KEYS as usize, overflow);
            let debtor = key(3, 1 << 20);
            limiter.check_n(&debtor, 2).unwrap();
            let (mut overflows, mut allowed) = (0, 0);
            for number in 0..10 * KEYS {
                let before = limiter.overflows();
                let got = limiter.check(&key(number, number));
                match limiter.overflows() - before {
                    0 => assert!(got.is_ok(), "a fresh key that has room"),
                    1 => {
                        overflows += 1;
                        allowed += u64::from(got.is_ok());
                        if overflow == Overflow::Deny {
                            let retry = got.unwrap_err().retry();
                            assert!(matches!(retry, Retry::Unknown { .. } | Retry::After(_)));
                        }
                    }
                    more => panic!("one call, {more} overflows"),
                }
                if number % 100 == 0 && !counts_denied {
                    assert!(limiter.check(&debtor).is_err(), "it was reset by a flood");
                }
            }
            assert_eq!(limiter.len() as u64, KEYS);
            assert_eq!(overflows, 9 * KEYS + 1);
            match overflow {
                Overflow::Pool => assert_eq!(allowed, 2 * 64, "64 pools"),
                Overflow::Deny => assert_eq!(allowed, 0),
                _ => assert_eq!(allowed, overflows),
            }
        });
    }
}

#[test]
fn memory_is_bounded_in_a_flood() {
    each_algorithm!(2, |algorithm| {
        let time = VirtualClock::starting_at(at(10_000));
        let limiter = full(algorithm, &time, KEYS as usize, Overflow::Pool);
        let mut most = 0;
        for number in 0..50 * KEYS {
            let _ = limiter.check(&key(number, number));
            time.advance(nanos(number % 3));
            most = most.max(if number < 10 * KEYS { limiter.memory() } else { 0 });
        }
        assert!(limiter.memory() <= most * 5 / 4, "{} after {most}", limiter.memory());
    });
}

#[test]
fn a_key_leaves_the_pool_with_its_debt() {
    each_algorithm!(5, |algorithm| {
        let time = VirtualClock::starting_at(at(10_000));
        let limiter = full(algorithm, &time, 1, Overflow::Pool);
        limiter.check(&key(1, 1)).unwrap();
        time.advance(nanos(1));
        let late = key(1, 2);
        limiter.check_n(&late, 4).unwrap();
        assert_eq!(limiter.overflows(), 1);
        // The first is idle and there is room: the next call gives it a record.
        limiter.reset(&key(1, 1));
        limiter.check(&late).unwrap();
        assert_eq!(limiter.overflows(), 1, "a record of its own");
        assert_eq!((limiter.len(), left(&limiter, late)), (1, 0));
    });
}

#[test]
fn one_without_room_owes_nothing_where_that_is_allowed() {
    each_algorithm!(5, |algorithm| {
        let time = VirtualClock::starting_at(at(10_000));
        let limiter = full(algorithm, &time, 1, Overflow::Allow);
        limiter.check(&key(1, 1)).unwrap();
        let reserved = limiter.reserve(&key(1, 2), 5).unwrap();
        reserved.settle(100);
        assert_eq!(left(&limiter, key(1, 2)), 5);
        assert_eq!(limiter.grant_up_to(&key(1, 2), 50).unwrap().cost(), 5);
        assert_eq!(limiter.check_n(&key(1, 2), 6).unwrap_err().retry(), Retry::Never);
        assert_eq!(limiter.len(), 1);
    });
}

/// A log that counts how often it is asked whether a state is idle.
#[derive(Clone)]
struct Counting(SlidingLog, Arc<AtomicU64>);

impl Algorithm for Counting {
    type State = History;
    fn quota(&self) -> Quota {
        self.0.quota()
    }
    fn set_quota(&mut self, quota: Quota) {
        self.0.set_quota(quota);
    }
    fn decide(&self, state: &History, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        self.0.decide(state, cost, now)
    }
    fn charge(&self, state: &mut History, cost: u64, now: Timestamp) {
        self.0.charge(state, cost, now);
    }
    fn idle_at(&self, state: &History) -> Timestamp {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.idle_at(state)
    }
    fn bound(&self, within: Duration) -> u64 {
        self.0.bound(within)
    }
}

#[test]
fn no_call_looks_at_more_than_a_few_records() {
    for (keys, overflow) in [(1, Overflow::Pool), (1_000, Overflow::Pool), (1_000, Overflow::Deny)]
    {
        let time = VirtualClock::starting_at(at(10_000));
        let looks = Arc::new(AtomicU64::new(0));
        let counting = Counting(SlidingLog::new(quota(2)), looks.clone());
        let limiter = full(counting, &time, keys, overflow);
        let mut most = [0; 2];
        for number in 7..20_000 {
            let key = key(number % 7, number);
            // A quarter of the calls are of keys that are there.
            for (kind, key) in [key, key, key - 7].into_iter().enumerate() {
                looks.store(0, Ordering::Relaxed);
                let _ = limiter.check(&key);
                let _ = limiter.peek(&key);
                most[kind.min(1)] = most[kind.min(1)].max(looks.load(Ordering::Relaxed));
            }
            let (a, b) = (key + (1 << 20), key + (2 << 20));
            looks.store(0, Ordering::Relaxed);
            let _ = all((limiter.key(&a), limiter.key(&b))).admit(1);
            most[1] = most[1].max(looks.load(Ordering::Relaxed));
            time.advance(nanos(number % 2));
        }
        println!("{keys} keys, {overflow:?}: {most:?} looks");
        assert!(most[0] <= 8 && most[1] <= 24, "{most:?}");
    }
}

#[test]
fn keys_that_became_idle_make_room_for_those_of_other_shards() {
    each_algorithm!(2, |algorithm| {
        let time = VirtualClock::starting_at(at(10_000));
        let limiter = full(algorithm, &time, 16, Overflow::Deny);
        for shard in 0..16 {
            limiter.check(&key(shard, 1)).unwrap();
        }
        assert!(limiter.check(&key(40, 1)).is_err(), "there is room");
        time.advance(nanos(1_000));
        // Each looks at four shards, of which there are 64.
        let denied = (0..100).take_while(|_| limiter.check(&key(40, 1)).is_err()).count();
        assert!(denied < 64 / 4, "{denied} calls found no room");
        assert!(limiter.check(&key(41, 1)).is_ok(), "all but one of the 16 had become idle");
    });
}
