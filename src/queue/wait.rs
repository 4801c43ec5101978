//! Waiting in line: as a future under any executor, or as a thread.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::decision::{Denied, Retry};
use crate::sync::{Arc, Mutex, Signal, mutant};
use crate::time::{Clock, NoTimer, Sleep, Timestamp, is_simulated};

use super::{Place, Tried, Turnstile, Waits, Wakes, join, leave, serve};

/// What is waited for.
pub(crate) trait Plan: Send + Sync + 'static {
    type Granted: Send;
    type Refusal: Send;

    /// The wait begins.
    fn begin(&mut self, now: Timestamp);

    /// Runs the whole step; at the head of the line of `turn`, if that is said.
    fn attempt(
        &self,
        turn: Option<&Arc<dyn Turnstile>>,
        now: Timestamp,
    ) -> Attempt<Self::Granted, Self::Refusal>;

    /// What a caller who does not wait would be told.
    fn refusal(&self, now: Timestamp) -> Self::Refusal;

    /// It was refused without standing in line: perhaps it is the turn of those who do, and nobody
    /// told them. No lock is held.
    fn serve_others(&self);
}

pub(crate) enum Attempt<G, R> {
    Granted(G),
    Refused(R),
    Wait { place: Place, again: Option<Timestamp>, is_certain: bool },
}

impl<G, R> Attempt<G, R> {
    /// What follows from a refusal: a wait in line, if that can help in time.
    pub(crate) fn waiting(refusal: R, retry: Retry, place: Place, now: Timestamp) -> Self {
        let (again, is_certain) = match retry {
            Retry::Never => return Attempt::Refused(refusal),
            Retry::After(wait) => (Some(now + wait), true),
            Retry::Unknown { at_latest } => (at_latest.map(|wait| now + wait), false),
        };
        let in_time = if is_certain { again <= Some(place.deadline) } else { now < place.deadline };
        if in_time { Attempt::Wait { place, again, is_certain } } else { Attempt::Refused(refusal) }
    }
}

/// Why a wait ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError<R = Denied> {
    /// It was not its turn in time, could not have been, or the line was full.
    Denied(R),
    /// A wait under `.await` needs a clock with a timer.
    NoTimer,
    /// A simulation runs on one thread: if that waits, nobody moves the time.
    InSimulation,
    /// The limiter was dropped meanwhile.
    Gone,
}

/// Who is to be woken.
pub(crate) enum Wake {
    Task(Waker),
    Thread(Arc<Signal>),
}

impl Wake {
    pub(super) fn wake(self) {
        match self {
            Wake::Task(waker) => waker.wake(),
            Wake::Thread(signal) => signal.set(),
        }
    }
}

struct Waiter<P: Plan> {
    plan: P,
    stage: Mutex<Stage<P>>,
}

enum Stage<P: Plan> {
    Waiting {
        wake: Option<Wake>,
        /// Where it stands, and its ticket; between two lines nowhere.
        at: Option<(Arc<dyn Turnstile>, u64)>,
        deadline: Timestamp,
    },
    Answered(Result<P::Granted, WaitError<P::Refusal>>),
    Over,
}

impl<P: Plan> Waiter<P> {
    fn answer(&self, answer: Result<P::Granted, WaitError<P::Refusal>>, wakes: &mut Wakes) {
        let before = {
            let mut stage = self.stage.lock();
            match *stage {
                Stage::Waiting { .. } => std::mem::replace(&mut *stage, Stage::Answered(answer)),
                Stage::Over if mutant("grant_forgotten") => return std::mem::forget(answer),
                // Cancelled: what was granted is given back when the line is let go of.
                Stage::Over => std::mem::replace(&mut *stage, Stage::Answered(answer)),
                Stage::Answered(_) => return,
            }
        };
        if let Stage::Waiting { wake, .. } = before {
            wakes.wakers.extend(wake);
        }
    }

    /// The answer, if there is one.
    fn take(&self) -> Option<Result<P::Granted, WaitError<P::Refusal>>> {
        let mut stage = self.stage.lock();
        match std::mem::replace(&mut *stage, Stage::Over) {
            Stage::Answered(answer) => Some(answer),
            waiting => {
                *stage = waiting;
                None
            }
        }
    }

    /// Has `wake` woken from now on; gives back who would have been.
    fn wake_with(&self, wake: Wake) -> Option<Wake> {
        match &mut *self.stage.lock() {
            Stage::Waiting { wake: old, .. } => old.replace(wake),
            _ => Some(wake),
        }
    }

