//! The result of a replay, as plain numbers. The report that people read is made in `command`.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use tollgate::Mode;
use tollgate::Timestamp;

use super::absence::Absence;
use super::decision::Seconds;
use super::timeline::{Columns, Resolution, Timeline};

/// How many of the most refused keys are named.
pub(super) const TOP_KEYS: usize = 10;

/// The result of a replay. Prints as one line of JSON, in which times are seconds.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// Events that asked to be admitted: the admitted and the refused ones.
    pub requests: u64,
    /// Requests that were admitted.
    pub admitted: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Lines that could not be read, without blank lines.
    pub unreadable_lines: u64,
    /// The timestamp of the first event.
    #[serde(serialize_with = "seconds")]
    pub first: Option<Timestamp>,
    /// The latest timestamp.
    #[serde(serialize_with = "seconds")]
    pub last: Option<Timestamp>,
    /// The limits, in the order of the policy.
    pub limits: Vec<LimitSummary>,
    /// The most refused keys, at most 10. Ties in the order of the policy, then alphabetically.
    pub top_refused_keys: Vec<KeySummary>,
    /// Events that asked whether they would be admitted; these are no requests.
    pub peeks: u64,
    /// Events that said that a request ended.
    pub finishes: u64,
    /// Of `finishes`, those that ended nothing: no request of their id was admitted, or it had
    /// already ended.
    pub unknown_finishes: u64,
    /// Requests with an id that were admitted and never finished; 0 if no request was finished,
    /// since such a log does not tell ends.
    pub unfinished: u64,
    /// The most admitted requests at a time, of those whose end the log tells or may tell later.
    /// None if it told no end.
    pub peak_in_flight: Option<u64>,
    /// How much of the log was out of order.
    pub disorder: Disorder,
    /// The facts that the policy names and no request had.
    pub missing_facts: Vec<Absence>,
    #[serde(skip)]
    pub(super) finest: Resolution,
}

/// The result of a replay for one limit.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LimitSummary {
    /// Its name.
    pub name: String,
    /// Requests that it applied to, including those that another limit refused.
    pub checked: u64,
    /// Requests that it refused.
    pub refused: u64,
    /// Requests that it would have refused, had it not been in shadow mode.
    pub shadow_refused: u64,
    /// Different keys of the requests that it applied to.
    pub keys: u64,
    /// Requests whose key found no room: more than `max_keys` keys were in debt.
    pub overflows: u64,
    /// Whether it enforces its decisions, only counts them, or is off.
    #[serde(skip)]
    pub mode: Mode,
    /// When it refused requests; in shadow mode, when it would have.
    #[serde(skip)]
    pub over_time: Timeline,
}

/// How often a limit refused a key.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct KeySummary {
    /// The limit that refused it.
    pub limit: String,
    /// The key as text: `user=42 view=/x`.
    pub key: String,
    /// Requests refused.
    pub refused: u64,
    /// When they were refused.
    #[serde(skip)]
    pub over_time: Timeline,
}

/// Events with a timestamp earlier than that of an event before them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Disorder {
    /// How many.
    pub lines: u64,
    /// The largest difference to the latest timestamp before.
    #[serde(rename = "furthest_ns", serialize_with = "nanos")]
    pub furthest: Duration,
}

impl Summary {
    /// The time from the first event to the latest in at most `most` (and at most 100) equal
    /// columns. None if there was no event.
    pub fn columns(&self, most: usize) -> Option<Columns> {
        Some(Columns::spanning(self.first?, self.last?, self.finest, most))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

pub(crate) fn seconds<S: Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    let raw = at.and_then(|at| RawValue::from_string(Seconds(at).to_string()).ok());
    raw.serialize(to)
}

fn nanos<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).serialize(to)
}
