//! Serving a line: runs its steps one after the other, and between two steps the work that must
//! not run under the lock.
//!
//! That work is calling wakers, dropping waiters, and moving waiters to other lines. The step
//! itself is in `line`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::sync::{Arc, MutexGuard, Weak, is_panicking};
use crate::time::{Due, Timestamp};

use super::line::{Left, LineState, LineStep, NoPlace};
use super::order::InOrder;
use super::{QueueOwner, QueuePlace, Waits, Wake};

/// Tries the head of the line until a head must go on waiting. Refuses the waiters whose deadline
/// has passed.
pub(crate) fn serve(at: &dyn QueueOwner, now: Timestamp) {
    let step = at.line().lock().step(at, now, true);
    finish(at, step, now);
}

/// Answers all waiters with [`WaitError::Gone`](super::WaitError::Gone), and closes the line.
pub(crate) fn close(at: &dyn QueueOwner) {
    let all = at.line().lock().close(at);
    let mut after = After::default();
    for (waiter, wake) in all {
        after.wake(waiter, wake);
    }
    after.end();
}

/// Locks the line of `at`, if it has a place for one more waiter.
pub(super) fn enter(
    at: &dyn QueueOwner,
    now: Timestamp,
) -> Result<MutexGuard<'_, LineState>, NoPlace> {
    at.line().enter().or_else(|no_place| match no_place {
        NoPlace::Full => {
            // Waiters may have expired or become ready: serve them first.
            serve(at, now);
            at.line().enter()
        }
        NoPlace::Closed => Err(no_place),
    })
}

/// Inserts a waiter at the end of the line of `at`.
pub(super) fn push(line: &mut LineState, at: &Arc<dyn QueueOwner>, waiting: InOrder) {
    if line.lacks_bell(&**at) {
        line.hang_bell(Arc::new(Bell(Arc::downgrade(at))));
    }
    line.push(&**at, waiting);
}

/// Removes the waiter with this ticket from the line, and serves the line if it was there.
pub(super) fn leave(at: &dyn QueueOwner, ticket: u64) {
    let left = at.line().lock().remove(at, ticket);
    if left.is_some() {
        serve(at, at.line().clock().now());
    }
}

/// Does the work that a step left for after the unlock, and runs the steps that follow.
pub(super) fn finish(at: &dyn QueueOwner, step: LineStep, now: Timestamp) {
    let mut after = After::default();
    after.go_on(at, step, now);
    while let Some(to) = after.lines.pop() {
        let step = to.line().lock().step(&*to, now, true);
        after.go_on(&*to, step, now);
    }
    after.end();
}

/// Serves a line when a virtual clock reaches its alarm.
struct Bell(Weak<dyn QueueOwner>);

impl Due for Bell {
    fn due(&self, now: Timestamp) {
        if let Some(owner) = self.0.upgrade() {
            serve(&*owner, now);
        }
    }
}

/// The work that steps have left.
#[derive(Default)]
struct After {
    /// Lines that waiters have moved to, and that are to be served.
    lines: Vec<Arc<dyn QueueOwner>>,
    /// The first panic of user code. It is resumed when all waiters are awake.
    panic: Option<Box<dyn Any + Send>>,
}

impl After {
    fn go_on(&mut self, at: &dyn QueueOwner, mut step: LineStep, mut now: Timestamp) {
        loop {
            match step.left {
                Left::Nobody => {}
                Left::Answered(waiter, wake) => self.wake(waiter, wake),
                Left::Moved(waiter, place) => self.arrive(waiter, place, now),
            }
            if let Some(unanswered) = step.unanswered {
                self.run(|| unanswered.wake());
            }
            let Some(next) = step.next else { return };
            now = next;
            step = at.line().lock().step(at, now, false);
        }
    }

    fn wake(&mut self, waiter: Arc<dyn Waits>, wake: Option<Wake>) {
        self.run(move || {
            if let Some(wake) = wake {
                wake.wake();
            }
            // May drop an abandoned answer, which runs user code.
            drop(waiter);
        });
    }

    /// Inserts a waiter that comes from another line at the end of the line of `place`.
    fn arrive(&mut self, waiter: Arc<dyn Waits>, place: QueuePlace, now: Timestamp) {
        let QueuePlace { at, units, deadline } = place;
        let wake = match at.line().enter() {
            Err(NoPlace::Full) => waiter.refuse(now),
            Err(NoPlace::Closed) => waiter.dismiss(),
            Ok(mut line) => {
                if !waiter.stand(&at, line.order.next_ticket()) {
                    None
                } else {
                    let waiting = InOrder { waiter: waiter.clone(), units, deadline };
                    push(&mut line, &at, waiting);
                    self.lines.push(at.clone());
                    // The waiter's timer is for the old line. If it is the head here, it must time
                    // this line.
                    waiter.wake_unanswered()
                }
            }
        };
        self.wake(waiter, wake);
    }

    /// Runs user code, and keeps its panic for `end`.
    fn run(&mut self, foreign: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(foreign)) {
            self.panic.get_or_insert(panic);
        }
    }

    /// Resumes the panic, if any, unless this thread already unwinds.
    fn end(self) {
        if let Some(panic) = self.panic.filter(|_| !is_panicking()) {
            resume_unwind(panic);
        }
    }
}
