//! [`Rate`]: the states of a limiter's keys, and the wait lines of those keys that callers wait
//! for.
//!
//! A line exists while it is in use and then serves its waiters through `queue`. [`RatePlan`] is
//! what a waiter of a key does at its turn.

use std::collections::HashMap;
use std::time::Duration;

use crate::cells::{Ask, Charge, Taken};
use crate::decision::{Allowed, Denied, Retry};
use crate::queue::{self, Attempt, Plan, QueueOwner, QueuePlace, WaitLine};
use crate::quota::Quota;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, Weak, fence};
use crate::time::{Clock, Timestamp};

use super::store::Store;

pub(crate) struct Rate {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    /// The name that a refusal by a set gives this limiter.
    pub(crate) name: Option<&'static str>,
    max_waiters: AtomicU64,
    /// The existing lines, by key hash.
    lines: Mutex<HashMap<u64, Weak<KeyLine>>>,
}

/// The wait line of one key. Dropped with its last waiter or serving thread.
pub(crate) struct KeyLine {
    rate: Arc<Rate>,
    tag: u64,
    line: WaitLine,
}

impl Rate {
    pub(crate) fn new(
        store: Store,
        clock: Clock,
        max_waiters: usize,
        name: Option<&'static str>,
    ) -> Arc<Rate> {
        let max_waiters = AtomicU64::new(max_waiters as u64);
        Arc::new(Rate { store, clock, name, max_waiters, lines: Mutex::new(HashMap::new()) })
    }

    /// Applies to lines created after this call.
    pub(crate) fn set_max_waiters(&self, max_waiters: usize) {
        // Relaxed: pairs with the load in `line`; no other data is published with the value.
        self.max_waiters.store(max_waiters as u64, Ordering::Relaxed);
    }

    /// The line of a key, created if it does not exist.
    pub(crate) fn line(self: &Arc<Self>, tag: u64) -> Arc<KeyLine> {
        let mut lines = self.lines.lock();
        if let Some(line) = lines.get(&tag).and_then(Weak::upgrade) {
            return line;
        }
        let max_waiters = self.max_waiters.load(Ordering::Relaxed) as usize;
        let line = WaitLine::new(self.clock.clone(), max_waiters);
        let line = Arc::new(KeyLine { rate: self.clone(), tag, line });
        lines.insert(tag, Arc::downgrade(&line));
        line
    }

    /// Decides `cost` for the key on the slow path.
    #[cold]
    pub(crate) fn decide(&self, tag: u64, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        // After a denial the key's waiters may be ready: time has passed and no event woke them.
        self.store.decide(tag, cost, now).inspect_err(|_| self.serve_queued(tag))
    }

    /// Serves the callers that wait for the key, if there are any. If time alone makes a turn due,
    /// a thread must check for it: on a real clock that is the waiter's task, if it runs, or else
    /// the next caller.
    #[inline]
    pub(crate) fn serve_queued(&self, tag: u64) {
        if self.store.queued().any() {
            self.serve_line(tag);
        }
    }

    #[cold]
    fn serve_line(&self, tag: u64) {
        let line = self.lines.lock().get(&tag).and_then(Weak::upgrade);
        if let Some(line) = line {
            queue::serve(&*line, self.clock.now());
        }
    }

    /// Serves all waiters, after a change that affects all keys.
    pub(crate) fn serve_all(&self) {
        self.each(|line| queue::serve(&*line, self.clock.now()));
    }

    pub(crate) fn settle(&self, charge: &Charge, cost: u64) {
        if self.settle_unserved(charge, cost) {
            self.serve_line(charge.tag);
        }
    }

    /// Settles, and says whether callers may wait for the units that this gave back.
    pub(crate) fn settle_unserved(&self, charge: &Charge, cost: u64) -> bool {
        self.store.settle(charge, cost);
        news();
        cost < charge.cost && self.store.queued().any()
    }

    pub(crate) fn set_quota(&self, quota: Quota) {
        self.store.set_quota(quota, self.clock.latest());
        self.serve_all();
    }

    /// Like `set_quota`, if the quota differs, but without serving the waiters.
    pub(crate) fn set_quota_unserved(&self, quota: Quota) {
        if self.store.quota() != quota {
            self.store.set_quota(quota, self.clock.latest());
        }
    }

