//! The queue against naive models of it: random programs of one thread over one concurrency limit
//! and over one key of a rate, on a virtual clock that also goes back and jumps.
//!
//! After every step it compares which waiters were woken, in which order, the state of the slots,
//! and what remains of each lease, which shows when it began. Polling shows which waiters were
//! granted, and which were refused and why.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};
use tollgate::{
    Allowed, ConcurrencyLimiter, Denied, Lease, Quota, RateLimiter, Retry, Timestamp, VirtualClock,
    WaitError,
};

use crate::oracle::{self, Census};

fn nanos(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

/// Records which waiters were woken.
struct Bell {
    id: usize,
    rung: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.lock().unwrap().push(self.id);
    }
}

type Waiting<T> = Pin<Box<dyn Future<Output = Result<T, WaitError>> + Send>>;

/// The waiters, by their numbers in the model.
struct Callers<T> {
    futures: Vec<Option<Waiting<T>>>,
    rung: Arc<Mutex<Vec<usize>>>,
}

impl<T> Callers<T> {
    fn new() -> Callers<T> {
        Callers { futures: Vec::new(), rung: Arc::default() }
    }

    /// Polls the caller `id`, and forgets the future if it is ready.
    fn poll(&mut self, id: usize) -> Option<Result<T, WaitError>> {
        let waker = Waker::from(Arc::new(Bell { id, rung: self.rung.clone() }));
        let future = self.futures[id].as_mut().unwrap();
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => {
                self.futures[id] = None;
                Some(answer)
            }
            Poll::Pending => None,
        }
    }

    fn rung(&self) -> Vec<usize> {
        std::mem::take(&mut *self.rung.lock().unwrap())
    }

    /// A caller that has a future, picked by `pick`.
    fn pick(&self, pick: usize) -> Option<usize> {
        let there = || (0..self.futures.len()).filter(|id| self.futures[*id].is_some());
        there().nth(pick % there().count().max(1))
    }
}

/// What the naive model says to a caller.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Said<G> {
    Granted(G),
    Denied(Retry),
}

/// A caller in the model's line.
#[derive(Clone, Copy, Debug)]
struct InLine {
    id: usize,
    units: u64,
    deadline: u64,
}

mod slots {
    use super::*;

    #[derive(Clone, Debug)]
    pub(super) enum Op {
        Try(u32),
        Acquire(u32, u64),
        Poll(usize),
        Cancel(usize),
        Give(usize),
        Forget(usize),
        Renew(usize),
        Resize(u32),
        Reset,
        Advance(u64),
        Jump(u64),
        SetBack(u64),
    }

    fn weight() -> impl Strategy<Value = u32> {
        prop_oneof![6 => Just(1_u32), 3 => 0..4_u32, 1 => Just(u32::MAX)]
    }

