//! Measurement of speed and memory: the time of a decision, and the bytes per key.
//! Scores in scenarios are in `score.rs`.

use std::time::Duration;

use super::contender::{Contender, Setup};
use super::entry::Entry;
use super::report::{Speed, SpeedRow};
use tollgate::Quota;
use tollgate::{Clock, Timestamp};

/// The number of rounds in which the contenders take turns.
const ROUNDS: u64 = 7;

/// The number of decisions in a timed batch, unless [`PATIENCE`] ends it.
const BATCH: usize = 20_000;

/// The number of decisions between two readings of the clock.
const CHUNK: usize = 50;

/// The longest time of a batch. Some contenders scan all of their keys at each decision.
const PATIENCE: Duration = Duration::from_millis(50);

/// The longest time of a warm-up. A contender that has not finished by then is not measured.
const MOST_PATIENCE: Duration = Duration::from_secs(3);

/// Returns the bytes that the whole process has allocated, as its counting allocator knows them.
pub type Heap = fn() -> usize;

/// What to measure, and with what.
#[derive(Clone, Debug)]
pub struct Pace {
    /// The numbers of keys to measure with.
    pub keys: Vec<u64>,
    /// The clock that times decisions.
    pub clock: Clock,
    /// The counter of allocated bytes. Without it, only contenders that know their memory have
    /// bytes.
    pub heap: Option<Heap>,
}

pub(crate) fn measure(pace: &Pace, quota: Quota, entries: &[Entry]) -> Speed {
    let rows = pace.keys.iter().flat_map(|keys| with_keys(pace, *keys, quota, entries)).collect();
    Speed { rounds: ROUNDS, rows }
}

fn with_keys(pace: &Pace, keys: u64, quota: Quota, entries: &[Entry]) -> Vec<SpeedRow> {
    let order = shuffled(keys);
    let mut runners: Vec<Runner> =
        entries.iter().map(|entry| Runner::new(pace, entry, quota, &order)).collect();
    for _ in 0..ROUNDS {
        runners.iter_mut().for_each(|runner| runner.round(pace, &order));
    }
    runners.into_iter().map(|runner| runner.row(keys)).collect()
}

/// A contender under measurement. Its decisions run on a virtual time of their own.
struct Runner<'a> {
    entry: &'a Entry,
    /// A limiter whose keys stay within their quota, and one whose keys have exhausted it. `None`
    /// if it cannot be timed.
    allowing: Option<Walk>,
    denying: Option<Walk>,
    allowed_ns: Vec<f64>,
    denied_ns: Vec<f64>,
    bytes: Option<usize>,
}

/// A limiter, its virtual time, and its position in the order of keys.
struct Walk {
    limiter: Box<dyn Contender>,
    now: u64,
    /// Virtual nanoseconds between decisions.
    step: u64,
    at: usize,
}

impl<'a> Runner<'a> {
    fn new(pace: &Pace, entry: &'a Entry, quota: Quota, order: &[u64]) -> Runner<'a> {
        let keys = order.len();
        let walk = |step| {
            let limiter = entry.make(Setup { quota, max_keys: keys }).ok()?;
            Some(Walk { limiter, now: START.as_nanos(), step, at: 0 })
        };
        let before = pace.heap.map(|heap| heap());
        // Each key gets requests at three quarters of its rate.
        let gap = u64::try_from(quota.period().as_nanos()).unwrap_or(u64::MAX) / quota.count();
        let mut allowing = walk(((gap / 3).saturating_mul(4) / keys.max(1) as u64).max(1));
        // Visit each key as often as the quota has units, so that it has its longest history, but
        // within `WARM_UP` decisions.
        let visits = quota.count().min(WARM_UP / keys.max(1) as u64).max(1);
        let decisions = keys * visits as usize;
        let timer = &pace.clock;
        allowing
            .take_if(|walk| walk.go(timer, MOST_PATIENCE, order, 1, decisions).made < decisions);
        let bytes = allowing.as_ref().and_then(|walk| match (walk.limiter.memory(), pace.heap) {
            (_, Some(heap)) => Some(heap().saturating_sub(before.unwrap_or(0))),
            (known, None) => known,
        });
        let mut denying = walk(0).filter(|_| allowing.is_some());
        let all = quota.count();
        denying.take_if(|walk| walk.go(timer, MOST_PATIENCE, order, all, keys).made < keys);
        if !entry.is_timed() {
            (allowing, denying) = (None, None);
        }
        Runner { entry, allowing, denying, allowed_ns: vec![], denied_ns: vec![], bytes }
    }

    fn round(&mut self, pace: &Pace, order: &[u64]) {
        let time = |walk: &mut Option<Walk>, allows: bool, times: &mut Vec<f64>| {
            let Some(walk) = walk else { return };
            let begun = pace.clock.now();
            let done = walk.go(&pace.clock, PATIENCE, order, 1, BATCH);
            let took = pace.clock.now().since(begun);
            let other = if allows { done.made - done.allowed } else { done.allowed };
            // Count the time only if at least 99 % of the decisions were of this kind.
            if done.made > 0 && other <= done.made / 100 {
                times.push(took.as_nanos() as f64 / done.made as f64);
            }
        };
        time(&mut self.allowing, true, &mut self.allowed_ns);
        time(&mut self.denying, false, &mut self.denied_ns);
    }

    fn row(self, keys: u64) -> SpeedRow {
        SpeedRow {
            contender: self.entry.name().to_owned(),
            keys,
            reads_clock: !self.entry.takes_time,
            allowed_ns: median(self.allowed_ns),
            denied_ns: median(self.denied_ns),
            bytes_per_key: self.bytes.map(|bytes| bytes as f64 / keys.max(1) as f64),
        }
    }
}

/// The most warm-up decisions over all keys, unless there are more keys.
const WARM_UP: u64 = 200_000;

/// The virtual time at which each walk starts.
const START: Timestamp = Timestamp::from_secs(1_700_000_000);

/// The number of decisions made, and how many of them were allowed.
#[derive(Default)]
struct Done {
    made: usize,
    allowed: usize,
}

impl Walk {
    /// Makes `decisions` decisions of `cost` units, or fewer if the time `within` ends first.
    fn go(
        &mut self,
        timer: &Clock,
        within: Duration,
        order: &[u64],
        cost: u64,
        decisions: usize,
    ) -> Done {
        let end = timer.now() + within;
        let mut done = Done::default();
        while done.made < decisions && timer.now() < end {
            let chunk = CHUNK.min(decisions - done.made);
            for _ in 0..chunk {
                let key = order.get(self.at).copied().unwrap_or(0);
                self.at = if self.at + 1 < order.len() { self.at + 1 } else { 0 };
                self.now = self.now.saturating_add(self.step);
                let answer = self.limiter.decide(key, cost, Timestamp::from_nanos(self.now));
                done.allowed += usize::from(answer.is_allowed());
            }
            done.made += chunk;
        }
        done
    }
}

fn median(mut times: Vec<f64>) -> Option<f64> {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}

/// All keys once each, in an order that caches and prefetchers cannot predict.
fn shuffled(keys: u64) -> Vec<u64> {
    let mut order: Vec<u64> = (0..keys).collect();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for last in (1..order.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(last, (state % (last as u64 + 1)) as usize);
    }
    order
}
