//! The wait lines of concurrency limits and of the keys of rate limits, first in, first out.
//!
//! A line belongs to a [`QueueOwner`]. While callers wait in it, a caller that does not wait is
//! refused. The thread that brings a change (slots given back, time moved, a deadline reached, a
//! limit changed) *serves* the line: it runs the whole step of the head and stores the answer in
//! the waiter. So the waiter need not be awake: a lease starts when its slot becomes free, and if
//! the waiter never reads its answer, the lease ends like any other.
//!
//! If another queue owner refuses the step, the waiter gives up its turn and moves to the end of
//! the line of that owner. It holds nothing meanwhile.
//!
//! A line is served one waiter at a time. Its lock is not held while wakers are called or abandoned
//! answers are dropped: both happen between two steps. The locks of two lines are never held
//! together.
//!
//! `order` has the order of the waiters, `line` one step under the lock, `serve` the sequence of
//! steps and their work outside the lock, `waiter` one waiter, `acquire` the wait as a future or on
//! a thread.

mod acquire;
mod line;
mod order;
mod serve;
mod wait_error;
mod waiter;

use std::task::Waker;

use crate::sync::{Arc, Signal};
use crate::time::Timestamp;

pub(crate) use acquire::{Acquire, acquire_blocking};
pub(crate) use line::WaitLine;
pub(crate) use serve::{close, serve};
pub use wait_error::WaitError;
pub(crate) use waiter::{Attempt, Plan};

/// The default limit on the number of waiters in one line.
pub(crate) const MAX_WAITERS: usize = 1_000;

/// The owner of a line: one semaphore, or one key of a rate limit.
pub(crate) trait QueueOwner: Send + Sync {
    fn line(&self) -> &WaitLine;

    /// Publishes the number of units that callers wait for, for callers that do not wait; 0 if the
    /// line is empty. Called under the lock of the line, when the number has changed.
    fn set_queued(&self, units: u64);
}

/// A waiter of any [`Plan`]. Its methods run under the lock of its line, so they return wakers
/// instead of calling them.
trait Waits: Send + Sync {
    /// Runs the whole step at the head of the line of `here`, and stores the answer if there is
    /// one.
    fn try_at(&self, here: &dyn QueueOwner, now: Timestamp) -> Tried;

    /// Stores a refusal as the answer: the deadline has passed, or the line is full.
    fn refuse(&self, now: Timestamp) -> Option<Wake>;

    /// Stores [`WaitError::Gone`] as the answer.
    fn dismiss(&self) -> Option<Wake>;

    /// Stores the line and the ticket of this waiter. Returns false if it no longer waits.
    fn stand(&self, here: &Arc<dyn QueueOwner>, ticket: u64) -> bool;

    /// Takes the waker without an answer: the waiter must compute again when to serve the line.
    fn wake_unanswered(&self) -> Option<Wake>;
}

/// The result of a step.
enum Tried {
    /// The waiter has its answer.
    Settled {
        wake: Option<Wake>,
        /// As in [`Attempt::Granted`].
        full_until: Option<Timestamp>,
    },
    /// The waiter stays at the head of the line.
    Stays {
        /// When to try again if nothing changes before.
        again: Option<Timestamp>,
        /// Whether no other caller can make it sooner.
        is_certain: bool,
    },
    /// Another limit refuses: the waiter moves to the end of that limit's line.
    Moves(QueuePlace),
}

/// The line that a waiter enters, and its terms.
pub(crate) struct QueuePlace {
    pub(crate) at: Arc<dyn QueueOwner>,
    pub(crate) units: u64,
    /// The last instant at which the waiter may be admitted.
    pub(crate) deadline: Timestamp,
}

/// How a waiter is woken.
enum Wake {
    Task(Waker),
    Thread(Arc<Signal>),
}

impl Wake {
    fn wake(self) {
        match self {
            Wake::Task(waker) => waker.wake(),
            Wake::Thread(signal) => signal.set(),
        }
    }
}
