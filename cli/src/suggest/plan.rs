//! Finds limits for several facts: what each limit may refuse by itself, and what all refuse
//! together.

use std::time::Duration;

use super::dial::{Dial, PARTS};
use super::grouped::{Allowance, Grouped, Refusals};
use super::observed::Observed;
use super::suggestion::{Fact, Suggested, Suggestion, max_keys};
use super::together::{self, Together};
use super::{Of, Target, windows};
use tollgate::PolicyError;
use tollgate::Quota;

/// The periods of limits. Among equal results the first wins: its limit allows the longest bursts.
const PERIODS: [Duration; 3] =
    [Duration::from_secs(60), Duration::from_secs(10), Duration::from_secs(1)];

/// A period has at least this many steps of the timestamps.
const STEPS_PER_PERIOD: u128 = 10;

impl Observed {
    /// The tightest limits that keep to the target; see the [module](crate::suggest) for how they
    /// are chosen.
    ///
    /// # Errors
    /// None that are known: whatever can be observed makes a valid policy.
    pub fn suggest(&self, target: Target) -> Result<Suggestion, PolicyError> {
        let plan = Plan::new(self, target);
        let (quotas, refused) = plan.confirmed(plan.quotas())?;
        Ok(plan.suggestion(&quotas, &refused))
    }
}

struct Plan<'o> {
    observed: &'o Observed,
    facts: Vec<Grouped<'o>>,
    target: Target,
}

/// The quota of each fact's limit; `None` for no limit.
type Quotas = Vec<Option<Quota>>;