    pub(super) fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => weight().prop_map(Op::Try),
            14 => (weight(), prop_oneof![1 => Just(0), 8 => 1..60_u64, 4 => Just(u64::MAX)])
                .prop_map(|(weight, within)| Op::Acquire(weight, within)),
            10 => any::<usize>().prop_map(Op::Poll),
            4 => any::<usize>().prop_map(Op::Cancel),
            8 => any::<usize>().prop_map(Op::Give),
            1 => any::<usize>().prop_map(Op::Forget),
            3 => any::<usize>().prop_map(Op::Renew),
            2 => (0..5_u32).prop_map(Op::Resize),
            1 => Just(Op::Reset),
            10 => (0..25_u64).prop_map(Op::Advance),
            2 => (0..60_u64).prop_map(Op::Jump),
            2 => (0..30_u64).prop_map(Op::SetBack),
        ]
    }

    #[derive(Clone, Copy, Debug)]
    struct Held {
        units: u32,
        end: Option<u64>,
        /// Ended by a reset, or taken back before the clock was set back.
        is_dead: bool,
        /// Given back in time.
        is_back: bool,
    }

    /// One line of code for each thing that the documentation says.
    #[derive(Default)]
    struct Model {
        now: u64,
        cap: u32,
        lease: Option<u64>,
        max_waiters: usize,
        leases: Vec<Held>,
        line: VecDeque<InLine>,
        said: Vec<Option<Said<usize>>>,
        woken: Vec<usize>,
        late: u64,
        /// Leases that ran out and were then ended.
        expired: u64,
    }

    impl Model {
        fn is_over(&self, lease: &Held) -> bool {
            lease.end.is_some_and(|end| end <= self.now)
        }

        fn is_live(&self, lease: &Held) -> bool {
            !lease.is_dead && !lease.is_back && !self.is_over(lease)
        }

        fn live(&self) -> impl Iterator<Item = &Held> {
            self.leases.iter().filter(|lease| self.is_live(lease))
        }

        fn overdue(&self) -> impl Iterator<Item = &Held> {
            self.leases.iter().filter(|l| !l.is_dead && !l.is_back && self.is_over(l))
        }

        fn in_use(&self) -> u32 {
            self.live().map(|lease| lease.units).sum()
        }

        fn fits(&self, units: u32) -> bool {
            self.in_use().saturating_add(units) <= self.cap
        }

        fn denied(&self, units: u32) -> Retry {
            if units > self.cap {
                return Retry::Never;
            }
            let needed = (self.in_use() + units).saturating_sub(self.cap).max(1);
            let mut ends: Vec<_> =
                self.live().map(|l| (l.end.unwrap_or(u64::MAX), l.units)).collect();
            ends.sort_unstable();
            let mut freed = 0;
            let enough = ends.into_iter().find(|(_, units)| {
                freed += units;
                freed >= needed
            });
            let end = enough.map(|(end, _)| end).filter(|end| *end < u64::MAX);
            Retry::Unknown { at_latest: end.map(|end| nanos(end - self.now)) }
        }

        fn grant(&mut self, units: u32) -> usize {
            let end = self.lease.map(|lease| self.now + lease);
            self.leases.push(Held { units, end, is_dead: false, is_back: false });
            self.leases.len() - 1
        }

        fn decide(&mut self, units: u32) -> Said<usize> {
            if self.fits(units) && self.line.is_empty() {
                Said::Granted(self.grant(units))
            } else {
                Said::Denied(self.denied(units))
            }
        }

        fn acquire(&mut self, units: u32, within: u64) {
            let id = self.said.len();
            let deadline = self.now.saturating_add(within);
            let said = match self.decide(units) {
                Said::Denied(Retry::Unknown { .. }) if deadline > self.now => {
                    if self.line.len() < self.max_waiters {
                        self.line.push_back(InLine { id, units: units.into(), deadline });
                        None
                    } else {
                        Some(Said::Denied(self.denied(units)))
                    }
                }
                said => Some(said),
            };
            self.said.push(said);
        }

        fn say(&mut self, waiter: InLine, said: Said<usize>) {
            self.said[waiter.id] = Some(said);
            self.woken.push(waiter.id);
        }

        /// The answer of a request that is turned away: it comes after all that still wait.
        fn refusal(&self, units: u32) -> Said<usize> {
            Said::Denied(match self.fits(units) && self.line.is_empty() {
                true => Retry::Unknown { at_latest: Some(Duration::ZERO) },
                false => self.denied(units),
            })
        }

        /// Releases the waiters that can go, in order; turns away those whose deadline has passed.
        fn serve(&mut self) {
            while let Some(head) = self.line.front().copied() {
                let units = head.units as u32;
                let in_time = head.deadline >= self.now;
                if head.deadline > self.now && units <= self.cap && !self.fits(units) {
                    break;
                }
                self.line.pop_front();
                let said = match in_time && self.fits(units) {
                    true => Said::Granted(self.grant(units)),
                    false => self.refusal(units),
                };
                self.say(head, said);
            }
            let over = self.line.iter().filter(|waiter| waiter.deadline <= self.now);
            let mut over: Vec<_> = over.copied().collect();
            over.sort_by_key(|waiter| (waiter.deadline, waiter.id));
            for waiter in over {
                self.line.retain(|other| other.id != waiter.id);
                self.say(waiter, self.refusal(waiter.units as u32));
            }
        }

        fn advance(&mut self, to: u64) {
            loop {
                let ends = self.live().filter_map(|lease| lease.end);
                let deadlines = self.line.iter().map(|waiter| waiter.deadline);
                let due = ends.chain(deadlines).filter(|due| *due > self.now && *due <= to).min();
                let Some(due) = due else { break };
                self.now = due;
                self.serve();
            }
            self.now = to;
        }

        fn give(&mut self, lease: usize) {
            if self.is_live(&self.leases[lease]) {
                self.leases[lease].is_back = true;
                self.serve();
            } else {
                self.late += 1;
            }
        }

        /// Ends all that is over, for good.
        fn end_overdue(&mut self) {
            self.expired += self.overdue().count() as u64;
            for index in 0..self.leases.len() {
                if self.is_over(&self.leases[index]) {
                    self.leases[index].is_dead = true;
                }
            }
        }
    }

    pub(super) struct Run {
        time: VirtualClock,
        slots: ConcurrencyLimiter,
        callers: Callers<Lease>,
        /// By the model's numbers of leases.
        held: Vec<Option<Lease>>,
        model: Model,
    }

    const START: u64 = 1_000_000;

    impl Run {
        pub(super) fn new(cap: u32, lease: Option<u64>, max_waiters: usize) -> Run {
            let time = VirtualClock::starting_at(at(START));
            let builder =
                ConcurrencyLimiter::builder(cap).max_waiters(max_waiters).clock(time.clock());
            let builder = match lease {
                Some(lease) => builder.lease(nanos(lease)),
                None => builder,
            };
            let model = Model { now: START, cap, lease, max_waiters, ..Model::default() };
            let slots = builder.build();
            Run { time, slots, callers: Callers::new(), held: Vec::new(), model }
        }

        fn hold(&mut self, index: usize, lease: Lease) {
            self.held.resize_with(self.held.len().max(index + 1), || None);
            self.held[index] = Some(lease);
        }

        fn pick_held(&self, pick: usize) -> Option<usize> {
            let there = || (0..self.held.len()).filter(|index| self.held[*index].is_some());
            there().nth(pick % there().count().max(1))
        }

        fn compare(&mut self, said: Said<usize>, got: Result<Lease, Denied>, census: &mut Census) {
            match (said, got) {
                (Said::Granted(index), Ok(lease)) => {
                    assert_eq!(lease.weight(), self.model.leases[index].units);
                    self.hold(index, lease);
                    census.count("granted");
                }
                (Said::Denied(retry), Err(denied)) => {
                    // A wait that was told before the time moved on is not asked again.
                    assert_eq!(retry, denied.retry());
                    census.count(match retry {
                        Retry::Never => "never",
                        _ => "denied",
                    });
                }
                (said, got) => panic!("{said:?}, not {got:?}"),
            }
        }

        fn poll(&mut self, id: usize, census: &mut Census) {
            match (self.callers.poll(id), self.model.said[id]) {
                (None, None) => census.count("still waits"),
                (Some(Ok(lease)), Some(said)) => {
                    if self.model.woken.is_empty() {
                        census.count("granted later");
                    }
                    self.compare(said, Ok(lease), census);
                }
                (Some(Err(WaitError::Denied(denied))), Some(said)) => {
                    self.compare(said, Err(denied), census);
                }
                (got, said) => panic!("{id}: {said:?}, not {got:?}"),
            }
        }

        pub(super) fn step(&mut self, op: &Op, census: &mut Census) {
            match *op {
                Op::Try(weight) => {
                    let said = self.model.decide(weight.max(1));
                    let got = self.slots.try_acquire_n(weight);
                    self.compare(said, got, census);
                }
                Op::Acquire(weight, within) => {
                    let id = self.model.said.len();
                    self.model.acquire(weight.max(1), within);
                    self.callers
                        .futures
                        .push(Some(Box::pin(self.slots.acquire_n(weight, nanos(within)))));
                    self.poll(id, census);
                }
                Op::Poll(pick) => {
                    if let Some(id) = self.callers.pick(pick) {
                        self.poll(id, census);
                    }
                }
                Op::Cancel(pick) => {
                    let Some(id) = self.callers.pick(pick) else { return };
                    self.callers.futures[id] = None;
                    match self.model.said[id] {
                        None => {
                            let was_head =
                                self.model.line.front().is_some_and(|head| head.id == id);
                            census.count(if was_head { "cancelled head" } else { "cancelled" });
                            self.model.line.retain(|waiter| waiter.id != id);
                            self.model.serve();
                        }
                        Some(Said::Granted(lease)) => {
                            census.count("cancelled when granted");
                            self.model.give(lease);
                        }
                        Some(Said::Denied(_)) => {}
                    }
                }
                Op::Give(pick) => {
                    let Some(index) = self.pick_held(pick) else { return };
                    self.model.give(index);
                    self.held[index] = None;
                }
                Op::Forget(pick) => {
                    let Some(index) = self.pick_held(pick) else { return };
                    std::mem::forget(self.held[index].take());
                }
                Op::Renew(pick) => {
                    let Some(index) = self.pick_held(pick) else { return };
                    let lease = &mut self.model.leases[index];
                    let now = self.model.now;
                    let is_live = !lease.is_dead && lease.end.is_none_or(|end| end > now);
                    if is_live {
                        lease.end = self.model.lease.map(|l| (now + l).max(lease.end.unwrap()));
                    }
                    let renewed = self.held[index].as_ref().unwrap().renew().is_ok();
                    assert_eq!(renewed, is_live);
                    census.count(if renewed { "renewed" } else { "not renewed" });
                }
                Op::Resize(cap) => {
                    self.model.cap = cap;
                    self.model.serve();
                    self.slots.resize(cap);
                }
                Op::Reset => {
                    self.model.end_overdue();
                    self.model.leases.iter_mut().for_each(|lease| lease.is_dead |= !lease.is_back);
                    self.model.serve();
                    self.slots.reset();
                }
                Op::Advance(by) => {
                    self.model.advance(self.model.now + by);
                    self.time.advance(nanos(by));
                }
                Op::Jump(by) => {
                    self.model.now += by;
                    self.model.serve();
                    self.time.set(at(self.model.now));
                }
                Op::SetBack(by) => {
                    if self.model.cap == 0 {
                        return;
                    }
                    // Who asks for all finds nothing, or what is over; and that is then over for
                    // good.
                    let said = self.model.decide(self.model.cap);
                    let got = self.slots.try_acquire_n(self.model.cap);
                    self.compare(said, got, census);
                    self.model.end_overdue();
                    self.model.now -= by;
                    self.time.set(at(self.model.now));
                }
            }
        }

        /// What must hold after every step.
        pub(super) fn check(&mut self, census: &mut Census) {
            let woken = std::mem::take(&mut self.model.woken);
            // No dropped waiter is woken.
            let woken: Vec<_> =
                woken.into_iter().filter(|id| self.callers.futures[*id].is_some()).collect();
            let rung = self.callers.rung();
            assert_eq!(rung, woken, "woken");
            census.add("woken", woken.len() as u64);
            let (usage, model) = (self.slots.usage(), &self.model);
            assert_eq!((usage.cap, usage.in_use), (model.cap, model.in_use()));
            assert_eq!((usage.waiting, usage.late), (model.line.len(), model.late));
            assert!(usage.waiting <= model.max_waiters, "a line without bound");
            let expired = model.expired + model.overdue().count() as u64;
            assert_eq!(usage.expired, expired, "expired");
            let stranded = model.line.front().is_some_and(|head| model.fits(head.units as u32));
            assert!(!stranded, "the head could go");
            for (index, lease) in self.held.iter().enumerate() {
                let Some(lease) = lease else { continue };
                let held = &model.leases[index];
                let remaining = match held.end {
                    _ if !model.is_live(held) => Duration::ZERO,
                    Some(end) => nanos(end - model.now),
                    None => Duration::MAX,
                };
                assert_eq!(lease.remaining(), remaining, "lease {index}");
                assert_eq!(lease.is_live(), model.is_live(held));
            }
        }
    }
}

