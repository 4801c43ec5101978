//! Facts that a policy names and that no request of the log has, and the effect on each limit.

use serde::{Serialize, Serializer};
use tollgate::Policy;
use tollgate::policy::Lack;

/// A fact that a limit names and that no request had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Absence {
    /// The fact.
    pub fact: String,
    /// The limit that names it.
    pub limit: String,
    /// The effect on the limit.
    #[serde(serialize_with = "snake_case")]
    pub effect: Lack,
}

/// The effects of the missing facts `unseen` on the limits of `policy`.
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
        // `Lack` is non-exhaustive: a later variant prints as the library words it.
        other => return to.collect_str(other),
    };
    to.serialize_str(word)
}
