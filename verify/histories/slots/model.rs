//! The sequential model of a concurrency limit: a list of leases. Leases that are over are taken
//! back when a call needs their slots.

use crate::checker;

/// The most leases per thread.
pub const LEASES: usize = 2;
pub const THREADS: usize = 3;

/// The length of a lease in nanoseconds.
pub const LENGTH: i64 = 24;

/// Leases are numbered per thread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    Acquire { weight: u32, lease: usize },
    GiveBack { lease: usize },
    Renew { lease: usize },
    Remaining { lease: usize },
    Resize { cap: u32 },
    Reset,
    Usage,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    Granted,
    Denied { burst: u32, remaining: u32, reset: i64, retry: Retry },
    Renewed(bool),
    Remaining(i64),
    Usage { cap: u32, in_use: u32, overdue: u32, expired: u64, late: u64 },
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Retry {
    Never,
    AtLatest(i64),
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    weight: u32,
    end: i64,
    is_held: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Model {
    cap: u32,
    leases: [Lease; THREADS * LEASES],
    expired: u64,
    late: u64,
}

impl Model {
    pub fn new(cap: u32) -> Model {
        let none = Lease { weight: 0, end: 0, is_held: false };
        Model { cap, leases: [none; THREADS * LEASES], expired: 0, late: 0 }
    }

    fn held(&self) -> impl Iterator<Item = &Lease> {
        self.leases.iter().filter(|lease| lease.is_held)
    }

    fn in_use(&self) -> u32 {
        self.held().map(|lease| lease.weight).sum()
    }

    fn take_back(&mut self, now: i64) {
        for lease in &mut self.leases {
            if lease.is_held && lease.end <= now {
                lease.is_held = false;
                self.expired += 1;
            }
        }
    }

    fn acquire(&mut self, weight: u32, lease: usize, now: i64) -> Answer {
        let mut retry = Retry::Never;
        if weight <= self.cap {
            if self.in_use() + weight > self.cap {
                self.take_back(now);
            }
            if self.in_use() + weight <= self.cap {
                self.leases[lease] = Lease { weight, end: now + LENGTH, is_held: true };
                return Answer::Granted;
            }
            // The first moment at which enough leases are over to make room, if no lease is given
            // back.
            let left = |at: i64| self.held().filter(|l| l.end > at).map(|l| l.weight).sum::<u32>();
            let ends = self.held().map(|lease| lease.end);
            let end = ends.filter(|end| left(*end) + weight <= self.cap).min();
            retry = Retry::AtLatest((end.expect("every lease ends") - now).max(0));
        }
        let in_use = self.in_use();
        Answer::Denied {
            burst: self.cap,
            remaining: self.cap.saturating_sub(in_use),
            reset: if in_use == 0 { 0 } else { LENGTH },
            retry,
        }
    }
}

impl checker::Model for Model {
    type Op = Op;
    type Answer = Answer;

    fn step(&mut self, op: Op, now: i64) -> Option<Answer> {
        Some(match op {
            Op::Acquire { weight, lease } => self.acquire(weight, lease, now),
            Op::GiveBack { lease } => {
                let Lease { is_held, end, .. } = self.leases[lease];
                if is_held && end > now {
                    self.leases[lease].is_held = false;
                } else {
                    self.late += 1;
                    if is_held {
                        self.take_back(now);
                    }
                }
                Answer::Done
            }
            Op::Renew { lease } => {
                let lease = &mut self.leases[lease];
                let renewed = lease.is_held && lease.end > now;
                if renewed {
                    lease.end = lease.end.max(now + LENGTH);
                }
                Answer::Renewed(renewed)
            }
            Op::Remaining { lease } => {
                let Lease { is_held, end, .. } = self.leases[lease];
                Answer::Remaining(if is_held { (end - now).max(0) } else { 0 })
            }
            Op::Resize { cap } => {
                self.cap = cap;
                Answer::Done
            }
            Op::Reset => {
                self.take_back(now);
                for lease in &mut self.leases {
                    lease.is_held = false;
                }
                Answer::Done
            }
            Op::Usage => {
                let over = || self.held().filter(|lease| lease.end <= now);
                let overdue = over().map(|lease| lease.weight).sum();
                Answer::Usage {
                    cap: self.cap,
                    in_use: self.in_use() - overdue,
                    overdue,
                    expired: self.expired + over().count() as u64,
                    late: self.late,
                }
            }
        })
    }
}
