//! Time: a stamp in nanoseconds, and the clocks that make stamps. `virtual_clock` is the one that
//! tests move, `sleep` waits for a moment of any clock that has a timer, `block` on any clock.

mod block;
mod sleep;
mod virtual_clock;

use std::fmt;
use std::future::Future;
use std::ops::{Add, Sub};
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime};

use crate::sync::{Arc, LazyLock};

pub use block::InSimulation;
pub use sleep::{NoTimer, Sleep};
#[cfg(feature = "simulation")]
pub(crate) use virtual_clock::Simulated;
pub use virtual_clock::VirtualClock;
pub(crate) use virtual_clock::{Alarm, Due, VirtualTime, is_simulated};

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
pub struct Clock(ClockKind);

#[derive(Clone)]
enum ClockKind {
    Monotonic(Anchor),
    #[cfg(target_os = "linux")]
    Coarse {
        /// Nanoseconds from the system clock's own zero to 1970.
        offset: u64,
    },
    Virtual(Arc<VirtualTime>),
    #[cfg(feature = "tokio")]
    Tokio(Anchor),
    /// A clock with somebody else's timer.
    Timed(Arc<Timed>),
    #[cfg(feature = "tsc")]
    Tsc {
        source: quanta::Clock,
        /// Nanoseconds in `2^TICK_BITS` of the counter's ticks.
        nanos: u64,
        /// What the counter said at `unix_nanos`.
        begun: u64,
        unix_nanos: u64,
    },
}

