//! [`Policy::lack`]: what happens to the limits of a policy if requests lack a fact. It reads the
//! plain policy and needs no enforcer.

use std::fmt;

use super::{Limit, Missing, Mode, Policy};

/// What happens to a limit if no request has a fact that it asks for: [`Policy::lack`]. Displays as
/// words that follow the limit's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lack {
    /// The limit never applies.
    NeverApplies,
    /// The limit refuses every request that it applies to.
    Refuses,
    /// The limit does not separate requests by this part of its key.
    CountsTogether,
    /// The limit counts by another fact of the same part of its key.
    CountsByAnother,
    /// Every request costs 1.
    CostsOne,
}

impl Policy {
    /// For each of `facts` that a limit asks for, returns the fact, the limit's name, and what
    /// happens to the limit if no request has any of `facts`. Limits that are off are left out.
    ///
    /// ```
    /// use tollgate::{Limit, Policy, Quota};
    ///
    /// let policy = Policy::new().limit(Limit::new("user", Quota::per_second(50)).key(["user"]));
    /// for (fact, limit, lack) in policy.lack(&["user"]) {
    ///     assert_eq!(format!("{limit}, without {fact}, {lack}"),
    ///         "user, without user, does not separate by it");
    /// }
    /// ```
    pub fn lack<'p>(&'p self, facts: &[&'p str]) -> Vec<(&'p str, &'p str, Lack)> {
        let mut lacks = Vec::new();
        for fact in facts {
            for limit in self.limits.iter().filter(|limit| limit.mode != Mode::Off) {
                if let Some(lack) = limit.lack(fact, facts) {
                    lacks.push((*fact, limit.name(), lack));
                }
            }
        }
        lacks
    }
}

impl Limit {
    /// The worst effect of the lack of `fact` on the limit, if all of `lacking` are missing.
    fn lack(&self, fact: &str, lacking: &[&str]) -> Option<Lack> {
        let asks = |facts: &[String]| facts.iter().any(|one| one == fact);
        let all_lack = |facts: &[String]| facts.iter().all(|fact| lacking.contains(&&**fact));
        let chooses = self.rollout.as_ref().is_some_and(|rollout| {
            let by_key = rollout.by.is_empty()
                && self.key.iter().any(|part| asks(&part.facts) && all_lack(&part.facts));
            by_key || asks(&rollout.by)
        });
        if chooses || self.when.iter().any(|condition| condition.fact == fact) {
            return Some(Lack::NeverApplies);
        }
        let parts = || self.key.iter().filter(|part| asks(&part.facts));
        if parts().any(|part| all_lack(&part.facts)) {
            return Some(match self.missing {
                Missing::Marker => Lack::CountsTogether,
                Missing::Skip => Lack::NeverApplies,
                Missing::Refuse => Lack::Refuses,
            });
        }
        if self.cost.as_deref() == Some(fact) {
            return Some(Lack::CostsOne);
        }
        parts().next().map(|_| Lack::CountsByAnother)
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lack::NeverApplies => "never applies",
            Lack::Refuses => "refuses every request",
            Lack::CountsTogether => "does not separate by it",
            Lack::CountsByAnother => "counts by another instead",
            Lack::CostsOne => "counts 1 for each request",
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
        for (limit, lack) in [
            (limit(), None),
            (limit().key(["there"]), None),
            (limit().key(["absent"]).mode(Mode::Off), None),
            (limit().when("absent", ["x"]).cost("absent"), Some(Lack::NeverApplies)),
            (limit().key(["absent"]).missing(Missing::Skip), Some(Lack::NeverApplies)),
            (limit().key(["absent"]).rollout(all(), []), Some(Lack::NeverApplies)),
            (limit().key(["there"]).rollout(all(), ["absent"]), Some(Lack::NeverApplies)),
            (limit().key(["absent|there"]).rollout(all(), []), Some(Lack::CountsByAnother)),
            (limit().key(["there", "absent"]), Some(Lack::CountsTogether)),
            (limit().key(["absent"]).missing(Missing::Refuse), Some(Lack::Refuses)),
            (limit().key(["there|absent"]), Some(Lack::CountsByAnother)),
            (limit().cost("absent"), Some(Lack::CostsOne)),
        ] {
            let policy = Policy::new().limit(limit.clone());
            let found = policy.lack(&["absent"]);
            assert_eq!(found.first().map(|(.., lack)| *lack), lack, "{limit:?}");
        }
    }
}
