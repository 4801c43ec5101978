//! Simulates a service under a policy: clients arrive, wait, are served by a back end or give up,
//! on virtual time, once with the policy's limits and once without them.
//!
//! ```
//! use tollgate_cli::simulate::Scenario;
//!
//! let text = r#"
//!     duration = "60s"
//!     [[limit]]
//!     name = "slots"
//!     concurrent = 5
//!     [[clients]]
//!     name = "queries"
//!     arrivals = { kind = "constant", rate = "20/s" }
//!     service = { kind = "constant", time = "1s" }
//! "#;
//! let report = serde_json::to_value(Scenario::parse("example", text)?.run()?)?;
//! assert_eq!(report["without"]["peak_in_flight"], 20);
//! assert_eq!(report["with"]["peak_in_flight"], 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod plan;
pub(crate) mod record;
mod scenario;
pub(crate) mod summary;
mod world;

use std::fmt;
use std::rc::Rc;

pub use scenario::Scenario;
pub(crate) use scenario::units;
pub use summary::Report;

use summary::{Summary, seconds};
use world::Limits;

/// Why a scenario cannot be run: all its problems, each with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    what: String,
}

impl Scenario {
    /// Runs the same requests twice, without the policy's limits and with them. The same scenario
    /// and seed give the same report.
    pub fn run(&self) -> Result<Report, ScenarioError> {
        self.report(plan::requests(self)?)
    }

    /// The report of a run without requests: it has all the keys, and takes no time to make.
    pub(crate) fn blank_report(&self) -> Result<Report, ScenarioError> {
        self.report(Vec::new())
    }

    fn report(&self, requests: Vec<plan::Request>) -> Result<Report, ScenarioError> {
        let (scenario, requests) = (Rc::new(self.clone()), Rc::new(requests));
        let summary = |limits| {
            let record = world::run(&scenario, &requests, limits)?;
            Ok(Summary::of(&scenario, record))
        };
        Ok(Report {
            scenario: self.name.clone(),
            seed: self.seed,
            duration_s: seconds(self.end()),
            backend_limit: self.backend_limit,
            step_s: record::Steps::over(self.duration).width.as_secs_f64(),
            without: summary(Limits::Off)?,
            with: summary(Limits::AsWritten)?,
        })
    }
}

impl ScenarioError {
    fn new(what: String) -> ScenarioError {
        ScenarioError { what }
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for ScenarioError {}
