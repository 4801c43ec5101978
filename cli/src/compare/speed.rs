//! Measures how long a decision takes, and how much memory a key takes.

use std::time::Duration;

use super::contender::{Contender, Setup};
use super::entry::Entry;
use super::report::{Speed, SpeedRow};
use tollgate::Quota;
use tollgate::{Clock, Timestamp};

/// Rounds in which the contenders take turns.
const ROUNDS: u64 = 7;

/// The most decisions that are timed together.
const BATCH: usize = 20_000;

/// Decisions between two reads of the clock.
const CHUNK: usize = 50;

/// A batch ends after this time: some contenders walk through all their keys in each decision.
const PATIENCE: Duration = Duration::from_millis(50);

/// A contender that has not been asked for every key after this time is given up.
const MOST_PATIENCE: Duration = Duration::from_secs(3);

/// Returns the bytes that the whole process has allocated at the moment; from a counting allocator.
pub type Heap = fn() -> usize;

/// How speed is measured.
#[derive(Clone, Debug)]
pub struct Pace {
    /// The numbers of keys.
    pub keys: Vec<u64>,
    /// The source of time.
    pub clock: Clock,
    /// Counts bytes. Without it, memory is reported only for contenders that know their own.
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

/// A contender that is timed, on a time of its own.
struct Runner<'a> {
    entry: &'a Entry,
    /// Keys that stay within their quota, and keys that have exhausted it.
    allowing: Option<Walk>,
    denying: Option<Walk>,
    allowed_ns: Vec<f64>,
    denied_ns: Vec<f64>,
    bytes: Option<usize>,
}

/// The position of a limiter in time and in the order of its keys.
struct Walk {
    limiter: Box<dyn Contender>,
    now: u64,
    /// Nanoseconds from one decision to the next.
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
        // Each key is asked for at three quarters of its rate.
        let gap = u64::try_from(quota.period().as_nanos()).unwrap_or(u64::MAX) / quota.count();
        let mut allowing = walk(((gap / 3).saturating_mul(4) / keys.max(1) as u64).max(1));
        // Until each key has a history as long as its period, unless there are too many keys.
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
            // Counts only if nearly all decisions were of this kind.
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

/// Decisions before the first timed one, of all keys together.
const WARM_UP: u64 = 200_000;

/// The time at which it begins.
const START: Timestamp = Timestamp::from_secs(1_700_000_000);

/// Decisions made, and how many of them were allowed.
#[derive(Default)]
struct Done {
    made: usize,
    allowed: usize,
}

impl Walk {
    /// Makes `decisions` decisions of `cost` units, or as many as are possible `within` this time.
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

/// All keys, each once, in an order that the memory system cannot predict.
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
