//! Time: a stamp in nanoseconds, the clocks that make stamps, and a clock that tests move.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, Instant, SystemTime};

use crate::sync::{Arc, AtomicU64, LazyLock, Ordering};

/// A moment, in whole nanoseconds since 1970 on real clocks and since 0 on a virtual one.
///
/// Arithmetic saturates at both ends (0 and the year 2554), so it cannot panic or wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The first moment there is.
    pub const ZERO: Timestamp = Timestamp(0);
    /// The last moment there is.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// The moment `nanos` nanoseconds after the axis begins.
    pub const fn from_nanos(nanos: u64) -> Self {
        Timestamp(nanos)
    }

    /// The moment `secs` seconds after the axis begins, or [`MAX`](Self::MAX) if it lies beyond.
    pub const fn from_secs(secs: u64) -> Self {
        Timestamp(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the axis begins.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not.
    pub const fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(saturating_nanos(by)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(saturating_nanos(by)))
    }
}

fn saturating_nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

/// Where the stamps of a limiter come from. Cloning gives another handle to the same clock.
///
/// The default is [`Clock::monotonic`], the operating system's: never a processor counter,
/// which jumps on some hypervisors. All real clocks share one axis, anchored to the time of day
/// once per process and monotonic from then on.
#[derive(Clone)]
pub struct Clock(Kind);

#[derive(Clone)]
enum Kind {
    Monotonic(Anchor),
    #[cfg(target_os = "linux")]
    Coarse {
        /// Nanoseconds from the system clock's own zero to 1970.
        offset: u64,
    },
    Virtual(Arc<VirtualTime>),
    #[cfg(feature = "tsc")]
    Tsc {
        source: quanta::Clock,
        begun: quanta::Instant,
        unix_nanos: u64,
    },
}

/// One instant known on both axes: the monotonic clock's and that of the time of day.
#[derive(Clone, Copy)]
struct Anchor {
    instant: Instant,
    unix_nanos: u64,
}

impl Anchor {
    fn of_process() -> Anchor {
        static ANCHOR: LazyLock<Anchor> = LazyLock::new(|| Anchor {
            instant: Instant::now(),
            // A system clock set before 1970 counts as 1970.
            unix_nanos: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, saturating_nanos),
        });
        *ANCHOR
    }

    fn now(self) -> u64 {
        self.unix_nanos.saturating_add(saturating_nanos(self.instant.elapsed()))
    }
}

impl Clock {
    /// The operating system's monotonic clock: to the nanosecond, about 25 ns a reading.
    pub fn monotonic() -> Clock {
        Clock(Kind::Monotonic(Anchor::of_process()))
    }

    /// The operating system's coarse monotonic clock (Linux: `CLOCK_MONOTONIC_COARSE`).
    ///
    /// About 4 ns a reading, and up to one tick of the kernel (1 to 10 ms) behind. Arrivals
    /// seem earlier by less than a tick, so a limit admits `burst + rate * (t + tick)` in any
    /// interval `t`. Where the system has none this is [`Clock::monotonic`].
    pub fn coarse() -> Clock {
        #[cfg(target_os = "linux")]
        {
            let unix_now = Anchor::of_process().now();
            let own_now = clock_nanos(rustix::time::ClockId::Monotonic);
            Clock(Kind::Coarse { offset: unix_now.saturating_sub(own_now) })
        }
        #[cfg(not(target_os = "linux"))]
        Clock::monotonic()
    }

    /// The processor's time-stamp counter, about 10 ns a reading.
    ///
    /// Only for machines whose counters are known to be constant and synchronized: on some
    /// hypervisors they jump, and then limits admit nothing or everything.
    #[cfg(feature = "tsc")]
    pub fn tsc() -> Clock {
        let source = quanta::Clock::new();
        let begun = source.now();
        Clock(Kind::Tsc { source, begun, unix_nanos: Anchor::of_process().now() })
    }

    /// The moment it is.
    #[inline]
    pub fn now(&self) -> Timestamp {
        Timestamp(match &self.0 {
            Kind::Monotonic(anchor) => anchor.now(),
            #[cfg(target_os = "linux")]
            Kind::Coarse { offset } => {
                offset.saturating_add(clock_nanos(rustix::time::ClockId::MonotonicCoarse))
            }
            // Acquire: whoever sees the time moved sees what the mover did before.
            Kind::Virtual(time) => time.now.load(Ordering::Acquire),
            #[cfg(feature = "tsc")]
            Kind::Tsc { source, begun, unix_nanos } => unix_nanos
                .saturating_add(saturating_nanos(source.now().saturating_duration_since(*begun))),
        })
    }

