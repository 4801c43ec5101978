//! Compares limiters on the same arrivals: what each really admits, what it says and what it costs.
//!
//! The reference is the exact log: for each key, every admitted unit and its time. It gives the
//! worst window, and the denials for which there was room.
//!
//! ```
//! use tollgate_cli::compare::{Comparison, algorithms};
//! use tollgate::Quota;
//!
//! let comparison = Comparison::new(Quota::per_minute(10), 1);
//! let report = comparison.run(&algorithms());
//! let edge = report.scenarios.iter().find(|scenario| scenario.name == "two-windows").unwrap();
//! for score in &edge.scores {
//!     println!("{}: {} above the quota", score.contender, score.excess);
//! }
//! ```
//!
//! `contender` and `entry` hold the participants, `arrivals` the requests, `score` and `waits` the
//! judgement, `checks` the known mistakes, `speed` the measurements of time and memory.

mod arrivals;
mod checks;
mod contender;
mod entry;
mod limited;
mod own;
mod report;
mod score;
mod speed;
mod waits;

use tollgate::Quota;

pub use arrivals::{Arrival, Arrivals, scenarios};
pub use contender::{Answer, Contender, Setup, Wait};
pub use entry::Entry;
pub use own::algorithms;
pub use report::{
    About, Check, LeftOut, Origin, Outcome, Report, Scenario, Score, Speed, SpeedRow, Waits, Window,
};
pub use speed::{Heap, Pace};

/// A comparison: the quota, the scenarios, and whether speed is measured.
#[derive(Clone, Debug)]
pub struct Comparison {
    quota: Quota,
    seed: u64,
    scenarios: Vec<Arrivals>,
    pace: Option<Pace>,
}

impl Comparison {
    /// All [`scenarios`] of a quota, drawn from a seed, without speed.
    pub fn new(quota: Quota, seed: u64) -> Comparison {
        Comparison { quota, seed, scenarios: scenarios(quota, seed), pace: None }
    }

    /// Uses these scenarios instead.
    #[must_use]
    pub fn scenarios(self, scenarios: Vec<Arrivals>) -> Comparison {
        Comparison { scenarios, ..self }
    }

    /// Measures speed and memory too.
    #[must_use]
    pub fn pace(self, pace: Pace) -> Comparison {
        Comparison { pace: Some(pace), ..self }
    }

    /// Runs all contenders through everything.
    ///
    /// A panic of a contender while it is judged is caught, and the report says so. A panic while
    /// it is timed ends the comparison.
    pub fn run(&self, entries: &[Entry]) -> Report {
        let timed: Vec<&Entry> = entries.iter().filter(|entry| entry.takes_time).collect();
        Report {
            quota: self.quota.to_string(),
            count: self.quota.count(),
            period_s: self.quota.period().as_secs_f64(),
            seed: self.seed,
            contenders: entries.iter().map(|entry| about(entry, self.quota)).collect(),
            scenarios: self.scenarios.iter().map(|scenario| fared(scenario, &timed)).collect(),
            checks: checks::list(),
            speed: self.pace.as_ref().map(|pace| speed::measure(pace, self.quota, entries)),
            left_out: Vec::new(),
            notes: Vec::new(),
        }
    }
}

fn about(entry: &Entry, quota: Quota) -> About {
    About {
        name: entry.name.clone(),
        origin: entry.origin,
        what: entry.what.clone(),
        takes_time: entry.takes_time,
        bound: entry.bound(quota, quota.period()),
        mistakes: if entry.takes_time { checks::outcomes(entry) } else { Vec::new() },
    }
}

fn fared(arrivals: &Arrivals, entries: &[&Entry]) -> Scenario {
    let steps = score::Steps::of(arrivals);
    Scenario {
        name: arrivals.name.clone(),
        what: arrivals.what.clone(),
        quota: arrivals.quota.to_string(),
        count: arrivals.quota.count(),
        period_s: arrivals.quota.period().as_secs_f64(),
        requests: arrivals.list.len() as u64,
        units: arrivals.units(),
        keys: arrivals.keys(),
        duration_s: arrivals.duration().as_secs_f64(),
        step_s: steps.width.as_secs_f64(),
        offered: steps.sum(arrivals.list.iter()),
        scores: entries.iter().map(|entry| score::score(entry, arrivals)).collect(),
    }
}
