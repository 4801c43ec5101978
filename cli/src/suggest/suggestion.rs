//! A suggestion: the limits, and the observed use behind them.
//! The text form is in `command/output/suggestion.rs`, the choice of limits in `plan.rs`.

use serde::{Serialize, Serializer};

use super::{Of, Target, Window};
use crate::replay::{Disorder, seconds};
use tollgate::Quota;
use tollgate::Timestamp;
use tollgate::policy::Missing;
use tollgate::{Limit, Policy};

/// The default `max_keys` of a limit.
const MAX_KEYS: usize = 1 << 20;

/// Suggested limits, and the observed use behind them.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Suggestion {
    /// The most that the limits were allowed to refuse.
    #[serde(flatten)]
    pub target: Target,
    /// The number of requests observed.
    pub requests: u64,
    /// The number of these that all limits together refuse, in a replay of
    /// [`policy`](Self::policy).
    pub refused: u64,
    /// The stamp of the first event.
    #[serde(serialize_with = "seconds")]
    pub first: Option<Timestamp>,
    /// The latest stamp.
    #[serde(serialize_with = "seconds")]
    pub last: Option<Timestamp>,
    /// The facts that were named and that some request has, in the order in which they were named.
    pub facts: Vec<Fact>,
    /// The named facts that no request has.
    pub missing_facts: Vec<String>,
    /// How far events were out of order.
    pub disorder: Disorder,
}

/// The observed use of a fact, and its suggested limit.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Fact {
    /// The name of the fact.
    pub fact: String,
    /// The number of requests that have the fact.
    pub requests: u64,
    /// The number of callers: different values of the fact.
    pub callers: u64,
    /// The number of callers that had any request refused, by whichever limit.
    pub refused_callers: u64,
    /// How busy the callers are, for each of [`WINDOWS`](super::WINDOWS).
    pub windows: Vec<Window>,
    /// The limit, or `None` if no count that a quota can have keeps to the target.
    pub limit: Option<Suggested>,
}

/// A suggested limit.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Suggested {
    /// The quota of the limit.
    #[serde(serialize_with = "text")]
    pub quota: Quota,
    /// The number of keys that the limit must hold, if that is above the default.
    pub max_keys: Option<usize>,
    /// The number of requests that this limit refused.
    pub refused: u64,
}

impl Suggestion {
    /// The limits as a policy. Each is named after its fact, and applies to requests that have the
    /// fact.
    pub fn policy(&self) -> Policy {
        let limits = self.facts.iter().filter_map(|fact| {
            let suggested = fact.limit.as_ref()?;
            Some(limit(&fact.fact, suggested.quota, suggested.max_keys))
        });
        limits.fold(Policy::new(), Policy::limit)
    }
}

/// The limit of a fact, as in [`Suggestion::policy`].
pub(super) fn limit(fact: &str, quota: Quota, max_keys: Option<usize>) -> Limit {
    let limit = Limit::new(fact, quota).key([fact]).missing(Missing::Skip);
    max_keys.map_or(limit.clone(), |max_keys| limit.max_keys(max_keys))
}

/// The `max_keys` with which all callers can be in debt at the same time, if above the default.
pub(super) fn max_keys(callers: usize) -> Option<usize> {
    (callers > MAX_KEYS).then(|| callers.next_power_of_two())
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written {
            refuse: String,
            of: Of,
        }
        Written { refuse: self.share.to_string(), of: self.of }.serialize(to)
    }
}

fn text<S: Serializer>(quota: &Quota, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(quota)
}
