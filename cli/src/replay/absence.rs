//! Facts that a policy names and no request of a log has, with the effect on each limit.
//! The effects themselves are computed by `Policy::lack`.

use serde::{Serialize, Serializer};
use tollgate::Policy;
use tollgate::policy::Lack;

/// A fact that a limit needs and no request had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Absence {
    /// The name of the fact.
    pub fact: String,
    /// The name of the limit.
    pub limit: String,
    /// The effect on the limit.
    #[serde(serialize_with = "snake_case")]
    pub effect: Lack,
}

/// The effects on the limits of `policy` if requests lack the facts in `unseen`.
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
        // A variant that the library added later, as it prints.
        other => return to.collect_str(other),
    };
    to.serialize_str(word)
}
