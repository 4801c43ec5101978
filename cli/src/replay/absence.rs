//! Facts that a policy names and a log does not have, and what that does to each limit.

use serde::{Serialize, Serializer};
use tollgate::Policy;
use tollgate::policy::Lack;

/// A fact that a limit asks for and no request had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Absence {
    /// The fact.
    pub fact: String,
    /// The limit.
    pub limit: String,
    /// What that does to the limit.
    #[serde(serialize_with = "snake_case")]
    pub effect: Lack,
}

/// What the facts `unseen` do to the limits of `policy`.
pub(super) fn of(policy: &Policy, unseen: &[String]) -> Vec<Absence> {
    let unseen: Vec<&str> = unseen.iter().map(String::as_str).collect();
    let absence = |(fact, limit, effect): (&str, &str, Lack)| Absence {
        fact: fact.to_owned(),
        limit: limit.to_owned(),
        effect,
    };
    policy.lack(&unseen).into_iter().map(absence).collect()
}

fn snake_case<S: Serializer>(lack: &Lack, to: S) -> Result<S::Ok, S::Error> {
    let word = match lack {
        Lack::NeverApplies => "never_applies",
        Lack::Refuses => "refuses",
        Lack::CountsTogether => "counts_together",
        Lack::CountsByAnother => "counts_by_another",
        Lack::CostsOne => "costs_one",
        // A later one of the library, in its words.
        other => return to.collect_str(other),
    };
    to.serialize_str(word)
}
