//! Histories of a rate and the slots of two limits, admitted together and one by one, on a clock
//! that stands still. This file has the model, the calls of the threads, and the kinds of answers
//! that are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tollgate::algorithm::Gcra;
use tollgate::set::SetPermit;
use tollgate::{ConcurrencyLimiter, Lease, Quota, RateLimiter, VirtualClock, all};

use crate::checker;
use crate::draw::{self, Random};
use crate::identity::Identity;

const THREADS: usize = 3;
const CALLS: usize = 4;
const KEY: u64 = 1 << 32;
/// Kinds of answers that must occur.
const KINDS: [&str; 12] = [
    "set admitted",
    "set refused by the rate",
    "set refused by a",
    "set refused by b",
    "slots admitted",
    "slots refused",
    "set given back",
    "lease",
    "no lease",
    "lease given back",
    "checked",
    "usage",
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    /// A unit of the rate and a slot of `a` and of `b`.
    Set,
    /// A slot of `b` and of `a`.
    Slots,
    /// A slot of `a` or of `b` comes back.
    GiveBack {
        of: usize,
    },
    /// A slot of `a`.
    Lease,
    Check,
    Resize {
        cap: u32,
    },
    Usage,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Admitted,
    Refused(&'static str),
    Done,
    Usage { a: u32 },
}

/// The sequential model: units left, slots in use, caps.
#[derive(Clone, Copy, Debug)]
struct Model {
    left: u32,
    in_use: [u32; 2],
    cap: [u32; 2],
}

impl Model {
    fn admit(&mut self, units: u32, slots: [u32; 2], order: [usize; 2]) -> Answer {
        if units > self.left {
            return Answer::Refused("rate");
        }
        for at in order {
            if slots[at] > 0 && self.in_use[at] + slots[at] > self.cap[at] {
                return Answer::Refused(["a", "b"][at]);
            }
        }
        self.left -= units;
        for (in_use, taken) in self.in_use.iter_mut().zip(slots) {
            *in_use += taken;
        }
        Answer::Admitted
    }
}

impl checker::Model for Model {
    type Op = Op;
    type Answer = Answer;

    fn step(&mut self, op: Op, _: i64) -> Option<Answer> {
        Some(match op {
            Op::Set => self.admit(1, [1, 1], [0, 1]),
            Op::Slots => self.admit(0, [1, 1], [1, 0]),
            Op::Lease => self.admit(0, [1, 0], [0, 1]),
            Op::Check => self.admit(1, [0, 0], [0, 1]),
            Op::GiveBack { of } => {
                self.in_use[of] -= 1;
                Answer::Done
            }
            Op::Resize { cap } => {
                self.cap[0] = cap;
                Answer::Done
            }
            Op::Usage => Answer::Usage { a: self.in_use[0] },
        })
    }
}

type Event = checker::Event<Op, Answer>;

struct World {
    rate: RateLimiter<Gcra, Identity>,
    a: ConcurrencyLimiter,
    b: ConcurrencyLimiter,
    /// Orders the beginnings and ends of calls. Not part of the model.
    order: AtomicU64,
}

/// What one thread holds.
enum Held<'w> {
    Set { _permit: SetPermit<'w, 3> },
    Slots { _permit: SetPermit<'w, 2> },
    Lease { _lease: Lease },
}

impl World {
    fn new(units: u32, cap: [u32; 2]) -> World {
        let time = VirtualClock::new();
        let quota = Quota::new(1, Duration::from_secs(1))
            .and_then(|quota| quota.with_burst(units.into()))
            .expect("a quota");
        let rate = RateLimiter::builder(quota).clock(time.clock()).max_keys(2).name("rate");
        let slots =
            |cap, name| ConcurrencyLimiter::builder(cap).clock(time.clock()).name(name).build();
        World {
            rate: rate.hasher(Identity::default()).build(),
            a: slots(cap[0], "a"),
            b: slots(cap[1], "b"),
            order: AtomicU64::new(0),
        }
    }

    fn order(&self) -> u64 {
        self.order.fetch_add(1, Ordering::Relaxed)
    }

    /// The calls of one thread.
    fn run(&self, random: &mut Random) -> Vec<Event> {
        let mut events = Vec::new();
        let mut held: Vec<Held<'_>> = Vec::new();
        for _ in 0..CALLS {
            let begin = self.order();
            let (op, answer) = match random.below(16) {
                0..4 => {
                    let set = all((self.rate.key(&KEY), self.a.slot(), self.b.slot())).admit(1);
                    let answer = set.map(|permit| held.push(Held::Set { _permit: permit }));
                    (
                        Op::Set,
                        answer.map_or_else(|r| Answer::Refused(r.limit()), |()| Answer::Admitted),
                    )
                }
                4..7 => {
                    let set = all((self.b.slot(), self.a.slot())).admit(1);
                    let answer = set.map(|permit| held.push(Held::Slots { _permit: permit }));
                    (
                        Op::Slots,
                        answer.map_or_else(|r| Answer::Refused(r.limit()), |()| Answer::Admitted),
                    )
                }
                7..9 => {
                    let lease = self.a.try_acquire();
                    let answer = lease.map(|lease| held.push(Held::Lease { _lease: lease }));
                    (Op::Lease, answer.map_or(Answer::Refused("a"), |()| Answer::Admitted))
                }
                9..13 => {
                    let Some(back) = held.pop() else { continue };
                    let is_set = !matches!(back, Held::Lease { .. });
                    drop(back);
                    if is_set {
                        // A permit gives its slots back one after the other, so its drop is two
                        // concurrent calls.
                        let end = self.order.load(Ordering::Relaxed);
                        let (op, answer) = (Op::GiveBack { of: 1 }, Answer::Done);
                        events.push(Event { begin, end, clock: [0, 0], op, answer });
                    }
                    (Op::GiveBack { of: 0 }, Answer::Done)
                }
                13 => {
                    let answer = self.rate.check(&KEY);
                    (Op::Check, answer.map_or(Answer::Refused("rate"), |_| Answer::Admitted))
                }
                14 => {
                    let cap = random.below(4) as u32;
                    self.a.resize(cap);
                    (Op::Resize { cap }, Answer::Done)
                }
                _ => (Op::Usage, Answer::Usage { a: self.a.usage().in_use }),
            };
            events.push(Event { begin, end: self.order(), clock: [0, 0], op, answer });
        }
        // Kept until all threads are done: what they give back at the end is not in the history.
        held.into_iter().for_each(std::mem::forget);
        events
    }
}

/// The kind of answer of `event`.
fn kind(event: &Event) -> &'static str {
    match (event.op, event.answer) {
        (Op::Set, Answer::Admitted) => "set admitted",
        (Op::Set, Answer::Refused("rate")) => "set refused by the rate",
        (Op::Set, Answer::Refused("a")) => "set refused by a",
        (Op::Set, _) => "set refused by b",
        (Op::Slots, Answer::Admitted) => "slots admitted",
        (Op::Slots, _) => "slots refused",
        (Op::GiveBack { of: 1 }, _) => "set given back",
        (Op::GiveBack { .. }, _) => "lease given back",
        (Op::Lease, Answer::Admitted) => "lease",
        (Op::Lease, _) => "no lease",
        (Op::Check, _) => "checked",
        (Op::Resize { .. }, _) => "resized",
        (Op::Usage, _) => "usage",
    }
}

pub fn main() {
    draw::histories(&KINDS, (THREADS * CALLS) as u64, |random| {
        let units = random.one_of(&[1, 2, 3]);
        let cap = [random.one_of(&[1, 1, 2, 3]), random.one_of(&[1, 1, 2])];
        let world = Arc::new(World::new(units, cap));
        let run = move |_, mut random: Random| world.run(&mut random);
        let events = draw::race(THREADS, random, run).concat();
        let kinds: Vec<_> = events.iter().map(kind).collect();
        draw::check(Model { left: units, in_use: [0, 0], cap }, events);
        kinds
    });
}
