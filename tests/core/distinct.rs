//! `DistinctLimiter`: at most so many different values for each key and window.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::oracle::{Census, Rng, SECOND, TODAY, at, nanos, steps};
use foldhash::fast::FixedState;
use tollgate::compat::DistinctLimiter;
use tollgate::{Clock, Overflow, Quota, Retry, Timestamp, VirtualClock};

/// Three values in ten seconds, in five granules.
fn three(clock: Clock) -> DistinctLimiter<FixedState> {
    let quota = Quota::new(3, Duration::from_secs(10)).unwrap();
    let builder = DistinctLimiter::builder(quota).granules(5).clock(clock);
    builder.hasher(FixedState::default()).build()
}

/// What a moment must answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Is {
    Left(u64),
    Wait(u64),
}
use Is::{Left, Wait};

const S: u64 = SECOND;

#[test]
fn moments() {
    for start in [0, TODAY] {
        let limiter = three(VirtualClock::new().clock());
        for (row, (t, key, value, expected)) in [
            (3 * S, "a", "x", Left(2)),
            (3 * S, "a", "x", Left(2)),
            (4 * S, "a", "y", Left(1)),
            (9 * S, "a", "z", Left(0)),
            (9 * S, "a", "w", Wait(3 * S)),
            (9 * S, "b", "w", Left(2)),
            // Seen: it passes, and is seen anew, in the granule of 8 s.
            (9 * S, "a", "x", Left(0)),
            (9 * S, "a", "w", Wait(5 * S)),
            (14 * S - 1, "a", "w", Wait(1)),
            (14 * S, "a", "w", Left(0)),
            (14 * S, "a", "y", Wait(4 * S)),
            // Earlier: as at the latest.
            (9 * S, "a", "z", Left(0)),
            (0, "a", "y", Wait(18 * S)),
            (18 * S, "a", "y", Left(0)),
            (18 * S, "a", "x", Wait(6 * S)),
        ]
        .into_iter()
        .enumerate()
        {
            let got = match limiter.check_at(key, value, at(start + t)) {
                Ok(allowed) => Left(allowed.remaining()),
                Err(denied) => match denied.retry() {
                    Retry::After(wait) => Wait(nanos(wait)),
                    other => panic!("{other:?}"),
                },
            };
            assert_eq!(got, expected, "row {row}: {value} of {key} at {t} from {start}");
        }
    }
}

/// When each value was last allowed.
#[derive(Default)]
struct Naive {
    seen: BTreeMap<u64, u64>,
    latest: u64,
}

impl Naive {
    const COUNT: usize = 3;
    const GRANULE: u64 = 2 * S;

    fn live(&self, now: u64) -> BTreeSet<u64> {
        let free_at = |seen: u64| seen / Self::GRANULE * Self::GRANULE + 10 * S;
        self.seen
            .iter()
            .filter(|(_, seen)| free_at(**seen) > now)
            .map(|(value, _)| *value)
            .collect()
    }

    fn allows(&self, value: u64, now: u64) -> bool {
        let live = self.live(now.max(self.latest));
        live.contains(&value) || live.len() < Self::COUNT
    }

    fn check(&mut self, value: u64, now: u64) -> bool {
        let allowed = self.allows(value, now);
        if allowed {
            self.latest = self.latest.max(now);
            self.seen.insert(value, self.latest);
        }
        allowed
    }
}

#[test]
fn random_histories_agree_with_a_list_of_when_each_value_was_seen() {
    let mut rng = Rng(7);
    let mut census = Census::default();
    for _ in 0..steps(20_000) / 100 {
        let limiter = three(VirtualClock::new().clock());
        let mut keys: [Naive; 2] = Default::default();
        let mut now = TODAY;
        for _ in 0..100 {
            now = match rng.below(8) {
                0..=2 => now,
                3 => now - now % Naive::GRANULE + Naive::GRANULE,
                4 => now - now % Naive::GRANULE + Naive::GRANULE - 1,
                5 => now - rng.below(5 * S),
                _ => now + rng.below(3 * S),
            };
            let (key, value) = (rng.below(2), rng.below(6));
            let naive = &mut keys[key as usize];
            let was_seen = naive.live(now.max(naive.latest)).contains(&value);
            let is_late = now < naive.latest;
            let allowed = naive.check(value, now);
            let got = limiter.check_at(&key, &value, at(now));
            let context = format!("{value} of {key} at {now}: {got:?}");
            assert_eq!(got.is_ok(), allowed, "{context}");
            let left = Naive::COUNT - naive.live(now.max(naive.latest)).len();
            match got {
                Ok(got) => assert_eq!(got.remaining(), left as u64, "{context}"),
                Err(denied) => {
                    assert_eq!(denied.remaining(), 0);
                    let Retry::After(wait) = denied.retry() else { panic!("{context}") };
                    // Not sooner, and exactly then.
                    assert!(naive.allows(value, now + nanos(wait)), "{context}");
                    assert!(!naive.allows(value, now + nanos(wait) - 1), "{context}");
                }
            }
            census.count((allowed, was_seen, is_late));
        }
    }
    let classes: [(bool, bool, bool); 6] = [
        (true, false, false),
        (true, true, false),
        (false, false, false),
        (true, true, true),
        (false, false, true),
        (true, false, true),
    ];
    census.require(&classes, 200);
}

