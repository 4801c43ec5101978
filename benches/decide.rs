//! Benchmarks one decision with criterion, to look at one row closely. The ratios between
//! contenders are in `ratios`, where they take turns.

#[allow(dead_code, reason = "each bench uses a part of it")]
mod contenders;

use std::hint::black_box;

use contenders::*;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tollgate::{RateLimiter, all};

/// The number of keys of a measurement, drawn before it starts.
const WALK: usize = 1 << 16;

fn keyed<S: Hasher>(criterion: &mut Criterion) {
    for keys in [1_000, 1_000_000] {
        let mut group = criterion.benchmark_group(format!("check/{}/{keys} keys", S::NAME));
        let walk = Keys::new().batch(keys, WALK);
        let map: Map<u64, S> = Map::with_hasher(S::default());
        let governor = Governor::new(&map, ROOMY);
        for time in Time::ALL {
            let limiter = tollgate::<S>(keys, time);
            for key in 0..keys as u64 {
                assert!(check(&limiter, &key, time) && governor.check(&key, time));
            }
            let floor = Floor::<S>::new(limiter.memory());
            let mut bench = |name: &str, check: &dyn Fn(&u64) -> bool, expected: bool| {
                let mut at = walk.iter().cycle();
                group.bench_function(BenchmarkId::new(name, time.name()), |bencher| {
                    bencher.iter(|| {
                        let key = at.next().unwrap_or(&0);
                        assert_eq!(check(black_box(key)), expected);
                    });
                });
            };
            bench("allow/tollgate", &|key| check(&limiter, key, time), true);
            bench("allow/floor", &|key| floor.check(key, time), true);
            bench("allow/governor", &|key| governor.check(key, time), true);
            limiter.set_quota(TIGHT);
            let tight = Governor::new(&map, TIGHT);
            bench("deny/tollgate", &|key| check(&limiter, key, time), false);
            bench("deny/governor", &|key| tight.check(key, time), false);
        }
        group.finish();
    }
}

fn sets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("three limits/1000 users");
    let walk = Keys::new().batch(1_000, WALK);
    let build = |quota, keys| RateLimiter::builder(quota).max_keys(keys).build();
    let (users, orgs, global) = (build(ROOMY, 1_000), build(GLOBAL, 16), build(GLOBAL, 1));
    let mut at = walk.iter().cycle();
    let mut admit = || {
        let user = black_box(at.next().unwrap_or(&0));
        all((users.key(user), orgs.key(&(user / 64)), global.key(&()))).admit(1).is_ok()
    };
    group.bench_function("allow/tollgate", |bencher| bencher.iter(|| assert!(admit())));
    global.set_quota(TIGHT);
    group.bench_function("deny/tollgate", |bencher| bencher.iter(|| assert!(!admit())));
    group.finish();
}

criterion_group!(
    decide,
    keyed::<std::hash::RandomState>,
    keyed::<foldhash::fast::RandomState>,
    sets
);
criterion_main!(decide);
