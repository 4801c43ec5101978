//! A scenario: which clients arrive when and ask for what, under which policy, and the back end
//! that serves them. Its submodules read it from a TOML file; [`Scenario::run`] runs it.

mod clients;
mod fields;
mod kinds;
mod policy;
mod read;
mod stages;
pub(crate) mod units;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tollgate::{Policy, Timestamp};

use super::ScenarioError;

/// A parsed scenario file: see [`Scenario::load`].
#[derive(Clone)]
pub struct Scenario {
    pub(crate) name: String,
    pub(crate) seed: u64,
    /// How long clients arrive. The run goes on until the last of them is done.
    pub(crate) duration: Duration,
    pub(crate) backend_limit: Option<u64>,
    pub(crate) clients: Vec<Group>,
    /// The policy at the start, and then one for each moment at which it changes.
    pub(crate) stages: Vec<Stage>,
    /// The path of the policy file, if the policy is in a file of its own.
    pub(crate) policy_path: Option<PathBuf>,
}

/// A policy and when it takes effect.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) at: Timestamp,
    /// What changed, as text; empty at the start.
    pub(crate) what: String,
    pub(crate) policy: Policy,
    /// The same policy with no limit enforced.
    pub(crate) unlimited: Policy,
    /// The smallest cap on all requests together.
    pub(crate) cap: Option<u64>,
    /// The limits that let requests wait.
    pub(crate) waits: Vec<String>,
}

/// Clients of one kind. Each of their requests comes from a client of its own.
#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) arrivals: Arrivals,
    pub(crate) start: Duration,
    /// They arrive before this time.
    pub(crate) end: Duration,
    /// At most this many of them.
    pub(crate) most: u64,
    pub(crate) facts: Vec<(String, Fact)>,
    /// They give up after waiting this long.
    pub(crate) patience: Option<Duration>,
    pub(crate) service: Service,
    pub(crate) crash: Crash,
}

/// How arrivals are spaced. Rates are per second.
#[derive(Clone)]
pub(crate) enum Arrivals {
    Constant { rate: f64 },
    Poisson { rate: f64 },
    Bursts { size: u64, every: Duration },
    Ramp { from: f64, to: f64 },
}

/// The value of a fact.
#[derive(Clone)]
pub(crate) enum Fact {
    Fixed(String),
    One { of: Values, pick: Pick },
}

/// Values to pick from.
#[derive(Clone)]
pub(crate) enum Values {
    Listed(Vec<String>),
    /// Whole numbers, both ends included.
    Numbers {
        from: u64,
        to: u64,
    },
}

#[derive(Clone, Copy)]
pub(crate) enum Pick {
    /// All values are equally likely.
    Random,
    /// One after the other, over and over.
    InTurn,
}

/// How long the back end works on a request.
#[derive(Clone)]
pub(crate) enum Service {
    Constant { time: Duration },
    Exponential { mean: Duration },
    Lognormal { median: Duration, p99: Duration },
}

/// Which clients never give their permits back.
#[derive(Clone)]
pub(crate) enum Crash {
    /// The first ones.
    First(u64),
    /// Each with this probability.
    Share(f64),
}

impl Scenario {
    /// Reads a scenario from a file.
    ///
    /// # Errors
    /// All problems of the file.
    pub fn load(path: &Path) -> Result<Scenario, ScenarioError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            ScenarioError::new(format!("cannot read the scenario {name}: {error}"))
        })?;
        read::scenario(&name, &text, path.parent().unwrap_or(Path::new("")))
    }

    /// Reads a scenario from its text. `name` appears in errors and in the report.
    pub fn parse(name: &str, text: &str) -> Result<Scenario, ScenarioError> {
        read::scenario(name, text, Path::new(""))
    }

    /// The same scenario with another seed.
    #[must_use]
    pub fn seed(self, seed: u64) -> Scenario {
        Scenario { seed, ..self }
    }

    /// When clients stop arriving.
    pub(crate) fn end(&self) -> Timestamp {
        Timestamp::ZERO + self.duration
    }

    /// The time that each stage takes; the last one ends when clients stop arriving.
    pub(crate) fn spans(&self) -> Vec<Range<Timestamp>> {
        let starts = self.stages.iter().map(|stage| stage.at);
        let ends = starts.clone().skip(1).chain([self.end()]);
        starts.zip(ends).map(|(start, end)| start..end).collect()
    }
}

impl Values {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Values::Listed(values) => values.len() as u64,
            Values::Numbers { from, to } => (to - from).saturating_add(1),
        }
    }

    /// The value at this index.
    pub(crate) fn text(&self, place: u64) -> String {
        match self {
            Values::Listed(values) => {
                values.get(place as usize).map_or_else(String::new, String::clone)
            }
            Values::Numbers { from, .. } => from.saturating_add(place).to_string(),
        }
    }
}
