//! [`ConcurrencyLimiter`], its builder and its [`Usage`]: a limit on how many slots are held at the
//! same time. The version with keys is in `keyed`, the slots are in `crate::slots`, and the wait
//! line is in `crate::queue`.

mod keyed;
mod keyed_semaphores;
mod lease;
mod plan;
mod semaphore;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::decision::{Denied, intern};
use crate::queue::{self, Acquire, MAX_WAITERS, WaitError, acquire_blocking};
use crate::slots::Terms;
use crate::sync::Arc;
use crate::time::Clock;

pub use keyed::KeyedConcurrencyLimiter;
pub(crate) use keyed_semaphores::KeyedSemaphores;
pub use lease::{Lease, LeaseExpired};
use plan::SlotPlan;
pub(crate) use semaphore::Semaphore;

/// A fixed number of slots. A caller takes a slot before its work and gives it back afterwards.
///
/// ```
/// use std::time::Duration;
/// use tollgate::ConcurrencyLimiter;
///
/// let queries = ConcurrencyLimiter::builder(50).lease(Duration::from_secs(300)).build();
/// let lease = queries.try_acquire()?;
/// // … the query runs; then, or if this thread panics, or after 300 s at the latest:
/// drop(lease);
/// # Ok::<(), tollgate::Denied>(())
/// ```
///
/// A lease holds its slot on `[start, start + lease)`: from exactly `start + lease` on another
/// caller can take the slot, even if it was not given back. Taking a slot and giving it back take
/// no lock while there is room and no caller waits.
///
/// Waiting callers ([`acquire`](Self::acquire), [`acquire_blocking`](Self::acquire_blocking)) are
/// served strictly in the order of their arrival: a request for many slots at the head of the line
/// delays the requests behind it, and [`try_acquire`](Self::try_acquire) is denied while any caller
/// waits. A slot that becomes free goes to the head of the line at once, and its lease begins then,
/// even if the waiter polls late or never.
///
/// Share it by reference or in an `Arc`.
pub struct ConcurrencyLimiter {
    semaphore: Arc<Semaphore>,
    name: Option<&'static str>,
}

/// Builds a [`ConcurrencyLimiter`] or a [`KeyedConcurrencyLimiter`]. Created by
/// [`ConcurrencyLimiter::builder`].
#[derive(Clone, Debug)]
pub struct ConcurrencyLimiterBuilder {
    cap: u32,
    lease: Option<Duration>,
    max_waiters: usize,
    clock: Clock,
    name: Option<&'static str>,
}

/// The state of the slots of a limit, from [`ConcurrencyLimiter::usage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// The number of slots.
    pub cap: u32,
    /// Slots held by leases that are not over. Can exceed the cap after the cap was lowered, and
    /// for limits in shadow.
    pub in_use: u32,
    /// Slots held by leases that are over but whose slots were not taken back yet. They are free.
    pub overdue: u32,
    /// Callers that wait in line.
    pub waiting: usize,
    /// Leases that ran out so far, instead of being given back.
    pub expired: u64,
    /// Leases that were given back too late, or after a reset, which has no effect on the slots. On
    /// the system clock of Linux, a lease that is given back less than a tick of the kernel (1 to
    /// 10 ms) after its end may count as given back in time.
    pub late: u64,
}

impl Usage {
    pub(crate) fn of_nothing(cap: u32) -> Usage {
        Usage { cap, in_use: 0, overdue: 0, waiting: 0, expired: 0, late: 0 }
    }

    /// Adds the usage of another key of the same limit.
    pub(crate) fn plus(self, other: &Usage) -> Usage {
        Usage {
            cap: self.cap,
            in_use: self.in_use.saturating_add(other.in_use),
            overdue: self.overdue.saturating_add(other.overdue),
            waiting: self.waiting + other.waiting,
            expired: self.expired + other.expired,
            late: self.late + other.late,
        }
    }

    /// The share of the slots that is in use: 1 is all of them. Can exceed 1 after the cap was
    /// lowered, and for limits in shadow. 0 if the cap is 0.
    pub fn utilization(&self) -> f64 {
        if self.cap == 0 { 0.0 } else { f64::from(self.in_use) / f64::from(self.cap) }
    }
}

impl ConcurrencyLimiterBuilder {
    /// The longest time that a slot is held. Default: no end, a slot is held until it is given
    /// back.
    pub fn lease(self, lease: Duration) -> Self {
        ConcurrencyLimiterBuilder { lease: Some(lease), ..self }
    }

    /// The maximum number of callers in line. Further callers are denied. Default: 1,000.
    pub fn max_waiters(self, max_waiters: usize) -> Self {
        ConcurrencyLimiterBuilder { max_waiters, ..self }
    }

    /// The clock for timestamps, and the timer for waits under `.await`. Default:
    /// [`Clock::monotonic`], which has no timer.
    pub fn clock(self, clock: Clock) -> Self {
        ConcurrencyLimiterBuilder { clock, ..self }
    }

    /// The name of this limit in a refusal by a set of limits. Default: its position in the set.
    /// The name is kept for the life of the process.
    pub fn name(self, name: &str) -> Self {
        ConcurrencyLimiterBuilder { name: Some(intern(name)), ..self }
    }

    /// Builds one limiter for all callers.
    pub fn build(self) -> ConcurrencyLimiter {
        let terms = Terms::new(self.clock, self.lease, self.max_waiters);
        let semaphore = Semaphore::new(self.cap, terms);
        ConcurrencyLimiter { semaphore: Arc::new(semaphore), name: self.name }
    }
}

