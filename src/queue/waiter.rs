//! A waiter: what it waits for, where it stands, and its answer.

use crate::decision::Retry;
use crate::sync::{Arc, Mutex, mutant};
use crate::time::{Clock, Timestamp};

use super::line::NoPlace;
use super::order::InOrder;
use super::serve::{enter, finish, leave, push, serve};
use super::{QueueOwner, QueuePlace, Tried, WaitError, Waits, Wake};

/// What is waited for.
pub(crate) trait Plan: Send + Sync + 'static {
    type Granted: Send;
    type Refusal: Send;

    /// By which its waits are timed.
    fn clock(&self) -> &Clock;

    /// The wait begins.
    fn begin(&mut self, now: Timestamp);

    /// Runs the whole step; as the head of a line, if `turn`.
    fn attempt(&self, turn: bool, now: Timestamp) -> Attempt<Self::Granted, Self::Refusal>;

    /// What a caller who does not wait would be told.
    fn refusal(&self, now: Timestamp) -> Self::Refusal;

    /// It was refused without standing in line: perhaps it is the turn of those who do, and nobody
    /// told them. No lock is held.
    fn serve_others(&self);
}

pub(crate) enum Attempt<G, R> {
    Granted {
        granted: G,
        /// If nothing is left: when time alone may give one unit to the next in line, unless it would
        /// have given one to this waiter sooner.
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
    /// What follows from a refusal: a wait in line, if that can help in time.
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
    InOrder {
        wake: Option<Wake>,
        /// Where it stands, and its ticket; between two lines nowhere.
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
                Stage::InOrder { .. } => std::mem::replace(&mut *stage, Stage::Answered(answer)),
                Stage::Over if mutant("grant_forgotten") => {
                    std::mem::forget(answer);
                    return None;
                }
                // Cancelled: what was granted is given back when the line is let go of.
                Stage::Over => std::mem::replace(&mut *stage, Stage::Answered(answer)),
                Stage::Answered(_) => return None,
            }
        };
        if let Stage::InOrder { wake, .. } = before { wake } else { None }
    }

    fn look(&self, is_same: impl Fn(&Wake) -> bool, wake: impl Fn() -> Wake) -> Option<Answer<P>> {
        // Made without the lock, and dropped after it, as the old one is: wakers are foreign code.
        let mut made;
        let mut stage = self.stage.lock();
        if let Stage::InOrder { wake: old, .. } = &*stage {
            if old.as_ref().is_some_and(is_same) {
                return None;
            }
            drop(stage);
            made = Some(wake());
            stage = self.stage.lock();
            if let Stage::InOrder { wake: old, .. } = &mut *stage {
                std::mem::swap(old, &mut made);
                return None;
            }
            // The answer came meanwhile.
        }
        match std::mem::replace(&mut *stage, Stage::Over) {
            Stage::Answered(answer) => Some(answer),
            _ => None,
        }
    }

    /// Where it stands, its ticket and its deadline.
    fn place(&self) -> Option<(Arc<dyn QueueOwner>, u64, Timestamp)> {
        match &*self.stage.lock() {
            Stage::InOrder { at: Some((at, ticket)), deadline, .. } => {
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
                // Their addresses tell, whatever tables they came with.
                if std::ptr::addr_eq(Arc::as_ptr(&place.at), here) {
                    Tried::Stays { again, is_certain }
                } else {
                    if let Stage::InOrder { at, deadline, .. } = &mut *self.stage.lock() {
                        // The line still holds what is dropped here.
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
            Stage::InOrder { at, .. } => {
                *at = Some((here.clone(), ticket));
                true
            }
            _ => false,
        }
    }

    fn wake_unanswered(&self) -> Option<Wake> {
        match &mut *self.stage.lock() {
            Stage::InOrder { wake, .. } => wake.take(),
            _ => None,
        }
    }
}

/// A caller's hold of its waiter. Dropping it, unwinding included, leaves the line.
pub(crate) struct InLine<P: Plan> {
    waiter: Arc<Waiter<P>>,
    has_answer: bool,
}

/// Begins to wait, unless the answer is there at once. Also says when the caller must look at the time;
/// `None`: at once, and for an answer too.
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
    // Before the lock: a waker may be cloned here, which is foreign code.
    let wake = Some(wake());
    let mut line = match enter(&*at, now) {
        Ok(line) => line,
        Err(NoPlace::Full) => return Err(Err(WaitError::Denied(plan.refusal(now)))),
        Err(NoPlace::Closed) => return Err(Err(WaitError::Gone)),
    };
    let ticket = line.order.next_ticket();
    let stage = Stage::InOrder { wake, at: Some((at.clone(), ticket)), deadline };
    let waiter = Arc::new(Waiter { plan, stage: Mutex::new(stage) });
    push(&mut line, &at, InOrder { waiter: waiter.clone(), units, deadline });
    let step = line.begin(&*at, now);
    let due = step.is_quiet().then(|| line.due_of(ticket, deadline));
    drop(line);
    let waiter = InLine { waiter, has_answer: false };
    if due.is_none() {
        // May unwind, if a waker does.
        finish(&*at, step, now);
    }
    Ok((waiter, due))
}

impl<P: Plan> InLine<P> {
    pub(super) fn clock(&self) -> &Clock {
        self.waiter.plan.clock()
    }

    /// The answer, if there is one. If not, the caller is woken when there is: by `wake`, unless
    /// `is_same` says that the waiter has that already.
    pub(super) fn look(
        &mut self,
        is_same: impl Fn(&Wake) -> bool,
        wake: impl Fn() -> Wake,
    ) -> Option<Answer<P>> {
        let answer = self.waiter.look(is_same, wake);
        self.has_answer = answer.is_some();
        answer
    }

    /// When the caller must next look at the time. `None`: it has its answer, or is woken when it
    /// stands in line.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let (at, ticket, deadline) = self.waiter.place()?;
        let due = at.line().lock().due_of(ticket, deadline);
        Some(due)
    }

    /// Serves the line in which it stands: its time has come.
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
        if let Stage::InOrder { at: Some((at, ticket)), .. } = &stage {
            leave(&**at, *ticket);
        }
    }
}
