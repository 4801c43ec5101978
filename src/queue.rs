//! The one wait queue: lines before concurrency limits and before keys of rates.
//!
//! First come, first served. A line belongs to a [`Turnstile`]; while somebody stands in it,
//! whoever did not queue is turned away there. Whoever brings news (slots given back, time moved, a
//! deadline come, a limit changed) *serves* the line: the head's whole step is run for it, by that
//! thread, and its answer is left with it. So a turn needs nobody to be awake: a lease starts
//! when its slot came free, and if its waiter never looks, it ends like any other.
//!
//! A step that is refused by another turnstile passes its turn on and goes to the end of that
//! one's line. It holds nothing meanwhile.
//!
//! Under the lock of a line nothing of the user's runs: wakers are called, and answers that nobody
//! wants any more are dropped, after it is released. Locks of two lines are never held together.
//!
//! This file is the mechanism, `order` who stands where; `wait` is its face: what a waiting future
//! or thread does.

mod order;
mod wait;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use smallvec::SmallVec;

use crate::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak, is_panicking, mutant};
use crate::time::{Alarm, Clock, Due, Timestamp};

use order::{Order, Waiting};
pub use wait::WaitError;
pub(crate) use wait::{Acquire, Attempt, Plan, acquire_blocking};

/// How many callers may wait in one line where nothing else is said.
pub(crate) const MAX_WAITERS: usize = 1_000;

/// What callers queue at: one concurrency limit, or one key of a rate.
pub(crate) trait Turnstile: Send + Sync {
    fn line(&self) -> &Line;

    /// Tells those who do not queue how many units are queued for; 0: nobody queues. Called under
    /// the lock of the line.
    fn set_queued(&self, units: u64);
}

/// One who queues, whatever for.
pub(crate) trait Waits: Send + Sync {
    /// Runs the whole step at the head of the line of `here`, and keeps the answer if there is
    /// one.
    fn try_at(&self, here: &Arc<dyn Turnstile>, now: Timestamp, wakes: &mut Wakes) -> Tried;

    /// Keeps a refusal as the answer: it waited too long, or there is no place in the line.
    fn refuse(&self, now: Timestamp, wakes: &mut Wakes);

    /// Keeps as the answer that what it queued for is gone.
    fn dismiss(&self, wakes: &mut Wakes);

    /// Notes where it stands; false if it does not wait any more.
    fn stand(&self, here: &Arc<dyn Turnstile>, ticket: u64) -> bool;

    /// To be woken though it has no answer: it is the head now, and must keep the time.
    fn nudge(&self, wakes: &mut Wakes);
}

/// What became of a step.
pub(crate) enum Tried {
    /// It has its answer.
    Settled,
    /// It stays where it is.
    Stays {
        /// When to try again if nothing happens before.
        again: Option<Timestamp>,
        /// Nothing that others do makes that sooner.
        is_certain: bool,
    },
    /// Another limit refuses: to the end of that line.
    Moves(Place),
}

/// A place in a line to be taken.
pub(crate) struct Place {
    pub(crate) at: Arc<dyn Turnstile>,
    pub(crate) units: u64,
    /// It waits until then, and not a nanosecond longer.
    pub(crate) deadline: Timestamp,
}

/// Those to be woken once no lock is held, and what they may have left behind.
#[derive(Default)]
pub(crate) struct Wakes {
    pub(crate) wakers: SmallVec<[wait::Wake; 2]>,
    settled: SmallVec<[Arc<dyn Waits>; 2]>,
}

pub(crate) struct Line {
    clock: Clock,
    max_waiters: usize,
    /// Made for the first who waits: most keys see none.
    state: OnceLock<Box<Mutex<State>>>,
}

#[derive(Default)]
struct State {
    order: Order,
    /// When the head must be tried again.
    again: Option<Timestamp>,
    /// Who keeps the time on a clock that does not ring, and the moment it knows of.
    head: Option<u64>,
    kept: Option<Timestamp>,
    alarm: Option<(Timestamp, Alarm)>,
    bell: Option<Arc<Bell>>,
    is_closed: bool,
}

/// Rings at a line when a virtual clock reaches the moment.
struct Bell(Weak<dyn Turnstile>);

impl Due for Bell {
    fn due(&self, now: Timestamp) {
        if let Some(turnstile) = self.0.upgrade() {
            serve(turnstile, now);
        }
    }
}

impl Line {
    pub(crate) fn new(clock: Clock, max_waiters: usize) -> Line {
        Line { clock, max_waiters, state: OnceLock::new() }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.state.get().map_or(0, |state| state.lock().order.len())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.get_or_init(Box::default).lock()
    }

