//! What is suggested, and why.

use serde::{Serialize, Serializer};

use super::{Of, Target, Window};
use crate::replay::{Disorder, seconds};
use tollgate::Quota;
use tollgate::Timestamp;
use tollgate::policy::Missing;
use tollgate::{Limit, Policy};

/// Keys for which a limit has room by itself.
const MAX_KEYS: usize = 1 << 20;

/// Limits, and the use that they were found by.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Suggestion {
    /// How much the limits were to refuse at most.
    #[serde(flatten)]
    pub target: Target,
    /// Requests observed.
    pub requests: u64,
    /// How many of them all limits together refuse: as a replay of [`policy`](Self::policy) does.
    pub refused: u64,
    /// The first event's stamp.
    #[serde(serialize_with = "seconds")]
    pub first: Option<Timestamp>,
    /// The latest stamp.
    #[serde(serialize_with = "seconds")]
    pub last: Option<Timestamp>,
    /// The facts that were asked for and some request has, in the order they were asked for.
    pub facts: Vec<Fact>,
    /// Those that no request has.
    pub missing_facts: Vec<String>,
    /// How much of the log was out of order.
    pub disorder: Disorder,
}

/// What was observed of a fact, and the limit that this suggests.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Fact {
    /// The fact.
    pub fact: String,
    /// Requests that have it.
    pub requests: u64,
    /// Its different values.
    pub callers: u64,
    /// Of them, those of whom any request is refused, by whichever limit.
    pub refused_callers: u64,
    /// How busy they are: one for each of [`WINDOWS`](super::WINDOWS).
    pub windows: Vec<Window>,
    /// The limit; none if no count that a quota can have keeps to the target.
    pub limit: Option<Suggested>,
}

/// A limit that is suggested.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Suggested {
    /// Its quota.
    #[serde(serialize_with = "text")]
    pub quota: Quota,
    /// How many keys it has room for, if that is more than a limit has by itself.
    pub max_keys: Option<usize>,
    /// Requests refused in its name.
    pub refused: u64,
}

impl Suggestion {
    /// The limits as a policy, one a fact and named after it, for requests that have the fact.
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

/// Room for each of so many callers, should all be in debt at once.
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
