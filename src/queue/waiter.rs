//! One waiter: its plan, its place in a line, and its answer.
//!
//! [`Plan`] is what a limiter implements to wait. `begin` starts a wait and [`InLine`] is the
//! caller's handle of it. The line that the waiter stands in is in `line`.

use crate::decision::Retry;
use crate::sync::{Arc, Mutex};
use crate::time::{Clock, Timestamp};

use super::line::NoPlace;
use super::order::InOrder;
use super::serve::{enter, finish, leave, push, serve};
use super::{QueueOwner, QueuePlace, Tried, WaitError, Waits, Wake};

/// The request of a waiter.
pub(crate) trait Plan: Send + Sync + 'static {
    type Granted: Send;
    type Refusal: Send;

    /// The clock of the deadline and of all attempts.
    fn clock(&self) -> &Clock;

    /// Called once, before the first attempt.
    fn begin(&mut self, now: Timestamp);

    /// Attempts the whole request. With `turn`, the waiter is the head of a line.
    fn attempt(&self, turn: bool, now: Timestamp) -> Attempt<Self::Granted, Self::Refusal>;

    /// The refusal that a caller that does not wait would get.
    fn refusal(&self, now: Timestamp) -> Self::Refusal;

    /// Called after a refusal outside the line, with no lock held: the head of the line may be due
    /// without a thread that serves it.
    fn serve_others(&self);
}

pub(crate) enum Attempt<G, R> {
    Granted {
        granted: G,
        /// Set if no slot is left: when time alone may next free one (the end of the granted
        /// lease), unless an earlier lease ends sooner.
        full_until: Option<Timestamp>,
    },
    Refused(R),
    Wait {
        place: QueuePlace,
        again: Option<Timestamp>,
        is_certain: bool,
    },
}

impl<G, R> Attempt<G, R> {
    /// The result of a refused attempt: a wait in line, if the request may be admitted by its
    /// deadline.
    pub(crate) fn waiting(refusal: R, retry: Retry, place: QueuePlace, now: Timestamp) -> Self {
        let (again, is_certain) = match retry {
            Retry::Never => return Attempt::Refused(refusal),
            Retry::After(wait) => (Some(now + wait), true),
            Retry::Unknown { at_latest } => (at_latest.map(|wait| now + wait), false),
        };
        let in_time = if is_certain { again <= Some(place.deadline) } else { now < place.deadline };
        if in_time { Attempt::Wait { place, again, is_certain } } else { Attempt::Refused(refusal) }
    }
}

/// How a wait ended.
pub(super) type Answer<P> = Result<<P as Plan>::Granted, WaitError<<P as Plan>::Refusal>>;

struct Waiter<P: Plan> {
    plan: P,
    stage: Mutex<Stage<P>>,
}

enum Stage<P: Plan> {
    Waiting {
        wake: Option<Wake>,
        /// The queue owner and the ticket; `None` while the waiter moves between two lines.
        at: Option<(Arc<dyn QueueOwner>, u64)>,
        deadline: Timestamp,
    },
    Answered(Answer<P>),
    Over,
}

impl<P: Plan> Waiter<P> {
    fn answer(&self, answer: Answer<P>) -> Option<Wake> {
        let before = {
            let mut stage = self.stage.lock();
            match *stage {
                Stage::Waiting { .. } => std::mem::replace(&mut *stage, Stage::Answered(answer)),
                // Cancelled: the grant is given back when the waiter is dropped, outside the lock.
                Stage::Over => std::mem::replace(&mut *stage, Stage::Answered(answer)),
                Stage::Answered(_) => return None,
            }
        };
        if let Stage::Waiting { wake, .. } = before { wake } else { None }
    }

    fn look(&self, is_same: impl Fn(&Wake) -> bool, wake: impl Fn() -> Wake) -> Option<Answer<P>> {
        // Wakers are user code: the new one is made without the lock, and `made` is declared before
        // the guard, so the old one is dropped after the unlock.
        let mut made;
        let mut stage = self.stage.lock();
        if let Stage::Waiting { wake: old, .. } = &*stage {
            if old.as_ref().is_some_and(is_same) {
                return None;
            }
            drop(stage);
            made = Some(wake());
            stage = self.stage.lock();
            if let Stage::Waiting { wake: old, .. } = &mut *stage {
                std::mem::swap(old, &mut made);
                return None;
            }
            // The waiter got its answer while the lock was released.
        }
        match std::mem::replace(&mut *stage, Stage::Over) {
            Stage::Answered(answer) => Some(answer),
            _ => None,
        }
    }

    /// The queue owner, the ticket and the deadline, if the waiter is in a line.
    fn place(&self) -> Option<(Arc<dyn QueueOwner>, u64, Timestamp)> {
        match &*self.stage.lock() {
            Stage::Waiting { at: Some((at, ticket)), deadline, .. } => {
                Some((at.clone(), *ticket, *deadline))
            }
            _ => None,
        }
    }
}

