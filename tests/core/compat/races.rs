//! Threads that race for the last place: exactly one gets it.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tollgate::Quota;
use tollgate::compat::{
    CountedQuota, DistinctValues, DualLimit, DualLimiter, FixedWindowCounter, GranuleQuota,
    GranuleQuotas, QuotaSet, Request, SlotsById,
};

use crate::compat::{NANO, secs, time};

const ROUNDS: u64 = 1_000;

/// How many of two threads `take` says yes to, in each round.
fn race(take: impl Fn(u64, u64) -> bool + Sync) -> Vec<u64> {
    let wins: Vec<AtomicU64> = (0..ROUNDS).map(|_| AtomicU64::new(0)).collect();
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        for thread in 0..2 {
            let (wins, barrier, take) = (&wins, &barrier, &take);
            scope.spawn(move || {
                for (round, wins) in (0..).zip(wins) {
                    barrier.wait();
                    wins.fetch_add(take(round, thread).into(), Ordering::Relaxed);
                }
            });
        }
    });
    wins.into_iter().map(AtomicU64::into_inner).collect()
}

fn exactly_one(wins: Vec<u64>) {
    assert!(wins.iter().all(|wins| *wins == 1), "{wins:?}");
}

/// Peer bug 29: two that raced for the last slot were both rejected.
#[test]
fn row_29_exactly_one_of_two_gets_the_last_place() {
    let time = time();
    let dual = DualLimiter::new(secs(60), secs(60), time.clock());
    let limit = DualLimit { concurrent: Some(1), per_second: None };
    exactly_one(race(|round, _| match dual.start(&round, limit) {
        // Never finished.
        Ok(running) => {
            std::mem::forget(running);
            true
        }
        Err(_) => false,
    }));
    let slots = SlotsById::new(secs(60), time.clock());
    exactly_one(race(|round, thread| !slots.start(&round, &thread, 1).exceeded));
}

#[test]
fn exactly_one_of_two_gets_the_last_unit() {
    let time = time();
    let hits = FixedWindowCounter::new(time.clock());
    exactly_one(race(|round, _| !hits.hit(&round, 1, None).limited));
    let minute = secs(60);
    let quotas = GranuleQuotas::new(time.clock());
    exactly_one(race(|round, _| {
        // Many, so that there is time between looking and charging.
        let own = round.to_string();
        let quota = |nth| GranuleQuota {
            window: minute + nth * NANO,
            granularity: minute,
            limit: if nth == 0 { 1 } else { i64::MAX },
            prefix_override: (nth > 0).then_some("all"),
        };
        let of: Vec<_> = (0..100).map(quota).collect();
        let request = Request { prefix: &own, requested: 1, quotas: &of };
        quotas.check_and_use(&[request])[0].granted == 1
    }));
}

#[test]
fn values_asked_for_together_are_one_step() {
    const VALUES: usize = 500;
    let values = DistinctValues::new(Quota::per_minute(VALUES as u64), 1, time().clock());
    exactly_one(race(|round, thread| {
        let asked: Vec<_> = (0..VALUES).map(|value| (thread, value)).collect();
        let granted = values.check_and_use(&round, &asked).granted.len();
        assert!(granted == 0 || granted == VALUES, "{granted} of each other's");
        granted == VALUES
    }));
}

#[test]
fn quotas_are_charged_all_or_none() {
    let set = QuotaSet::new(time().clock());
    let of = |key: String, limit| CountedQuota {
        key,
        limit: Some(limit),
        window: secs(3_600),
        organization: 0,
    };
    // One quota for each round, one for all, of which there is enough for half of the rounds.
    exactly_one({
        let mut wins = race(|round, _| {
            let quotas = [of("all".to_owned(), ROUNDS / 2), of(round.to_string(), 1)];
            set.check(&quotas, 1, false).iter().all(|answer| !answer.rejected)
        });
        assert!(wins.drain(ROUNDS as usize / 2..).all(|wins| wins == 0));
        wins
    });
    let consumed = |key: String| set.check(&[of(key, 1)], 0, false)[0].consumed;
    let each: i128 = (0..ROUNDS).map(|round| consumed(round.to_string())).sum();
    assert_eq!(
        (consumed("all".to_owned()), each),
        (i128::from(ROUNDS / 2), i128::from(ROUNDS / 2))
    );
}
