//! A wait as a future under any executor ([`Acquire`]) or on the calling thread
//! ([`acquire_blocking`]).
//!
//! Except on a virtual clock, both serve the line themselves when the time of their waiter has
//! come. The state of the wait is in `waiter`.

use std::cell::LazyCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::sync::{Arc, Signal};
use crate::time::{NoTimer, Sleep, Timestamp, is_simulated};

use super::waiter::{Answer, InLine, Plan, begin};
use super::{WaitError, Wake};

/// Blocks this thread until the wait ends.
pub(crate) fn acquire_blocking<P: Plan>(plan: P) -> Answer<P> {
    if is_simulated() {
        return Err(WaitError::InSimulation);
    }
    let signal = LazyCell::new(|| Arc::new(Signal::default()));
    let wake = || Wake::Thread(Arc::clone(&signal));
    let now = plan.clock().now();
    let (mut waiter, mut due) = match begin(plan, now, wake) {
        Ok(waiting) => waiting,
        Err(answer) => return answer,
    };
    loop {
        if due.is_none() {
            if let Some(answer) = waiter.look(|_| true, wake) {
                return answer;
            }
        }
        let is_timed = waiter.clock().virtual_time().is_none();
        match due.take().or_else(|| waiter.due()).filter(|_| is_timed) {
            None => signal.wait(None),
            Some(due) => {
                let now = waiter.clock().now();
                if due > now {
                    signal.wait(Some(due.since(now)));
                } else {
                    waiter.serve(now);
                }
            }
        }
    }
}

/// The future of a wait.
pub(crate) enum Acquire<P: Plan> {
    New(P),
    Waits { waiter: InLine<P>, sleep: Option<(Timestamp, Sleep)> },
    Done,
}

// No field is pinned structurally.
impl<P: Plan> Unpin for Acquire<P> {}

impl<P: Plan> Future for Acquire<P> {
    type Output = Answer<P>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut due = None;
        if let Acquire::New(_) = this {
            let Acquire::New(plan) = std::mem::replace(this, Acquire::Done) else {
                return Poll::Pending;
            };
            if !plan.clock().has_timer() {
                return Poll::Ready(Err(WaitError::NoTimer));
            }
            let now = plan.clock().now();
            match begin(plan, now, || Wake::Task(cx.waker().clone())) {
                Ok((waiter, first_due)) => {
                    due = first_due;
                    *this = Acquire::Waits { waiter, sleep: None };
                }
                Err(answer) => return Poll::Ready(answer),
            }
        }
        // Polled again after `Ready`: no answer is left.
        let Acquire::Waits { waiter, sleep } = this else { return Poll::Pending };
        let ended = loop {
            if due.is_none() {
                let waker = cx.waker();
                let is_same = |wake: &Wake| matches!(wake, Wake::Task(old) if old.will_wake(waker));
                if let Some(answer) = waiter.look(is_same, || Wake::Task(waker.clone())) {
                    break answer;
                }
            }
            if waiter.clock().virtual_time().is_some() {
                return Poll::Pending;
            }
            let Some(until) = due.take().or_else(|| waiter.due()) else { return Poll::Pending };
            if sleep.as_ref().is_none_or(|(at, _)| *at != until) {
                *sleep = match waiter.clock().sleep_until(until) {
                    Ok(timer) => Some((until, timer)),
                    Err(NoTimer) => break Err(WaitError::NoTimer),
                };
            }
            match sleep.as_mut().map(|(_, sleep)| Pin::new(sleep).poll(cx)) {
                Some(Poll::Ready(())) => {
                    *sleep = None;
                    waiter.serve(waiter.clock().now());
                }
                _ => return Poll::Pending,
            }
        };
        *this = Acquire::Done;
        Poll::Ready(ended)
    }
}
