//! The data of a scenario: clients, their requests, the back end, and the policy over time.
//! The submodules read them from a TOML file.

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

/// A scenario as read from a file by [`Scenario::load`].
#[derive(Clone)]
pub struct Scenario {
    pub(crate) name: String,
    pub(crate) seed: u64,
    /// How long clients arrive. The run continues until the last of their requests is done.
    pub(crate) duration: Duration,
    pub(crate) backend_limit: Option<u64>,
    pub(crate) clients: Vec<Group>,
    /// The policy at the start, and then one stage for each change.
    pub(crate) stages: Vec<Stage>,
    /// The file of the policy, if the policy is not in the scenario itself.
    pub(crate) policy_path: Option<PathBuf>,
}

/// A policy, and the time at which it takes effect.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) at: Timestamp,
    /// A description of the change; empty at the start.
    pub(crate) what: String,
    pub(crate) policy: Policy,
    /// The same policy with no limit enforced.
    pub(crate) unlimited: Policy,
    /// The least cap that applies to all requests together.
    pub(crate) cap: Option<u64>,
    /// The names of the limits that let requests wait.
    pub(crate) waits: Vec<String>,
}

/// Clients of one kind. Each request comes from a client of its own.
#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) arrivals: Arrivals,
    pub(crate) start: Duration,
    /// Clients arrive before this time.
    pub(crate) end: Duration,
    /// The most clients that arrive.
    pub(crate) most: u64,
    pub(crate) facts: Vec<(String, Fact)>,
    /// Clients give up after they have waited this long.
    pub(crate) patience: Option<Duration>,
    pub(crate) service: Service,
    pub(crate) crash: Crash,
}

/// When the clients of a group arrive. Rates are per second.
#[derive(Clone)]
pub(crate) enum Arrivals {
    Constant { rate: f64 },
    Poisson { rate: f64 },
    Bursts { size: u64, every: Duration },
    Ramp { from: f64, to: f64 },
}

/// How the value of a fact is chosen.
#[derive(Clone)]
pub(crate) enum Fact {
    Fixed(String),
    One { of: Values, pick: Pick },
}

/// The values to choose from.
#[derive(Clone)]
pub(crate) enum Values {
    Listed(Vec<String>),
    /// Whole numbers, including both ends.
    Numbers {
        from: u64,
        to: u64,
    },
}

#[derive(Clone, Copy)]
pub(crate) enum Pick {
    /// Each value with the same probability.
    Random,
    /// One value after the other, repeatedly.
    InTurn,
}

/// How long the back end works on a request.
#[derive(Clone)]
pub(crate) enum Service {
    Constant { time: Duration },
    Exponential { mean: Duration },
    Lognormal { median: Duration, p99: Duration },
}

/// Which clients never return their permits.
#[derive(Clone)]
pub(crate) enum Crash {
    /// The first clients of the group.
    First(u64),
    /// Each client with this probability.
    Share(f64),
}

impl Scenario {
    /// Reads a scenario from a file. The error lists all problems with it.
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

    /// The time at which clients no longer arrive.
    pub(crate) fn end(&self) -> Timestamp {
        Timestamp::ZERO + self.duration
    }

    /// The time span of each stage. The last stage ends when clients no longer arrive.
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