    /// When it must next look at the time, and where.
    fn due(&self) -> Option<(Arc<dyn Turnstile>, Timestamp)> {
        let (at, ticket, deadline) = match &*self.stage.lock() {
            Stage::Waiting { at: Some((at, ticket)), deadline, .. } => {
                (at.clone(), *ticket, *deadline)
            }
            _ => return None,
        };
        let due = at.line().due(ticket, deadline);
        Some((at, due))
    }

    /// Waits no more.
    fn cancel(&self) {
        let stage = std::mem::replace(&mut *self.stage.lock(), Stage::Over);
        if let Stage::Waiting { at: Some((at, ticket)), .. } = &stage {
            leave(at.clone(), *ticket);
        }
    }
}

impl<P: Plan> Waits for Waiter<P> {
    fn try_at(&self, here: &Arc<dyn Turnstile>, now: Timestamp, wakes: &mut Wakes) -> Tried {
        match self.plan.attempt(Some(here), now) {
            Attempt::Granted(granted) => {
                self.answer(Ok(granted), wakes);
                Tried::Settled
            }
            Attempt::Refused(refusal) => {
                self.answer(Err(WaitError::Denied(refusal)), wakes);
                Tried::Settled
            }
            Attempt::Wait { place, again, is_certain } => {
                // Their addresses tell, whatever tables they came with.
                if std::ptr::addr_eq(Arc::as_ptr(&place.at), Arc::as_ptr(here)) {
                    Tried::Stays { again, is_certain }
                } else {
                    if let Stage::Waiting { at, deadline, .. } = &mut *self.stage.lock() {
                        // The line still holds what is dropped here.
                        *at = None;
                        *deadline = place.deadline;
                    }
                    Tried::Moves(place)
                }
            }
        }
    }

    fn refuse(&self, now: Timestamp, wakes: &mut Wakes) {
        self.answer(Err(WaitError::Denied(self.plan.refusal(now))), wakes);
    }

    fn dismiss(&self, wakes: &mut Wakes) {
        self.answer(Err(WaitError::Gone), wakes);
    }

    fn stand(&self, here: &Arc<dyn Turnstile>, ticket: u64) -> bool {
        match &mut *self.stage.lock() {
            Stage::Waiting { at, .. } => {
                *at = Some((here.clone(), ticket));
                true
            }
            _ => false,
        }
    }

    fn nudge(&self, wakes: &mut Wakes) {
        if let Stage::Waiting { wake, .. } = &mut *self.stage.lock() {
            wakes.wakers.extend(wake.take());
        }
    }
}

/// A caller's hold of its waiter. Dropping it, unwinding included, leaves the line.
struct InLine<P: Plan>(Arc<Waiter<P>>);

impl<P: Plan> std::ops::Deref for InLine<P> {
    type Target = Waiter<P>;
    fn deref(&self) -> &Waiter<P> {
        &self.0
    }
}

impl<P: Plan> Drop for InLine<P> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Begins to wait, unless the answer is there at once.
#[allow(clippy::type_complexity)]
fn begin<P: Plan>(
    mut plan: P,
    now: Timestamp,
) -> Result<InLine<P>, Result<P::Granted, WaitError<P::Refusal>>> {
    plan.begin(now);
    match plan.attempt(None, now) {
        Attempt::Granted(granted) => Err(Ok(granted)),
        Attempt::Refused(refusal) => {
            plan.serve_others();
            Err(Err(WaitError::Denied(refusal)))
        }
        Attempt::Wait { place, .. } => {
            let stage = Stage::Waiting { wake: None, at: None, deadline: place.deadline };
            let waiter = InLine(Arc::new(Waiter { plan, stage: Mutex::new(stage) }));
            // May unwind, if a waker does.
            join(waiter.0.clone(), place, now);
            Ok(waiter)
        }
    }
}