mod rates {
    use super::*;

    #[derive(Clone, Debug)]
    pub(super) enum Op {
        Check(u64),
        Acquire(u64, u64),
        Book(u64, u64),
        Poll(usize),
        Cancel(usize),
        SetQuota(u64, u64),
        Reset,
        Advance(u64),
        Jump(u64),
        SetBack(u64),
    }

    fn cost() -> impl Strategy<Value = u64> {
        prop_oneof![6 => Just(1_u64), 4 => 0..5_u64, 1 => Just(u64::MAX)]
    }

    pub(super) fn op() -> impl Strategy<Value = Op> {
        let within = || prop_oneof![1 => Just(0), 8 => 1..120_u64, 3 => Just(u64::MAX)];
        prop_oneof![
            8 => cost().prop_map(Op::Check),
            14 => (cost(), within()).prop_map(|(cost, within)| Op::Acquire(cost, within)),
            2 => (cost(), within()).prop_map(|(cost, within)| Op::Book(cost, within.min(1000))),
            10 => any::<usize>().prop_map(Op::Poll),
            5 => any::<usize>().prop_map(Op::Cancel),
            2 => (0..5_usize, 1..5_u64).prop_map(|(of, burst)| Op::SetQuota(INTERVALS[of], burst)),
            1 => Just(Op::Reset),
            12 => (0..25_u64).prop_map(Op::Advance),
            2 => (0..60_u64).prop_map(Op::Jump),
            2 => (0..30_u64).prop_map(Op::SetBack),
        ]
    }

