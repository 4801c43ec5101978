//! One line: its state, one step under its lock, and the time at which it must be served even if
//! nothing changes.
//!
//! Nothing here calls wakers or drops waiters: a [`LineStep`] returns them, and `serve` handles
//! them after the unlock.

use crate::sync::{Arc, Mutex, MutexGuard, OnceLock};
use crate::time::{Alarm, Clock, Due, Timestamp};

use super::order::{InOrder, Order};
use super::{QueueOwner, QueuePlace, Tried, Waits, Wake};

pub(crate) struct WaitLine {
    clock: Clock,
    max_waiters: usize,
    /// Created for the first waiter: most keys never have one.
    state: OnceLock<Box<Mutex<LineState>>>,
}

#[derive(Default)]
pub(super) struct LineState {
    pub(super) order: Order,
    /// The last argument of `QueueOwner::set_queued`.
    published: u64,
    /// Time alone cannot admit the head before this. `ZERO`: the head has not been tried yet.
    again: Timestamp,
    /// On a clock without alarms: the head that times the line, and until when it sleeps.
    kept: Option<(u64, Timestamp)>,
    /// On a virtual clock: the alarm that is set, and for when.
    alarm: Option<(Timestamp, Alarm)>,
    bell: Option<Arc<dyn Due>>,
    is_closed: bool,
}

/// The work that a step leaves for after the unlock.
pub(super) struct LineStep {
    pub(super) left: Left,
    /// Wakes the head without an answer, so that it times the line anew.
    pub(super) unanswered: Option<Wake>,
    /// If set, another step must follow, as of this time.
    pub(super) next: Option<Timestamp>,
}

impl LineStep {
    /// Whether the step left no work.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.left, Left::Nobody) && self.unanswered.is_none() && self.next.is_none()
    }
}

/// The waiter that left the line, if any.
pub(super) enum Left {
    Nobody,
    Answered(Arc<dyn Waits>, Option<Wake>),
    Moved(Arc<dyn Waits>, QueuePlace),
}

/// Why a line does not accept a waiter.
pub(super) enum NoPlace {
    Full,
    Closed,
}

impl WaitLine {
    pub(crate) fn new(clock: Clock, max_waiters: usize) -> WaitLine {
        WaitLine { clock, max_waiters, state: OnceLock::new() }
    }

    #[inline]
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The number of waiters.
    pub(crate) fn len(&self) -> usize {
        self.state.get().map_or(0, |state| state.lock().order.len())
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, LineState> {
        self.state.get_or_init(Box::default).lock()
    }

    /// Locks the line, if it has a place for one more waiter.
    pub(super) fn enter(&self) -> Result<MutexGuard<'_, LineState>, NoPlace> {
        let state = self.lock();
        if state.is_closed {
            return Err(NoPlace::Closed);
        }
        if state.order.len() >= self.max_waiters { Err(NoPlace::Full) } else { Ok(state) }
    }
}

impl LineState {
    /// Inserts a waiter at the end of the line.
    pub(super) fn push(&mut self, at: &dyn QueueOwner, waiting: InOrder) {
        if self.order.is_empty() {
            self.again = Timestamp::ZERO;
            // The new head reads its due time itself after this step.
            self.kept = Some((self.order.next_ticket(), Timestamp::ZERO));
        }
        self.order.push(waiting);
        self.tell(at);
    }

    /// Whether the line is on a virtual clock and has no alarm handler yet.
    pub(super) fn lacks_bell(&self, at: &dyn QueueOwner) -> bool {
        self.bell.is_none() && at.line().clock.virtual_time().is_some()
    }

    pub(super) fn hang_bell(&mut self, bell: Arc<dyn Due>) {
        self.bell = Some(bell);
    }

    /// Removes the waiter with this ticket.
    pub(super) fn remove(&mut self, at: &dyn QueueOwner, ticket: u64) -> Option<InOrder> {
        let left = self.order.remove(ticket);
        self.tell(at);
        left
    }

    fn tell(&mut self, at: &dyn QueueOwner) {
        let queued = self.order.queued();
        if queued != self.published {
            self.published = queued;
            at.set_queued(queued);
        }
    }

    /// When the waiter with this ticket must next serve the line.
    pub(super) fn due_of(&self, ticket: u64, deadline: Timestamp) -> Timestamp {
        match self.order.head() {
            Some((head, _)) if head == ticket => self.again.min(deadline),
            _ => deadline,
        }
    }

    /// When time alone may change the line.
    fn due(&self) -> Option<Timestamp> {
        let (deadline, _) = self.order.first_deadline()?;
        Some(self.again.min(deadline))
    }

    /// The step after an insert. A first waiter is due immediately: it may have missed a change
    /// before its insert. Behind another waiter only time can make a step due: a thread that brings
    /// a change sees that callers wait, and serves the line.
    pub(super) fn begin(&mut self, at: &dyn QueueOwner, now: Timestamp) -> LineStep {
        let is_due = self.due().is_some_and(|due| due <= now);
        self.step(at, now, is_due)
    }

