//! The contenders of the benches: Tollgate, the floor below it and its peers. Each is one call for
//! one key, on the same clocks and hashers and with quotas that allow or deny every time. Calls
//! that ask several limits are in `service`.

pub(crate) mod service;

use std::cell::Cell;
use std::hash::{BuildHasher, Hash};
use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use governor::clock::Clock as _;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use tollgate::algorithm::Gcra;
use tollgate::{Clock, Quota, RateLimiter, Timestamp, VirtualClock};

/// One unit an hour, so that no charge comes back while a bench runs, and a burst that is larger
/// than the number of requests of a key.
pub(crate) const ROOMY: Quota = Quota::per_hour(1).burst(300_000);
/// Denies each key that was charged under [`ROOMY`].
pub(crate) const TIGHT: Quota = Quota::per_hour(1).burst(1);
/// For a key that every request shares.
pub(crate) const GLOBAL: Quota = Quota::per_second(50).burst(u32::MAX as u64);

/// For `keys` keys that are drawn at random: the bucket of a key is full again by its next visit,
/// unless that visit follows within a microsecond per thousand keys.
pub(crate) fn again(keys: usize) -> Quota {
    Quota::per_second(1_000_000_000 / keys as u64)
}

/// The timestamp that is passed in where no clock is read.
pub(crate) const GIVEN: Timestamp = Timestamp::from_secs(1_700_000_000);

thread_local! {
    static MOVING: Cell<u64> = const { Cell::new(GIVEN.as_nanos()) };
}

/// The timestamp that is passed in where time moves: each read adds about the time of a decision.
#[inline]
pub(crate) fn moving() -> Timestamp {
    MOVING.with(|moving| {
        let now = moving.get() + 50;
        moving.set(now);
        Timestamp::from_nanos(now)
    })
}

/// The source of the time of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    Std,
    Coarse,
    /// The same timestamp each time.
    Given,
    /// A timestamp that moves on.
    Moving,
}

impl Time {
    /// The times under which a key stays in debt.
    pub(crate) const ALL: [Time; 3] = [Time::Std, Time::Coarse, Time::Given];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Time::Std => "std",
            Time::Coarse => "coarse",
            Time::Given => "passed in",
            Time::Moving => "passed in, moves on",
        }
    }

    pub(crate) fn clock(self) -> Clock {
        match self {
            Time::Std => Clock::monotonic(),
            Time::Coarse => Clock::coarse(),
            // Read only when a quota changes.
            Time::Given | Time::Moving => VirtualClock::starting_at(GIVEN).clock(),
        }
    }

    /// The timestamp to pass in, or `None` if a clock is to be read.
    #[inline]
    pub(crate) fn stamp(self) -> Option<Timestamp> {
        match self {
            Time::Std | Time::Coarse => None,
            Time::Given => Some(black_box(GIVEN)),
            Time::Moving => Some(moving()),
        }
    }
}

pub(crate) trait Hasher: BuildHasher + Clone + Default + Send + Sync + 'static {
    const NAME: &'static str;
}

impl Hasher for std::hash::RandomState {
    const NAME: &'static str = "SipHash";
}

impl Hasher for foldhash::fast::RandomState {
    const NAME: &'static str = "foldhash";
}

#[cfg(target_os = "linux")]
#[inline]
pub(crate) fn coarse_nanos() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Tells valgrind what to count.
pub(crate) const WALK: &str = "TOLLGATE_COUNT_WALK";

/// Whether the coarse clock can be read. Under valgrind, which hides the vDSO, rustix aborts the
/// process: github.com/bytecodealliance/rustix/issues/1559.
pub(crate) fn has_coarse() -> bool {
    std::env::var_os(WALK).is_none()
}

/// On a system without a coarse clock Tollgate reads the precise one too.
#[cfg(not(target_os = "linux"))]
pub(crate) fn coarse_nanos() -> u64 {
    Clock::coarse().now().as_nanos()
}

/// The floor, which no limiter can avoid: read the clock, hash the key, fetch one cache line, swap
/// one word.
pub(crate) struct Floor<S> {
    words: Vec<AtomicU64>,
    hasher: S,
    start: Instant,
}

const WORDS_PER_LINE: u64 = 8;