impl<P: Plan> Waits for Waiter<P> {
    fn try_at(&self, here: &dyn QueueOwner, now: Timestamp) -> Tried {
        match self.plan.attempt(true, now) {
            Attempt::Granted { granted, full_until } => {
                Tried::Settled { wake: self.answer(Ok(granted)), full_until }
            }
            Attempt::Refused(refusal) => {
                let wake = self.answer(Err(WaitError::Denied(refusal)));
                Tried::Settled { wake, full_until: None }
            }
            Attempt::Wait { place, again, is_certain } => {
                // Compares addresses only: the vtables of one object may differ.
                if std::ptr::addr_eq(Arc::as_ptr(&place.at), here) {
                    Tried::Stays { again, is_certain }
                } else {
                    if let Stage::Waiting { at, deadline, .. } = &mut *self.stage.lock() {
                        // This drop is not the last: `here` borrows the same queue owner.
                        *at = None;
                        *deadline = place.deadline;
                    }
                    Tried::Moves(place)
                }
            }
        }
    }

    fn refuse(&self, now: Timestamp) -> Option<Wake> {
        self.answer(Err(WaitError::Denied(self.plan.refusal(now))))
    }

    fn dismiss(&self) -> Option<Wake> {
        self.answer(Err(WaitError::Gone))
    }

    fn stand(&self, here: &Arc<dyn QueueOwner>, ticket: u64) -> bool {
        match &mut *self.stage.lock() {
            Stage::Waiting { at, .. } => {
                *at = Some((here.clone(), ticket));
                true
            }
            _ => false,
        }
    }

    fn wake_unanswered(&self) -> Option<Wake> {
        match &mut *self.stage.lock() {
            Stage::Waiting { wake, .. } => wake.take(),
            _ => None,
        }
    }
}

/// A caller's handle of its waiter. Dropping it, also while unwinding, leaves the line.
pub(crate) struct InLine<P: Plan> {
    waiter: Arc<Waiter<P>>,
    has_answer: bool,
}

/// Starts a wait, or returns the answer as the error if there is one immediately. The timestamp is
/// when the caller must serve the line; `None`: the caller must first call `look` and then `due`.
#[allow(clippy::type_complexity)]
pub(super) fn begin<P: Plan>(
    mut plan: P,
    now: Timestamp,
    wake: impl FnOnce() -> Wake,
) -> Result<(InLine<P>, Option<Timestamp>), Answer<P>> {
    plan.begin(now);
    let QueuePlace { at, units, deadline } = match plan.attempt(false, now) {
        Attempt::Granted { granted, .. } => return Err(Ok(granted)),
        Attempt::Refused(refusal) => {
            plan.serve_others();
            return Err(Err(WaitError::Denied(refusal)));
        }
        Attempt::Wait { place, .. } => place,
    };
    // Before the lock: `wake` may clone a waker, which is user code.
    let wake = Some(wake());
    let mut line = match enter(&*at, now) {
        Ok(line) => line,
        Err(NoPlace::Full) => return Err(Err(WaitError::Denied(plan.refusal(now)))),
        Err(NoPlace::Closed) => return Err(Err(WaitError::Gone)),
    };
    let ticket = line.order.next_ticket();
    let stage = Stage::Waiting { wake, at: Some((at.clone(), ticket)), deadline };
    let waiter = Arc::new(Waiter { plan, stage: Mutex::new(stage) });
    push(&mut line, &at, InOrder { waiter: waiter.clone(), units, deadline });
    let step = line.begin(&*at, now);
    let due = step.is_quiet().then(|| line.due_of(ticket, deadline));
    drop(line);
    let waiter = InLine { waiter, has_answer: false };
    if due.is_none() {
        // May unwind if a waker panics. `InLine` then leaves the line.
        finish(&*at, step, now);
    }
    Ok((waiter, due))
}

impl<P: Plan> InLine<P> {
    pub(super) fn clock(&self) -> &Clock {
        self.waiter.plan.clock()
    }

    /// The answer, if there is one. If not, stores the result of `wake`, which wakes the caller
    /// later, unless `is_same` returns true for the stored one.
    pub(super) fn look(
        &mut self,
        is_same: impl Fn(&Wake) -> bool,
        wake: impl Fn() -> Wake,
    ) -> Option<Answer<P>> {
        let answer = self.waiter.look(is_same, wake);
        self.has_answer = answer.is_some();
        answer
    }

    /// When the caller must next serve the line. `None`: the waiter has its answer, or moves
    /// between two lines and wakes the caller when it is in the next.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let (at, ticket, deadline) = self.waiter.place()?;
        let due = at.line().lock().due_of(ticket, deadline);
        Some(due)
    }

    /// Serves the line of the waiter, at the time that `due` gave.
    pub(super) fn serve(&self, now: Timestamp) {
        if let Some((at, ..)) = self.waiter.place() {
            serve(&*at, now);
        }
    }
}

impl<P: Plan> Drop for InLine<P> {
    fn drop(&mut self) {
        if self.has_answer {
            return;
        }
        let stage = std::mem::replace(&mut *self.waiter.stage.lock(), Stage::Over);
        if let Stage::Waiting { at: Some((at, ticket)), .. } = &stage {
            leave(&**at, *ticket);
        }
    }
}
