//! Time that moves only when told to, and stops at each moment that something waits for.

use std::cell::Cell;
use std::collections::BTreeMap;
#[cfg(feature = "simulation")]
use std::marker::PhantomData;
use std::time::Duration;

use crate::sync::{Arc, AtomicU64, Mutex, Ordering, Weak};

use super::{Clock, ClockKind, Timestamp, saturating_nanos};

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
    pub(super) time: Arc<VirtualTime>,
}

pub(crate) struct VirtualTime {
    now: AtomicU64,
    /// The latest that `now` had been when it was last set back.
    highest: AtomicU64,
    /// Held while time moves. Nothing is called meanwhile.
    alarms: Mutex<Alarms>,
}

/// What is to be called, by the moment and then by who asked first.
#[derive(Default)]
struct Alarms {
    by_time: BTreeMap<Alarm, Weak<dyn Due>>,
    asked: u64,
}

/// One moment that something waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Alarm {
    at: u64,
    number: u64,
}

/// Something to be done when a virtual clock reaches a moment, by the thread that moves the clock.
pub(crate) trait Due: Send + Sync {
    fn due(&self, now: Timestamp);
}

impl VirtualTime {
    #[inline]
    pub(super) fn now(&self) -> u64 {
        // Acquire: whoever sees the time moved sees what the mover did before.
        self.now.load(Ordering::Acquire)
    }

    pub(super) fn latest(&self) -> u64 {
        // Acquire, and before `highest`: whoever sees the clock set back sees from where.
        let now = self.now.load(Ordering::Acquire);
        now.max(self.highest.load(Ordering::Relaxed))
    }

    /// Has `due` called when time reaches `at`; at once the next time it moves if it has.
    pub(crate) fn set_alarm(&self, at: Timestamp, due: Weak<dyn Due>) -> Alarm {
        let mut alarms = self.alarms.lock();
        alarms.asked += 1;
        let alarm = Alarm { at: at.0, number: alarms.asked };
        alarms.by_time.insert(alarm, due);
        alarm
    }

    /// Whether it has yet to ring.
    pub(super) fn is_set(&self, alarm: Alarm) -> bool {
        self.alarms.lock().by_time.contains_key(&alarm)
    }

    pub(crate) fn cancel(&self, alarm: Alarm) {
        let cancelled = self.alarms.lock().by_time.remove(&alarm);
        // What it held is dropped here, after the lock.
        drop(cancelled);
    }

    /// The next moment that something waits for.
    #[cfg(feature = "simulation")]
    pub(crate) fn next_alarm(&self) -> Option<Timestamp> {
        self.alarms.lock().by_time.keys().next().map(|alarm| Timestamp(alarm.at))
    }

    #[cfg(test)]
    pub(super) fn is_unwatched(&self) -> bool {
        self.alarms.lock().by_time.is_empty()
    }

    /// Moves on by `left`, or to the next alarm before that: then what is to be called, and what
    /// is left.
    fn step(&self, left: u64) -> Option<(Weak<dyn Due>, u64)> {
        let mut alarms = self.alarms.lock();
        let now = self.now();
        let end = now.saturating_add(left);
        match alarms.by_time.first_entry().filter(|entry| entry.key().at <= end) {
            Some(entry) => {
                let at = entry.key().at.max(now);
                let due = entry.remove();
                self.show(at);
                Some((due, end - at))
            }
            None => {
                self.show(end);
                None
            }
        }
    }

    fn show(&self, at: u64) {
        // Release: publishes what the mover did before. Movers hold the lock.
        self.now.store(at, Ordering::Release);
    }
}

impl VirtualClock {
    /// A clock that stands at 0.
    pub fn new() -> Self {
        Self::starting_at(Timestamp::ZERO)
    }

    /// A clock that stands at `start`.
    pub fn starting_at(start: Timestamp) -> Self {
        let time = VirtualTime {
            now: AtomicU64::new(start.0),
            highest: AtomicU64::new(0),
            alarms: Mutex::new(Alarms::default()),
        };
        VirtualClock { time: Arc::new(time) }
    }

    /// A handle for limiters. All handles of one virtual clock show the same time.
    pub fn clock(&self) -> Clock {
        Clock(ClockKind::Virtual(self.time.clone()))
    }

    /// The moment it stands at.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.time.now())
    }

    /// Moves on by `by`, at most to [`Timestamp::MAX`], and stops on the way at each moment that
    /// something waits for: a lease that ends, a turn that comes, a [`Sleep`](super::Sleep). What is due then is
    /// decided then, in order, by this thread.
    ///
    /// One thread moves the time. If several do, what each decides is stamped right, but not in
    /// the order of time.
    pub fn advance(&self, by: Duration) {
        let mut left = saturating_nanos(by);
        while let Some((due, rest)) = self.time.step(left) {
            left = rest;
            if let Some(due) = due.upgrade() {
                due.due(self.now());
            }
        }
    }

    /// Jumps to `to`, also backwards, as a clock of the real world may. What was due before is
    /// decided at `to`.
    pub fn set(&self, to: Timestamp) {
        {
            let _alarms = self.time.alarms.lock();
            let old = self.time.now();
            if to.0 < old {
                // Relaxed: published by what follows.
                self.time.highest.fetch_max(old, Ordering::Relaxed);
            }
            self.time.show(to.0);
        }
        self.advance(Duration::ZERO);
    }

    /// The next moment that something waits for.
    #[cfg(feature = "simulation")]
    pub(crate) fn next_alarm(&self) -> Option<Timestamp> {
        self.time.next_alarm()
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for VirtualTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VirtualTime").field("now", &self.now()).finish_non_exhaustive()
    }
}

thread_local!(static SIMULATED: Cell<bool> = const { Cell::new(false) });

/// Whether this thread runs a simulation: nobody else would move its time.
pub(crate) fn is_simulated() -> bool {
    // A thread that is being torn down runs none.
    SIMULATED.try_with(Cell::get).unwrap_or(false)
}

/// While it lives, this thread runs a simulation.
#[cfg(feature = "simulation")]
pub(crate) struct Simulated {
    before: bool,
    /// It belongs to its thread.
    here: PhantomData<*const ()>,
}

#[cfg(feature = "simulation")]
impl Simulated {
    pub(crate) fn enter() -> Simulated {
        let before = SIMULATED.try_with(|simulated| simulated.replace(true)).unwrap_or(false);
        Simulated { before, here: PhantomData }
    }
}

#[cfg(feature = "simulation")]
impl Drop for Simulated {
    fn drop(&mut self) {
        let _ = SIMULATED.try_with(|simulated| simulated.set(self.before));
    }
}