    /// When whoever has this place must next look at the time.
    fn due(&self, ticket: u64, deadline: Timestamp) -> Timestamp {
        let state = self.state();
        match state.again {
            Some(again) if state.head == Some(ticket) => again.min(deadline),
            _ => deadline,
        }
    }
}

/// Puts `waiter` at the end of a line.
pub(crate) fn join(waiter: Arc<dyn Waits>, place: Place, now: Timestamp) {
    let at = place.at.clone();
    if at.line().len() >= at.line().max_waiters {
        // Waiters may have expired or become ready; drain them first.
        serve(at.clone(), now);
    }
    let mut wakes = Wakes::default();
    let served = {
        let mut state = at.line().state();
        state.stand(&waiter, place, now, &mut wakes).then(|| {
            // Behind another nothing changes but when it is over: whoever brings news sees that
            // somebody queues. The first may have missed what came before it stood there.
            let is_first = state.order.len() == 1 && !mutant("join_unserved");
            if is_first || state.due().is_some_and(|due| due <= now) {
                state.serve(&at, now, &mut wakes)
            } else {
                Served { moves: SmallVec::new(), later: state.keep_time(&at, now, &mut wakes) }
            }
        })
    };
    if let Some(served) = served {
        go_on(at, served, now, &mut wakes);
    }
    wakes.run();
}

/// Takes whoever has `ticket` out of the line.
pub(crate) fn leave(at: Arc<dyn Turnstile>, ticket: u64) {
    let left = {
        let mut state = at.line().state();
        let left = state.order.remove(ticket);
        if left.is_some() {
            at.set_queued(state.order.queued());
        }
        left
    };
    if left.is_some() && !mutant("cancel_wakes_nobody") {
        serve(at.clone(), at.line().clock.now());
    }
}

/// Tries whoever is at the head of the line, as long as there is somebody who can go; turns away
/// those whose time is over.
pub(crate) fn serve(at: Arc<dyn Turnstile>, now: Timestamp) {
    let mut wakes = Wakes::default();
    let served = at.line().state().serve(&at, now, &mut wakes);
    go_on(at, served, now, &mut wakes);
    wakes.run();
}

/// What serving a line leaves to be done once its lock is released.
struct Served {
    /// Those who go to another line.
    moves: SmallVec<[(Arc<dyn Waits>, Place); 2]>,
    /// The line must be served again, at this time.
    later: Option<Timestamp>,
}

fn go_on(at: Arc<dyn Turnstile>, served: Served, mut now: Timestamp, wakes: &mut Wakes) {
    let mut left: SmallVec<[(Arc<dyn Turnstile>, Served); 1]> = SmallVec::from_iter([(at, served)]);
    while let Some((at, Served { moves, later })) = left.pop() {
        for (waiter, place) in moves {
            let to = place.at.clone();
            let served = {
                let mut state = to.line().state();
                state.stand(&waiter, place, now, wakes).then(|| state.serve(&to, now, wakes))
            };
            if let Some(served) = served {
                // Who keeps the time of one line does not keep that of the other.
                waiter.nudge(wakes);
                left.push((to, served));
            }
        }
        if let Some(later) = later.filter(|_| !mutant("alarm_unchecked")) {
            now = later;
            let served = at.line().state().serve(&at, now, wakes);
            left.push((at, served));
        }
    }
}

/// Sends all who wait away: what they wait for is gone.
pub(crate) fn close(at: &dyn Turnstile) {
    let mut wakes = Wakes::default();
    {
        let mut state = at.line().state();
        state.is_closed = true;
        while let Some((ticket, _)) = state.order.head() {
            if let Some(waiting) = state.order.remove(ticket) {
                waiting.waiter.dismiss(&mut wakes);
                wakes.settled.push(waiting.waiter);
            }
        }
        at.set_queued(0);
        if let (Some((_, alarm)), Some(time)) = (state.alarm.take(), at.line().clock.virtual_time())
        {
            time.cancel(alarm);
        }
    }
    wakes.run();
}

impl State {
    /// When time alone changes something.
    fn due(&self) -> Option<Timestamp> {
        let deadline = self.order.first_deadline().map(|(deadline, _)| deadline);
        [self.again, deadline].into_iter().flatten().min()
    }

    /// Whether `waiter` now stands at the end of the line.
    fn stand(
        &mut self,
        waiter: &Arc<dyn Waits>,
        place: Place,
        now: Timestamp,
        wakes: &mut Wakes,
    ) -> bool {
        let Place { at, units, deadline } = place;
        if self.is_closed && !mutant("join_closed") {
            waiter.dismiss(wakes);
            return false;
        }
        if self.order.len() >= at.line().max_waiters {
            waiter.refuse(now, wakes);
            return false;
        }
        let stands = waiter.stand(&at, self.order.next_ticket());
        if stands {
            self.order.push(Waiting { waiter: waiter.clone(), units, deadline });
            at.set_queued(self.order.queued());
        }
        stands
    }

