//! Histories of rates: the calls of the threads, and the kinds of answers that are counted. The
//! sequential model is in `model`.

mod model;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tollgate::algorithm::Gcra;
use tollgate::{Allowed, Denied, RateLimiter, Retry, Timestamp, VirtualClock, all};

use crate::checker::{self, TIME_STEP};
use crate::draw::{self, Random};
use crate::identity::Identity;
use model::{Answer, CELLS, Model, Op, Quota, Standing, WIDE};

type Event = checker::Event<Op, Answer>;

const THREADS: usize = 3;
const CALLS: usize = 4;
const QUOTAS: [Quota; 4] = [
    Quota { interval: 12, burst: 3 },
    Quota { interval: 12, burst: 2 },
    Quota { interval: 4, burst: 4 },
    Quota { interval: 6, burst: 3 },
];
/// Kinds of answers that must occur.
const KINDS: [&str; 14] = [
    "check allowed",
    "check denied",
    "peek allowed",
    "peek denied",
    "admit allowed",
    "admit refused by the first",
    "admit refused by the second",
    "never",
    "reserve allowed",
    "reserve denied",
    "settle lower",
    "settle higher",
    "set quota",
    "time moved within the call",
];

type Limiter = RateLimiter<Gcra, Identity>;

struct World {
    time: VirtualClock,
    limiters: [Limiter; 2],
    /// Orders the beginnings and ends of calls. Not part of the model.
    order: AtomicU64,
}

impl World {
    fn new(quotas: [Quota; 2]) -> Self {
        let time = VirtualClock::new();
        let limiters = quotas.map(|quota| {
            RateLimiter::builder(to_quota(quota))
                .clock(time.clock())
                .hasher(Identity::default())
                .max_keys(4)
                .build()
        });
        World { time, limiters, order: AtomicU64::new(0) }
    }

    fn limiter(&self, cell: usize) -> (&Limiter, u64) {
        let key = |index: u64| index << 32 | index << 30;
        if cell == WIDE {
            (&self.limiters[1], key(1))
        } else {
            (&self.limiters[0], key(cell as u64 + 1))
        }
    }

    fn order(&self) -> u64 {
        self.order.fetch_add(1, Ordering::Relaxed)
    }

    fn now(&self) -> i64 {
        self.time.now().as_nanos() as i64
    }

    /// The calls of one thread.
    fn run(&self, owner: usize, random: &mut Random) -> Vec<Event> {
        let mut events = Vec::new();
        let mut reserved = None;
        for _ in 0..CALLS {
            let cell = random.below(CELLS as u64) as usize;
            let (limiter, key) = self.limiter(cell);
            let cost = [1, 1, 1, 2, 2, 3][random.below(6) as usize];
            // Some calls decide at an earlier timestamp than the clock's.
            let now = self.now();
            let at = Timestamp::from_nanos(now as u64);
            let (begin, clock) = (self.order(), now);
            let mut record = |op, answer| {
                let (end, clock) = (self.order(), [clock, self.now()]);
                events.push(Event { begin, end, clock, op, answer });
            };
            match random.below(20) {
                0..5 => {
                    let answer = to_answer(0, limiter.check_at(&key, cost as u64, at));
                    record(Op::Check { cell, cost, now }, answer);
                }
                5..7 => {
                    let cost = cost - 1;
                    let answer = to_answer(0, limiter.peek_at(&key, cost as u64, at));
                    record(Op::Peek { cell, cost, now }, answer);
                }
                7..13 => {
                    let mut cells = [random.below(2) as usize, WIDE];
                    if random.below(3) == 0 {
                        cells.reverse();
                    }
                    let cost = if random.below(8) == 0 { 0 } else { cost };
                    let keys = cells.map(|cell| {
                        let (limiter, key) = self.limiter(cell);
                        limiter.key(&key)
                    });
                    let answer = match all(keys).admit_at(cost as u64, at) {
                        Ok(permit) => allowed(permit.allowed()),
                        Err(refused) => denied(refused.index(), refused.denied()),
                    };
                    record(Op::Admit { cells, cost, now }, answer);
                }
                13..17 => match reserved.take() {
                    None => {
                        let answer = limiter.reserve(&key, cost as u64).map(|reservation| {
                            let allowed = reservation.allowed();
                            reserved = Some(reservation);
                            allowed
                        });
                        record(Op::Reserve { cell, cost, owner }, to_answer(0, answer));
                    }
                    Some(reservation) => {
                        let cost = random.below(4) as i64;
                        reservation.settle(cost as u64);
                        record(Op::Settle { cost, owner }, Answer::Done);
                    }
                },
                17..18 => {
                    let quota = QUOTAS[random.below(4) as usize];
                    limiter.set_quota(to_quota(quota));
                    let end = (self.order(), [clock, self.now()]);
                    for cell in if cell == WIDE { WIDE..CELLS } else { 0..WIDE } {
                        let op = Op::SetQuota { cell, quota };
                        events.push(Event {
                            begin,
                            end: end.0,
                            clock: end.1,
                            op,
                            answer: Answer::Done,
                        });
                    }
                }
                _ => self.time.advance(Duration::from_nanos(TIME_STEP as u64)),
            }
        }
        events
    }
}

