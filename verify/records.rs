//! Loom models of keys whose states are records. Each states what must hold for every interleaving
//! of the threads, and `models.sh` seeds a bug with which it must fail.
//!
//! Records are in two shards. The hash of a key is the key, so that a model chooses its shard by
//! bit 32.
#![cfg(tollgate_loom)]

mod identity;
#[macro_use]
mod race;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tollgate::algorithm::{Gcra, SlidingLog};
use tollgate::future::AcquireRate;
use tollgate::{Allowed, Overflow, Quota, RateLimiter, VirtualClock, WaitError, all};

use identity::Identity;
use race::{model, race};

type Limiter = Arc<RateLimiter<SlidingLog, Identity>>;

/// Two keys of one shard, and one of the other.
const KEY: u64 = 1 << 32;
const NEAR: u64 = KEY | 1;
const FAR: u64 = 2 << 32;

/// A limiter whose keys are words; some of them have been charged a unit.
fn words(burst: u64, keys: &[u64]) -> Arc<RateLimiter<Gcra, Identity>> {
    let quota = Quota::new(1, Duration::from_nanos(10)).and_then(|quota| quota.with_burst(burst));
    let builder = RateLimiter::builder(quota.unwrap()).clock(VirtualClock::new().clock());
    let limiter = builder.hasher(Identity::default()).max_keys(4).build();
    for key in keys {
        limiter.check(key).unwrap();
    }
    Arc::new(limiter)
}

/// Longer than any model.
const HOUR: Duration = Duration::from_secs(3600);

fn quota(count: u64) -> Quota {
    Quota::new(count, Duration::from_nanos(10)).unwrap()
}

fn limiter(count: u64, time: &VirtualClock) -> Limiter {
    let log = SlidingLog::new(quota(count));
    let builder = RateLimiter::builder(quota(count)).algorithm(log).clock(time.clock());
    Arc::new(builder.hasher(Identity::default()).max_keys(4).overflow(Overflow::Deny).build())
}

/// A limiter with some keys that have been charged a unit.
fn charged(count: u64, keys: &[u64]) -> Limiter {
    let limiter = limiter(count, &VirtualClock::new());
    for key in keys {
        limiter.check(key).unwrap();
    }
    limiter
}

fn left(limiter: &Limiter, key: u64) -> u64 {
    limiter.peek_n(&key, 0).unwrap().remaining()
}

fn admits(limiter: &Limiter, keys: [u64; 2]) -> bool {
    all(keys.each_ref().map(|key| limiter.key(key))).admit(1).is_ok()
}

#[test]
fn two_race_for_the_last_unit_of_a_record() {
    model(2, |first| {
        let limiter = charged(2, &[KEY]);
        let check = || thread!(limiter; limiter.check(&KEY).is_ok());
        let [a, b] = race(first, [check(), check()]);
        assert!(a != b, "not one of the two was allowed");
    });
}

#[test]
fn two_grant_what_a_record_has_left() {
    model(2, |first| {
        let limiter = charged(4, &[KEY]);
        let grant =
            || thread!(limiter; limiter.grant_up_to(&KEY, 2).map_or(0, |granted| granted.cost()));
        let set = thread!(limiter; {
            let set = all((limiter.key(&KEY), limiter.key(&FAR)));
            set.grant_up_to(2).map_or(0, |granted| granted.cost())
        });
        let mut granted: [u64; 2] = race(first, [grant(), set]);
        granted.sort_unstable();
        assert_eq!(granted, [1, 2], "not as much as there was");
        assert_eq!(left(&limiter, KEY), 0, "a charge is lost");
    });
}

#[test]
fn sets_of_records_in_opposite_orders() {
    model(2, |first| {
        let limiter = charged(2, &[KEY, FAR]);
        let forward = thread!(limiter; admits(&limiter, [KEY, FAR]));
        let back = thread!(limiter; admits(&limiter, [FAR, KEY]));
        let [forward, back] = race(first, [forward, back]);
        assert!(forward != back, "not one of the two was admitted");
        assert_eq!((left(&limiter, KEY), left(&limiter, FAR)), (0, 0), "a charge is lost");
    });
}

#[test]
fn sets_of_a_record_and_a_word_in_opposite_orders() {
    model(2, |first| {
        let (record, word) = (charged(2, &[KEY]), words(3, &[KEY]));
        let forward = thread!(record, word; {
            all((record.key(&KEY), word.key(&KEY))).admit(1).is_ok()
        });
        let back = thread!(record, word; {
            all((word.key(&KEY), record.key(&KEY))).admit(1).is_ok()
        });
        let [forward, back] = race(first, [forward, back]);
        assert!(forward != back, "not one of the two was admitted");
        let word_left = word.peek_n(&KEY, 0).unwrap().remaining();
        assert_eq!((left(&record, KEY), word_left), (0, 1), "a charge is lost");
    });
}

#[test]
fn a_set_of_words_meets_one_with_a_record() {
    model(2, |first| {
        let (record, a, b) = (charged(2, &[KEY]), words(2, &[KEY]), words(2, &[KEY]));
        let of_words = thread!(a, b; all((a.key(&KEY), b.key(&KEY))).admit(1).is_ok());
        let mixed = thread!(record, a, b; {
            all((b.key(&KEY), record.key(&KEY), a.key(&KEY))).admit(1).is_ok()
        });
        let [of_words, mixed] = race(first, [of_words, mixed]);
        assert!(of_words != mixed, "not one of the two was admitted");
        let words_left = [&a, &b].map(|word| word.peek_n(&KEY, 0).unwrap().remaining());
        assert_eq!(words_left, [0; 2], "a charge is lost");
        assert_eq!(left(&record, KEY), u64::from(of_words), "refused and charged");
    });
}

