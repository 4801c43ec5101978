//! The results of a comparison as plain numbers, for tables, pages and other programs. How they are
//! computed is in the sibling files.
//!
//! Amounts are units unless a name says requests; times are seconds unless a name says otherwise.

use serde::Serialize;

/// The results of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The quota of the comparison, as it prints.
    pub quota: String,
    /// The count of the quota, in units per period.
    pub count: u64,
    /// The period of the quota in seconds.
    pub period_s: f64,
    /// The seed of the arrivals.
    pub seed: u64,
    /// The contenders. Lists with one item per contender are in this order.
    pub contenders: Vec<About>,
    /// The results for each scenario.
    pub scenarios: Vec<Scenario>,
    /// The mistakes that the checks look for, in order. The [`mistakes`](About::mistakes) of a
    /// contender are in the same order.
    pub checks: Vec<Check>,
    /// Speed and memory, if they were measured.
    pub speed: Option<Speed>,
    /// Contenders that did not take part, and why.
    pub left_out: Vec<LeftOut>,
    /// Remarks on the results, such as lines of a log that could not be read.
    pub notes: Vec<String>,
}

/// A contender.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct About {
    /// The name: a word or two, unique in the report.
    pub name: String,
    /// Where the contender comes from.
    pub origin: Origin,
    /// A description, in a sentence.
    pub what: String,
    /// Whether each decision takes the time as an argument. Otherwise the contender has no scores
    /// and no mistakes.
    pub takes_time: bool,
    /// The most units that the contender states it admits in a period, or `None` if it states
    /// nothing.
    pub bound: Option<u64>,
    /// The outcome of each check, in the order of the checks. Empty if the contender reads its own
    /// clock.
    pub mistakes: Vec<Outcome>,
}

/// Where a contender comes from.
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
    /// The number of the mistake, by which the page links to it.
    pub row: u32,
    /// The mistake, in a sentence.
    pub what: String,
}

/// The outcome of a check for one contender.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "seen")]
pub enum Outcome {
    /// The contender does not make this mistake.
    Right,
    /// The contender makes it. The text says what was seen, and in brackets what is right.
    Shows(String),
    /// The check cannot apply, for example because the contender states no wait. The text says why.
    DoesNotApply(String),
}

/// A scenario, with the results of the contenders.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scenario {
    /// The name, in one word.
    pub name: String,
    /// What arrives, in a sentence.
    pub what: String,
    /// The quota in this scenario, as it prints. It can differ from the report's: `tokens`
    /// multiplies the count by 1,000.
    pub quota: String,
    /// The count of this quota, in units per period.
    pub count: u64,
    /// The period of this quota in seconds.
    pub period_s: f64,
    /// The number of requests.
    pub requests: u64,
    /// The units that all requests ask for.
    pub units: u64,
    /// The number of different keys.
    pub keys: u64,
    /// The time from the first arrival to the last, in seconds.
    pub duration_s: f64,
    /// The width in seconds of a step of the plots. There are at most 200 steps.
    pub step_s: f64,
    /// The units asked for in each step.
    pub offered: Vec<u64>,
    /// The score of each contender that takes the time, in the contenders' order.
    pub scores: Vec<Score>,
}

/// The results of a contender in a scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// The name of the contender.
    pub contender: String,
    /// Units admitted.
    pub admitted: u64,
    /// Units denied.
    pub denied: u64,
    /// The window of one key with the most units, or `None` if nothing was admitted.
    pub worst: Option<Window>,
    /// The units by which that window exceeds the count, or 0 if it does not.
    pub excess: u64,
    /// The number of requests denied.
    pub denied_requests: u64,
    /// The number of denied requests for which the window that ends at the request had room, by
    /// what the same contender had admitted before.
    pub wrongful_requests: u64,
    /// The units of these requests.
    pub wrongful: u64,
    /// How exact the stated waits are, or `None` if no request was denied.
    pub waits: Option<Waits>,
    /// The units admitted in each step.
    pub admitted_by_step: Vec<u64>,
    /// The reason why the contender took no part in this scenario, if so. Then all other values are
    /// 0, `None` or empty.
    pub unable: Option<String>,
}

/// A half-open window as long as the period.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Window {
    /// The time from the first arrival to the beginning of the window, in seconds.
    pub from_s: f64,
    /// The units admitted in the window.
    pub admitted: u64,
}

/// Stated waits compared with the least wait that helps, for a sample of the denied requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Waits {
    /// The number of denied requests in the sample.
    pub sampled: u64,
    /// The number of these for which the contender stated a wait, or that no wait helps.
    pub stated: u64,
    /// The number of these that are exact: the least wait to the nanosecond, or `Never` where no
    /// wait helps.
    pub exact: u64,
    /// The greatest time in nanoseconds by which a stated wait is too short.
    pub early_ns: u64,
    /// The greatest time in nanoseconds by which a stated wait is too long.
    pub late_ns: u64,
    /// The number of stated waits where none helps, and of statements that none helps where one
    /// does.
    pub wrong: u64,
}

/// Speed and memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// The number of rounds in which the contenders take turns. Times are medians over the rounds.
    pub rounds: u64,
    /// One row for each contender and number of keys.
    pub rows: Vec<SpeedRow>,
}

/// The speed and memory of a contender with a given number of keys.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpeedRow {
    /// The name of the contender.
    pub contender: String,
    /// The number of keys, used in a fixed random order.
    pub keys: u64,
    /// Whether the times include that the contender reads its own clock.
    pub reads_clock: bool,
    /// Nanoseconds per decision that allows, or `None` if it could not be measured.
    pub allowed_ns: Option<f64>,
    /// Nanoseconds per decision that denies, or `None` if it could not be measured.
    pub denied_ns: Option<f64>,
    /// Bytes per key, or `None` if they could not be counted.
    pub bytes_per_key: Option<f64>,
}

/// A contender that did not take part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeftOut {
    /// The name of the contender.
    pub name: String,
    /// The reason.
    pub why: String,
}
