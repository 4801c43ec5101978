//! The method of both tables of ratios: contenders take turns within one run, round by round, and
//! the median of the rounds counts, so that other load on the machine affects all contenders alike.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) type Sip = std::hash::RandomState;
pub(crate) type Fold = foldhash::fast::RandomState;

const ROUNDS: usize = 41;
/// Keys of a round. The first eighth only warms up.
pub(crate) const BATCH: usize = 16_384;

pub(crate) fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = thread::available_parallelism().map_or(0, usize::from);
    format!("{} ({cores} cores), {}", model.unwrap_or("unknown"), std::env::consts::OS)
}

/// The selection on the command line: sections, and sizes, which begin with a digit.
pub(crate) struct Run {
    pub(crate) chosen: BTreeSet<String>,
    pub(crate) rounds: usize,
}

impl Run {
    pub(crate) fn from_args() -> Run {
        let mut args: BTreeSet<String> = std::env::args().skip(1).collect();
        // `cargo bench` passes `--bench`; without it this is a test that the bench runs.
        let measure = args.remove("--bench");
        if !measure {
            args.insert("1k".to_owned());
        }
        Run { chosen: args, rounds: if measure { ROUNDS } else { 3 } }
    }

    pub(crate) fn wants(&self, section: &str) -> bool {
        let is_size = |arg: &str| arg.starts_with(|first: char| first.is_ascii_digit());
        self.chosen.contains(section) || self.chosen.iter().all(|arg| is_size(arg))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Allow,
    Deny,
}

/// Returns how many keys of a batch were allowed.
type Batch<'a, K> = Box<dyn FnMut(&[K]) -> usize + 'a>;

/// The contenders of one row. Each returns how many keys of a batch it allowed.
pub(crate) struct Race<'a, K> {
    contenders: Vec<(&'static str, Answer, Batch<'a, K>)>,
    warm_up: bool,
}

impl<'a, K> Race<'a, K> {
    pub(crate) fn new() -> Self {
        Race { contenders: Vec::new(), warm_up: true }
    }

    pub(crate) fn add(
        &mut self,
        name: &'static str,
        answer: Answer,
        check: impl Fn(&K) -> bool + 'a,
    ) {
        self.add_many(name, answer, move |batch| batch.iter().filter(|key| check(key)).count());
    }

    pub(crate) fn add_many(
        &mut self,
        name: &'static str,
        answer: Answer,
        check: impl FnMut(&[K]) -> usize + 'a,
    ) {
        self.contenders.push((name, answer, Box::new(check)));
    }

    pub(crate) fn without_warm_up(&mut self) {
        self.warm_up = false;
    }

    /// The median nanoseconds per key of each contender. Panics if an answer is not what the row
    /// measures.
    pub(crate) fn run(
        mut self,
        rounds: usize,
        mut batch: impl FnMut() -> Vec<K>,
    ) -> Vec<(&'static str, f64)> {
        let count = self.contenders.len();
        let mut ns = vec![Vec::new(); count];
        for round in 0..rounds {
            for at in (0..count).map(|at| (at + round) % count) {
                let (name, answer, check) = &mut self.contenders[at];
                let keys = batch();
                let warm = if self.warm_up { keys.len() / 8 } else { 0 };
                let warmed = if warm > 0 { check(&keys[..warm]) } else { 0 };
                let start = worked_nanos();
                let allowed = check(&keys[warm..]);
                ns[at].push((worked_nanos() - start) as f64 / (keys.len() - warm) as f64);
                let expected = if *answer == Answer::Allow { keys.len() } else { 0 };
                assert_eq!(warmed + allowed, expected, "{name} does not {answer:?}");
            }
        }
        let names = self.contenders.iter().map(|(name, ..)| *name);
        names.zip(ns.iter_mut().map(|ns| median(ns))).collect()
    }
}

/// Nanoseconds that this thread has run, without the time of other threads and processes.
#[cfg(target_os = "linux")]
pub(crate) fn worked_nanos() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Wall-clock time, where the system does not report the time of a thread.
#[cfg(not(target_os = "linux"))]
pub(crate) fn worked_nanos() -> u64 {
    tollgate::Clock::monotonic().now().as_nanos()
}

pub(crate) fn median(ns: &mut [f64]) -> f64 {
    ns.sort_by(f64::total_cmp);
    ns[ns.len() / 2]
}

/// Whether all keys (or the only key) were allowed.
pub(crate) type Work<'a> = dyn Fn(&[u64]) -> bool + Sync + 'a;

/// The time until all batches are done, each on a thread of its own.
pub(crate) fn together(batches: &[Vec<u64>], work: &Work<'_>) -> Duration {
    let barrier = Barrier::new(batches.len());
    thread::scope(|scope| {
        let threads: Vec<_> = batches
            .iter()
            .map(|batch| {
                scope.spawn(|| {
                    barrier.wait();
                    let start = Instant::now();
                    assert!(work(batch), "a row that allows must allow always");
                    (start, Instant::now())
                })
            })
            .collect();
        let times: Vec<_> =
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        let start = times.iter().map(|(start, _)| *start).min();
        let end = times.iter().map(|(_, end)| *end).max();
        start.zip(end).map_or(Duration::ZERO, |(start, end)| end - start)
    })
}