impl<S: Hasher> Floor<S> {
    /// A table of as many bytes as the limiter's.
    pub(crate) fn new(bytes: usize) -> Self {
        let lines = (bytes as u64 / 64).max(1);
        let words = vec![1_u64; (lines * WORDS_PER_LINE) as usize];
        Floor {
            words: words.into_iter().map(AtomicU64::new).collect(),
            hasher: S::default(),
            start: Instant::now(),
        }
    }

    #[inline]
    pub(crate) fn check<K: Hash + ?Sized>(&self, key: &K, time: Time) -> bool {
        let now = match time {
            Time::Std => self.start.elapsed().as_nanos() as u64,
            Time::Coarse => coarse_nanos(),
            Time::Given => black_box(GIVEN.as_nanos()),
            Time::Moving => moving().as_nanos(),
        };
        let lines = self.words.len() as u64 / WORDS_PER_LINE;
        let hash = self.hasher.hash_one(key);
        let line = ((hash >> 32) * lines) >> 32;
        let word = &self.words[(line * WORDS_PER_LINE) as usize];
        let old = word.load(Ordering::Acquire);
        // The new value depends on both, and always differs from the old one.
        let new = old.wrapping_add(now | 1);
        word.compare_exchange(old, new, Ordering::Release, Ordering::Relaxed).is_ok()
    }
}

pub(crate) fn tollgate<S: Hasher>(keys: usize, time: Time) -> RateLimiter<Gcra, S> {
    tollgate_of(ROOMY, keys, time)
}

/// With capacity for these keys, and at least the default capacity.
pub(crate) fn tollgate_of<S: Hasher>(
    quota: Quota,
    keys: usize,
    time: Time,
) -> RateLimiter<Gcra, S> {
    let max_keys = keys.max(1 << 20);
    RateLimiter::builder(quota).max_keys(max_keys).clock(time.clock()).hasher(S::default()).build()
}

#[inline]
pub(crate) fn check<K: Hash + ?Sized, S: Hasher>(
    limiter: &RateLimiter<Gcra, S>,
    key: &K,
    time: Time,
) -> bool {
    match time.stamp() {
        Some(now) => limiter.check_at(key, 1, now).is_ok(),
        None => limiter.check(key).is_ok(),
    }
}

/// governor's own table, shared by limiters of several clocks and quotas.
pub(crate) type Map<K, S> = DashMap<K, InMemoryState, S>;

pub(crate) struct Shared<'a, K, S>(&'a Map<K, S>);

impl<K: Hash + Eq + Clone, S: Hasher> StateStore for Shared<'_, K, S> {
    type Key = K;

    #[inline]
    fn measure_and_replace<T, F, E>(&self, key: &K, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(key, f)
    }
}

/// governor on the kernel's coarse clock.
#[derive(Clone)]
pub(crate) struct CoarseClock;

impl governor::clock::Clock for CoarseClock {
    type Instant = Nanos;

    #[inline]
    fn now(&self) -> Nanos {
        Nanos::new(coarse_nanos())
    }
}

/// governor with a constant time passed in: the cheapest clock that it can have.
#[derive(Clone)]
pub(crate) struct GivenClock;

impl governor::clock::Clock for GivenClock {
    type Instant = Nanos;

    #[inline]
    fn now(&self) -> Nanos {
        Nanos::new(black_box(GIVEN.as_nanos()))
    }
}

/// governor with a moving time passed in.
#[derive(Clone)]
pub(crate) struct MovingClock;

impl governor::clock::Clock for MovingClock {
    type Instant = Nanos;

    #[inline]
    fn now(&self) -> Nanos {
        Nanos::new(moving().as_nanos())
    }
}

/// Its answer to an allowed request is `()`, the cheapest that it offers.
pub(crate) type Plain<K, S, C> = governor::RateLimiter<
    K,
    S,
    C,
    governor::middleware::NoOpMiddleware<<C as governor::clock::Clock>::Instant>,
>;
type Keyed<'a, K, S, C> = Plain<K, Shared<'a, K, S>, C>;
type Direct<C> = Plain<NotKeyed, InMemoryState, C>;