#[test]
fn a_check_meets_a_locked_record() {
    model(2, |first| {
        let limiter = charged(2, &[KEY, FAR]);
        let set = thread!(limiter; admits(&limiter, [KEY, FAR]));
        let check = thread!(limiter; limiter.check(&KEY).is_ok());
        let [set, check] = race(first, [set, check]);
        assert!(set != check, "not one of the two was allowed");
        assert_eq!(left(&limiter, FAR), if set { 0 } else { 1 }, "refused and charged");
    });
}

#[test]
fn a_set_refused_by_its_last_limit_charges_no_record() {
    model(2, |first| {
        let limiter = charged(2, &[FAR]);
        let set = thread!(limiter; admits(&limiter, [KEY, FAR]));
        let check = thread!(limiter; limiter.check(&FAR).is_ok());
        let [admitted, allowed] = race(first, [set, check]);
        assert!(admitted != allowed, "not one of the two was allowed");
        assert_eq!(left(&limiter, KEY), if admitted { 1 } else { 2 }, "refused and charged");
    });
}

#[test]
fn a_set_of_records_is_seen_at_one_moment() {
    model(2, |first| {
        let limiter = charged(4, &[KEY, FAR, FAR]);
        // What is left goes from (3, 2) through (0, 2) to (0, 1), so the least is never 1.
        let charges = thread!(limiter; {
            limiter.check_n(&KEY, 3).unwrap();
            limiter.check(&FAR).unwrap().remaining()
        });
        let seen = thread!(limiter; {
            let set = all((limiter.key(&KEY), limiter.key(&FAR)));
            set.admit(0).unwrap().allowed().remaining()
        });
        let [_, seen]: [u64; 2] = race(first, [charges, seen]);
        assert!(seen != 1, "two moments in one answer");
    });
}

#[test]
fn a_quota_changes_under_a_set_of_records() {
    model(2, |first| {
        let limiter = charged(3, &[KEY, FAR, FAR]);
        let change = thread!(limiter; { limiter.set_quota(quota(9)); None });
        let set = thread!(limiter; {
            let set = all((limiter.key(&KEY), limiter.key(&FAR)));
            set.admit(1).ok().map(|permit| permit.allowed().remaining())
        });
        let [_, left_after]: [Option<u64>; 2] = race(first, [change, set]);
        // The answer is about the second key: 0 or 6. If it was decided under the new quota and the
        // first under the old: 1.
        assert!(matches!(left_after, Some(0 | 6)), "decided under two quotas: {left_after:?}");
        assert_eq!((left(&limiter, KEY), left(&limiter, FAR)), (7, 6), "a charge is lost");
    });
}

#[test]
fn a_check_meets_a_newcomer_to_whom_a_set_gives_a_record() {
    model(2, |first| {
        let limiter = charged(3, &[FAR]);
        let set = thread!(limiter; admits(&limiter, [KEY, FAR]));
        let check = thread!(limiter; limiter.check(&KEY).is_ok());
        assert_eq!(race(first, [set, check]), [true; 2]);
        assert_eq!((left(&limiter, KEY), left(&limiter, FAR)), (1, 1), "a charge is lost");
        assert_eq!(limiter.len(), 2, "two records for one key");
    });
}

#[test]
fn a_set_gives_records_to_two_newcomers_of_a_shard() {
    model(2, |first| {
        let limiter = charged(2, &[]);
        let set = thread!(limiter; admits(&limiter, [KEY, NEAR]));
        let check = thread!(limiter; limiter.check(&NEAR).is_ok());
        assert_eq!(race(first, [set, check]), [true; 2]);
        assert_eq!((left(&limiter, KEY), left(&limiter, NEAR)), (1, 0), "a charge is lost");
    });
}

/// Counts its wake-ups.
#[derive(Default)]
struct Woken(AtomicU64);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn units_come_back_to_a_record_as_somebody_joins_the_line() {
    model(2, |first| {
        let limiter = limiter(1, &VirtualClock::new());
        // A loom thread needs `'static` data, so what the thread borrows is leaked.
        let borrowed: &'static Limiter = Box::leak(Box::new(limiter.clone()));
        let reserved = borrowed.reserve(&KEY, 1).unwrap();
        let settle: Box<dyn FnOnce() -> Option<AcquireRate>> = Box::new(move || {
            reserved.cancel();
            None
        });
        let woken = Arc::new(Woken::default());
        let wait = thread!(limiter, woken; {
            let mut waiting = limiter.acquire(&KEY, 1, HOUR);
            poll(&mut waiting, &woken).is_none().then_some(waiting)
        });
        let [_, waiting] = race(first, [settle, wait]);
        if let Some(mut waiting) = waiting {
            assert!(woken.0.load(Ordering::SeqCst) > 0, "nobody woke who waits");
            poll(&mut waiting, &woken).expect("a waiter is stranded").unwrap();
        }
    });
}

type Answer = Result<Allowed, WaitError>;

fn poll(waiting: &mut AcquireRate, woken: &Arc<Woken>) -> Option<Answer> {
    let waker = Waker::from(woken.clone());
    match Pin::new(waiting).poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}
