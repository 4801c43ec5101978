//! What a replay comes to.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use tollgate::Mode;
use tollgate::Timestamp;

use super::absence::Absence;
use super::decision::Seconds;
use super::timeline::{Columns, Resolution, Timeline};

/// As many keys are named of those refused most.
pub(super) const TOP_KEYS: usize = 10;

/// What a replay comes to. Prints as one line of JSON, in which times are seconds.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// Events that asked to be admitted: those admitted and those refused.
    pub requests: u64,
    /// Requests that were admitted.
    pub admitted: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Lines that could not be read. Blank lines are none.
    pub unreadable_lines: u64,
    /// The first event's stamp.
    #[serde(serialize_with = "seconds")]
    pub first: Option<Timestamp>,
    /// The latest stamp.
    #[serde(serialize_with = "seconds")]
    pub last: Option<Timestamp>,
    /// The limits, in the order of the policy.
    pub limits: Vec<LimitSummary>,
    /// The keys refused most, at most 10. Of equals the first in the policy, then in the alphabet.
    pub top_refused_keys: Vec<KeySummary>,
    /// Events that asked what would be, and are no requests.
    pub peeks: u64,
    /// Events that said that a request ended.
    pub finishes: u64,
    /// Of these, those that ended nothing: no request of their id was admitted, or it had ended.
    pub unknown_finishes: u64,
    /// Requests with an id that were admitted and never finished; 0 if none was finished, since
    /// such a log does not tell.
    pub unfinished: u64,
    /// The most admitted requests at once, of those whose end the log tells or may tell later.
    /// None if it told of no end.
    pub peak_in_flight: Option<u64>,
    /// How much of the log was out of order.
    pub disorder: Disorder,
    /// What the policy asks for and no request had.
    pub missing_facts: Vec<Absence>,
    #[serde(skip)]
    pub(super) finest: Resolution,
}

/// What a replay comes to for one limit.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LimitSummary {
    /// Its name.
    pub name: String,
    /// Requests it applied to, whoever refused them.
    pub checked: u64,
    /// Requests refused in its name.
    pub refused: u64,
    /// Requests it would have refused, had it not been in shadow.
    pub shadow_refused: u64,
    /// Different keys of the requests it applied to.
    pub keys: u64,
    /// Requests for whose key there was no room: more than `max_keys` were in debt.
    pub overflows: u64,
    /// What it does with its decisions.
    #[serde(skip)]
    pub mode: Mode,
    /// When it refused; in shadow, when it would have.
    #[serde(skip)]
    pub over_time: Timeline,
}

/// How often a key was refused.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct KeySummary {
    /// The limit that refused it.
    pub limit: String,
    /// The key in words: `user=42 view=/x`.
    pub key: String,
    /// Requests refused.
    pub refused: u64,
    /// When.
    #[serde(skip)]
    pub over_time: Timeline,
}

/// Events stamped earlier than one before them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Disorder {
    /// How many.
    pub lines: u64,
    /// How much earlier, at most.
    #[serde(rename = "furthest_ns", serialize_with = "nanos")]
    pub furthest: Duration,
}

impl Summary {
    /// The time from the first event to the latest in at most `most` equal columns (and at most
    /// 100). None if there was no event.
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