/// governor over one table, on every clock.
pub(crate) struct Governor<'a, K: Hash + Eq + Clone, S: Hasher> {
    std: Keyed<'a, K, S, governor::clock::MonotonicClock>,
    coarse: Option<Keyed<'a, K, S, CoarseClock>>,
    given: Keyed<'a, K, S, GivenClock>,
    moving: Keyed<'a, K, S, MovingClock>,
}

impl<'a, K: Hash + Eq + Clone, S: Hasher> Governor<'a, K, S> {
    pub(crate) fn new(map: &'a Map<K, S>, quota: Quota) -> Self {
        let quota = peer_quota(quota);
        Governor {
            std: governor::RateLimiter::new(quota, Shared(map), governor::clock::MonotonicClock),
            // governor reads its clock when it is made.
            coarse: has_coarse()
                .then(|| governor::RateLimiter::new(quota, Shared(map), CoarseClock)),
            given: governor::RateLimiter::new(quota, Shared(map), GivenClock),
            moving: governor::RateLimiter::new(quota, Shared(map), MovingClock),
        }
    }

    #[inline]
    pub(crate) fn check(&self, key: &K, time: Time) -> bool {
        match time {
            Time::Std => self.std.check_key(key).is_ok(),
            Time::Coarse => {
                self.coarse.as_ref().is_some_and(|coarse| coarse.check_key(key).is_ok())
            }
            Time::Given => self.given.check_key(key).is_ok(),
            Time::Moving => self.moving.check_key(key).is_ok(),
        }
    }
}

/// governor's limiter of one state, on every clock.
pub(crate) struct GovernorDirect {
    std: Direct<governor::clock::MonotonicClock>,
    coarse: Option<Direct<CoarseClock>>,
    given: Direct<GivenClock>,
    moving: Direct<MovingClock>,
}

impl GovernorDirect {
    pub(crate) fn new(quota: Quota) -> Self {
        let quota = peer_quota(quota);
        GovernorDirect {
            std: governor::RateLimiter::direct_with_clock(quota, governor::clock::MonotonicClock),
            coarse: has_coarse()
                .then(|| governor::RateLimiter::direct_with_clock(quota, CoarseClock)),
            given: governor::RateLimiter::direct_with_clock(quota, GivenClock),
            moving: governor::RateLimiter::direct_with_clock(quota, MovingClock),
        }
    }

    #[inline]
    pub(crate) fn check(&self, time: Time) -> bool {
        match time {
            Time::Std => self.std.check().is_ok(),
            Time::Coarse => self.coarse.as_ref().is_some_and(|coarse| coarse.check().is_ok()),
            Time::Given => self.given.check().is_ok(),
            Time::Moving => self.moving.check().is_ok(),
        }
    }
}

pub(crate) fn peer_quota(quota: Quota) -> governor::Quota {
    let burst = u32::try_from(quota.burst_size()).ok().and_then(NonZeroU32::new);
    governor::Quota::with_period(quota.period() / quota.count() as u32)
        .expect("a period above 0")
        .allow_burst(burst.expect("a burst of 32 bits"))
}

/// rate-net, on its default clock (std's) and its hasher (ahash): it takes no other.
pub(crate) fn rate_net(quota: Quota, keys: usize) -> rate_net::RateLimiter {
    rate_net::RateLimiter::builder()
        .quota(quota.count() as u32, quota.period())
        .burst(quota.burst_size() as u32)
        .eviction(rate_net::Eviction::capacity(keys))
        .build()
}

/// Uniform keys, the same in every run.
pub(crate) struct Keys(u64);

impl Keys {
    pub(crate) fn new() -> Self {
        Keys(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`.
    #[inline]
    pub(crate) fn next(&mut self, n: usize) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((u128::from(self.0) * n as u128) >> 64) as u64
    }

    pub(crate) fn batch(&mut self, n: usize, len: usize) -> Vec<u64> {
        (0..len).map(|_| self.next(n)).collect()
    }
}

/// A key of 40 bytes.
pub(crate) fn text_key(index: u64) -> String {
    format!("org-7:/api/v1/items:POST:user:{index:010}")
}

/// Asserts that governor's clocks above return the right time.
pub(crate) fn assert_clocks() {
    assert_eq!(text_key(7).len(), 40);
    let apart = CoarseClock.now().as_u64();
    std::thread::yield_now();
    assert!(CoarseClock.now().as_u64() - apart < Duration::from_secs(1).as_nanos() as u64);
}