fn to_quota(quota: Quota) -> tollgate::Quota {
    let per = Duration::from_nanos(quota.interval as u64);
    tollgate::Quota::new(1, per).and_then(|q| q.with_burst(quota.burst as u64)).expect("a quota")
}

fn standing(burst: u64, remaining: u64, reset: Duration) -> Standing {
    let reset = reset.as_nanos() as i64;
    Standing { burst: burst as i64, remaining: remaining as i64, reset }
}

fn allowed(allowed: Allowed) -> Answer {
    Answer::Allowed(standing(allowed.burst(), allowed.remaining(), allowed.reset_after()))
}

fn denied(index: usize, denied: Denied) -> Answer {
    let standing = standing(denied.burst(), denied.remaining(), denied.reset_after());
    let wait = match denied.retry() {
        Retry::After(wait) => Some(wait.as_nanos() as i64),
        _ => None,
    };
    Answer::Denied { index, standing, wait }
}

fn to_answer(index: usize, answer: Result<Allowed, Denied>) -> Answer {
    answer.map_or_else(|error| denied(index, error), allowed)
}

/// The kinds of answers of `event`.
fn kinds(event: &Event) -> impl Iterator<Item = &'static str> {
    let kind = match (event.op, event.answer) {
        (Op::Check { .. }, Answer::Allowed(_)) => "check allowed",
        (Op::Check { .. }, _) => "check denied",
        (Op::Peek { .. }, Answer::Allowed(_)) => "peek allowed",
        (Op::Peek { .. }, _) => "peek denied",
        (Op::Admit { .. }, Answer::Denied { index: 0, .. }) => "admit refused by the first",
        (Op::Admit { .. }, Answer::Denied { .. }) => "admit refused by the second",
        (Op::Admit { .. }, _) => "admit allowed",
        (Op::Reserve { .. }, Answer::Allowed(_)) => "reserve allowed",
        (Op::Reserve { .. }, _) => "reserve denied",
        (Op::Settle { cost: 0..2, .. }, _) => "settle lower",
        (Op::Settle { .. }, _) => "settle higher",
        (Op::SetQuota { .. }, _) => "set quota",
    };
    let never = matches!(event.answer, Answer::Denied { wait: None, .. }).then_some("never");
    let moved = (event.clock[0] != event.clock[1]).then_some("time moved within the call");
    [Some(kind), never, moved].into_iter().flatten()
}

pub fn main() {
    draw::histories(&KINDS, (THREADS * CALLS) as u64, |random| {
        let quotas = [(); 2].map(|()| random.one_of(&QUOTAS));
        let world = Arc::new(World::new(quotas));
        // Usually the time origin is set before the race. Sometimes the race sets it.
        if random.below(8) > 0 {
            for cell in [0, WIDE] {
                let (limiter, key) = world.limiter(cell);
                let _ = limiter.peek(&key);
            }
        }
        let run = move |owner, mut random| world.run(owner, &mut random);
        let events = draw::race(THREADS, random, run).concat();
        let kinds: Vec<_> = events.iter().flat_map(kinds).collect();
        draw::check(Model::new([quotas[0], quotas[0], quotas[1]]), events);
        kinds
    });
}
