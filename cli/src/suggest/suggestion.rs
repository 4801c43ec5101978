//! The suggested limits, and the figures behind them. `plan` finds them, `command` prints them.

use serde::{Serialize, Serializer};

use super::{Of, Target, Window};
use crate::replay::{Disorder, seconds};
use tollgate::Quota;
use tollgate::Timestamp;
use tollgate::policy::Missing;
use tollgate::{Limit, Policy};

/// The default capacity of a limit, in keys.
const MAX_KEYS: usize = 1 << 20;

/// Limits, and the observed use from which they were found.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Suggestion {
    /// How much the limits may refuse.
    #[serde(flatten)]
    pub target: Target,
    /// The number of requests observed.
    pub requests: u64,
    /// How many of them all limits together refuse, according to a replay of
    /// [`policy`](Self::policy).
    pub refused: u64,
    /// The timestamp of the first event.
    #[serde(serialize_with = "seconds")]
    pub first: Option<Timestamp>,
    /// The latest timestamp.
    #[serde(serialize_with = "seconds")]
    pub last: Option<Timestamp>,
    /// The facts that were asked for and that some request has, in the order they were asked for.
    pub facts: Vec<Fact>,
    /// The facts that were asked for and that no request has.
    pub missing_facts: Vec<String>,
    /// How much of the log was out of order.
    pub disorder: Disorder,
}

/// The observed use of a fact, and the limit suggested for it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Fact {
    /// The fact.
    pub fact: String,
    /// The number of requests that have it.
    pub requests: u64,
    /// The number of its different values.
    pub callers: u64,
    /// Of these callers, the number that had any request refused, by any limit.
    pub refused_callers: u64,
    /// How busy the callers are: one entry for each of [`WINDOWS`](super::WINDOWS).
    pub windows: Vec<Window>,
    /// The limit; `None` if no count that a quota can have keeps to the target.
    pub limit: Option<Suggested>,
}

/// A suggested limit.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Suggested {
    /// Its quota.
    #[serde(serialize_with = "text")]
    pub quota: Quota,
    /// Its capacity in keys, if that is more than the default.
    pub max_keys: Option<usize>,
    /// Requests that this limit refused.
    pub refused: u64,
}

impl Suggestion {
    /// The limits as a policy: one per fact and named after it, for requests that have the fact.
    pub fn policy(&self) -> Policy {
        let limits = self.facts.iter().filter_map(|fact| {
            let suggested = fact.limit.as_ref()?;
            Some(limit(&fact.fact, suggested.quota, suggested.max_keys))
        });
        limits.fold(Policy::new(), Policy::limit)
    }
}

/// The limit of a fact.
pub(super) fn limit(fact: &str, quota: Quota, max_keys: Option<usize>) -> Limit {
    let limit = Limit::new(fact, quota).key([fact]).missing(Missing::Skip);
    max_keys.map_or(limit.clone(), |max_keys| limit.max_keys(max_keys))
}

/// The capacity for all callers to be in debt at the same time; `None` if the default is enough.
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