    /// Nanoseconds a unit takes; each divides the next, so that debt is converted exactly.
    const INTERVALS: [u64; 5] = [1, 5, 10, 20, 40];

    /// The bucket as the time at which it is full, in nanoseconds.
    #[derive(Default)]
    struct Model {
        now: u64,
        /// The latest that `now` was.
        latest: u64,
        interval: u64,
        burst: u64,
        full_at: u64,
        max_waiters: usize,
        line: VecDeque<InLine>,
        said: Vec<Option<Said<Charge>>>,
        woken: Vec<usize>,
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Charge {
        cost: u64,
        at: u64,
        /// The shortest interval in force since.
        fastest: u64,
    }

    impl Model {
        fn ahead(&self) -> u64 {
            self.line.iter().map(|waiter| waiter.units).sum()
        }

        /// What remains to be waited for `cost` after `ahead` others.
        fn wait(&self, ahead: u64, cost: u64) -> Option<u64> {
            if cost > self.burst {
                return None;
            }
            let full_at = self.full_at.max(if ahead > 0 { self.now } else { 0 });
            let then = full_at + (ahead + cost) * self.interval;
            let wait = then.saturating_sub(self.burst * self.interval).saturating_sub(self.now);
            let behind = u64::from(ahead > 0);
            Some(wait.max(behind))
        }