/// What waits until a moment.
type SleepUntil = dyn Fn(Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

struct Timed {
    clock: Clock,
    sleep_until: Box<SleepUntil>,
}

/// The length of a counter's tick is known as that of `2^TICK_BITS` ticks, which fits 64 bits if the
/// counter runs at 8 MHz or more.
#[cfg(feature = "tsc")]
const TICK_BITS: u32 = 57;

/// Nanoseconds that a counter's ticks take, rounded down, if `2^TICK_BITS` of them take `nanos`.
#[cfg(feature = "tsc")]
#[inline(always)]
fn nanos_of_ticks(ticks: u64, nanos: u64) -> u64 {
    let nanos = (u128::from(ticks) * u128::from(nanos)) >> TICK_BITS;
    u64::try_from(nanos).unwrap_or(u64::MAX)
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

    #[inline]
    fn now(self) -> u64 {
        self.unix_nanos.saturating_add(saturating_nanos(self.instant.elapsed()))
    }

    #[cfg(feature = "tokio")]
    fn tokio_now(self) -> u64 {
        let elapsed =
            tokio::time::Instant::now().into_std().saturating_duration_since(self.instant);
        self.unix_nanos.saturating_add(saturating_nanos(elapsed))
    }

    /// The instant at which tokio's clock shows `at`; a moment too far ahead is a century away.
    #[cfg(feature = "tokio")]
    fn tokio_instant(self, at: Timestamp) -> tokio::time::Instant {
        const CENTURY: Duration = Duration::from_secs(100 * 366 * 86_400);
        let after = at.since(Timestamp(self.unix_nanos)).min(CENTURY);
        (self.instant + after).into()
    }
}

impl Clock {
    /// The operating system's monotonic clock: to the nanosecond, about 25 ns a reading.
    pub fn monotonic() -> Clock {
        Clock(ClockKind::Monotonic(Anchor::of_process()))
    }

    /// The operating system's coarse monotonic clock (Linux: `CLOCK_MONOTONIC_COARSE`).
    ///
    /// About 4 ns a reading, and up to one tick of the kernel (1 to 10 ms) behind. Arrivals
    /// seem earlier by less than a tick, so a limit admits `burst + rate * (t + tick)` in any
    /// interval `t`. Where the system has none this is [`Clock::monotonic`].
    pub fn coarse() -> Clock {
        #[cfg(target_os = "linux")]
        {
            Clock(ClockKind::Coarse { offset: *COARSE_OFFSET })
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
        let nanos = source.delta_as_nanos(0, 1 << TICK_BITS);
        let begun = source.raw();
        Clock(ClockKind::Tsc { source, nanos, begun, unix_nanos: Anchor::of_process().now() })
    }

    /// Tokio's clock, with tokio's timer: also while tokio's time is paused.
    ///
    /// Waits under `.await` need a tokio runtime with its timer enabled then.
    #[cfg(feature = "tokio")]
    pub fn tokio() -> Clock {
        Clock(ClockKind::Tokio(Anchor::of_process()))
    }

    /// This clock with a timer of your own, for waits under `.await` on any executor:
    /// `sleep_until` gives a future that ends when the clock has reached the moment. One that ends
    /// early is asked again.
    ///
    /// A virtual clock keeps its own timer, and so does tokio's.
    pub fn with_timer<F>(
        self,
        sleep_until: impl Fn(Timestamp) -> F + Send + Sync + 'static,
    ) -> Clock
    where
        F: Future<Output = ()> + Send + 'static,
    {
        match self.0 {
            ClockKind::Virtual(_) => self,
            #[cfg(feature = "tokio")]
            ClockKind::Tokio(_) => self,
            _ => {
                let sleep_until = Box::new(move |at| Box::pin(sleep_until(at)) as Pin<Box<_>>);
                Clock(ClockKind::Timed(Arc::new(Timed { clock: self, sleep_until })))
            }
        }
    }

    /// The moment it is.
    #[inline]
    pub fn now(&self) -> Timestamp {
        Timestamp(match &self.0 {
            ClockKind::Monotonic(anchor) => anchor.now(),
            #[cfg(target_os = "linux")]
            ClockKind::Coarse { offset } => coarse_now(*offset),
            ClockKind::Virtual(time) => time.now(),
            #[cfg(feature = "tokio")]
            ClockKind::Tokio(anchor) => anchor.tokio_now(),
            ClockKind::Timed(timed) => return timed.clock.now(),
            #[cfg(feature = "tsc")]
            // Converted here, since `quanta` is not inlined and a second call of it takes 1 ns.
            ClockKind::Tsc { source, nanos, begun, unix_nanos } => {
                let ticks = source.raw().saturating_sub(*begun);
                unix_nanos.saturating_add(nanos_of_ticks(ticks, *nanos))
            }
        })
    }

    /// As `now`, out of line: for branches that few callers take.
    #[cold]
    #[inline(never)]
    pub(crate) fn now_apart(&self) -> Timestamp {
        self.now()
    }

    /// A moment that is not later than now: on the system's clock of Linux the last tick of the kernel,
    /// which is cheaper to read, and on other clocks `now`.
    #[inline]
    pub(crate) fn recent(&self) -> Timestamp {
        match &self.0 {
            #[cfg(target_os = "linux")]
            ClockKind::Monotonic(_) => Timestamp(coarse_now(*COARSE_OFFSET)),
            _ => self.now(),
        }
    }

    /// The latest moment it has shown. Giving back and changing a quota count from there: what
    /// time has given must not be given again by a clock that was set back.
    pub(crate) fn latest(&self) -> Timestamp {
        match &self.0 {
            ClockKind::Virtual(time) => Timestamp(time.latest()),
            // The others never go back.
            _ => self.now(),
        }
    }

    /// Whether one reading serves both.
    #[inline(always)]
    pub(crate) fn reads_alike(&self, other: &Clock) -> bool {
        match (&self.0, &other.0) {
            (ClockKind::Monotonic(_), ClockKind::Monotonic(_)) => true,
            #[cfg(target_os = "linux")]
            (ClockKind::Coarse { offset: a }, ClockKind::Coarse { offset: b }) => a == b,
            _ => self.reads_like_another(other),
        }
    }

    fn reads_like_another(&self, other: &Clock) -> bool {
        match (&self.0, &other.0) {
            (ClockKind::Virtual(a), ClockKind::Virtual(b)) => Arc::ptr_eq(a, b),
            (ClockKind::Timed(a), _) => a.clock.reads_alike(other),
            (_, ClockKind::Timed(b)) => self.reads_alike(&b.clock),
            #[cfg(feature = "tokio")]
            (ClockKind::Tokio(_), ClockKind::Tokio(_)) => true,
            _ => false,
        }
    }
}

/// Nanoseconds from 1970 to the coarse clock's zero. Once, so that all coarse clocks read alike.
#[cfg(target_os = "linux")]
static COARSE_OFFSET: LazyLock<u64> = LazyLock::new(|| {
    let unix_now = Anchor::of_process().now();
    // Read second, so that it lags behind the system's clock.
    unix_now.saturating_sub(clock_nanos(rustix::time::ClockId::Monotonic))
});

#[cfg(target_os = "linux")]
fn coarse_now(offset: u64) -> u64 {
    offset.saturating_add(clock_nanos(rustix::time::ClockId::MonotonicCoarse))
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
            ClockKind::Monotonic(_) => "Clock::monotonic",
            #[cfg(target_os = "linux")]
            ClockKind::Coarse { .. } => "Clock::coarse",
            ClockKind::Virtual(_) => "Clock::virtual",
            #[cfg(feature = "tokio")]
            ClockKind::Tokio(_) => "Clock::tokio",
            ClockKind::Timed(_) => "Clock::with_timer",
            #[cfg(feature = "tsc")]
            ClockKind::Tsc { .. } => "Clock::tsc",
        })
    }
}

#[cfg(all(test, feature = "tsc"))]
mod tests {
    use super::*;

    #[test]
    fn ticks_take_as_long_as_the_counter_says() {
        let source = quanta::Clock::new();
        let nanos = source.delta_as_nanos(0, 1 << TICK_BITS);
        // From one tick to some years of a counter of 4 GHz.
        for bits in 0..59 {
            let ticks = (1 << bits) + (1 << bits) / 3;
            let (ours, theirs) = (nanos_of_ticks(ticks, nanos), source.delta_as_nanos(0, ticks));
            // The length of a tick is rounded down by less than 2^-57 ns, and each product by less than 1 ns.
            let less = theirs.checked_sub(ours).unwrap();
            assert!(less <= 1 + (ticks >> TICK_BITS), "{ticks} ticks: {ours} and {theirs}");
        }
    }

    #[test]
    fn ticks_beyond_all_time_do_not_wrap() {
        assert_eq!(nanos_of_ticks(u64::MAX, u64::MAX), u64::MAX);
        assert_eq!(nanos_of_ticks(u64::MAX, 1 << TICK_BITS), u64::MAX);
    }
}