/// Waits on this thread.
pub(crate) fn acquire_blocking<P: Plan>(
    plan: P,
    clock: &Clock,
) -> Result<P::Granted, WaitError<P::Refusal>> {
    if is_simulated() {
        return Err(WaitError::InSimulation);
    }
    let waiter = match begin(plan, clock.now()) {
        Ok(waiter) => waiter,
        Err(answer) => return answer,
    };
    let signal = Arc::new(Signal::default());
    loop {
        drop(waiter.wake_with(Wake::Thread(signal.clone())));
        if let Some(answer) = waiter.take() {
            return answer;
        }
        match waiter.due().filter(|_| clock.virtual_time().is_none()) {
            None => signal.wait(None),
            Some((at, due)) => {
                let now = clock.now();
                if due > now {
                    signal.wait(Some(due.since(now)));
                } else {
                    serve(at, now);
                }
            }
        }
    }
}

/// Waits under `.await`.
pub(crate) struct Acquire<P: Plan> {
    clock: Clock,
    state: Progress<P>,
}

// Mostly `New`, or gone at once.
#[allow(clippy::large_enum_variant)]
enum Progress<P: Plan> {
    New(P),
    Waits { waiter: InLine<P>, sleep: Option<(Timestamp, Sleep)> },
    Done,
}

impl<P: Plan> Acquire<P> {
    pub(crate) fn new(clock: Clock, plan: P) -> Acquire<P> {
        Acquire { clock, state: Progress::New(plan) }
    }

    /// What is waited for, before the first poll.
    pub(crate) fn plan_mut(&mut self) -> Option<&mut P> {
        match &mut self.state {
            Progress::New(plan) => Some(plan),
            _ => None,
        }
    }
}

// Nothing in it is pinned.
impl<P: Plan> Unpin for Acquire<P> {}

impl<P: Plan> Future for Acquire<P> {
    type Output = Result<P::Granted, WaitError<P::Refusal>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.state = match std::mem::replace(&mut this.state, Progress::Done) {
            Progress::New(_) if !this.clock.has_timer() => {
                return Poll::Ready(Err(WaitError::NoTimer));
            }
            Progress::New(plan) => match begin(plan, this.clock.now()) {
                Ok(waiter) => Progress::Waits { waiter, sleep: None },
                Err(answer) => return Poll::Ready(answer),
            },
            going => going,
        };
        let Progress::Waits { waiter, sleep } = &mut this.state else {
            // Polled after it was ready: there is nothing to wait for.
            return Poll::Pending;
        };
        let mut answer = waiter.take();
        if answer.is_none() {
            // Cloned before the lock and dropped after it: wakers are foreign code.
            drop(waiter.wake_with(Wake::Task(cx.waker().clone())));
            // It may have come before there was somebody to wake.
            answer = waiter.take();
        }
        loop {
            if let Some(answer) = answer {
                this.state = Progress::Done;
                return Poll::Ready(answer);
            }
            if this.clock.virtual_time().is_some() {
                return Poll::Pending;
            }
            let Some((at, due)) = waiter.due() else { return Poll::Pending };
            if sleep.as_ref().is_none_or(|(until, _)| *until != due) {
                *sleep = match this.clock.sleep_until(due) {
                    Ok(timer) => Some((due, timer)),
                    Err(NoTimer) => {
                        this.state = Progress::Done;
                        return Poll::Ready(Err(WaitError::NoTimer));
                    }
                };
            }
            match sleep.as_mut().map(|(_, sleep)| Pin::new(sleep).poll(cx)) {
                Some(Poll::Ready(())) => {
                    *sleep = None;
                    serve(at, this.clock.now());
                    // If it still waits, the line may have taken the waker to nudge it.
                    drop(waiter.wake_with(Wake::Task(cx.waker().clone())));
                    answer = waiter.take();
                }
                _ => return Poll::Pending,
            }
        }
    }
}

impl<R> WaitError<R> {
    pub(crate) fn map<T>(self, of: impl FnOnce(R) -> T) -> WaitError<T> {
        match self {
            WaitError::Denied(refusal) => WaitError::Denied(of(refusal)),
            WaitError::NoTimer => WaitError::NoTimer,
            WaitError::InSimulation => WaitError::InSimulation,
            WaitError::Gone => WaitError::Gone,
        }
    }
}

impl<R: fmt::Display> fmt::Display for WaitError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitError::Denied(refusal) => refusal.fmt(f),
            WaitError::NoTimer => NoTimer.fmt(f),
            WaitError::InSimulation => f.write_str(
                "a blocking wait inside a simulation would never end: wait under `.await` there",
            ),
            WaitError::Gone => f.write_str("the limiter was dropped while this call waited"),
        }
    }
}

impl<R: fmt::Debug + fmt::Display> std::error::Error for WaitError<R> {}
