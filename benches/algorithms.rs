//! Benchmarks every algorithm, and peers, in one loop: 1,000 keys in turn, with the time passed in.
//!
//! Allowed: 100 a minute, each key asked once a second, so that a log holds 60 timestamps and a
//! window is never full. Denied: 60 a day, used up before. Variants of an algorithm that differ by
//! a branch are left out, and so are peers that cannot be given the time at this price; `tollgate
//! compare` has them all, together with what they admit.

#[allow(dead_code, reason = "each bench uses a part of it")]
mod contenders;

use std::cell::Cell;
use std::hash::RandomState;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use tollgate::algorithm::{
    Algorithm, FixedWindow, Gcra, LeakyBucket, SlidingGranules, SlidingLog, SlidingWindow,
};
use tollgate::{Quota, RateLimiter, Timestamp};

const KEYS: u64 = 1_000;
const ALLOWS: Quota = Quota::per_minute(100);
const DENIES: Quota = Quota::per_day(60);

/// The next key, and the time.
struct Arrivals {
    next: Cell<u64>,
    /// The time from one call to the next.
    step: Duration,
}

impl Arrivals {
    /// A turn after the rounds that exhaust [`DENIES`], which run here.
    fn after(step: Duration, mut check: impl FnMut(u64, Timestamp)) -> Arrivals {
        let arrivals = Arrivals { next: Cell::new(0), step };
        for _ in 0..KEYS * 61 {
            let (key, now) = arrivals.next();
            check(key, now);
        }
        arrivals
    }

    fn next(&self) -> (u64, Timestamp) {
        let index = self.next.replace(self.next.get() + 1);
        let start = Timestamp::from_secs(1_700_000_000);
        let nanos = index * self.step.as_nanos() as u64;
        (index % KEYS, start + Duration::from_nanos(nanos))
    }
}

fn bench(
    criterion: &mut Criterion,
    name: &str,
    answer: &str,
    mut check: impl FnMut(u64, Timestamp) -> bool,
) {
    let expected = answer == "allow";
    let step =
        if expected { Duration::from_secs(1) / KEYS as u32 } else { Duration::from_nanos(1) };
    let arrivals = Arrivals::after(step, |key, now| {
        check(key, now);
    });
    criterion.bench_function(&format!("{name}/{answer}"), |bencher| {
        bencher.iter(|| {
            let (key, now) = arrivals.next();
            assert_eq!(check(black_box(key), black_box(now)), expected);
        });
    });
}

fn algorithm<A: Algorithm>(criterion: &mut Criterion, name: &str, make: impl Fn(Quota) -> A) {
    for (answer, quota) in [("allow", ALLOWS), ("deny", DENIES)] {
        let limiter =
            RateLimiter::builder(quota).algorithm(make(quota)).max_keys(KEYS as usize).build();
        bench(criterion, name, answer, |key, now| limiter.check_at(&key, 1, now).is_ok());
    }
}

fn algorithms(criterion: &mut Criterion) {
    algorithm(criterion, "gcra", Gcra::new);
    algorithm(criterion, "leaky bucket", LeakyBucket::new);
    algorithm(criterion, "fixed window", FixedWindow::new);
    algorithm(criterion, "fixed window from first hit", |q| FixedWindow::new(q).from_first_hit());
    algorithm(criterion, "sliding window", SlidingWindow::new);
    algorithm(criterion, "sliding granules", |q| SlidingGranules::new(q, 60));
    algorithm(criterion, "sliding log", SlidingLog::new);
}

/// governor with a cell as its clock: the cheapest way to pass the time in.
#[derive(Clone)]
struct SetClock(std::rc::Rc<Cell<u64>>);

impl governor::clock::Clock for SetClock {
    type Instant = governor::nanos::Nanos;

    fn now(&self) -> Self::Instant {
        self.0.get().into()
    }
}

/// governor with time passed in, and rate-net on std's clock, since it takes no other. With
/// rate-net each key is asked far more often than once a second.
fn peers(criterion: &mut Criterion) {
    for (answer, quota) in [("allow", ALLOWS), ("deny", DENIES)] {
        let clock = SetClock(std::rc::Rc::default());
        let burst = NonZeroU32::new(quota.burst_size() as u32).expect("a burst above 0");
        let peer = governor::Quota::with_period(quota.period() / quota.count() as u32)
            .expect("a period above 0")
            .allow_burst(burst);
        let state = contenders::Map::with_hasher(RandomState::default());
        let governor: contenders::Plain<u64, contenders::Map<u64, RandomState>, SetClock> =
            governor::RateLimiter::new(peer, state, clock.clone());
        bench(criterion, "governor", answer, |key, now| {
            clock.0.set(now.as_nanos());
            governor.check_key(&key).is_ok()
        });
    }
    for (answer, quota) in [("allow", contenders::ROOMY), ("deny", contenders::TIGHT)] {
        let net = contenders::rate_net(quota, KEYS as usize * 2);
        bench(criterion, "rate-net (std's clock)", answer, |key, _| net.check(key).is_allow());
    }
}

criterion_group!(benches, algorithms, peers);
criterion_main!(benches);