    /// Makes the key as if never seen.
    pub(crate) fn reset(&self, tag: u64) {
        self.store.reset(tag, self.clock.now());
        news();
        self.serve_queued(tag);
    }

    /// Makes all keys as if never seen.
    pub(crate) fn reset_all(&self) {
        self.store.reset_all(self.clock.now());
        self.serve_all();
    }

    /// The number of callers that wait.
    pub(crate) fn waiting(&self) -> usize {
        let mut waiting = 0;
        self.each(|line| waiting += line.line.len());
        waiting
    }

    pub(crate) fn close(&self) {
        self.each(|line| queue::close(&*line));
    }

    /// Visits each existing line, with no lock held.
    fn each(&self, visit: impl FnMut(Arc<KeyLine>)) {
        news();
        if self.store.queued().any() {
            let lines: Vec<_> = self.lines.lock().values().filter_map(Weak::upgrade).collect();
            lines.into_iter().for_each(visit);
        }
    }
}

/// The fence between a change and the check whether callers wait. A caller that joins a line marks
/// its key before it reads the key's state, with a fence in between (`Queued::set`), so one of the
/// two sees the other.
fn news() {
    fence(Ordering::SeqCst);
}

impl QueueOwner for KeyLine {
    fn line(&self) -> &WaitLine {
        &self.line
    }

    fn set_queued(&self, units: u64) {
        self.rate.store.set_queued(self.tag, units);
    }
}

impl Drop for KeyLine {
    fn drop(&mut self) {
        let mut lines = self.rate.lines.lock();
        // `line` may have inserted a new line for the key meanwhile.
        if lines.get(&self.tag).is_some_and(|line| line.strong_count() == 0) {
            lines.remove(&self.tag);
        }
    }
}

/// A wait for units of one key.
pub(super) struct RatePlan {
    rate: Arc<Rate>,
    tag: u64,
    cost: u64,
    within: Duration,
    deadline: Timestamp,
}

/// A turn that its waiter has not taken yet. Dropping it gives the charge back.
pub(super) struct Turn {
    rate: Arc<Rate>,
    charge: Option<Charge>,
    allowed: Allowed,
}

impl Turn {
    pub(super) fn take(mut self) -> Allowed {
        self.charge = None;
        self.allowed
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(charge) = self.charge.take() {
            self.rate.settle(&charge, 0);
        }
    }
}

impl RatePlan {
    pub(super) fn new(rate: Arc<Rate>, tag: u64, cost: u64, within: Duration) -> RatePlan {
        RatePlan { rate, tag, cost, within, deadline: Timestamp::ZERO }
    }
}

impl Plan for RatePlan {
    type Granted = Turn;
    type Refusal = Denied;

    fn clock(&self) -> &Clock {
        &self.rate.clock
    }

    fn begin(&mut self, now: Timestamp) {
        self.deadline = now + self.within;
    }

    fn attempt(&self, turn: bool, now: Timestamp) -> Attempt<Turn, Denied> {
        let store = &self.rate.store;
        // No waiter is ahead of the head of the line.
        let ahead = if turn { 0 } else { store.ahead(self.tag) };
        match store.take(self.tag, ahead, Ask::all(self.cost), now) {
            Ok(Taken { charge, allowed, .. }) => {
                let rate = self.rate.clone();
                let granted = Turn { rate, charge: Some(charge), allowed };
                Attempt::Granted { granted, full_until: None }
            }
            Err(denied) => {
                let at = self.rate.line(self.tag);
                let place = QueuePlace { at, units: self.cost, deadline: self.deadline };
                match (turn, denied.retry()) {
                    // Wait even if that is past the deadline: the line then answers with `refusal`,
                    // which also counts the waiters behind this one.
                    (true, Retry::After(wait)) => {
                        Attempt::Wait { place, again: Some(now + wait), is_certain: true }
                    }
                    (_, retry) => Attempt::waiting(denied, retry, place, now),
                }
            }
        }
    }

    fn refusal(&self, now: Timestamp) -> Denied {
        match self.rate.store.peek(self.tag, self.cost, now) {
            Err(denied) => denied,
            Ok(allowed) => Denied::just_now(allowed),
        }
    }

    fn serve_others(&self) {
        self.rate.serve_queued(self.tag);
    }
}
