//! The results of a replay: totals, limits, keys, and facts that no request had.
//! Prints as JSON here; the report for people is in `command/output/report.rs`.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use tollgate::Mode;
use tollgate::Timestamp;

use super::absence::Absence;
use super::decision::Seconds;
use super::timeline::{Columns, Resolution, Timeline};

/// The number of most refused keys that are named.
pub(super) const TOP_KEYS: usize = 10;

/// The results of a replay. Prints as one line of JSON, in which times are seconds.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// Events that asked to be admitted, whether they were admitted or refused.
    pub requests: u64,
    /// Requests that were admitted.
    pub admitted: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Lines that could not be read. Blank lines do not count.
    pub unreadable_lines: u64,
    /// The stamp of the first event.
    #[serde(serialize_with = "seconds")]
    pub first: Option<Timestamp>,
    /// The latest stamp.
    #[serde(serialize_with = "seconds")]
    pub last: Option<Timestamp>,
    /// The limits, in the order of the policy.
    pub limits: Vec<LimitSummary>,
    /// The most refused keys, at most 10; then by the limits' order in the policy, then by the
    /// key's text.
    pub top_refused_keys: Vec<KeySummary>,
    /// Events that asked whether a request would be admitted. They are no requests.
    pub peeks: u64,
    /// Events that said that a request ended.
    pub finishes: u64,
    /// The number of these that ended no request, because none with this id was in flight.
    pub unknown_finishes: u64,
    /// Requests with an id that were admitted and never finished. 0 if no request was ever
    /// finished, because then the log does not tell when requests end.
    pub unfinished: u64,
    /// The most admitted requests in flight at once, counting only requests with a duration or an
    /// id. `None` if the log has no duration and finishes no request.
    pub peak_in_flight: Option<u64>,
    /// How far events were out of order.
    pub disorder: Disorder,
    /// The facts that the policy needs and no request had.
    pub missing_facts: Vec<Absence>,
    #[serde(skip)]
    pub(super) finest: Resolution,
}

/// The results of a replay for one limit.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LimitSummary {
    /// The name of the limit.
    pub name: String,
    /// Requests that the limit applied to, whichever limit refused them.
    pub checked: u64,
    /// Requests that this limit refused.
    pub refused: u64,
    /// Requests that this limit would have refused if it were not in shadow mode.
    pub shadow_refused: u64,
    /// The number of different keys among the requests that the limit applied to.
    pub keys: u64,
    /// Requests whose key had no place in the table, because more than `max_keys` keys were in
    /// debt.
    pub overflows: u64,
    /// Whether decisions of the limit are enforced.
    #[serde(skip)]
    pub mode: Mode,
    /// When the limit refused requests or, in shadow mode, would have.
    #[serde(skip)]
    pub over_time: Timeline,
}

/// How often a key was refused.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct KeySummary {
    /// The limit that refused the key.
    pub limit: String,
    /// The key as text: `user=42 view=/x`.
    pub key: String,
    /// The number of requests refused.
    pub refused: u64,
    /// When they were refused.
    #[serde(skip)]
    pub over_time: Timeline,
}

/// Events stamped earlier than an event before them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Disorder {
    /// The number of these events.
    pub lines: u64,
    /// The greatest time by which one was earlier.
    #[serde(rename = "furthest_ns", serialize_with = "nanos")]
    pub furthest: Duration,
}

impl Summary {
    /// Divides the time from the first event to the latest into at most `most` equal columns (and
    /// at most 100). `None` if there was no event.
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
