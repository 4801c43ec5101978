//! [`VirtualClock`]: time that moves only when the caller moves it.
//!
//! The clock stops at each alarm on the way and runs it on the thread that moves the time. `sleep`
//! and `block` set alarms; the executor of simulations is in `simulation`.

use std::cell::Cell;
use std::collections::BTreeMap;
#[cfg(feature = "simulation")]
use std::marker::PhantomData;
use std::time::Duration;

use crate::sync::{Arc, AtomicU64, Mutex, Ordering, Weak};

use super::{Clock, ClockKind, Timestamp, saturating_nanos};

/// A clock whose time moves only when you move it: for tests, simulations and replays.
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
    /// The latest value of `now` before the clock was set back.
    highest: AtomicU64,
    /// Held while the time moves. No alarm runs under this lock.
    alarms: Mutex<Alarms>,
}

/// The pending calls, by moment, and then in the order in which they were set.
#[derive(Default)]
struct Alarms {
    by_time: BTreeMap<Alarm, Weak<dyn Due>>,
    asked: u64,
}

/// A moment that a caller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Alarm {
    at: u64,
    number: u64,
}

/// A callback for when a virtual clock reaches a moment, run by the thread that moves the clock.
pub(crate) trait Due: Send + Sync {
    fn due(&self, now: Timestamp);
}

impl VirtualTime {
    #[inline]
    pub(super) fn now(&self) -> u64 {
        // Acquire: pairs with the store in `show`; a reader of the new time sees what the mover did
        // before.
        self.now.load(Ordering::Acquire)
    }

    pub(super) fn latest(&self) -> u64 {
        // Acquire, and before `highest`: pairs with the store in `show`, so a reader that sees the
        // clock set back also sees the `highest` written before.
        let now = self.now.load(Ordering::Acquire);
        now.max(self.highest.load(Ordering::Relaxed))
    }

    /// Calls `due` when the time reaches `at`; if it has already, at the next move.
    pub(crate) fn set_alarm(&self, at: Timestamp, due: Weak<dyn Due>) -> Alarm {
        let mut alarms = self.alarms.lock();
        alarms.asked += 1;
        let alarm = Alarm { at: at.0, number: alarms.asked };
        alarms.by_time.insert(alarm, due);
        alarm
    }

    /// Whether the alarm has yet to fire.
    pub(super) fn is_set(&self, alarm: Alarm) -> bool {
        self.alarms.lock().by_time.contains_key(&alarm)
    }

    pub(crate) fn cancel(&self, alarm: Alarm) {
        let cancelled = self.alarms.lock().by_time.remove(&alarm);
        // Dropped here, after the lock is released.
        drop(cancelled);
    }

    /// The next pending alarm.
    #[cfg(feature = "simulation")]
    pub(crate) fn next_alarm(&self) -> Option<Timestamp> {
        self.alarms.lock().by_time.keys().next().map(|alarm| Timestamp(alarm.at))
    }

    #[cfg(test)]
    pub(super) fn is_unwatched(&self) -> bool {
        self.alarms.lock().by_time.is_empty()
    }

    /// Moves on by `left`, or to the next alarm before that: then returns the callback to run and
    /// the time that is left.
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
        // Release: pairs with the loads in `now` and `latest`, and publishes what the mover did
        // before. All stores happen under the lock.
        self.now.store(at, Ordering::Release);
    }
}

impl VirtualClock {
    /// A clock that shows 0.
    pub fn new() -> Self {
        Self::starting_at(Timestamp::ZERO)
    }

    /// A clock that shows `start`.
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

    /// The current moment.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.time.now())
    }

    /// Moves on by `by`, at most to [`Timestamp::MAX`], and stops on the way at each awaited
    /// moment: the end of a lease, the turn of a waiter, the end of a [`Sleep`](super::Sleep). This
    /// thread decides what is due there, in order of time.
    ///
    /// Let only one thread move the time. If several do, each decision has the right timestamp, but
    /// decisions are not made in order of time.
    pub fn advance(&self, by: Duration) {
        let mut left = saturating_nanos(by);
        while let Some((due, rest)) = self.time.step(left) {
            left = rest;
            if let Some(due) = due.upgrade() {
                due.due(self.now());
            }
        }
    }

    /// Jumps to `to`, also backwards, as a real clock may. Decides at `to` what was due before.
    pub fn set(&self, to: Timestamp) {
        {
            let _alarms = self.time.alarms.lock();
            let old = self.time.now();
            if to.0 < old {
                // Relaxed: published by the Release store in `show` below, which pairs with the
                // loads in `latest`.
                self.time.highest.fetch_max(old, Ordering::Relaxed);
            }
            self.time.show(to.0);
        }
        self.advance(Duration::ZERO);
    }

    /// The next pending alarm.
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

/// Whether this thread runs a simulation, so that no other thread moves its time.
pub(crate) fn is_simulated() -> bool {
    // A thread that is being torn down runs no simulation.
    SIMULATED.try_with(Cell::get).unwrap_or(false)
}

/// Marks this thread as running a simulation until dropped.
#[cfg(feature = "simulation")]
pub(crate) struct Simulated {
    before: bool,
    /// Keeps the value on its thread.
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
