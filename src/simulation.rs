//! [`Simulation`]: a single-threaded executor on virtual time, in which the same seed gives the
//! same run.
//!
//! `executor` keeps and wakes the tasks, `task` is the handle to one. The virtual clock itself is
//! in `time`.

mod executor;
mod task;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use rand_pcg::rand_core::{Rng, TryRng};

use crate::time::{Clock, Sleep, Timestamp};

use executor::Executor;
pub use task::{Aborted, Task};

/// Runs futures on one thread and on virtual time, and repeats a run exactly from the same seed:
/// for tests of code that waits, without waiting.
///
/// Tasks run in the order in which they were woken. When no task is ready, time jumps to the next
/// moment that a task waits for, so an hour of sleeping costs nothing. Random numbers come from a
/// generator that is seeded once. A run depends on nothing else unless its tasks do: not on
/// threads, real time, or the order of a `HashMap`.
///
/// Code under test takes a [`Clock`], which is the simulation's:
/// ```
/// use std::time::Duration;
/// use rand::RngExt;
/// use tollgate::simulation::{Handle, Simulation};
/// use tollgate::{Quota, RateLimiter, Retry};
///
/// /// To be tested: asks again until it is let through, a little later than it was told.
/// async fn send(limiter: &RateLimiter, simulation: &Handle) {
///     while let Err(denied) = limiter.check("mail") {
///         let Retry::After(wait) = denied.retry() else { return };
///         let jitter = simulation.random().random_range(0..=10);
///         simulation.sleep(wait + Duration::from_millis(jitter)).await;
///     }
/// }
///
/// let mut simulation = Simulation::new(42);
/// let limiter = RateLimiter::builder(Quota::per_second(10)).clock(simulation.clock()).build();
/// let limiter = std::rc::Rc::new(limiter);
/// for _ in 0..100 {
///     let (limiter, handle) = (limiter.clone(), simulation.handle());
///     simulation.spawn(async move { send(&limiter, &handle).await });
/// }
/// let stuck = simulation.run();
/// assert_eq!(stuck, 0);
/// // 10 went at once and 90 at 10 a second: nobody was forgotten, nobody went early.
/// let took = simulation.now().since(tollgate::Timestamp::ZERO);
/// assert!((9_000..9_500).contains(&took.as_millis()), "{took:?}");
/// ```
///
/// Waits work as on real time, and each event is decided at its exact moment:
/// ```
/// use std::time::Duration;
/// use tollgate::simulation::Simulation;
/// use tollgate::{ConcurrencyLimiter, Timestamp};
///
/// let mut simulation = Simulation::new(1);
/// let slots = ConcurrencyLimiter::builder(1).lease(Duration::from_secs(300));
/// let slots = std::rc::Rc::new(slots.clock(simulation.clock()).build());
/// let (first, simulated) = (slots.clone(), simulation.handle());
/// simulation.spawn(async move {
///     // It crashes: its slot is never given back, and comes back by itself.
///     std::mem::forget(first.try_acquire());
/// });
/// let second = simulation.spawn(async move {
///     let lease = slots.acquire(Duration::from_secs(600)).await;
///     lease.map(|_| simulated.now())
/// });
/// simulation.run();
/// assert_eq!(second.output().unwrap(), Ok(Timestamp::from_secs(300)));
/// ```
///
/// In a task, a call that blocks its thread, such as
/// [`acquire_blocking`](crate::ConcurrencyLimiter::acquire_blocking), returns an error: no other
/// thread would move the time.
///
/// Dropping a simulation drops its unfinished tasks, in the order in which they were spawned.
#[derive(Debug)]
pub struct Simulation {
    handle: Handle,
}

/// A handle to a [`Simulation`], for use in tasks.
#[derive(Clone)]
pub struct Handle(Rc<Executor>);

/// The random numbers of a [`Simulation`], for the traits of `rand` 0.10.
///
/// All handles draw from one generator, PCG-64, whose numbers are the same on every platform.
#[derive(Clone)]
pub struct Random(Rc<Executor>);

impl Simulation {
    /// A simulation at time 0 with random numbers seeded by `seed`.
    pub fn new(seed: u64) -> Simulation {
        Simulation { handle: Handle(Rc::new(Executor::new(seed))) }
    }

    /// A handle for tasks.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The simulation's clock, for limiters.
    pub fn clock(&self) -> Clock {
        self.handle.clock()
    }

    /// The current moment of the simulation.
    pub fn now(&self) -> Timestamp {
        self.handle.now()
    }

    /// A future that completes when the simulation's time has moved on by `by`.
    pub fn sleep(&self, by: Duration) -> Sleep {
        self.handle.sleep(by)
    }

    /// The simulation's random numbers.
    pub fn random(&self) -> Random {
        self.handle.random()
    }

    /// Spawns `future` as a task, which runs from the next [`run`](Self::run) on.
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.handle.spawn(future)
    }

    /// Runs until no task is ready and no task waits for a moment. Returns the number of unfinished
    /// tasks: they wait for an event that does not happen, or for another thread.
    ///
    /// A task that waits for [`Timestamp::MAX`] waits forever. A task that panics is over, and the
    /// panic propagates through this call; the simulation can be run again.
    ///
    /// Does not return while tasks go on forever: see [`run_until`](Self::run_until).
    pub fn run(&mut self) -> usize {
        self.handle.0.run_until(Timestamp::MAX - Duration::from_nanos(1))
    }

    /// Runs all events until `end`, inclusive, and leaves the clock there. Returns the number of
    /// unfinished tasks.
    ///
    /// If `end` is in the past, runs only what is ready now.
    pub fn run_until(&mut self, end: Timestamp) -> usize {
        let executor = &self.handle.0;
        let tasks = executor.run_until(end);
        executor.jump_to(end);
        tasks
    }

    /// Like [`run_until`](Self::run_until), `by` from now.
    pub fn run_for(&mut self, by: Duration) -> usize {
        self.run_until(self.now() + by)
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.handle.0.close();
    }
}

impl Handle {
    /// Like [`Simulation::clock`].
    pub fn clock(&self) -> Clock {
        self.0.clock()
    }

    /// Like [`Simulation::now`].
    pub fn now(&self) -> Timestamp {
        self.0.now()
    }

    /// Like [`Simulation::sleep`].
    pub fn sleep(&self, by: Duration) -> Sleep {
        self.0.sleep(by)
    }

    /// Like [`Simulation::random`].
    pub fn random(&self) -> Random {
        Random(self.0.clone())
    }

    /// Like [`Simulation::spawn`]: the task runs after the tasks that are ready now. If the
    /// simulation is gone, drops `future` immediately.
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        Task::spawn(&self.0, future)
    }
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.random().next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.random().next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.random().fill_bytes(bytes);
        Ok(())
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("now", &self.now()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Random").finish_non_exhaustive()
    }
}
