//! Limiters whose states are records, checked against the guarantees of all limiters.

mod bound;
mod change;
mod flood;
mod panics;
mod sets;
mod settling;
mod waiting;

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use tollgate::algorithm::{Algorithm, FixedWindow, SlidingGranules, SlidingLog, SlidingWindow};
use tollgate::{Overflow, Quota, RateLimiter, Timestamp, VirtualClock};

/// The hash of a key is the key.
#[derive(Clone, Copy, Default)]
pub(crate) struct Identity(u64);

impl BuildHasher for Identity {
    type Hasher = Identity;
    fn build_hasher(&self) -> Identity {
        Identity(0)
    }
}

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are numbers")
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
    fn write_i32(&mut self, key: i32) {
        self.0 = key as u64;
    }
}

pub(crate) type Limiter<A> = RateLimiter<A, Identity>;

/// A key of a shard: all keys of a shard are under one lock.
pub(crate) fn key(shard: u64, number: u64) -> u64 {
    shard << 32 | number
}

pub(crate) fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

pub(crate) const fn nanos(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

/// `count` units in 100 ns.
pub(crate) fn quota(count: u64) -> Quota {
    Quota::new(count, nanos(100)).unwrap()
}

pub(crate) fn limiter<A: Algorithm>(algorithm: A, time: &VirtualClock) -> Limiter<A> {
    full(algorithm, time, 1_000, Overflow::Pool)
}

pub(crate) fn full<A: Algorithm>(
    algorithm: A,
    time: &VirtualClock,
    max_keys: usize,
    overflow: Overflow,
) -> Limiter<A> {
    RateLimiter::builder(quota(1))
        .algorithm(algorithm)
        .clock(time.clock())
        .hasher(Identity::default())
        .max_keys(max_keys)
        .overflow(overflow)
        .build()
}

pub(crate) fn left<A: Algorithm>(limiter: &Limiter<A>, key: u64) -> u64 {
    limiter.peek_n(&key, 0).unwrap().remaining()
}

/// Runs `$body` with each algorithm whose states are records, of `$count` units in 100 ns.
macro_rules! each_algorithm {
    ($count:expr, |$algorithm:ident| $body:expr) => {{
        let quota = $crate::records::quota($count);
        let mut tried = 0;
        macro_rules! with {
            ($made:expr) => {{
                let $algorithm = $made;
                $body;
                tried += 1;
            }};
        }
        with!(tollgate::algorithm::SlidingLog::new(quota));
        with!(tollgate::algorithm::SlidingWindow::new(quota));
        with!(tollgate::algorithm::SlidingGranules::new(quota, 10));
        with!(tollgate::algorithm::SlidingGranules::new(quota, 10).strict());
        with!(tollgate::algorithm::FixedWindow::new(quota).from_first_hit());
        with!(tollgate::algorithm::FixedWindow::new(quota).shifted_per_key());
        with!(tollgate::algorithm::FixedWindow::new(quota).counting_denied());
        assert_eq!(tried, 7);
    }};
}
pub(crate) use each_algorithm;

#[test]
fn what_is_denied_and_what_costs_nothing_makes_no_key() {
    each_algorithm!(3, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let limiter = limiter(algorithm.clone(), &time);
        let empty = limiter.memory();
        for number in 0..500 {
            let key = key(number, number);
            limiter.check_n(&key, 0).unwrap();
            limiter.peek_n(&key, 2).unwrap();
            limiter.reserve(&key, 0).unwrap().cancel();
            assert_eq!(limiter.grant_up_to(&key, 0).unwrap().cost(), 0);
            tollgate::all((limiter.key(&key),)).admit(0).unwrap();
            limiter.reset(&key);
            if !algorithm.counts_denied() {
                limiter.check_n(&key, 4).unwrap_err();
                assert!(limiter.reserve(&key, 4).is_err());
                tollgate::all((limiter.key(&key),)).admit(4).unwrap_err();
            }
        }
        assert_eq!((limiter.len(), limiter.memory()), (0, empty));
        assert_eq!(limiter.overflows(), 0);
    });
}

#[test]
fn what_is_denied_changes_nothing_that_is_seen() {
    each_algorithm!(3, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let limiter = limiter(algorithm.clone(), &time);
        let key = key(1, 1);
        limiter.check_n(&key, 2).unwrap();
        let before = (limiter.peek_n(&key, 0), limiter.peek_n(&key, 2), limiter.memory());
        time.advance(nanos(1));
        time.set(at(1_000));
        for _ in 0..10 {
            let denied = limiter.check_n(&key, 2).unwrap_err();
            if algorithm.counts_denied() {
                assert_eq!(denied.remaining(), 1);
                break;
            }
            limiter.check_n(&key, 9).unwrap_err();
        }
        let after = (limiter.peek_n(&key, 0), limiter.peek_n(&key, 2), limiter.memory());
        if algorithm.counts_denied() {
            assert_eq!(left(&limiter, key), 0, "a denial counts");
        } else {
            assert_eq!(before, after);
        }
    });
}

#[test]
fn an_earlier_time_after_forgetting_admits_no_more() {
    each_algorithm!(3, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let limiter = limiter(algorithm.clone(), &time);
        let first = key(1, 100);
        limiter.check_n(&first, 3).unwrap();
        time.advance(nanos(10_000));
        // Its record is forgotten for those of others.
        for number in 0..10 {
            limiter.check(&key(1, number)).unwrap();
        }
        assert_eq!(limiter.check_at(&first, 1, at(1_000)).unwrap().remaining(), 2);
        // What it was charged then it owes still at the moment at which it had been forgotten.
        let wait = limiter.check_at(&first, 3, at(1_000)).unwrap_err().retry().after().unwrap();
        assert!(wait > nanos(0));
        let then = at(1_000) + wait;
        assert!(limiter.peek_at(&first, 3, then - nanos(1)).is_err());
        limiter.check_at(&first, 3, then).unwrap();
    });
}

#[test]
fn a_reset_key_is_as_if_never_seen() {
    each_algorithm!(3, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let limiter = limiter(algorithm.clone(), &time);
        let (key, other) = (key(1, 1), key(1, 2));
        for key in [key, other] {
            limiter.check_n(&key, 3).unwrap();
        }
        limiter.reset(&key);
        assert_eq!((left(&limiter, key), left(&limiter, other)), (3, 0));
        assert_eq!(limiter.len(), 1);
        // Not for stamps of before.
        limiter.check_n(&key, 3).unwrap();
        assert!(limiter.check_at(&key, 1, at(0)).is_err());
    });
}

#[test]
fn it_prints_in_any_state() {
    let time = VirtualClock::new();
    let limiter = limiter(SlidingLog::new(quota(3)), &time);
    let printed = format!("{limiter:?}");
    let reserved = limiter.reserve(&key(1, 1), 3).unwrap();
    assert!(limiter.check(&key(1, 1)).is_err());
    assert_eq!(printed, format!("{limiter:?}"));
    reserved.cancel();
    let types = (
        FixedWindow::new(quota(1)).from_first_hit(),
        SlidingGranules::new(quota(1), 3),
        SlidingWindow::new(quota(1)),
    );
    assert!(format!("{types:?}").contains("FirstHit"));
}
