//! What a comparison came to, as plain numbers: for tables, pages and programs.
//!
//! Amounts are units unless a name says requests; times are seconds unless a name says otherwise.

use serde::Serialize;

/// A comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The quota that is compared, as it prints.
    pub quota: String,
    /// Its units a period.
    pub count: u64,
    /// Its period.
    pub period_s: f64,
    /// What the arrivals were drawn from.
    pub seed: u64,
    /// Who took part, in the order of every list of theirs.
    pub contenders: Vec<About>,
    /// What they were put through.
    pub scenarios: Vec<Scenario>,
    /// Mistakes that limiters have shipped, in the order of their rows. A contender's
    /// [`mistakes`](About::mistakes) are in this order too.
    pub checks: Vec<Check>,
    /// How fast they are, if that was asked for.
    pub speed: Option<Speed>,
    /// Who did not take part, and why.
    pub left_out: Vec<LeftOut>,
    /// What else is to be known of the figures.
    pub notes: Vec<String>,
}

/// A contender.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct About {
    /// Its name: a word or two, unique.
    pub name: String,
    /// Whose it is.
    pub origin: Origin,
    /// What it is, in a sentence; of a peer its version.
    pub what: String,
    /// Whether it decides at a time that it is told. Only then it has scores and mistakes.
    pub takes_time: bool,
    /// The most units that it says it admits in a period; none if it says nothing.
    pub bound: Option<u64>,
    /// One outcome a check, in their order; none at all if it cannot be told the time.
    pub mistakes: Vec<Outcome>,
}

/// Whose a contender is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// An algorithm of this crate.
    Tollgate,
    /// Another crate.
    Peer,
    /// The user's own.
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

/// What a check of a contender came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "seen")]
pub enum Outcome {
    /// It does not make this mistake.
    Right,
    /// It makes it; what was seen, and in brackets what should have been.
    Shows(String),
    /// It has nothing that could show it, and why: it takes no cost, or states no wait.
    DoesNotApply(String),
}

/// Arrivals, and how the contenders fared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scenario {
    /// Its name: one word.
    pub name: String,
    /// What arrives, in a sentence.
    pub what: String,
    /// The quota here, as it prints. Not always the report's: tokens are counted in thousands.
    pub quota: String,
    /// Its units a period.
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
    /// The width of a step of the plots. There are at most 200.
    pub step_s: f64,
    /// Units asked for in each step.
    pub offered: Vec<u64>,
    /// One a contender that can be told the time, in their order.
    pub scores: Vec<Score>,
}

/// How a contender fared with the arrivals of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Its name.
    pub contender: String,
    /// Units admitted.
    pub admitted: u64,
    /// Units denied.
    pub denied: u64,
    /// The window of a key that admitted most; none if nothing was admitted.
    pub worst: Option<Window>,
    /// Units by which that window exceeds the count; 0 if it does not.
    pub excess: u64,
    /// Requests denied.
    pub denied_requests: u64,
    /// Those of them for which the window that ends then had room, by what was admitted before.
    pub wrongful_requests: u64,
    /// Units of those.
    pub wrongful: u64,
    /// How right the stated waits were; none if nothing was denied that a wait would have helped.
    pub waits: Option<Waits>,
    /// Units admitted in each step.
    pub admitted_by_step: Vec<u64>,
    /// Why it took no part in this scenario, if it did not; then all of the above is nothing.
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

/// Stated waits beside the least that would have helped, of a sample of the denied requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Waits {
    /// Denied requests looked at.
    pub sampled: u64,
    /// Those of them that were told a wait, or that none helps.
    pub stated: u64,
    /// Those of them that were told the least wait, to the nanosecond.
    pub exact: u64,
    /// How much too early the worst of them was told to come: denied again. Nanoseconds.
    pub early_ns: u64,
    /// How much too late the worst of them was told to come. Nanoseconds.
    pub late_ns: u64,
    /// Those that were told a wait though none helps, or that none helps though one does.
    pub wrong: u64,
}

/// Speed and memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// Rounds in which the contenders took turns; times are medians of them.
    pub rounds: u64,
    /// One a contender and number of keys.
    pub rows: Vec<SpeedRow>,
}

/// One contender with so many keys.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpeedRow {
    /// Its name.
    pub contender: String,
    /// How many keys there are, chosen uniformly.
    pub keys: u64,
    /// Whether reading its own clock is part of the time.
    pub reads_clock: bool,
    /// Nanoseconds a decision that allows; none if it cannot be measured.
    pub allowed_ns: Option<f64>,
    /// Nanoseconds a decision that denies; none if it cannot be measured.
    pub denied_ns: Option<f64>,
    /// Bytes a key; none if they cannot be counted.
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
