//! Histories of waiters in a line. After all threads have ended, each remaining waiter must have a
//! reason to wait: there are not enough free slots for it, and its deadline has not passed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tollgate::{ConcurrencyLimiter, Lease, Timestamp, VirtualClock, WaitError};

use crate::draw::{self, Random};

const THREADS: usize = 3;
const CALLS: usize = 4;
const STEP: Duration = Duration::from_nanos(12);
/// Kinds of answers that must occur.
const KINDS: [&str; 11] = [
    "granted at once",
    "granted in line",
    "refused at once",
    "refused in line",
    "waits",
    "waits still",
    "left the line",
    "left with a grant",
    "given back",
    "taken past the line",
    "denied past the line",
];

struct World {
    time: VirtualClock,
    limiter: ConcurrencyLimiter,
    /// Units held: known only if leases do not end and the cap does not change.
    held: Option<AtomicU32>,
    cap: u32,
}

#[derive(Default)]
struct Woken(AtomicU64);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Waiting {
    future: Pin<Box<dyn Future<Output = Result<Lease, WaitError>> + Send>>,
    woken: Arc<Woken>,
    seen: u64,
    weight: u32,
    deadline: Timestamp,
}

impl Waiting {
    fn poll(&mut self) -> Option<Result<Lease, WaitError>> {
        self.seen = self.woken.0.load(Ordering::Relaxed);
        let waker = Waker::from(self.woken.clone());
        match self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::Relaxed) > self.seen
    }
}

/// What remains of a thread after its calls.
#[derive(Default)]
struct Left {
    kinds: Vec<&'static str>,
    waiting: Option<Waiting>,
    leases: Vec<Lease>,
}

impl World {
    fn run(&self, random: &mut Random) -> Left {
        let mut left = Left::default();
        for _ in 0..CALLS {
            let kind = match (random.below(16), left.waiting.take()) {
                (0..7, None) => {
                    let weight = random.one_of(&[1, 1, 2]);
                    let within = STEP * random.one_of(&[1, 2, 100]);
                    let mut waiting = Waiting {
                        future: Box::pin(self.limiter.acquire_n(weight, within)),
                        woken: Arc::default(),
                        seen: 0,
                        weight,
                        deadline: self.time.now() + within,
                    };
                    match waiting.poll() {
                        None => {
                            // The wait begins with the first poll.
                            waiting.deadline = waiting.deadline.max(self.time.now() + within);
                            left.waiting = Some(waiting);
                            "waits"
                        }
                        Some(answer) => {
                            self.keep(&mut left, answer, "granted at once", "refused at once")
                        }
                    }
                }
                (0..4, Some(mut waiting)) => match waiting.poll() {
                    None => {
                        left.waiting = Some(waiting);
                        continue;
                    }
                    Some(answer) => {
                        self.keep(&mut left, answer, "granted in line", "refused in line")
                    }
                },
                (4..7, Some(waiting)) => {
                    let is_woken = waiting.is_woken();
                    drop(waiting);
                    if is_woken { "left with a grant" } else { "left the line" }
                }
                (7..11, waiting) => {
                    left.waiting = waiting;
                    if left.leases.is_empty() {
                        continue;
                    }
                    self.give_back(left.leases.remove(0));
                    "given back"
                }
                (11..13, waiting) => {
                    left.waiting = waiting;
                    match self.limiter.try_acquire() {
                        Ok(lease) => {
                            self.hold(&lease);
                            left.leases.push(lease);
                            "taken past the line"
                        }
                        Err(_) => "denied past the line",
                    }
                }
                (13, waiting) if self.held.is_none() => {
                    left.waiting = waiting;
                    match random.below(2) {
                        0 => self.limiter.resize(random.below(4) as u32),
                        _ => self.limiter.reset(),
                    }
                    continue;
                }
                (_, waiting) => {
                    left.waiting = waiting;
                    self.time.advance(STEP);
                    continue;
                }
            };
            left.kinds.push(kind);
        }
        left
    }

    fn keep(
        &self,
        left: &mut Left,
        answer: Result<Lease, WaitError>,
        granted: &'static str,
        refused: &'static str,
    ) -> &'static str {
        match answer {
            Ok(lease) => {
                self.hold(&lease);
                left.leases.push(lease);
                granted
            }
            Err(WaitError::Denied(_)) => refused,
            Err(other) => panic!("{other:?}"),
        }
    }

    fn hold(&self, lease: &Lease) {
        if let Some(held) = &self.held {
            let units = held.fetch_add(lease.weight(), Ordering::Relaxed) + lease.weight();
            assert!(units <= self.cap, "no serial order: more are held than there are");
        }
    }

    fn give_back(&self, lease: Lease) {
        if let Some(held) = &self.held {
            held.fetch_sub(lease.weight(), Ordering::Relaxed);
        }
        drop(lease);
    }

    /// Checks the waiters that remain once all threads have ended.
    fn check(&self, left: &mut [Left]) {
        let mut heaviest = 0;
        let mut waiting_still = 0;
        for left in left.iter_mut() {
            let Some(mut waiting) = left.waiting.take() else { continue };
            let is_woken = waiting.is_woken();
            match waiting.poll() {
                Some(answer) => {
                    assert!(is_woken, "no serial order: nobody woke who waits");
                    let kind = self.keep(left, answer, "granted in line", "refused in line");
                    left.kinds.push(kind);
                }
                None => {
                    let is_over = waiting.deadline <= self.time.now();
                    assert!(!is_over, "no serial order: waits beyond its time");
                    heaviest = heaviest.max(waiting.weight);
                    waiting_still += 1;
                    left.kinds.push("waits still");
                    left.waiting = Some(waiting);
                }
            }
        }
        let usage = self.limiter.usage();
        assert_eq!(usage.waiting, waiting_still, "no serial order: one who left is in line");
        let free = usage.cap.saturating_sub(usage.in_use);
        let is_stranded = waiting_still > 0 && free >= heaviest;
        assert!(!is_stranded, "no serial order: a waiter is stranded, {usage:?}");
    }
}

pub fn main() {
    draw::histories(&KINDS, (THREADS * CALLS) as u64, |random| {
        let cap = random.one_of(&[1, 2, 2, 3]);
        let time = VirtualClock::new();
        let builder = ConcurrencyLimiter::builder(cap).clock(time.clock());
        let endless = random.below(2) == 0;
        let builder = if endless { builder } else { builder.lease(2 * STEP) };
        let held = endless.then(|| AtomicU32::new(0));
        let world = Arc::new(World { time, limiter: builder.build(), held, cap });
        let at = world.clone();
        let run = move |_, mut random| at.run(&mut random);
        let mut left = draw::race(THREADS, random, run);
        world.check(&mut left);
        let kinds = left.iter_mut().flat_map(|left| std::mem::take(&mut left.kinds)).collect();
        drop(left);
        world.limiter.resize(cap);
        assert!(world.limiter.try_acquire_n(cap).is_ok(), "no serial order: a slot is lost");
        let kinds: Vec<_> = kinds;
        kinds
    });
}
