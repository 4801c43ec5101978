//! An algorithm of the user's that panics half-way leaves the limiter usable.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tollgate::algorithm::{Algorithm, Gcra, History, SlidingLog};
use tollgate::{Allowed, Denied, Quota, Timestamp, VirtualClock, all};

use crate::records::{at, key, left, limiter, nanos, quota};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Decide = 1,
    Charge,
    IdleAt,
    Settle,
    SetQuota,
    Reprice,
}

/// A log that panics once, in the call that is armed.
#[derive(Clone)]
struct Fragile {
    log: SlidingLog,
    armed: Arc<AtomicU8>,
}

impl Fragile {
    fn new(count: u64) -> Fragile {
        Fragile { log: SlidingLog::new(quota(count)), armed: Arc::default() }
    }

    fn panic_at(&self, when: When) {
        if self.armed.compare_exchange(when as u8, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            panic!("armed: {when:?}");
        }
    }
}

impl Algorithm for Fragile {
    type State = History;
    fn quota(&self) -> Quota {
        self.log.quota()
    }
    fn set_quota(&mut self, quota: Quota) {
        self.panic_at(When::SetQuota);
        self.log.set_quota(quota);
    }
    fn decide(&self, state: &History, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        self.panic_at(When::Decide);
        self.log.decide(state, cost, now)
    }
    fn charge(&self, state: &mut History, cost: u64, now: Timestamp) {
        self.panic_at(When::Charge);
        self.log.charge(state, cost, now);
    }
    fn idle_at(&self, state: &History) -> Timestamp {
        self.panic_at(When::IdleAt);
        self.log.idle_at(state)
    }
    fn bound(&self, within: Duration) -> u64 {
        self.log.bound(within)
    }
    fn settle(&self, state: &mut History, charged: u64, at: Timestamp, cost: u64, now: Timestamp) {
        self.panic_at(When::Settle);
        self.log.settle(state, charged, at, cost, now);
    }
    fn convert(&self, before: &Fragile, state: &mut History, now: Timestamp) {
        self.panic_at(When::Reprice);
        self.log.convert(&before.log, state, now);
    }
}

#[test]
fn a_panic_leaves_no_hold_behind() {
    for when in
        [When::Decide, When::Charge, When::IdleAt, When::Settle, When::SetQuota, When::Reprice]
    {
        // Which call it is that panics.
        for call in 0..6 {
            let time = VirtualClock::starting_at(at(1_000));
            let fragile = Fragile::new(100);
            let armed = fragile.armed.clone();
            let limiter = limiter(fragile, &time);
            let word = crate::records::limiter(Gcra::new(quota(100)), &time);
            let keys = [1, 2, 3].map(|number| key(1, number));
            keys.iter().take(2).for_each(|key| assert!(limiter.check(key).is_ok()));
            let reserved = limiter.reserve(&keys[1], 1).unwrap();
            armed.store(when as u8, Ordering::Relaxed);
            let panicked = catch_unwind(AssertUnwindSafe(|| match call {
                0 => assert!(limiter.check(&keys[0]).is_ok()),
                1 => assert!(limiter.check(&keys[2]).is_ok()),
                2 => drop(
                    all((
                        word.key(&1),
                        limiter.key(&keys[0]),
                        limiter.key(&keys[1]),
                        limiter.key(&keys[2]),
                    ))
                    .admit(1),
                ),
                3 => reserved.settle(0),
                4 => limiter.set_quota(quota(200)),
                _ => drop(limiter.grant_up_to(&keys[0], 3)),
            }));
            let was_armed = armed.swap(0, Ordering::Relaxed) != 0;
            assert_ne!(panicked.is_err(), was_armed, "{when:?} {call}");
            // Everything goes on: each key alone, all together, and what asks for all of them.
            for key in keys {
                assert!(left(&limiter, key) >= 96);
                limiter.check(&key).unwrap();
            }
            all((word.key(&1), limiter.key(&keys[0]), limiter.key(&keys[2]))).admit(1).unwrap();
            limiter.set_quota(quota(50));
            assert_eq!(limiter.quota(), quota(50));
            assert!(keys.iter().all(|key| (40..50).contains(&left(&limiter, *key))));
            all(keys.each_ref().map(|key| limiter.key(key))).admit(1).unwrap();
            // And is forgotten as ever.
            time.advance(nanos(1_000));
            for number in 10..30 {
                limiter.check(&key(1, number)).unwrap();
            }
            assert_eq!(limiter.len(), 20);
        }
    }
}

#[test]
fn a_panic_in_one_shard_is_no_matter_to_others() {
    let time = VirtualClock::starting_at(at(1_000));
    let fragile = Fragile::new(2);
    let armed = fragile.armed.clone();
    let limiter = limiter(fragile, &time);
    for shard in 0..64 {
        limiter.check(&key(shard, 1)).unwrap();
    }
    armed.store(When::Reprice as u8, Ordering::Relaxed);
    assert!(catch_unwind(AssertUnwindSafe(|| limiter.set_quota(quota(5)))).is_err());
    for shard in 0..64 {
        limiter.check(&key(shard, 1)).unwrap();
    }
    limiter.set_quota(quota(5));
    for shard in 0..64 {
        assert_eq!(left(&limiter, key(shard, 1)), 3);
    }
}
