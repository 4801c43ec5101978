//! [`Task`]: the handle to a spawned task, and the future of its output.
//!
//! Polling and waking tasks is up to `executor`.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::executor::Executor;

/// A handle to a future that a [`Simulation`](super::Simulation) runs. Awaiting it gives the
/// output.
///
/// Dropping the handle does not stop the task; [`abort`](Self::abort) does.
pub struct Task<T> {
    number: u64,
    executor: Rc<Executor>,
    outcome: Rc<Outcome<T>>,
}

/// The task was aborted, it panicked, or its simulation is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted;

struct Outcome<T>(Cell<TaskState<T>>);

enum TaskState<T> {
    Running(Option<Waker>),
    Done(T),
    Aborted,
}

/// Held by the task's future; on drop it marks an unfinished task as aborted.
struct Promise<T>(Rc<Outcome<T>>);

impl<T: 'static> Task<T> {
    pub(super) fn spawn<F>(executor: &Rc<Executor>, future: F) -> Task<T>
    where
        F: Future<Output = T> + 'static,
    {
        let outcome = Rc::new(Outcome(Cell::new(TaskState::Running(None))));
        let promise = Promise(outcome.clone());
        let number = executor.spawn(Box::pin(async move {
            let promise = promise;
            let output = future.await;
            promise.0.end(TaskState::Done(output));
        }));
        Task { number, executor: executor.clone(), outcome }
    }
}

impl<T> Task<T> {
    /// Drops the future at the point where it waits, as happens to a cancelled caller. A task that
    /// aborts itself is dropped when it waits next. Does nothing if the task is done.
    pub fn abort(&self) {
        self.executor.abort(self.number);
    }

    /// Whether the task is done or was aborted.
    pub fn is_finished(&self) -> bool {
        !self.outcome.is_running()
    }

    /// The output of the task, if it is done.
    pub fn output(self) -> Option<T> {
        match self.outcome.0.replace(TaskState::Aborted) {
            TaskState::Done(output) => Some(output),
            TaskState::Running(_) | TaskState::Aborted => None,
        }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, Aborted>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Aborted>> {
        // Before the state is taken: cloning a waker runs foreign code.
        let waker = cx.waker().clone();
        match self.outcome.0.replace(TaskState::Aborted) {
            TaskState::Done(output) => Poll::Ready(Ok(output)),
            TaskState::Aborted => Poll::Ready(Err(Aborted)),
            TaskState::Running(old) => {
                self.outcome.0.set(TaskState::Running(Some(waker)));
                // After the state is set: dropping a waker runs foreign code too.
                drop(old);
                Poll::Pending
            }
        }
    }
}

impl<T> Outcome<T> {
    fn is_running(&self) -> bool {
        let state = self.0.replace(TaskState::Aborted);
        let running = matches!(state, TaskState::Running(_));
        self.0.set(state);
        running
    }

    fn end(&self, how: TaskState<T>) {
        if let TaskState::Running(Some(waiting)) = self.0.replace(how) {
            waiting.wake();
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if self.0.is_running() {
            self.0.end(TaskState::Aborted);
        }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task was aborted or panicked, or its simulation is gone")
    }
}

impl std::error::Error for Aborted {}