#[test]
fn looking_and_being_denied_are_not_seen() {
    let time = VirtualClock::starting_at(at(TODAY));
    let limiter = three(time.clock());
    for value in 0..10 {
        assert_eq!(limiter.peek("k", &value).unwrap().remaining(), 2);
    }
    assert!(limiter.is_empty());
    for value in 0..10 {
        assert_eq!(limiter.check("k", &value).is_ok(), value < 3);
    }
    assert!(limiter.peek("k", &9).is_err());
    assert_eq!(limiter.peek("k", &0).unwrap().remaining(), 0);
    // Looked at, not seen anew: all three leave together.
    time.advance(Duration::from_secs(9));
    limiter.peek("k", &0).unwrap();
    time.advance(Duration::from_secs(1));
    assert!((10..13).all(|value| limiter.check("k", &value).is_ok()));
}

#[test]
fn a_reset_key_has_seen_nothing_and_idle_keys_are_not_counted() {
    let time = VirtualClock::starting_at(at(TODAY));
    let limiter = three(time.clock());
    for value in 0..3 {
        limiter.check("k", &value).unwrap();
        limiter.check("other", &value).unwrap();
    }
    assert_eq!(limiter.len(), 2);
    limiter.reset("k");
    assert_eq!(limiter.len(), 1);
    assert!(limiter.check("other", &9).is_err());
    assert!((3..6).all(|value| limiter.check("k", &value).is_ok()));
    time.advance(Duration::from_secs(10));
    assert!(limiter.is_empty());
}

#[test]
fn a_value_takes_as_little_memory_as_is_said() {
    let time = VirtualClock::starting_at(at(TODAY));
    let limiter = DistinctLimiter::builder(Quota::per_day(1 << 20)).clock(time.clock()).build();
    let empty = limiter.memory();
    for n in [1_000, 5_000, 28_000, 30_000, 100_000] {
        assert!((0..n).all(|value: u32| limiter.check("k", &value).is_ok()));
        let each = (limiter.memory() - empty) as f64 / f64::from(n);
        assert!((17.0..=39.5).contains(&each), "{each} bytes for each of {n}");
    }
    // What was forgotten is not kept.
    for _ in 0..10 {
        let before = limiter.memory();
        time.advance(Duration::from_secs(2 * 86_400));
        assert!((0..100_000).all(|value: u32| limiter.check("k", &value).is_ok()));
        assert!(limiter.memory() <= before);
    }
}

#[test]
fn keys_without_room_share_the_values_of_one_are_denied_or_pass() {
    for (overflow, passed) in
        [(Overflow::Pool, 2 * 64), (Overflow::Deny, 0), (Overflow::Allow, 3_000)]
    {
        let builder = DistinctLimiter::builder(Quota::per_hour(2)).overflow(overflow).max_keys(1);
        let limiter = builder.clock(VirtualClock::new().clock()).build();
        limiter.check("first", "v").unwrap();
        // Values of two keys are not one, though all are called alike.
        let keys = (0..3_000).filter(|key| limiter.check(key, "v").is_ok());
        let got = keys.count();
        assert_eq!(got, passed, "{overflow:?}");
        assert!(limiter.overflows() > 0);
        assert_eq!(limiter.check("first", "v").unwrap().remaining(), 1);
    }
}

#[test]
fn exactly_so_many_values_pass_whatever_the_threads_do() {
    let limiter = DistinctLimiter::builder(Quota::per_hour(50)).clock(VirtualClock::new().clock());
    let limiter = limiter.build();
    let passed = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in 0..4 {
            let (limiter, passed) = (&limiter, &passed);
            scope.spawn(move || {
                for value in 0..200 {
                    let is_ok = limiter.check("k", &(thread, value)).is_ok();
                    passed.fetch_add(is_ok.into(), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(passed.into_inner(), 50);
}

#[test]
fn the_ends_of_time_are_no_way_around_it() {
    let limiter = three(VirtualClock::new().clock());
    for now in [0, u64::MAX, u64::MAX - 1, 0, 1, u64::MAX] {
        let now = Timestamp::from_nanos(now);
        let passed = (0..9).filter(|value| limiter.check_at("k", value, now).is_ok());
        assert_eq!(passed.count(), 3);
    }
}