    fn serve(&mut self, at: &Arc<dyn Turnstile>, now: Timestamp, wakes: &mut Wakes) -> Served {
        let moves = self.serve_head(at, now, wakes);
        self.expire(at, now, wakes);
        at.set_queued(self.order.queued());
        Served { moves, later: self.keep_time(at, now, wakes) }
    }

    /// Those who go to another line.
    fn serve_head(
        &mut self,
        at: &Arc<dyn Turnstile>,
        now: Timestamp,
        wakes: &mut Wakes,
    ) -> SmallVec<[(Arc<dyn Waits>, Place); 2]> {
        let mut moves = SmallVec::new();
        self.again = None;
        while let Some((ticket, head)) = self.order.head() {
            let deadline = head.deadline;
            if deadline < now {
                self.turn_away(ticket, at, now, wakes);
                continue;
            }
            match head.waiter.try_at(at, now, wakes) {
                Tried::Settled => {
                    wakes.settled.extend(self.order.remove(ticket).map(|waiting| waiting.waiter));
                }
                Tried::Stays { again, is_certain } => {
                    let too_late = is_certain && again.is_some_and(|again| again > deadline);
                    if now < deadline && !too_late {
                        self.again = again;
                        break;
                    }
                    self.turn_away(ticket, at, now, wakes);
                }
                Tried::Moves(place) => {
                    moves.extend(self.order.remove(ticket).map(|waiting| (waiting.waiter, place)));
                }
            }
        }
        moves
    }

    /// Turns away those behind the head whose time is over.
    fn expire(&mut self, at: &Arc<dyn Turnstile>, now: Timestamp, wakes: &mut Wakes) {
        while let Some((deadline, ticket)) = self.order.first_deadline() {
            if deadline > now {
                return;
            }
            self.turn_away(ticket, at, now, wakes);
        }
    }

    /// It is told what anybody would be who comes now: after those who wait on, not after itself.
    fn turn_away(
        &mut self,
        ticket: u64,
        at: &Arc<dyn Turnstile>,
        now: Timestamp,
        wakes: &mut Wakes,
    ) {
        if let Some(waiting) = self.order.remove(ticket) {
            at.set_queued(self.order.queued());
            waiting.waiter.refuse(now, wakes);
            wakes.settled.push(waiting.waiter);
        }
    }

    /// Sees to it that the line is served when time alone changes something: a virtual clock rings,
    /// on others the head keeps the time. A virtual clock that is there already does not ring: then
    /// the time it shows.
    fn keep_time(
        &mut self,
        at: &Arc<dyn Turnstile>,
        now: Timestamp,
        wakes: &mut Wakes,
    ) -> Option<Timestamp> {
        let head = self.order.head().map(|(ticket, _)| ticket);
        let Some(time) = at.line().clock.virtual_time() else {
            let sooner = self.again.is_some()
                && (self.head != head || self.kept.is_none() || self.kept > self.again);
            (self.head, self.kept) = (head, self.again);
            if sooner {
                if let Some((_, head)) = self.order.head() {
                    head.waiter.nudge(wakes);
                }
            }
            return None;
        };
        let due = self.due();
        if self.alarm.is_some_and(|(at, _)| Some(at) != due || at <= now) {
            if let Some((_, alarm)) = self.alarm.take() {
                time.cancel(alarm);
            }
        }
        if let (Some(due), None) = (due, &self.alarm) {
            let bell = self.bell.get_or_insert_with(|| Arc::new(Bell(Arc::downgrade(at))));
            let bell: Arc<dyn Due> = bell.clone();
            self.alarm = Some((due, time.set_alarm(due, Arc::downgrade(&bell))));
        }
        // After the alarm is set: whoever moved the time before that is seen here.
        let later = at.line().clock.now();
        due.filter(|due| now < later && *due <= later).map(|_| later)
    }
}

impl Wakes {
    /// Wakes all, with no lock held, also those after one that panics: that is passed on when all are
    /// awake, unless this thread unwinds already.
    fn run(self) {
        let mut panicked = None;
        for wake in self.wakers {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| wake.wake())) {
                panicked.get_or_insert(panic);
            }
        }
        if let Some(panic) = panicked.filter(|_| !is_panicking()) {
            resume_unwind(panic);
        }
    }
}