    /// The latest moment it has shown. Giving back and changing a quota count from there: what
    /// time has given must not be given again by a clock that was set back.
    pub(crate) fn latest(&self) -> Timestamp {
        match &self.0 {
            Kind::Virtual(time) => {
                // Acquire, and before `highest`: whoever sees the clock set back sees from where.
                let now = time.now.load(Ordering::Acquire);
                Timestamp(now.max(time.highest.load(Ordering::Relaxed)))
            }
            // The others never go back.
            _ => self.now(),
        }
    }

    /// Whether both are handles to one source of stamps on one axis.
    pub(crate) fn same_axis(&self, other: &Clock) -> bool {
        match (&self.0, &other.0) {
            (Kind::Virtual(a), Kind::Virtual(b)) => Arc::ptr_eq(a, b),
            (Kind::Virtual(_), _) | (_, Kind::Virtual(_)) => false,
            _ => true,
        }
    }
}

#[cfg(target_os = "linux")]
#[inline]
fn clock_nanos(id: rustix::time::ClockId) -> u64 {
    let t = rustix::time::clock_gettime(id);
    // The kernel's monotonic clocks start near 0 at boot and are never negative.
    (t.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(t.tv_nsec as u64)
}

impl Default for Clock {
    fn default() -> Self {
        Clock::monotonic()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Monotonic(_) => "Clock::monotonic",
            #[cfg(target_os = "linux")]
            Kind::Coarse { .. } => "Clock::coarse",
            Kind::Virtual(_) => "Clock::virtual",
            #[cfg(feature = "tsc")]
            Kind::Tsc { .. } => "Clock::tsc",
        })
    }
}

/// Time that moves only when told to: for tests, simulations and replays.
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Quota, RateLimiter, VirtualClock};
///
/// let time = VirtualClock::new();
/// let limiter = RateLimiter::builder(Quota::per_second(1)).clock(time.clock()).build();
/// assert!(limiter.check("job").is_ok());
/// assert!(limiter.check("job").is_err());
/// time.advance(Duration::from_secs(1));
/// assert!(limiter.check("job").is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct VirtualClock {
    time: Arc<VirtualTime>,
}

#[derive(Debug)]
struct VirtualTime {
    now: AtomicU64,
    /// The latest that `now` had been when it was last set back.
    highest: AtomicU64,
}

impl VirtualClock {
    /// A clock that stands at 0.
    pub fn new() -> Self {
        Self::starting_at(Timestamp::ZERO)
    }

    /// A clock that stands at `start`.
    pub fn starting_at(start: Timestamp) -> Self {
        let time = VirtualTime { now: AtomicU64::new(start.0), highest: AtomicU64::new(0) };
        VirtualClock { time: Arc::new(time) }
    }

    /// A handle for limiters. All handles of one virtual clock show the same time.
    pub fn clock(&self) -> Clock {
        Clock(Kind::Virtual(self.time.clone()))
    }

    /// The moment it stands at.
    pub fn now(&self) -> Timestamp {
        // Acquire: as in `Clock::now`.
        Timestamp(self.time.now.load(Ordering::Acquire))
    }

    /// Moves on by `by`, at most to [`Timestamp::MAX`].
    pub fn advance(&self, by: Duration) {
        self.change(|now| now + by);
    }

    /// Jumps to `to`, also backwards, as a clock of the real world may.
    pub fn set(&self, to: Timestamp) {
        self.change(|_| to);
    }

    fn change(&self, to: impl Fn(Timestamp) -> Timestamp) {
        let mut old = self.now();
        loop {
            let new = to(old);
            if new < old {
                // Relaxed: published by the swap below.
                self.time.highest.fetch_max(old.0, Ordering::Relaxed);
            }
            // AcqRel: publishes what the mover did before, and sees what an earlier mover did.
            match self.time.now.compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return,
                Err(seen) => old = Timestamp(seen),
            }
        }
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}
