//! [`ConcurrencyLimiter`] and [`KeyedConcurrencyLimiter`]: so many at once, for all or for each key.

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

/// So many slots: who has one may go ahead, and gives it back.
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
/// A lease holds its slot on `[start, start + lease)`: at exactly `start + lease` somebody else can
/// take it, whether or not it was given back. Taking a slot and giving it back takes no lock while
/// there is room and nobody waits.
///
/// Who waits ([`acquire`](Self::acquire), [`acquire_blocking`](Self::acquire_blocking)) is served in
/// the order of coming, strictly: a request for many slots at the head of the line keeps those
/// behind it waiting, and [`try_acquire`](Self::try_acquire) gets nothing while anybody waits. A
/// slot that comes free is the head's from then on, and its lease begins then, even if its waiter
/// is slow to look, or never does.
///
/// Share it by reference or in an `Arc`.
pub struct ConcurrencyLimiter {
    semaphore: Arc<Semaphore>,
    name: Option<&'static str>,
}

/// What a [`ConcurrencyLimiter`] is built from: [`ConcurrencyLimiter::builder`].
#[derive(Clone, Debug)]
pub struct ConcurrencyLimiterBuilder {
    cap: u32,
    lease: Option<Duration>,
    max_waiters: usize,
    clock: Clock,
    name: Option<&'static str>,
}

/// How the slots of a limit stand: [`ConcurrencyLimiter::usage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Slots there are.
    pub cap: u32,
    /// Slots held by leases that are not over. More than the cap after it was lowered.
    pub in_use: u32,
    /// Slots held by leases that are over, which nobody has needed since. They are free.
    pub overdue: u32,
    /// Callers waiting in line.
    pub waiting: usize,
    /// Leases that ran out so far, instead of being given back.
    pub expired: u64,
    /// Leases that were given back too late, or after a reset. That changed nothing. On the system's
    /// clock of Linux a lease that is given back less than a tick of the kernel (1 to 10 ms) after its
    /// end may count as one that was given back in time.
    pub late: u64,
}

impl Usage {
    pub(crate) fn of_nothing(cap: u32) -> Usage {
        Usage { cap, in_use: 0, overdue: 0, waiting: 0, expired: 0, late: 0 }
    }

    /// With what others of the same limit hold.
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

    /// The share of the slots that is in use: 1 is all of them. More than 1 after the cap was
    /// lowered, and of limits in shadow; of a cap of 0, 0.
    pub fn utilization(&self) -> f64 {
        if self.cap == 0 { 0.0 } else { f64::from(self.in_use) / f64::from(self.cap) }
    }
}

impl ConcurrencyLimiterBuilder {
    /// How long a slot is held at most. Default: without end, until it is given back.
    pub fn lease(self, lease: Duration) -> Self {
        ConcurrencyLimiterBuilder { lease: Some(lease), ..self }
    }

    /// How many callers may wait in line; more are denied. Default: 1,000.
    pub fn max_waiters(self, max_waiters: usize) -> Self {
        ConcurrencyLimiterBuilder { max_waiters, ..self }
    }

    /// Where stamps come from, and what waits under `.await` are timed by. Default:
    /// [`Clock::monotonic`], which has no timer.
    pub fn clock(self, clock: Clock) -> Self {
        ConcurrencyLimiterBuilder { clock, ..self }
    }

    /// What a refusal by a set of limits calls this one. Default: its place in the set. Kept for
    /// the life of the process.
    pub fn name(self, name: &str) -> Self {
        ConcurrencyLimiterBuilder { name: Some(intern(name)), ..self }
    }

    /// One limiter, for everybody.
    pub fn build(self) -> ConcurrencyLimiter {
        let terms = Terms::new(self.clock, self.lease, self.max_waiters);
        let semaphore = Semaphore::new(self.cap, terms);
        ConcurrencyLimiter { semaphore: Arc::new(semaphore), name: self.name }
    }
}

