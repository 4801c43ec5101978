//! What the threads do, and what is counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use tollgate::{Allowed, Denied, RateLimiter, Retry, Timestamp, VirtualClock, all};

use crate::checker::{Event, has_serial_order};
use crate::identity::Identity;
use crate::model::{Answer, CELLS, Model, Op, Quota, Standing, TIME_STEP, WIDE};

const THREADS: usize = 3;
const CALLS: usize = 4;
const QUOTAS: [Quota; 4] = [
    Quota { interval: 12, burst: 3 },
    Quota { interval: 12, burst: 2 },
    Quota { interval: 4, burst: 4 },
    Quota { interval: 6, burst: 3 },
];
/// The least share of all calls that a kind of answer must make up: one in this many.
const RARE: u64 = 1000;
/// Kinds of answers that must come up.
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

type Limiter = RateLimiter<Identity>;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % n
    }
}

struct World {
    time: VirtualClock,
    limiters: [Limiter; 2],
    /// Orders the beginnings and ends of calls. No part of the model.
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
            // Some decide at a stamp that is no longer now.
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

/// The kinds of answers that `event` is one of.
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

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

pub fn main() {
    let histories = from_environment("TOLLGATE_HISTORIES", 100_000);
    let seed = from_environment("TOLLGATE_SEED", 1);
    let counts: Arc<Mutex<BTreeMap<&str, u64>>> = Arc::default();
    let drawn = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    // Random walks find what takes many switches, PCT what takes few at the right places.
    let schedulers: [Box<dyn Scheduler + Send>; 2] = [
        Box::new(RandomScheduler::new_from_seed(seed, (histories - histories / 4) as usize)),
        Box::new(PctScheduler::new_from_seed(seed, 3, (histories / 4) as usize)),
    ];
    for scheduler in schedulers {
        let (counts, drawn) = (counts.clone(), drawn.clone());
        let mut config = shuttle::Config::default();
        // That weak memory is not modelled: loom does that.
        config.silence_warnings = true;
        let runner = shuttle::Runner::new(scheduler, config);
        runner.run(move || {
            let number = drawn.fetch_add(1, Ordering::Relaxed);
            let mut random = Random(seed << 40 | number);
            let quotas = [(); 2].map(|()| QUOTAS[random.below(4) as usize]);
            let world = Arc::new(World::new(quotas));
            // Mostly the axis is there before the race. Sometimes the race makes it.
            if random.below(8) > 0 {
                for cell in [0, WIDE] {
                    let (limiter, key) = world.limiter(cell);
                    let _ = limiter.peek(&key);
                }
            }
            let threads: Vec<_> = (0..THREADS)
                .map(|owner| {
                    let (world, mut random) = (world.clone(), Random(random.below(u64::MAX)));
                    shuttle::thread::spawn(move || world.run(owner, &mut random))
                })
                .collect();
            let events: Vec<Event> =
                threads.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect();
            let model = Model::new([quotas[0], quotas[0], quotas[1]]);
            if !has_serial_order(model, &events) {
                let mut events = events;
                events.sort_by_key(|event| event.begin);
                let list: Vec<_> = events.iter().map(|event| format!("{event:?}\n")).collect();
                panic!(
                    "no serial order, seed {seed} history {number}:\n{quotas:?}\n{}",
                    list.concat()
                );
            }
            let mut counts = counts.lock().expect("counts");
            for kind in events.iter().flat_map(kinds) {
                *counts.entry(kind).or_default() += 1;
            }
        });
    }
    let counts = counts.lock().expect("counts");
    let calls = histories * (THREADS * CALLS) as u64;
    let rate = histories as f64 / begun.elapsed().as_secs_f64();
    println!("{histories} histories, {calls} calls, {rate:.0} histories/s: {counts:?}");
    let rare: Vec<_> = KINDS
        .iter()
        .filter(|kind| counts.get(**kind).copied().unwrap_or(0) * RARE < calls)
        .collect();
    assert!(rare.is_empty(), "too rare to say anything: {rare:?}");
}
