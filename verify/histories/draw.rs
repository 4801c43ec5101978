//! Draws random histories, and counts the kinds of answers in them. The files `rates`, `slots`,
//! `lines` and `admits` say what a history does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};

use crate::checker::{Event, Model, has_serial_order};

/// The least share of all calls that each kind of answer must have: one in this many.
const RARE: u64 = 1000;

/// The random number generator SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % n
    }

    pub fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }

    /// A generator for another thread.
    pub fn split(&mut self) -> Random {
        Random(self.below(u64::MAX))
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Runs `history` under as many schedules as the environment asks for. `history` returns the kinds
/// of answers that occurred; each of `kinds` must not be rare among the `calls` of each history.
pub fn histories<K: IntoIterator<Item = &'static str>>(
    kinds: &[&'static str],
    calls: u64,
    history: impl Fn(&mut Random) -> K + Copy + Send + Sync + 'static,
) {
    let histories = from_environment("TOLLGATE_HISTORIES", 100_000);
    let seed = from_environment("TOLLGATE_SEED", 1);
    let counts: Arc<Mutex<BTreeMap<&str, u64>>> = Arc::default();
    let drawn = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    // Random walks find bugs that take many switches, PCT those that take few at the right places.
    let schedulers: [Box<dyn Scheduler + Send>; 2] = [
        Box::new(RandomScheduler::new_from_seed(seed, (histories - histories / 4) as usize)),
        Box::new(PctScheduler::new_from_seed(seed, 3, (histories / 4) as usize)),
    ];
    for scheduler in schedulers {
        let (counts, drawn) = (counts.clone(), drawn.clone());
        let mut config = shuttle::Config::default();
        // shuttle warns that it does not model weak memory; loom does.
        config.silence_warnings = true;
        let runner = shuttle::Runner::new(scheduler, config);
        runner.run(move || {
            let number = drawn.fetch_add(1, Ordering::Relaxed);
            let came_up = history(&mut Random(seed << 40 | number));
            let mut counts = counts.lock().expect("counts");
            for kind in came_up {
                *counts.entry(kind).or_default() += 1;
            }
        });
    }
    let counts = counts.lock().expect("counts");
    let calls = histories * calls;
    let rate = histories as f64 / begun.elapsed().as_secs_f64();
    println!("{histories} histories, {calls} calls, {rate:.0} histories/s: {counts:?}");
    let rare: Vec<_> = kinds
        .iter()
        .filter(|kind| counts.get(**kind).copied().unwrap_or(0) * RARE < calls)
        .collect();
    assert!(rare.is_empty(), "too rare to say anything: {rare:?}");
}

/// Runs `threads` concurrently and returns their results.
pub fn race<T: Send + 'static>(
    threads: usize,
    random: &mut Random,
    run: impl Fn(usize, Random) -> T + Clone + Send + 'static,
) -> Vec<T> {
    let threads: Vec<_> = (0..threads)
        .map(|owner| {
            let (run, random) = (run.clone(), random.split());
            shuttle::thread::spawn(move || run(owner, random))
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().expect("a thread")).collect()
}

/// Panics if `events` have no serial order.
pub fn check<M: Model>(model: M, mut events: Vec<Event<M::Op, M::Answer>>)
where
    M: std::fmt::Debug,
    M::Op: std::fmt::Debug,
    M::Answer: std::fmt::Debug,
{
    if !has_serial_order(model, &events) {
        events.sort_by_key(|event| event.begin);
        let list: String = events.iter().map(|event| format!("{event:?}\n")).collect();
        panic!("no serial order:\n{model:?}\n{list}");
    }
}
