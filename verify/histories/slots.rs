//! Histories of the slots of one limit, without waiters: the calls of the threads, and the kinds of
//! answers that are counted. The sequential model is in `model`; `lines` has waiters.

mod model;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tollgate::{ConcurrencyLimiter, Denied, Lease, VirtualClock};

use crate::checker::{self, TIME_STEP};
use crate::draw::{self, Random};
use model::{Answer, LEASES, LENGTH, Model, Op, Retry, THREADS};

const CALLS: usize = 4;
/// Kinds of answers that must occur.
const KINDS: [&str; 15] = [
    "granted",
    "denied",
    "never",
    "given back",
    "renewed",
    "over before it was renewed",
    "remaining",
    "over",
    "resized",
    "reset",
    "usage",
    "usage above the cap",
    "usage with overdue",
    "usage with late",
    "time moved within the call",
];

type Event = checker::Event<Op, Answer>;

struct World {
    time: VirtualClock,
    limiter: ConcurrencyLimiter,
    /// Orders the beginnings and ends of calls. Not part of the model.
    order: AtomicU64,
}

impl World {
    fn new(cap: u32) -> World {
        let time = VirtualClock::new();
        let length = Duration::from_nanos(LENGTH as u64);
        let limiter = ConcurrencyLimiter::builder(cap).lease(length).clock(time.clock()).build();
        World { time, limiter, order: AtomicU64::new(0) }
    }

    fn order(&self) -> u64 {
        self.order.fetch_add(1, Ordering::Relaxed)
    }

    fn now(&self) -> i64 {
        self.time.now().as_nanos() as i64
    }

    /// The calls of one thread, and the leases that it still holds.
    fn run(&self, owner: usize, random: &mut Random) -> (Vec<Event>, [Option<Lease>; LEASES]) {
        let mut events = Vec::new();
        let mut leases = [const { None }; LEASES];
        for _ in 0..CALLS {
            let place = random.below(LEASES as u64) as usize;
            let number = owner * LEASES + place;
            let held: &mut Option<Lease> = &mut leases[place];
            let (begin, clock) = (self.order(), self.now());
            let (op, answer) = match (random.below(16), &held) {
                (0..7, None) => {
                    let weight = random.one_of(&[1, 1, 1, 2]);
                    let taken = self.limiter.try_acquire_n(weight);
                    let answer = taken.as_ref().map_or_else(denied, |_| Answer::Granted);
                    *held = taken.ok();
                    (Op::Acquire { weight, lease: number }, answer)
                }
                (0..5, Some(_)) => {
                    *held = None;
                    (Op::GiveBack { lease: number }, Answer::Done)
                }
                (5..7, Some(lease)) => {
                    let renewed = lease.renew().is_ok();
                    (Op::Renew { lease: number }, Answer::Renewed(renewed))
                }
                (7..9, Some(lease)) => {
                    let remaining = lease.remaining().as_nanos() as i64;
                    (Op::Remaining { lease: number }, Answer::Remaining(remaining))
                }
                (9, _) => {
                    let cap = random.below(4) as u32;
                    self.limiter.resize(cap);
                    (Op::Resize { cap }, Answer::Done)
                }
                (10, _) => {
                    self.limiter.reset();
                    (Op::Reset, Answer::Done)
                }
                (11..13, _) => {
                    let usage = self.limiter.usage();
                    let answer = Answer::Usage {
                        cap: usage.cap,
                        in_use: usage.in_use,
                        overdue: usage.overdue,
                        expired: usage.expired,
                        late: usage.late,
                    };
                    (Op::Usage, answer)
                }
                _ => {
                    self.time.advance(Duration::from_nanos(TIME_STEP as u64));
                    continue;
                }
            };
            let (end, clock) = (self.order(), [clock, self.now()]);
            events.push(Event { begin, end, clock, op, answer });
        }
        (events, leases)
    }
}

fn denied(denied: &Denied) -> Answer {
    Answer::Denied {
        burst: denied.burst() as u32,
        remaining: denied.remaining() as u32,
        reset: denied.reset_after().as_nanos() as i64,
        retry: match denied.retry() {
            tollgate::Retry::Unknown { at_latest: Some(wait) } => {
                Retry::AtLatest(wait.as_nanos() as i64)
            }
            tollgate::Retry::Never => Retry::Never,
            other => panic!("no serial order: {other:?} of a limit whose leases end"),
        },
    }
}

/// The kinds of answers of `event`.
fn kinds(event: &Event) -> impl Iterator<Item = &'static str> {
    let kind = match (event.op, event.answer) {
        (_, Answer::Granted) => "granted",
        (_, Answer::Denied { retry: Retry::Never, .. }) => "never",
        (_, Answer::Denied { .. }) => "denied",
        (_, Answer::Renewed(true)) => "renewed",
        (_, Answer::Renewed(false)) => "over before it was renewed",
        (_, Answer::Remaining(0)) => "over",
        (_, Answer::Remaining(_)) => "remaining",
        (_, Answer::Usage { .. }) => "usage",
        (Op::Resize { .. }, _) => "resized",
        (Op::Reset, _) => "reset",
        _ => "given back",
    };
    let usage = |is: fn(u32, u32, u32, u64) -> bool| match event.answer {
        Answer::Usage { cap, in_use, overdue, late, .. } => is(cap, in_use, overdue, late),
        _ => false,
    };
    let above = usage(|cap, in_use, _, _| in_use > cap).then_some("usage above the cap");
    let overdue = usage(|_, _, overdue, _| overdue > 0).then_some("usage with overdue");
    let late = usage(|_, _, _, late| late > 0).then_some("usage with late");
    let moved = (event.clock[0] != event.clock[1]).then_some("time moved within the call");
    [Some(kind), above, overdue, late, moved].into_iter().flatten()
}

pub fn main() {
    draw::histories(&KINDS, (THREADS * CALLS) as u64, |random| {
        let cap = random.one_of(&[1, 1, 2, 3]);
        let world = Arc::new(World::new(cap));
        let at = world.clone();
        let run = move |owner, mut random| at.run(owner, &mut random);
        let (events, leases): (Vec<_>, Vec<_>) =
            draw::race(THREADS, random, run).into_iter().unzip();
        let events = events.concat();
        let kinds: Vec<_> = events.iter().flat_map(kinds).collect();
        draw::check(Model::new(cap), events);
        drop(leases);
        world.limiter.resize(cap);
        assert!(world.limiter.try_acquire_n(cap).is_ok(), "no serial order: a slot is lost");
        kinds
    });
}
