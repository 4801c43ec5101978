//! The sequential model of rates: GCRA in whole nanoseconds. Intervals divide `TIME_STEP` and time
//! moves in multiples of it, so that only debt is rounded, when a quota changes.

use crate::checker;

/// Two keys of a narrow limiter, then the one key of a wide limiter.
pub const CELLS: usize = 3;
pub const WIDE: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quota {
    /// Nanoseconds until a unit comes back.
    pub interval: i64,
    pub burst: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    Check {
        cell: usize,
        cost: i64,
        now: i64,
    },
    Peek {
        cell: usize,
        cost: i64,
        now: i64,
    },
    /// Admits all cells or none, in this order.
    Admit {
        cells: [usize; 2],
        cost: i64,
        now: i64,
    },
    /// By the thread `owner`, which has at most one reservation.
    Reserve {
        cell: usize,
        cost: i64,
        owner: usize,
    },
    Settle {
        cost: i64,
        owner: usize,
    },
    /// The change of one cell. A change reaches each key at a moment of its own.
    SetQuota {
        cell: usize,
        quota: Quota,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    pub burst: i64,
    pub remaining: i64,
    pub reset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    Allowed(Standing),
    /// By the limit with this index in the call. Without a wait, no wait ever helps.
    Denied {
        index: usize,
        standing: Standing,
        wait: Option<i64>,
    },
    Done,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    full_at: i64,
    /// All quotas so far, the latest last.
    quotas: [Quota; 8],
    changes: usize,
    /// The latest timestamp with which it was written.
    written: i64,
}

#[derive(Clone, Copy, Debug)]
struct Charge {
    cell: usize,
    cost: i64,
    at: i64,
    changes: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct Model {
    cells: [Cell; CELLS],
    charges: [Option<Charge>; 4],
}

impl Model {
    pub fn new(quotas: [Quota; CELLS]) -> Self {
        let cell = |quota| Cell { full_at: 0, quotas: [quota; 8], changes: 0, written: 0 };
        Model { cells: quotas.map(cell), charges: [None; 4] }
    }

    fn admit(&mut self, cells: [usize; 2], cost: i64, now: i64) -> Answer {
        let mut next = *self;
        let answers = cells.map(|cell| next.cells[cell].check(cost, now));
        let mut refused: Option<Answer> = None;
        let mut tightest: Option<Standing> = None;
        for (at, answer) in answers.into_iter().enumerate() {
            match (answer, &mut refused) {
                (Answer::Denied { wait, .. }, Some(Answer::Denied { wait: longest, .. })) => {
                    *longest = longest.zip(wait).map(|(a, b)| a.max(b));
                }
                (Answer::Denied { standing, wait, .. }, refused) => {
                    *refused = Some(Answer::Denied { index: at, standing, wait });
                }
                (Answer::Allowed(standing), _) => {
                    if tightest.is_none_or(|tightest| standing.remaining < tightest.remaining) {
                        tightest = Some(standing);
                    }
                }
                (Answer::Done, _) => unreachable!(),
            }
        }
        match (refused, tightest) {
            (Some(refused), _) => refused,
            (None, Some(standing)) => {
                *self = next;
                Answer::Allowed(standing)
            }
            (None, None) => unreachable!(),
        }
    }
}

impl checker::Model for Model {
    type Op = Op;
    type Answer = Answer;

    fn step(&mut self, op: Op, now: i64) -> Option<Answer> {
        Some(match op {
            Op::Check { cell, cost, now } => self.cells[cell].check(cost, now),
            Op::Peek { cell, cost, now } => { self.cells[cell] }.check(cost, now),
            Op::Admit { cells, cost, now } => self.admit(cells, cost, now),
            Op::Reserve { cell, cost, owner } => {
                let answer = self.cells[cell].check(cost, now);
                let changes = self.cells[cell].changes;
                if let Answer::Allowed(_) = answer {
                    self.charges[owner] = Some(Charge { cell, cost, at: now, changes });
                }
                answer
            }
            Op::Settle { cost, owner } => {
                let charge = self.charges[owner].take()?;
                self.cells[charge.cell].settle(charge, cost, now)?;
                Answer::Done
            }
            Op::SetQuota { cell, quota } => {
                self.cells[cell].set_quota(quota, now);
                Answer::Done
            }
        })
    }
}

impl Cell {
    fn quota(&self) -> Quota {
        self.quotas[self.changes]
    }

    fn check(&mut self, cost: i64, now: i64) -> Answer {
        let Quota { interval, burst } = self.quota();
        let debt = (self.full_at - now).max(0);
        let standing = |owed: i64, full_at: i64| Standing {
            burst,
            remaining: ((burst * interval - owed) / interval).max(0),
            reset: (full_at - now).max(0),
        };
        if cost == 0 {
            return Answer::Allowed(standing(debt, self.full_at));
        }
        let over = debt + cost * interval - burst * interval;
        if over > 0 {
            let wait = (cost <= burst).then_some(over);
            return Answer::Denied { index: 0, standing: standing(debt, self.full_at), wait };
        }
        self.full_at = self.full_at.max(now) + cost * interval;
        self.written = self.written.max(now);
        Answer::Allowed(standing(debt + cost * interval, self.full_at))
    }

    /// `None` if `now` is before a timestamp already used: a call reads the clock after the state.
    fn settle(&mut self, charge: Charge, cost: i64, now: i64) -> Option<()> {
        let interval = self.quota().interval;
        let more = cost - charge.cost;
        if more == 0 {
            return Some(());
        }
        if now < self.written {
            return None;
        }
        if more > 0 {
            self.full_at = self.full_at.max(now) + more * interval;
        } else {
            let in_force = &self.quotas[charge.changes..=self.changes];
            let fastest = in_force.iter().map(|quota| quota.interval).min()?;
            let elapsed = now - charge.at;
            assert_eq!(elapsed % fastest, 0, "the model would round");
            let back = -more - (elapsed / fastest);
            self.full_at -= back.max(0) * interval;
        }
        self.written = now;
        Some(())
    }

    fn set_quota(&mut self, quota: Quota, now: i64) {
        let debt = self.full_at - now;
        if debt > 0 {
            // Rounded up to a whole nanosecond, as documented.
            let interval = self.quota().interval;
            self.full_at = now + (debt * quota.interval + interval - 1) / interval;
        }
        self.changes += 1;
        self.quotas[self.changes] = quota;
        self.written = self.written.max(now);
    }
}
