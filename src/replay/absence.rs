//! Facts that a policy names and a log does not have, and what that does to each limit.

use std::fmt;

use serde::Serialize;

use crate::policy::{Limit, Missing, Mode, Policy};

/// A fact that a limit asks for and no request had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Absence {
    /// The fact.
    pub fact: String,
    /// The limit.
    pub limit: String,
    /// What that does to the limit.
    pub effect: Effect,
}

/// What it does to a limit that no request has a fact it asks for. Prints as words that follow the
/// limit's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Effect {
    /// It never applies.
    NeverApplies,
    /// It refuses every request that it applies to.
    Refuses,
    /// It does not tell requests apart by this part of its key.
    CountsTogether,
    /// It counts by another fact of the same part of its key.
    CountsByAnother,
    /// Every request costs it 1.
    CostsOne,
}

/// What the facts `unseen` do to the limits of `policy`.
pub(super) fn of(policy: &Policy, unseen: &[String]) -> Vec<Absence> {
    let mut absences = Vec::new();
    for fact in unseen {
        for limit in policy.limits.iter().filter(|limit| limit.mode != Mode::Off) {
            if let Some(effect) = effect(limit, fact, unseen) {
                absences.push(Absence { fact: fact.clone(), limit: limit.name.clone(), effect });
            }
        }
    }
    absences
}

/// The worst that the lack of `fact` does to `limit`.
fn effect(limit: &Limit, fact: &String, unseen: &[String]) -> Option<Effect> {
    let unseen = |facts: &[String]| facts.iter().all(|fact| unseen.contains(fact));
    let chooses = limit.rollout.as_ref().is_some_and(|rollout| {
        let by_key = rollout.by.is_empty()
            && limit.key.iter().any(|part| part.facts.contains(fact) && unseen(&part.facts));
        by_key || rollout.by.contains(fact)
    });
    if chooses || limit.when.iter().any(|condition| condition.fact == *fact) {
        return Some(Effect::NeverApplies);
    }
    let parts = || limit.key.iter().filter(|part| part.facts.contains(fact));
    if parts().any(|part| unseen(&part.facts)) {
        return Some(match limit.missing {
            Missing::Marker => Effect::CountsTogether,
            Missing::Skip => Effect::NeverApplies,
            Missing::Refuse => Effect::Refuses,
        });
    }
    if limit.cost.as_ref() == Some(fact) {
        return Some(Effect::CostsOne);
    }
    parts().next().map(|_| Effect::CountsByAnother)
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Effect::NeverApplies => "never applies",
            Effect::Refuses => "refuses every request",
            Effect::CountsTogether => "does not separate by it",
            Effect::CountsByAnother => "counts by another instead",
            Effect::CostsOne => "counts 1 for each request",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Share;
    use crate::quota::Quota;

    #[test]
    fn what_the_lack_of_a_fact_does() {
        let limit = || Limit::new("limit", Quota::per_second(1));
        let all = || Share::percent(100);
        for (limit, effect) in [
            (limit(), None),
            (limit().key(["there"]), None),
            (limit().key(["absent"]).mode(Mode::Off), None),
            (limit().when("absent", ["x"]).cost("absent"), Some(Effect::NeverApplies)),
            (limit().key(["absent"]).missing(Missing::Skip), Some(Effect::NeverApplies)),
            (limit().key(["absent"]).rollout(all(), []), Some(Effect::NeverApplies)),
            (limit().key(["there"]).rollout(all(), ["absent"]), Some(Effect::NeverApplies)),
            (limit().key(["absent|there"]).rollout(all(), []), Some(Effect::CountsByAnother)),
            (limit().key(["there", "absent"]), Some(Effect::CountsTogether)),
            (limit().key(["absent"]).missing(Missing::Refuse), Some(Effect::Refuses)),
            (limit().key(["there|absent"]), Some(Effect::CountsByAnother)),
            (limit().cost("absent"), Some(Effect::CostsOne)),
        ] {
            let policy = Policy::new().limit(limit.clone());
            let found = of(&policy, &["absent".to_owned()]);
            assert_eq!(found.first().map(|absence| absence.effect), effect, "{limit:?}");
        }
    }
}