        fn charge(&mut self, cost: u64) -> Charge {
            self.full_at = self.full_at.max(self.now) + cost * self.interval;
            Charge { cost, at: self.now, fastest: self.interval }
        }

        fn decide(&mut self, ahead: u64, cost: u64) -> Said<Charge> {
            if cost == 0 {
                return Said::Granted(Charge { cost, at: self.now, fastest: self.interval });
            }
            match self.wait(ahead, cost) {
                None => Said::Denied(Retry::Never),
                Some(0) => Said::Granted(self.charge(cost)),
                Some(wait) => Said::Denied(Retry::After(nanos(wait))),
            }
        }

        fn check(&mut self, cost: u64) -> Said<Charge> {
            self.decide(self.ahead(), cost)
        }

        fn acquire(&mut self, cost: u64, within: u64) {
            let id = self.said.len();
            let deadline = self.now.saturating_add(within);
            let said = match self.check(cost) {
                Said::Denied(Retry::After(wait))
                    if wait.as_nanos() as u64 <= within && self.line.len() < self.max_waiters =>
                {
                    self.line.push_back(InLine { id, units: cost, deadline });
                    None
                }
                said => Some(said),
            };
            self.said.push(said);
        }

        fn serve(&mut self) {
            while let Some(head) = self.line.front().copied() {
                let wait = self.wait(0, head.units);
                let in_time = |wait| self.now + wait <= head.deadline;
                let said = match wait {
                    Some(0) if in_time(0) => Some(Said::Granted(self.charge(head.units))),
                    Some(wait) if in_time(wait) => break,
                    _ => None,
                };
                self.line.pop_front();
                // A caller that is turned away comes after all that still wait.
                let said = said.unwrap_or_else(|| self.refusal(head.units));
                self.said[head.id] = Some(said);
                self.woken.push(head.id);
            }
            let mut over: Vec<_> =
                self.line.iter().filter(|w| w.deadline <= self.now).copied().collect();
            over.sort_by_key(|waiter| (waiter.deadline, waiter.id));
            for waiter in over {
                self.line.retain(|other| other.id != waiter.id);
                self.said[waiter.id] = Some(self.refusal(waiter.units));
                self.woken.push(waiter.id);
            }
        }

        fn refusal(&self, cost: u64) -> Said<Charge> {
            Said::Denied(match self.wait(self.ahead(), cost) {
                None => Retry::Never,
                Some(0) => Retry::Unknown { at_latest: Some(Duration::ZERO) },
                Some(wait) => Retry::After(nanos(wait)),
            })
        }