impl ConcurrencyLimiter {
    /// A limiter with `cap` slots that are held until they are given back. A cap of 0 denies
    /// everything; a cap above [`MAX_SLOTS`](crate::MAX_SLOTS) counts as `MAX_SLOTS`.
    pub fn new(cap: u32) -> ConcurrencyLimiter {
        Self::builder(cap).build()
    }

    /// A builder for a limiter whose leases end by themselves, or that uses another clock.
    pub fn builder(cap: u32) -> ConcurrencyLimiterBuilder {
        ConcurrencyLimiterBuilder {
            cap,
            lease: None,
            max_waiters: MAX_WAITERS,
            clock: Clock::default(),
            name: None,
        }
    }

    /// Takes a slot, if one is free and no caller waits.
    ///
    /// # Errors
    /// [`Retry::Unknown`](crate::Retry) if all slots are taken or callers wait;
    /// [`Retry::Never`](crate::Retry) if the cap is 0.
    #[inline]
    pub fn try_acquire(&self) -> Result<Lease, Denied> {
        self.try_acquire_n(1)
    }

    /// Takes `weight` slots, all or none. A weight of 0 counts as 1; a weight above the cap is
    /// always denied, with [`Retry::Never`](crate::Retry).
    #[inline]
    pub fn try_acquire_n(&self, weight: u32) -> Result<Lease, Denied> {
        Lease::try_take(&self.semaphore, weight, Arc::clone)
    }

    /// Waits in line for a slot on this thread, for at most `within`. Works on any clock; on a
    /// virtual clock another thread must move the time.
    ///
    /// # Errors
    /// [`WaitError::Denied`] if the slot was not granted in time, or immediately if no wait could
    /// help or the line is full; [`WaitError::InSimulation`] in a simulation, where the wait would
    /// not end; [`WaitError::Gone`] if the limiter was dropped meanwhile.
    pub fn acquire_blocking(&self, within: Duration) -> Result<Lease, WaitError> {
        self.acquire_n_blocking(1, within)
    }

    /// As [`acquire_blocking`](Self::acquire_blocking), for `weight` slots.
    pub fn acquire_n_blocking(&self, weight: u32, within: Duration) -> Result<Lease, WaitError> {
        acquire_blocking(SlotPlan::new(self.semaphore.clone(), weight, within))
    }

    /// Waits in line for a slot, for at most `within` from the first poll, under any executor.
    ///
    /// Dropping the future leaves the line, and gives back a slot that was just granted. The future
    /// does not borrow the limiter.
    ///
    /// # Errors
    /// As [`acquire_blocking`](Self::acquire_blocking); and [`WaitError::NoTimer`] if the clock has
    /// no timer.
    pub fn acquire(&self, within: Duration) -> AcquireSlots {
        self.acquire_n(1, within)
    }

    /// As [`acquire`](Self::acquire), for `weight` slots.
    pub fn acquire_n(&self, weight: u32, within: Duration) -> AcquireSlots {
        AcquireSlots(Acquire::New(SlotPlan::new(self.semaphore.clone(), weight, within)))
    }

    /// Changes the number of slots, with the same bounds as [`new`](Self::new). Leases go on; no
    /// slot is granted until fewer slots are held than there are.
    pub fn resize(&self, cap: u32) {
        self.semaphore.resize(cap);
    }

    /// Ends all leases, so every slot is free. Giving such a lease back later has no effect on the
    /// slots, and is counted in [`Usage::late`]. Waiting callers stay in line and are served.
    pub fn reset(&self) {
        self.semaphore.reset();
    }

    /// The current state of the slots. Reads every lease.
    pub fn usage(&self) -> Usage {
        self.semaphore.usage()
    }

    /// The clock for timestamps.
    pub fn clock(&self) -> &Clock {
        self.semaphore.clock()
    }

    /// The slots as a part of a set that is decided all or none: see [`all`](crate::all).
    pub fn slot(&self) -> SlotKey<'_> {
        SlotKey {
            semaphore: self.semaphore.clone(),
            clock: self.semaphore.clock(),
            weight: 1,
            name: self.name,
        }
    }
}

/// Slots as a part of a set: see [`ConcurrencyLimiter::slot`] and [`KeyedConcurrencyLimiter::key`].
#[derive(Clone)]
pub struct SlotKey<'a> {
    pub(crate) semaphore: Arc<Semaphore>,
    pub(crate) clock: &'a Clock,
    pub(crate) weight: u32,
    pub(crate) name: Option<&'static str>,
}

impl SlotKey<'_> {
    /// Takes `weight` slots instead of one. 0 counts as 1.
    pub fn weight(self, weight: u32) -> Self {
        SlotKey { weight: weight.max(1), ..self }
    }
}

/// A future that waits in line for slots: see [`ConcurrencyLimiter::acquire`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct AcquireSlots(Acquire<SlotPlan>);

impl Future for AcquireSlots {
    type Output = Result<Lease, WaitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl fmt::Debug for AcquireSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireSlots").finish_non_exhaustive()
    }
}

impl Drop for ConcurrencyLimiter {
    fn drop(&mut self) {
        queue::close(&*self.semaphore);
    }
}

impl fmt::Debug for ConcurrencyLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimiter")
            .field("cap", &self.semaphore.slots.cap())
            .finish_non_exhaustive()
    }
}
