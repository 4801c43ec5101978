//! Scores a contender in a scenario against the exact log.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::arrivals::{Arrival, Arrivals};
use super::contender::{Answer, Contender, MAX_KEYS, Setup};
use super::entry::Entry;
use super::report::{Score, Window};
use super::waits;
use tollgate::Quota;
use tollgate::Timestamp;

/// The most steps of a plot.
const STEPS: u64 = 200;

/// The steps of a scenario's plot.
#[derive(Clone, Copy)]
pub(crate) struct Steps {
    start: Timestamp,
    pub(crate) width: Duration,
    count: usize,
}

impl Steps {
    pub(crate) fn of(arrivals: &Arrivals) -> Steps {
        let nanos = u64::try_from(arrivals.duration().as_nanos()).unwrap_or(u64::MAX);
        let width = (nanos / STEPS + 1).max(1);
        let count = usize::try_from(nanos / width + 1).unwrap_or(1);
        Steps { start: arrivals.start(), width: Duration::from_nanos(width), count }
    }

    /// Units by step.
    pub(crate) fn sum<'a>(&self, arrivals: impl Iterator<Item = &'a Arrival>) -> Vec<u64> {
        let mut steps = vec![0_u64; self.count];
        for arrival in arrivals {
            let step = arrival.at.since(self.start).as_nanos() / self.width.as_nanos().max(1);
            if let Some(units) = usize::try_from(step).ok().and_then(|step| steps.get_mut(step)) {
                *units = units.saturating_add(arrival.cost);
            }
        }
        steps
    }
}

/// The units in the window that ends now, by what was admitted before: the exact log of one key.
struct Trailing {
    period: Duration,
    admitted: VecDeque<(Timestamp, u64)>,
    units: u64,
}

impl Trailing {
    fn new(quota: Quota) -> Trailing {
        Trailing { period: quota.period(), admitted: VecDeque::new(), units: 0 }
    }

    /// Units admitted within the period before `now`, which is no earlier than in the last call.
    fn at(&mut self, now: Timestamp) -> u64 {
        while let Some((at, cost)) = self.admitted.front().copied() {
            // Units admitted a whole period ago have left the half-open window.
            if now.since(at) < self.period {
                break;
            }
            self.units = self.units.saturating_sub(cost);
            self.admitted.pop_front();
        }
        self.units
    }

    fn admit(&mut self, now: Timestamp, cost: u64) {
        self.admitted.push_back((now, cost));
        self.units = self.units.saturating_add(cost);
    }

    /// When the oldest of them was admitted.
    fn first(&self) -> Option<Timestamp> {
        self.admitted.front().map(|(at, _)| *at)
    }
}

/// Runs a fresh contender through a scenario.
pub(crate) fn score(entry: &Entry, arrivals: &Arrivals) -> Score {
    let setup = Setup { quota: arrivals.quota, max_keys: MAX_KEYS };
    let scored = catch_unwind(AssertUnwindSafe(|| {
        entry.make(setup).map(|contender| run(entry, contender, arrivals))
    }));
    match scored {
        Ok(Ok(score)) => score,
        Ok(Err(why)) => Score { unable: Some(why), ..blank(entry) },
        Err(_) => Score { unable: Some("it panics".to_owned()), ..blank(entry) },
    }
}

fn blank(entry: &Entry) -> Score {
    Score {
        contender: entry.name().to_owned(),
        admitted: 0,
        denied: 0,
        worst: None,
        excess: 0,
        denied_requests: 0,
        wrongful_requests: 0,
        wrongful: 0,
        waits: None,
        admitted_by_step: Vec::new(),
        unable: None,
    }
}

fn run(entry: &Entry, mut contender: Box<dyn Contender>, arrivals: &Arrivals) -> Score {
    let quota = arrivals.quota;
    let mut score = blank(entry);
    let mut logs: BTreeMap<u64, Trailing> = BTreeMap::new();
    let mut admitted = Vec::new();
    let mut denials = Vec::new();
    for (index, arrival) in arrivals.list.iter().enumerate() {
        let Arrival { at, key, cost } = *arrival;
        let log = logs.entry(key).or_insert_with(|| Trailing::new(quota));
        let before = log.at(at);
        match contender.decide(key, cost, at) {
            Answer::Allowed => {
                log.admit(at, cost);
                admitted.push(*arrival);
                score.admitted = score.admitted.saturating_add(cost);
                // The fullest window ends with an admission, so it is enough to look at these
                // moments.
                let units = log.at(at);
                let so_far = score.worst.as_ref().map_or(0, |worst| worst.admitted);
                if let Some(first) = log.first().filter(|_| units > so_far) {
                    let from_s = first.since(arrivals.start()).as_secs_f64();
                    score.worst = Some(Window { from_s, admitted: units });
                }
            }
            Answer::Denied(wait) => {
                score.denied = score.denied.saturating_add(cost);
                score.denied_requests += 1;
                if before.saturating_add(cost) <= quota.count() {
                    score.wrongful_requests += 1;
                    score.wrongful = score.wrongful.saturating_add(cost);
                }
                denials.push((index, wait));
            }
        }
    }
    let most = score.worst.as_ref().map_or(0, |worst| worst.admitted);
    score.excess = most.saturating_sub(quota.count());
    score.admitted_by_step = Steps::of(arrivals).sum(admitted.iter());
    score.waits = waits::judge(entry, arrivals, &denials);
    score
}