        fn advance(&mut self, to: u64) {
            loop {
                let turn = self.line.front().and_then(|head| self.wait(0, head.units));
                let turn = turn.map(|wait| self.now + wait);
                let deadlines = self.line.iter().map(|waiter| waiter.deadline);
                let due = turn.into_iter().chain(deadlines).filter(|due| *due > self.now).min();
                let Some(due) = due.filter(|due| *due <= to) else { break };
                self.now = due;
                self.serve();
            }
            self.now = to;
            self.latest = self.latest.max(to);
        }

        /// Gives back what time did not.
        fn refund(&mut self, charge: Charge) {
            let passed = self.latest.saturating_sub(charge.at);
            let units_ns = charge.cost * self.interval;
            // In units of the present quota, what time gave at the fastest there was.
            let given = (passed * self.interval).div_ceil(charge.fastest);
            self.full_at = self.full_at.saturating_sub(units_ns.saturating_sub(given));
            self.serve();
        }

        fn set_quota(&mut self, interval: u64, burst: u64) {
            let owed = self.full_at.saturating_sub(self.latest);
            if owed > 0 {
                self.full_at = self.latest + (owed * interval).div_ceil(self.interval);
            }
            (self.interval, self.burst) = (interval, burst);
            for said in self.said.iter_mut().flatten() {
                if let Said::Granted(charge) = said {
                    charge.fastest = charge.fastest.min(interval);
                }
            }
            self.serve();
        }
    }

    const START: u64 = 1_000_000;

    fn quota(interval: u64, burst: u64) -> Quota {
        Quota::new(1, nanos(interval)).unwrap().with_burst(burst).unwrap()
    }

    pub(super) struct Run {
        time: VirtualClock,
        limiter: RateLimiter,
        callers: Callers<Allowed>,
        model: Model,
    }

    impl Run {
        pub(super) fn new(interval: usize, burst: u64, max_waiters: usize) -> Run {
            let interval = INTERVALS[interval % INTERVALS.len()];
            let time = VirtualClock::starting_at(at(START));
            let limiter = RateLimiter::builder(quota(interval, burst))
                .max_waiters(max_waiters)
                .clock(time.clock())
                .build();
            let (now, latest) = (START, START);
            let model = Model { now, latest, interval, burst, max_waiters, ..Model::default() };
            Run { time, limiter, callers: Callers::new(), model }
        }

        fn compare(
            &self,
            said: Said<Charge>,
            got: Result<Option<Allowed>, Denied>,
            census: &mut Census,
        ) {
            match (said, got) {
                (Said::Granted(_), Ok(_)) => census.count("granted"),
                (Said::Denied(retry), Err(denied)) => {
                    assert_eq!(retry, denied.retry());
                    census.count(match retry {
                        Retry::Never => "never",
                        _ => "denied",
                    });
                }
                (said, got) => panic!("{said:?}, not {got:?}"),
            }
        }

        fn poll(&mut self, id: usize, census: &mut Census) {
            match (self.callers.poll(id), self.model.said[id]) {
                (None, None) => census.count("still waits"),
                (Some(Ok(allowed)), Some(said)) => self.compare(said, Ok(Some(allowed)), census),
                (Some(Err(WaitError::Denied(denied))), Some(said)) => {
                    self.compare(said, Err(denied), census);
                }
                (got, said) => panic!("{id}: {said:?}, not {got:?}"),
            }
        }

