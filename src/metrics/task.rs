//! [`Task`]: counts a task of the user's, however it ends.
//!
//! Counters of limits are in `metrics`.

use ::metrics::{Counter, counter};

/// A piece of work that counts itself in `tollgate_tasks_total`: first as `started`, and at its end
/// as `completed`. If it is dropped before that (an early return, a panic or a dropped future), it
/// counts as `error`.
///
/// ```
/// use tollgate::metrics::Task;
///
/// fn report() -> Result<(), std::io::Error> {
///     let task = Task::start("reports");
///     // Whatever fails here with `?` is an error of the task.
///     task.complete();
///     Ok(())
/// }
/// # report()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// The name becomes a label, so it should name a kind of task and not a single task.
#[must_use = "a task that is dropped at once is counted as an error"]
pub struct Task {
    completed: Counter,
    error: Counter,
    is_complete: bool,
}

impl Task {
    /// Counts a task as started.
    pub fn start(task: &'static str) -> Task {
        of(task, "started").increment(1);
        // Registers both counters, with 0, so that a rate also sees their first increment.
        Task { completed: of(task, "completed"), error: of(task, "error"), is_complete: false }
    }

    /// Counts a task that was not started, because it was refused.
    pub fn skipped(task: &'static str) {
        of(task, "skipped").increment(1);
    }

    /// Counts the task as completed.
    pub fn complete(mut self) {
        self.is_complete = true;
        self.completed.increment(1);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.is_complete {
            self.error.increment(1);
        }
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("is_complete", &self.is_complete).finish_non_exhaustive()
    }
}

fn of(task: &'static str, outcome: &'static str) -> Counter {
    counter!("tollgate_tasks_total", "task" => task, "outcome" => outcome)
}