impl ConcurrencyLimiter {
    /// `cap` slots that are held until they are given back. A cap of 0 denies everything; one
    /// above [`MAX_SLOTS`](crate::MAX_SLOTS) counts as that.
    pub fn new(cap: u32) -> ConcurrencyLimiter {
        Self::builder(cap).build()
    }

    /// A limiter whose slots come back by themselves, or on another clock.
    pub fn builder(cap: u32) -> ConcurrencyLimiterBuilder {
        ConcurrencyLimiterBuilder {
            cap,
            lease: None,
            max_waiters: MAX_WAITERS,
            clock: Clock::default(),
            name: None,
        }
    }

    /// Takes a slot, if there is one and nobody waits for it.
    ///
    /// # Errors
    /// [`Retry::Unknown`](crate::Retry) if all are taken; [`Retry::Never`](crate::Retry) if the cap
    /// is 0.
    #[inline]
    pub fn try_acquire(&self) -> Result<Lease, Denied> {
        self.try_acquire_n(1)
    }

    /// Takes `weight` slots, all or none. A weight of 0 counts as 1; more than the cap can never be
    /// had.
    #[inline]
    pub fn try_acquire_n(&self, weight: u32) -> Result<Lease, Denied> {
        Lease::try_take(&self.semaphore, weight, Arc::clone)
    }

    /// Waits in line for a slot, `within` so long, on this thread. Works on any clock; on a virtual
    /// one another thread must move the time.
    ///
    /// # Errors
    /// [`WaitError::Denied`] if it was not its turn in time, at once if no wait could help or the
    /// line is full; [`WaitError::InSimulation`]; [`WaitError::Gone`].
    pub fn acquire_blocking(&self, within: Duration) -> Result<Lease, WaitError> {
        self.acquire_n_blocking(1, within)
    }

    /// As [`acquire_blocking`](Self::acquire_blocking), for `weight` slots.
    pub fn acquire_n_blocking(&self, weight: u32, within: Duration) -> Result<Lease, WaitError> {
        acquire_blocking(SlotPlan::new(self.semaphore.clone(), weight, within))
    }

    /// Waits in line for a slot, `within` so long from the first poll, under any executor.
    ///
    /// Dropping the future leaves the line, and gives back what it may just have been granted. It
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

    /// Changes how many slots there are, as [`new`](Self::new) takes them. Leases go on; nothing is
    /// granted until fewer are held than there are.
    pub fn resize(&self, cap: u32) {
        self.semaphore.resize(cap);
    }

    /// Ends all leases: every slot is free. Giving such a lease back later changes nothing, and is
    /// counted. Who waits goes on waiting.
    pub fn reset(&self) {
        self.semaphore.reset();
    }

    /// How the slots stand now. Looks at every lease.
    pub fn usage(&self) -> Usage {
        self.semaphore.usage()
    }

    /// Where stamps come from.
    pub fn clock(&self) -> &Clock {
        self.semaphore.clock()
    }

    /// The slots as a part of a set that is decided all or none: [`all`](crate::all).
    pub fn slot(&self) -> SlotKey<'_> {
        SlotKey {
            semaphore: self.semaphore.clone(),
            clock: self.semaphore.clock(),
            weight: 1,
            name: self.name,
        }
    }
}

/// Slots as a part of a set: [`ConcurrencyLimiter::slot`],
/// [`KeyedConcurrencyLimiter::key`].
#[derive(Clone)]
pub struct SlotKey<'a> {
    pub(crate) semaphore: Arc<Semaphore>,
    pub(crate) clock: &'a Clock,
    pub(crate) weight: u32,
    pub(crate) name: Option<&'static str>,
}

impl SlotKey<'_> {
    /// So many slots instead of one. 0 counts as 1.
    pub fn weight(self, weight: u32) -> Self {
        SlotKey { weight: weight.max(1), ..self }
    }
}

/// Waits in line for slots: [`ConcurrencyLimiter::acquire`].
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
