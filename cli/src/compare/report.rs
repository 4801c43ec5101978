//! The result of a comparison as plain numbers, for tables, pages and programs.
//!
//! Amounts are in units and times in seconds, unless the name says otherwise.

use serde::Serialize;

/// A comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The quota that is compared, as it prints.
    pub quota: String,
    /// Its units per period.
    pub count: u64,
    /// Its period.
    pub period_s: f64,
    /// The seed of the arrivals.
    pub seed: u64,
    /// The contenders. Every list with one entry per contender is in this order.
    pub contenders: Vec<About>,
    /// The scenarios.
    pub scenarios: Vec<Scenario>,
    /// Mistakes that limiters have shipped, in the order of their rows. A contender's
    /// [`mistakes`](About::mistakes) are in this order too.
    pub checks: Vec<Check>,
    /// The speed of each contender, if it was measured.
    pub speed: Option<Speed>,
    /// The contenders that did not take part, and why.
    pub left_out: Vec<LeftOut>,
    /// Further notes on the figures.
    pub notes: Vec<String>,
}

/// A contender.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct About {
    /// Its name: a word or two, unique.
    pub name: String,
    /// Its origin.
    pub origin: Origin,
    /// Its description, a sentence; for a peer, its version.
    pub what: String,
    /// Whether it decides at a time that it is given. Only then does it have scores and mistakes.
    pub takes_time: bool,
    /// The most units that it promises to admit in a period; `None` if it promises nothing.
    pub bound: Option<u64>,
    /// One outcome per check, in their order; empty if it cannot be given the time.
    pub mistakes: Vec<Outcome>,
}

/// The origin of a contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// An algorithm of this crate.
    Tollgate,
    /// Another crate.
    Peer,
    /// The user's own algorithm.
    Own,
}

/// A mistake that a limiter has shipped.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Its number.
    pub row: u32,
    /// What happened, in a sentence.
    pub what: String,
}

/// The outcome of a check of a contender.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "seen")]
pub enum Outcome {
    /// It does not make this mistake.
    Right,
    /// It makes the mistake; what was seen, and in brackets what should have been.
    Shows(String),
    /// The check does not apply, and why: for example, it takes no cost, or states no wait.
    DoesNotApply(String),
}

/// Arrivals, and the result of each contender.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scenario {
    /// Its name: one word.
    pub name: String,
    /// What arrives, in a sentence.
    pub what: String,
    /// The quota of this scenario, as it prints. It may differ from the report's: tokens are
    /// counted in thousands.
    pub quota: String,
    /// Its units per period.
    pub count: u64,
    /// Its period.
    pub period_s: f64,
    /// Requests that arrive.
    pub requests: u64,
    /// Units that they ask for.
    pub units: u64,
    /// Keys that they come from.
    pub keys: u64,
    /// From the first arrival to the last.
    pub duration_s: f64,
    /// The width of a step of the plots. There are at most 200 steps.
    pub step_s: f64,
    /// Units asked for in each step.
    pub offered: Vec<u64>,
    /// One score per contender that can be given the time, in their order.
    pub scores: Vec<Score>,
}

/// The result of a contender for the arrivals of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Its name.
    pub contender: String,
    /// Units admitted.
    pub admitted: u64,
    /// Units denied.
    pub denied: u64,
    /// The window of any key that admitted the most; `None` if nothing was admitted.
    pub worst: Option<Window>,
    /// Units by which that window exceeds the count; 0 if it does not.
    pub excess: u64,
    /// Requests denied.
    pub denied_requests: u64,
    /// Requests that were denied although the window that ends at that moment had room, given what
    /// was admitted before.
    pub wrongful_requests: u64,
    /// Units of those requests.
    pub wrongful: u64,
    /// How right the stated waits were; `None` if no wait would have helped any denied request.
    pub waits: Option<Waits>,
    /// Units admitted in each step.
    pub admitted_by_step: Vec<u64>,
    /// Why it took no part in this scenario, if it did not; then all fields above are zero or
    /// empty.
    pub unable: Option<String>,
}

/// A half-open window as long as the period.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Window {
    /// When it begins, from the first arrival on.
    pub from_s: f64,
    /// Units admitted in it.
    pub admitted: u64,
}

/// Stated waits compared with the shortest wait that would have helped, for a sample of the denied
/// requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Waits {
    /// Denied requests in the sample.
    pub sampled: u64,
    /// Of these, the requests for which it stated a wait, or that no wait helps.
    pub stated: u64,
    /// Of these, the requests for which it stated the shortest wait, to the nanosecond.
    pub exact: u64,
    /// The largest error of a wait that was too short, so that the request is denied again.
    /// Nanoseconds.
    pub early_ns: u64,
    /// The largest error of a wait that was too long. Nanoseconds.
    pub late_ns: u64,
    /// Requests for which it stated a wait though none helps, or that none helps though one does.
    pub wrong: u64,
}

/// Speed and memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// Rounds in which the contenders took turns; times are medians of the rounds.
    pub rounds: u64,
    /// One row per contender and number of keys.
    pub rows: Vec<SpeedRow>,
}

/// One contender with a number of keys.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpeedRow {
    /// Its name.
    pub contender: String,
    /// The number of keys, chosen uniformly.
    pub keys: u64,
    /// Whether the time includes reading its own clock.
    pub reads_clock: bool,
    /// Nanoseconds per decision that allows; `None` if it cannot be measured.
    pub allowed_ns: Option<f64>,
    /// Nanoseconds per decision that denies; `None` if it cannot be measured.
    pub denied_ns: Option<f64>,
    /// Bytes per key; `None` if they cannot be counted.
    pub bytes_per_key: Option<f64>,
}

/// A contender that did not take part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: String,
}