impl<'o> Plan<'o> {
    fn new(observed: &'o Observed, target: Target) -> Plan<'o> {
        let seen = observed.columns().iter().filter(|column| column.values() > 0);
        let facts = seen.map(|column| Grouped::new(observed, column)).collect();
        Plan { observed, facts, target }
    }

    /// Finds the largest part of the target with which all limits together keep to it; then gives
    /// one limit after the other a larger part, as long as all keep to it.
    fn quotas(&self) -> Quotas {
        let mut dials: Vec<_> = self.facts.iter().map(|fact| self.dial(fact)).collect();
        let quota = |dial: &mut Option<Dial<'_>>, part| dial.as_mut()?.quota(part);
        // Limits that refuse nothing by themselves refuse nothing together.
        let mut kept: Quotas = dials.iter_mut().map(|dial| quota(dial, 0)).collect();
        let keeps = |kept: &mut Quotas, tried: Quotas| {
            let keeps = self.keeps(&self.together(&tried));
            if keeps {
                *kept = tried;
            }
            keeps
        };
        let alike = largest_part(0, |part| {
            keeps(&mut kept, dials.iter_mut().map(|dial| quota(dial, part)).collect())
        });
        for (index, dial) in dials.iter_mut().enumerate() {
            largest_part(alike, |part| {
                let mut tried = kept.clone();
                if let Some(one) = tried.get_mut(index) {
                    *one = quota(dial, part);
                }
                keeps(&mut kept, tried)
            });
        }
        kept
    }

    /// The limits of a fact for the period whose limit lets the least through in its worst minute.
    fn dial<'p>(&self, fact: &'p Grouped<'p>) -> Option<Dial<'p>> {
        let step = u128::from(self.observed.step_nanos());
        let fine = |period: &Duration| period.as_nanos() >= STEPS_PER_PERIOD * step;
        let whole = Allowance { of: self.target.of, most: self.most(fact) };
        let dial = |period| Dial::new(fact, period, whole);
        let possible = PERIODS.into_iter().filter(fine).filter_map(dial);
        possible.min_by_key(Dial::worst_minute)
    }

    /// The most requests or callers that may be refused.
    fn most(&self, fact: &Grouped<'_>) -> u64 {
        self.target.share.of(match self.target.of {
            Of::Requests => self.observed.requests(),
            Of::Callers => fact.callers() as u64,
        })
    }

    /// Whether the refusals are within the target.
    fn keeps(&self, refused: &Together) -> bool {
        self.facts.iter().zip(&refused.callers).all(|(fact, callers)| {
            let allowance = Allowance { of: self.target.of, most: self.most(fact) };
            allowance.covers(Refusals { requests: refused.requests, callers: *callers })
        })
    }

    /// What the limits refuse together, according to GCRA.
    fn together(&self, quotas: &Quotas) -> Together {
        together::decided(self.observed, &self.facts, quotas)
    }

    /// The quotas, loosened until a replay refuses no more than the target allows.
    fn confirmed(&self, mut quotas: Quotas) -> Result<(Quotas, Together), PolicyError> {
        loop {
            let refused = self.replayed(&quotas)?;
            if self.keeps(&refused) {
                return Ok((quotas, refused));
            }
            // If too much is refused, some limit refuses something, so there is a limit to loosen.
            let refusing = refused.by_limit.iter().zip(&mut quotas);
            if let Some((_, quota)) = refusing.max_by_key(|(refused, _)| **refused) {
                *quota = quota.and_then(looser);
            }
        }
    }

    /// What the limits refuse together, according to a replay of their policy.
    fn replayed(&self, quotas: &Quotas) -> Result<Together, PolicyError> {
        together::replayed(self.observed, &self.facts, quotas)
    }

    fn suggestion(&self, quotas: &Quotas, refused: &Together) -> Suggestion {
        let observed = self.observed;
        let numbers = quotas.iter().zip(&refused.by_limit).zip(&refused.callers);
        let fact = |(fact, ((quota, by_limit), callers)): (
            &Grouped<'_>,
            ((&Option<Quota>, &u64), &u64),
        )| {
            Fact {
                fact: fact.column.fact.clone(),
                requests: fact.requests(),
                callers: fact.callers() as u64,
                refused_callers: *callers,
                windows: windows::of(fact),
                limit: quota.map(|quota| Suggested {
                    quota,
                    max_keys: max_keys(fact.callers()),
                    refused: *by_limit,
                }),
            }
        };
        let missing = observed.columns().iter().filter(|column| column.values() == 0);
        Suggestion {
            target: self.target,
            requests: observed.requests(),
            refused: refused.requests,
            first: observed.span().map(|(first, _)| first),
            last: observed.span().map(|(_, last)| last),
            facts: self.facts.iter().zip(numbers).map(fact).collect(),
            missing_facts: missing.map(|column| column.fact.clone()).collect(),
            disorder: observed.disorder(),
        }
    }
}

/// The largest part for which `does` holds, at least `keeps`, for which it is known to hold.
fn largest_part(mut keeps: u64, mut does: impl FnMut(u64) -> bool) -> u64 {
    if keeps == PARTS || does(PARTS) {
        return PARTS;
    }
    let mut breaks = PARTS;
    while breaks - keeps > 1 {
        let middle = keeps + (breaks - keeps) / 2;
        match does(middle) {
            true => keeps = middle,
            false => breaks = middle,
        }
    }
    keeps
}

/// A slightly larger quota, if there is one.
fn looser(quota: Quota) -> Option<Quota> {
    let count = quota.count();
    Quota::new(count + 1 + count / 100, quota.period()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::Format;
    use crate::suggest::Target;

    /// Random requests from a seed: a few callers and routes, in bursts, with costs up to `costs`.
    fn observed(seed: u64, costs: u64) -> Observed {
        let mut state = seed;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        let mut observed = Observed::of(["user", "route"]).unwrap();
        let mut at = 0;
        for _ in 0..600 {
            at += [0, 0, 0, 1, 7][random(5) as usize] * random(3_000);
            let users = 1 + random(9);
            let (user, route, cost) = (random(users), random(5), 1 + random(costs));
            let line = format!(
                r#"{{"t": {}.{:03}, "cost": {cost}, "facts": {{"user": {user}, "route": {route}}}}}"#,
                at / 1000,
                at % 1000
            );
            observed.event(&Format::Jsonl.event(line.as_bytes()).unwrap().unwrap()).unwrap();
        }
        observed
    }

    fn with_plan<T>(observed: &Observed, share: &str, of: Of, then: impl Fn(&Plan<'_>) -> T) -> T {
        let target = Target { share: share.parse().unwrap(), of };
        then(&Plan::new(observed, target))
    }

    const TARGETS: [(&str, Of); 5] = [
        ("0%", Of::Requests),
        ("2%", Of::Requests),
        ("30%", Of::Requests),
        ("34%", Of::Callers),
        ("70%", Of::Callers),
    ];

    #[test]
    fn limits_refuse_together_what_a_replay_refuses() {
        for seed in 0..20 {
            let observed = observed(seed, 1 + seed % 4);
            for (share, of) in TARGETS {
                with_plan(&observed, share, of, |plan| {
                    let quotas = plan.quotas();
                    let together = plan.together(&quotas);
                    assert_eq!(together, plan.replayed(&quotas).unwrap(), "{seed} {share}");
                    assert!(plan.keeps(&together), "{seed} {share} {together:?}");
                });
            }
        }
    }

    #[test]
    fn no_limit_could_take_a_larger_part() {
        let mut less = 0;
        for seed in 0..20 {
            let observed = observed(seed, 1);
            for (share, of) in TARGETS {
                with_plan(&observed, share, of, |plan| {
                    let quotas = plan.quotas();
                    for (index, fact) in plan.facts.iter().enumerate() {
                        let mut dial = plan.dial(fact).unwrap();
                        let tighter = (0..=PARTS)
                            .filter_map(|part| dial.quota(part))
                            .filter(|quota| Some(quota.count()) < quotas[index].map(|q| q.count()));
                        // A count may happen to keep to the target below one that does not.
                        let next = tighter.max_by_key(Quota::count);
                        let mut tried = quotas.clone();
                        tried[index] = next;
                        let keeps = plan.keeps(&plan.together(&tried));
                        assert!(next.is_none() || !keeps, "{seed} {share} {quotas:?} {tried:?}");
                    }
                });
                less += 1;
            }
        }
        assert_eq!(less, 100);
    }

    #[test]
    fn what_refuses_too_much_is_loosened_until_it_does_not() {
        let observed = observed(1, 3);
        for (share, of) in TARGETS {
            with_plan(&observed, share, of, |plan| {
                let tight = plan.facts.iter().map(|_| Some(Quota::per_minute(3))).collect();
                assert!(!plan.keeps(&plan.replayed(&tight).unwrap()), "{share}");
                let (quotas, refused) = plan.confirmed(tight).unwrap();
                assert!(plan.keeps(&refused), "{share} {quotas:?} {refused:?}");
                assert_eq!(refused, plan.replayed(&quotas).unwrap());
                assert!(quotas.iter().all(|quota| quota.is_some_and(|quota| quota.count() > 3)));
            });
        }
    }

    #[test]
    fn a_limit_has_room_for_all_callers() {
        assert_eq!([1 << 20, (1 << 20) + 1].map(max_keys), [None, Some(1 << 21)]);
    }
}