    /// Tries the head if something has changed (`is_news`) or its time has come. If no waiter left
    /// the line by that, refuses one waiter whose deadline has come.
    pub(super) fn step(&mut self, at: &dyn QueueOwner, now: Timestamp, is_news: bool) -> LineStep {
        let mut left = Left::Nobody;
        if is_news || self.again <= now {
            left = self.try_head(at, now);
        }
        if matches!(left, Left::Nobody) {
            if let Some((_, ticket)) = self.order.first_deadline().filter(|(at, _)| *at <= now) {
                left = self.turn_away(ticket, at, now);
            }
        }
        let due = self.due();
        let goes_on = !matches!(left, Left::Nobody) && due.is_some_and(|due| due <= now);
        let (unanswered, next) = if goes_on { (None, Some(now)) } else { self.rest(due, at, now) };
        LineStep { left, unanswered, next }
    }

    fn try_head(&mut self, at: &dyn QueueOwner, now: Timestamp) -> Left {
        let Some((ticket, head)) = self.order.head() else { return Left::Nobody };
        let deadline = head.deadline;
        if deadline < now {
            return self.turn_away(ticket, at, now);
        }
        match head.waiter.try_at(at, now) {
            Tried::Settled { wake, full_until } => {
                let left = self.take_out(ticket, at, |waiter| Left::Answered(waiter, wake));
                self.again = match (full_until, self.order.head()) {
                    (Some(until), Some((_, next))) if next.units == 1 => until.min(self.again),
                    _ => Timestamp::ZERO,
                };
                left
            }
            Tried::Stays { again, is_certain } => {
                let again = again.unwrap_or(Timestamp::MAX);
                if now >= deadline || is_certain && again > deadline {
                    return self.turn_away(ticket, at, now);
                }
                self.again = again;
                Left::Nobody
            }
            Tried::Moves(place) => {
                self.again = Timestamp::ZERO;
                self.take_out(ticket, at, |waiter| Left::Moved(waiter, place))
            }
        }
    }

    /// Refuses a waiter as if it came now. It is removed first, so the refusal counts only the
    /// units of the waiters that remain.
    fn turn_away(&mut self, ticket: u64, at: &dyn QueueOwner, now: Timestamp) -> Left {
        if self.order.head().is_some_and(|(head, _)| head == ticket) {
            self.again = Timestamp::ZERO;
        }
        self.take_out(ticket, at, |waiter| {
            let wake = waiter.refuse(now);
            Left::Answered(waiter, wake)
        })
    }

    fn take_out(
        &mut self,
        ticket: u64,
        at: &dyn QueueOwner,
        left: impl FnOnce(Arc<dyn Waits>) -> Left,
    ) -> Left {
        self.remove(at, ticket).map_or(Left::Nobody, |waiting| left(waiting.waiter))
    }

    /// Ensures that the line is served at `due` even if nothing changes: by an alarm of a virtual
    /// clock, or else by the head, which may have to be woken to sleep less long. Also returns the
    /// time of the next step, if the virtual clock has already reached `due`.
    fn rest(
        &mut self,
        due: Option<Timestamp>,
        at: &dyn QueueOwner,
        now: Timestamp,
    ) -> (Option<Wake>, Option<Timestamp>) {
        let clock = &at.line().clock;
        let Some(time) = clock.virtual_time() else { return (self.wake_unanswered(), None) };
        if self.alarm.is_some_and(|(at, _)| at > now && Some(at) == due) {
            return (None, None);
        }
        if let Some((_, alarm)) = self.alarm.take() {
            time.cancel(alarm);
        }
        let (Some(due), Some(bell)) = (due, &self.bell) else { return (None, None) };
        self.alarm = Some((due, time.set_alarm(due, Arc::downgrade(bell))));
        // Read the time after setting the alarm: a move before that did not fire the alarm.
        let later = clock.now();
        let is_due = now < later && due <= later;
        (None, is_due.then_some(later))
    }

    /// Takes the waker of the head, if the head sleeps longer than it may.
    fn wake_unanswered(&mut self) -> Option<Wake> {
        let (ticket, head) = self.order.head()?;
        let until = self.again.min(head.deadline);
        let is_kept = match self.kept {
            Some((keeper, kept)) if keeper == ticket => kept <= until,
            // Every waiter wakes up at its own deadline.
            _ => until == head.deadline,
        };
        self.kept = Some((ticket, until));
        if is_kept { None } else { head.waiter.wake_unanswered() }
    }

    /// Dismisses all waiters and refuses new ones. Returns the dismissed waiters with their wakers.
    pub(super) fn close(&mut self, at: &dyn QueueOwner) -> Vec<(Arc<dyn Waits>, Option<Wake>)> {
        self.is_closed = true;
        let mut all = Vec::new();
        while let Some((ticket, _)) = self.order.head() {
            if let Some(InOrder { waiter, .. }) = self.remove(at, ticket) {
                let wake = waiter.dismiss();
                all.push((waiter, wake));
            }
        }
        if let (Some((_, alarm)), Some(time)) = (self.alarm.take(), at.line().clock.virtual_time())
        {
            time.cancel(alarm);
        }
        all
    }
}
