//! Numbers at their ends, in every order: no panic, and nothing passes for it.

use std::time::Duration;

use tollgate::compat::{
    CountedQuota, DistinctValues, DualLimit, DualLimiter, FixedWindowCounter, GranuleQuota,
    GranuleQuotas, LeakyBucket, QuotaSet, Request, SlotsById,
};
use tollgate::{Quota, Timestamp, VirtualClock};

const UNITS: [u64; 5] = [0, 1, 1 << 60, u64::MAX - 1, u64::MAX];
const LIMITS: [i64; 5] = [i64::MIN, -1, 0, 1, i64::MAX];
const SPANS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_nanos(u64::MAX),
    Duration::from_secs(60),
    Duration::MAX,
];

/// The ends of time, forwards and back.
fn times() -> impl Iterator<Item = Timestamp> {
    [0, 1, u64::MAX - 1, u64::MAX, 5, 0].into_iter().map(Timestamp::from_nanos)
}

#[test]
fn windows() {
    for window in SPANS {
        let hits = FixedWindowCounter::new(VirtualClock::new().clock());
        let set = QuotaSet::new(VirtualClock::new().clock());
        for now in times() {
            for limit in LIMITS {
                let before = hits.hit_at("k", limit, Some(window), now).value;
                let hit = hits.hit_at("k", limit, Some(window), now);
                assert!(hit.limited == (i128::from(hit.value) > i128::from(limit)));
                assert!(hit.value == before + 1 || hit.value == 1);
            }
            for (limit, units) in UNITS.into_iter().flat_map(|a| UNITS.map(|b| (a, b))) {
                for organization in UNITS {
                    let quota = CountedQuota { key: "k", limit: Some(limit), window, organization };
                    let unlimited = CountedQuota { limit: None, ..quota };
                    for over_accept_once in [false, true] {
                        set.check_at(&[quota, unlimited], units, over_accept_once, now);
                        set.refund_at(&[quota], units, now);
                    }
                }
            }
        }
    }
}

#[test]
fn slots() {
    for ttl in SPANS {
        let slots = SlotsById::new(ttl, VirtualClock::new().clock());
        for now in times() {
            for limit in UNITS {
                let started = slots.start_at("k", &limit, limit, now);
                assert!(started.exceeded || started.current <= limit.max(1));
                slots.finish("k", &now);
            }
        }
        assert!(slots.count("k") <= 5);
        for lookback in SPANS {
            let time = VirtualClock::new();
            let dual = DualLimiter::new(ttl, lookback, time.clock());
            for now in times() {
                time.set(now);
                for concurrent in UNITS {
                    for per_second in UNITS {
                        let limit = DualLimit {
                            concurrent: Some(concurrent),
                            per_second: Some(per_second),
                        };
                        if let Ok(running) = dual.start("k", limit) {
                            assert!(running.load().concurrent <= concurrent);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn granules() {
    for window in SPANS {
        for granularity in SPANS {
            let quotas = GranuleQuotas::new(VirtualClock::new().clock());
            for now in times() {
                for limit in LIMITS {
                    let quota = GranuleQuota { window, granularity, limit, prefix_override: None };
                    for requested in UNITS {
                        let request = Request { prefix: "k", requested, quotas: &[quota] };
                        let grants = quotas.check_and_use_at(&[request], now);
                        let most = requested.min(u64::try_from(limit).unwrap_or(0));
                        assert!(grants[0].granted <= most);
                    }
                }
            }
        }
    }
}

#[test]
fn buckets_and_values() {
    let nanos = |period| Duration::from_nanos(period);
    for (count, period, burst) in [(1, u64::MAX, 1), (1, 1, 1 << 32), (u64::MAX, u64::MAX, 1)] {
        let quota = Quota::new(count, nanos(period)).and_then(|quota| quota.with_burst(burst));
        let Ok(quota) = quota else { continue };
        let bucket = LeakyBucket::new(quota, VirtualClock::new().clock());
        for now in times() {
            for units in UNITS {
                let leak = bucket.fill_at("k", units, now);
                assert!(leak.level <= burst && (leak.limited || leak.wait.is_zero()));
                assert!(!leak.limited || units > 0);
            }
        }
    }
    for granules in [0, 1, u32::MAX] {
        let quota = Quota::new(2, nanos(u64::MAX)).unwrap();
        let values = DistinctValues::new(quota, granules, VirtualClock::new().clock());
        let passed = times().map(|now| values.check_and_use_at("k", &UNITS, now).granted.len());
        assert_eq!(passed.collect::<Vec<_>>(), [2; 6], "the first two, each time");
    }
}