        pub(super) fn step(&mut self, op: &Op, census: &mut Census) {
            match *op {
                Op::Check(cost) => {
                    let said = self.model.check(cost);
                    self.compare(said, self.limiter.check_n("k", cost).map(Some), census);
                }
                Op::Acquire(cost, within) => {
                    let id = self.model.said.len();
                    self.model.acquire(cost, within);
                    let future = self.limiter.acquire("k", cost, nanos(within));
                    self.callers.futures.push(Some(Box::pin(future)));
                    self.poll(id, census);
                }
                Op::Book(cost, max_wait) => {
                    let said = match self.model.check(cost) {
                        Said::Denied(Retry::After(wait))
                            if wait <= nanos(max_wait) && self.model.line.is_empty() =>
                        {
                            census.count("booked");
                            Said::Granted(self.model.charge(cost))
                        }
                        said => said,
                    };
                    let got = self.limiter.book("k", cost, nanos(max_wait)).map(|_| None);
                    self.compare(said, got, census);
                }
                Op::Poll(pick) => {
                    if let Some(id) = self.callers.pick(pick) {
                        self.poll(id, census);
                    }
                }
                Op::Cancel(pick) => {
                    let Some(id) = self.callers.pick(pick) else { return };
                    self.callers.futures[id] = None;
                    match self.model.said[id] {
                        None => {
                            let was_head =
                                self.model.line.front().is_some_and(|head| head.id == id);
                            census.count(if was_head { "cancelled head" } else { "cancelled" });
                            self.model.line.retain(|waiter| waiter.id != id);
                            self.model.serve();
                        }
                        Some(Said::Granted(charge)) => {
                            census.count("cancelled when granted");
                            self.model.refund(charge);
                        }
                        Some(Said::Denied(_)) => {}
                    }
                }
                Op::SetQuota(interval, burst) => {
                    self.model.set_quota(interval, burst);
                    self.limiter.set_quota(quota(interval, burst));
                }
                Op::Reset => {
                    self.model.full_at = 0;
                    self.model.serve();
                    self.limiter.reset("k");
                }
                Op::Advance(by) => {
                    self.model.advance(self.model.now + by);
                    self.time.advance(nanos(by));
                }
                Op::Jump(by) => {
                    self.model.now += by;
                    self.model.latest = self.model.latest.max(self.model.now);
                    self.model.serve();
                    self.time.set(at(self.model.now));
                }
                Op::SetBack(by) => {
                    self.model.now -= by;
                    self.time.set(at(self.model.now));
                }
            }
        }

        pub(super) fn check(&mut self, census: &mut Census) {
            let woken = std::mem::take(&mut self.model.woken);
            let woken: Vec<_> =
                woken.into_iter().filter(|id| self.callers.futures[*id].is_some()).collect();
            assert_eq!(self.callers.rung(), woken, "woken");
            census.add("woken", woken.len() as u64);
            let model = &self.model;
            assert!(model.line.len() <= model.max_waiters, "a line without bound");
            let turn = model.line.front().and_then(|head| model.wait(0, head.units));
            assert_ne!(turn, Some(0), "the head could go");
            // The answer to a new caller includes what the key owes and the waiters before it.
            for cost in [1, model.burst] {
                let expected = match model.wait(model.ahead(), cost) {
                    None => Some(Retry::Never),
                    Some(0) => None,
                    Some(wait) => Some(Retry::After(nanos(wait))),
                };
                let got = self.limiter.peek_n("k", cost).err().map(|denied| denied.retry());
                assert_eq!(got, expected, "for {cost}, {} ahead", model.ahead());
            }
        }
    }
}

/// Runs `cases` random programs, each of up to 80 steps, and shows a smallest one that fails.
fn programs<P: std::fmt::Debug, O: std::fmt::Debug>(
    setup: impl Strategy<Value = P>,
    op: impl Strategy<Value = O>,
    run: impl Fn(&P, &[O], &mut Census),
) -> Census {
    let cases = oracle::steps(20_000) as u32;
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let census = std::cell::RefCell::new(Census::default());
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let programs = (setup, proptest::collection::vec(op, 1..80));
    let result = runner.run(&programs, |(setup, ops)| {
        run(&setup, &ops, &mut census.borrow_mut());
        Ok(())
    });
    if let Err(TestError::Fail(why, program)) = result {
        panic!("{why}: {program:?}");
    }
    census.into_inner()
}

#[test]
fn slots_and_their_line_are_as_the_model_says() {
    let setup =
        (0..4_u32, prop_oneof![4 => (1..40_u64).prop_map(Some), 1 => Just(None)], 0..6_usize);
    let census = programs(setup, slots::op(), |(cap, lease, max_waiters), ops, census| {
        let mut run = slots::Run::new(*cap, *lease, *max_waiters);
        for op in ops {
            run.step(op, census);
            run.check(census);
        }
    });
    census.require(&["granted", "denied", "never", "still waits", "woken"], 50);
    let rare = ["cancelled head", "cancelled", "cancelled when granted", "renewed", "not renewed"];
    census.require(&rare, 500);
}

#[test]
fn a_key_of_a_rate_and_its_line_are_as_the_model_says() {
    let census = programs((0..5_usize, 1..5_u64, 0..6_usize), rates::op(), |setup, ops, census| {
        let mut run = rates::Run::new(setup.0, setup.1, setup.2);
        for op in ops {
            run.step(op, census);
            run.check(census);
        }
    });
    census.require(&["granted", "denied", "never", "still waits", "woken"], 50);
    census.require(&["cancelled head", "cancelled", "cancelled when granted", "booked"], 1000);
}
