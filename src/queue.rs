//! The one wait queue: lines before concurrency limits and before keys of rates.
//!
//! First come, first served. A line belongs to a [`QueueOwner`]; while callers wait in it, a caller
//! who does not wait is turned away there. The thread that brings news (slots given back, time moved,
//! a deadline come, a limit changed) *serves* the line: it runs the whole step of the head, and leaves
//! the answer with the waiter. So a turn needs nobody to be awake: a lease starts when its slot came
//! free, and if its waiter never looks, it ends like any other.
//!
//! A step that is refused by another turnstile passes its turn on and goes to the end of that
//! one's line. It holds nothing meanwhile.
//!
//! A line is served one waiter at a time. Under its lock nothing of the user's runs: a waker is called,
//! and an answer that nobody wants any more is dropped, between two steps. Locks of two lines are never
//! held together.
//!
//! `order`: who stands where. `line`: what one step under the lock does. `serve`: the steps, and what
//! they leave to be done without the lock. `waiter`: one who waits. `acquire`: as a future or a thread.

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

/// How many callers may wait in one line where nothing else is said.
pub(crate) const MAX_WAITERS: usize = 1_000;

/// What callers queue at: one concurrency limit, or one key of a rate.
pub(crate) trait QueueOwner: Send + Sync {
    fn line(&self) -> &WaitLine;

    /// Tells those who do not queue how many units are queued for; 0: nobody queues. Called under
    /// the lock of the line, when that has changed.
    fn set_queued(&self, units: u64);
}

/// A waiter, whatever it waits for. Called under the lock of its line, so a waker is given back and not
/// woken.
trait Waits: Send + Sync {
    /// Runs the whole step at the head of the line of `here`, and keeps the answer if there is
    /// one.
    fn try_at(&self, here: &dyn QueueOwner, now: Timestamp) -> Tried;

    /// Keeps a refusal as the answer: it waited too long, or there is no place in the line.
    fn refuse(&self, now: Timestamp) -> Option<Wake>;

    /// Keeps as the answer that what it queued for is gone.
    fn dismiss(&self) -> Option<Wake>;

    /// Notes where it stands; false if it does not wait any more.
    fn stand(&self, here: &Arc<dyn QueueOwner>, ticket: u64) -> bool;

    /// To be woken though it has no answer: it must look at the time.
    fn wake_unanswered(&self) -> Option<Wake>;
}

/// What became of a step.
enum Tried {
    /// It has its answer.
    Settled {
        wake: Option<Wake>,
        /// As in [`Attempt::Granted`].
        full_until: Option<Timestamp>,
    },
    /// It stays where it is.
    Stays {
        /// When to try again if nothing happens before.
        again: Option<Timestamp>,
        /// Nothing that others do makes that sooner.
        is_certain: bool,
    },
    /// Another limit refuses: to the end of that line.
    Moves(QueuePlace),
}

/// A place in a line to be taken.
pub(crate) struct QueuePlace {
    pub(crate) at: Arc<dyn QueueOwner>,
    pub(crate) units: u64,
    /// It waits until then, and not a nanosecond longer.
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
