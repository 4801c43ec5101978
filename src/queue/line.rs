//! A line: what one step under its lock does, and when it must be served though nothing happens.

use crate::sync::{Arc, Mutex, MutexGuard, OnceLock, mutant};
use crate::time::{Alarm, Clock, Due, Timestamp};

use super::order::{InOrder, Order};
use super::{QueueOwner, QueuePlace, Tried, Waits, Wake};

pub(crate) struct WaitLine {
    clock: Clock,
    max_waiters: usize,
    /// Made for the first who waits: most keys see none.
    state: OnceLock<Box<Mutex<LineState>>>,
}

#[derive(Default)]
pub(super) struct LineState {
    pub(super) order: Order,
    /// What the turnstile was told last.
    published: u64,
    /// Time alone gives nothing to the head before. `ZERO`: the head was not tried yet.
    again: Timestamp,
    /// On a clock that does not ring: the head that keeps the time, and until when it sleeps.
    kept: Option<(u64, Timestamp)>,
    /// On one that does.
    alarm: Option<(Timestamp, Alarm)>,
    bell: Option<Arc<dyn Due>>,
    is_closed: bool,
}

/// What a step leaves to be done once the lock is released.
pub(super) struct LineStep {
    pub(super) left: Left,
    /// The head, which must look at the time.
    pub(super) unanswered: Option<Wake>,
    /// The next step is to follow, as of this time.
    pub(super) next: Option<Timestamp>,
}

impl LineStep {
    /// Whether nothing is left to be done.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.left, Left::Nobody) && self.unanswered.is_none() && self.next.is_none()
    }
}

/// The waiter that left the line, if one did.
pub(super) enum Left {
    Nobody,
    Answered(Arc<dyn Waits>, Option<Wake>),
    Moved(Arc<dyn Waits>, QueuePlace),
}

/// Why nobody can stand there.
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

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.state.get().map_or(0, |state| state.lock().order.len())
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, LineState> {
        self.state.get_or_init(Box::default).lock()
    }

    /// The line, if one more may stand in it.
    pub(super) fn enter(&self) -> Result<MutexGuard<'_, LineState>, NoPlace> {
        let state = self.lock();
        if state.is_closed && !mutant("join_closed") {
            return Err(NoPlace::Closed);
        }
        if state.order.len() >= self.max_waiters { Err(NoPlace::Full) } else { Ok(state) }
    }
}

impl LineState {
    /// Puts a waiter at the end of the line.
    pub(super) fn push(&mut self, at: &dyn QueueOwner, waiting: InOrder) {
        if self.order.is_empty() {
            self.again = if mutant("join_unserved") { Timestamp::MAX } else { Timestamp::ZERO };
            // It looks at the time itself, after this.
            self.kept = Some((self.order.next_ticket(), Timestamp::ZERO));
        }
        self.order.push(waiting);
        self.tell(at);
    }

    /// Whether a virtual clock keeps the time of this line and has nothing to ring.
    pub(super) fn lacks_bell(&self, at: &dyn QueueOwner) -> bool {
        self.bell.is_none() && at.line().clock.virtual_time().is_some()
    }

    pub(super) fn hang_bell(&mut self, bell: Arc<dyn Due>) {
        self.bell = Some(bell);
    }

    /// Takes out the waiter that has `ticket`.
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

    /// When the waiter that has `ticket` must next look at the time.
    pub(super) fn due_of(&self, ticket: u64, deadline: Timestamp) -> Timestamp {
        match self.order.head() {
            Some((head, _)) if head == ticket => self.again.min(deadline),
            _ => deadline,
        }
    }

    /// When time alone may change something.
    fn due(&self) -> Option<Timestamp> {
        let (deadline, _) = self.order.first_deadline()?;
        Some(self.again.min(deadline))
    }

    /// The step after a waiter came. Behind another nothing changes but when it is over: a thread that
    /// brings news sees that somebody queues. The first may have missed what came before it stood there.
    pub(super) fn begin(&mut self, at: &dyn QueueOwner, now: Timestamp) -> LineStep {
        let is_due = self.due().is_some_and(|due| due <= now);
        self.step(at, now, is_due)
    }

    /// Tries the head, if there is news or its time has come; else turns away one whose time is over.
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

    /// It is told what anybody would be who comes now: after those who wait on, not after itself.
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

    /// Sees to it that the line is served when it is `due` though nothing happens: a virtual clock rings;
    /// on others the head keeps the time, and may have to be nudged for that. Also says when to go on, if
    /// a virtual clock shows that already.
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
        // After the alarm is set: if the time was moved before that, it does not ring.
        let later = clock.now();
        let is_due = now < later && due <= later && !mutant("alarm_unchecked");
        (None, is_due.then_some(later))
    }

    /// The head, if it sleeps longer than it may.
    fn wake_unanswered(&mut self) -> Option<Wake> {
        let (ticket, head) = self.order.head()?;
        let until = self.again.min(head.deadline);
        let is_kept = match self.kept {
            Some((keeper, kept)) if keeper == ticket => kept <= until,
            // At its deadline each looks by itself.
            _ => until == head.deadline,
        };
        self.kept = Some((ticket, until));
        if is_kept { None } else { head.waiter.wake_unanswered() }
    }

    /// Takes out all, and lets nobody in any more. Says who is to be woken how.
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
