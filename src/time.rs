//! Time: [`Timestamp`] in nanoseconds, and [`Clock`], which produces timestamps.
//!
//! `virtual_clock` is the clock that tests move, `sleep` waits under `.await` on clocks that have a
//! timer, and `block` blocks a thread on any clock.

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

/// A moment, in whole nanoseconds since the time origin: 1970 on real clocks, and a virtual clock's
/// own 0.
///
/// Arithmetic saturates at both ends (0 and the year 2554), so it cannot panic or wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The earliest moment.
    pub const ZERO: Timestamp = Timestamp(0);
    /// The latest moment.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// The moment `nanos` nanoseconds after the time origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Timestamp(nanos)
    }

    /// The moment `secs` seconds after the time origin, or [`MAX`](Self::MAX) if that is later.
    pub const fn from_secs(secs: u64) -> Self {
        Timestamp(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the time origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this moment; zero if `earlier` is later.
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

/// The source of a limiter's timestamps. Cloning gives another handle to the same clock.
///
/// The default is [`Clock::monotonic`], the operating system's clock, not a processor counter,
/// which jumps on some hypervisors. All real clocks share one time origin: the process reads the
/// time of day once, and time is monotonic from then on.
#[derive(Clone)]
pub struct Clock(ClockKind);

#[derive(Clone)]
enum ClockKind {
    Monotonic(Anchor),
    #[cfg(target_os = "linux")]
    Coarse {
        /// Nanoseconds from 1970 to the system clock's own zero.
        offset: u64,
    },
    Virtual(Arc<VirtualTime>),
    #[cfg(feature = "tokio")]
    Tokio(Anchor),
    /// A clock with a timer that the user supplies.
    Timed(Arc<Timed>),
    #[cfg(feature = "tsc")]
    Tsc {
        source: quanta::Clock,
        /// Nanoseconds in `2^TICK_BITS` ticks of the counter.
        nanos: u64,
        /// The counter's value at `unix_nanos`.
        begun: u64,
        unix_nanos: u64,
    },
}

/// Creates a future that waits until a moment.
type SleepUntil = dyn Fn(Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

struct Timed {
    clock: Clock,
    sleep_until: Box<SleepUntil>,
}

/// A tick's length is stored as the length of `2^TICK_BITS` ticks, which fits 64 bits if the
/// counter runs at 8 MHz or more.
#[cfg(feature = "tsc")]
const TICK_BITS: u32 = 57;

/// The nanoseconds in `ticks` ticks, rounded down, if `2^TICK_BITS` ticks take `nanos`.
#[cfg(feature = "tsc")]
#[inline(always)]
fn nanos_of_ticks(ticks: u64, nanos: u64) -> u64 {
    let nanos = (u128::from(ticks) * u128::from(nanos)) >> TICK_BITS;
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

/// One instant in both scales: the monotonic clock and the time of day.
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

    /// The instant at which tokio's clock shows `at`; at most a century after the anchor.
    #[cfg(feature = "tokio")]
    fn tokio_instant(self, at: Timestamp) -> tokio::time::Instant {
        const CENTURY: Duration = Duration::from_secs(100 * 366 * 86_400);
        let after = at.since(Timestamp(self.unix_nanos)).min(CENTURY);
        (self.instant + after).into()
    }
}

impl Clock {
    /// The operating system's monotonic clock, with nanosecond resolution; a reading takes about 25
    /// ns.
    pub fn monotonic() -> Clock {
        Clock(ClockKind::Monotonic(Anchor::of_process()))
    }

    /// The operating system's coarse monotonic clock (Linux: `CLOCK_MONOTONIC_COARSE`).
    ///
    /// A reading takes about 4 ns and is up to one tick of the kernel (1 to 10 ms) behind. Arrivals
    /// seem earlier by less than a tick, so a limit admits `burst + rate * (t + tick)` in any
    /// interval `t`. On systems without such a clock this is [`Clock::monotonic`].
    pub fn coarse() -> Clock {
        #[cfg(target_os = "linux")]
        {
            Clock(ClockKind::Coarse { offset: *COARSE_OFFSET })
        }
        #[cfg(not(target_os = "linux"))]
        Clock::monotonic()
    }

    /// The processor's time-stamp counter; a reading takes about 10 ns.
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

    /// Tokio's clock and timer, which also follow tokio's paused time.
    ///
    /// A wait under `.await` on this clock needs a tokio runtime with its timer enabled.
    #[cfg(feature = "tokio")]
    pub fn tokio() -> Clock {
        Clock(ClockKind::Tokio(Anchor::of_process()))
    }

    /// This clock with a timer of your own, for waits under `.await` on any executor. `sleep_until`
    /// returns a future that completes when the clock has reached the moment; if it completes
    /// early, the waiter calls `sleep_until` again.
    ///
    /// A virtual clock and tokio's clock keep their own timers.
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

    /// The current moment.
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
            // Converted here: `quanta` is not inlined, and a second call of it takes 1 ns.
            ClockKind::Tsc { source, nanos, begun, unix_nanos } => {
                let ticks = source.raw().saturating_sub(*begun);
                unix_nanos.saturating_add(nanos_of_ticks(ticks, *nanos))
            }
        })
    }

    /// Like `now`, but never inlined: for branches that few callers take.
    #[cold]
    #[inline(never)]
    pub(crate) fn now_apart(&self) -> Timestamp {
        self.now()
    }

    /// A moment that is not later than now. On Linux's system clock this is the last tick of the
    /// kernel, which is cheaper to read; on other clocks this is `now`.
    #[inline]
    pub(crate) fn recent(&self) -> Timestamp {
        match &self.0 {
            #[cfg(target_os = "linux")]
            ClockKind::Monotonic(_) => Timestamp(coarse_now(*COARSE_OFFSET)),
            _ => self.now(),
        }
    }

    /// The latest moment that the clock has shown. To settle a charge or change a quota as of this
    /// moment gives back no time twice after the clock was set back.
    pub(crate) fn latest(&self) -> Timestamp {
        match &self.0 {
            ClockKind::Virtual(time) => Timestamp(time.latest()),
            // The other clocks never go back.
            _ => self.now(),
        }
    }

    /// Whether one reading serves both clocks.
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

/// Nanoseconds from 1970 to the coarse clock's zero. Computed once, so that all coarse clocks read
/// alike.
#[cfg(target_os = "linux")]
static COARSE_OFFSET: LazyLock<u64> = LazyLock::new(|| {
    let unix_now = Anchor::of_process().now();
    // Read after `unix_now`, so that the coarse clock lags behind the system's clock.
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
        // From one tick to some years of a counter at 4 GHz.
        for bits in 0..59 {
            let ticks = (1 << bits) + (1 << bits) / 3;
            let (ours, theirs) = (nanos_of_ticks(ticks, nanos), source.delta_as_nanos(0, ticks));
            // Rounding `nanos` down loses less than 2^-57 ns per tick; rounding the product, less than 1 ns.
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
