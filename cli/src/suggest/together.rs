//! What the limits of several facts refuse together, as one set that admits all or nothing.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::grouped::{Grouped, decide};
use super::observed::Observed;
use super::suggestion::{limit, max_keys};
use crate::replay::{Event, Op, Replay};
use tollgate::Quota;
use tollgate::algorithm::{Gcra, Tat};
use tollgate::{Policy, PolicyError};

/// How much was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Together {
    pub(super) requests: u64,
    /// By the limit of each fact.
    pub(super) by_limit: Vec<u64>,
    /// For each fact, the callers that had any request refused.
    pub(super) callers: Vec<u64>,
}

/// Decides by GCRA directly, which is fast.
pub(super) fn decided(
    observed: &Observed,
    facts: &[Grouped<'_>],
    quotas: &[Option<Quota>],
) -> Together {
    let states = |fact: &Grouped<'_>| vec![Tat::default(); fact.callers()];
    let mut limits: Vec<_> = quotas
        .iter()
        .zip(facts)
        .map(|(quota, fact)| Some((Gcra::new((*quota)?), states(fact))))
        .collect();
    count(observed, facts, |request| {
        let (at, cost) = observed.request(request);
        let mut applying =
            limits.iter_mut().zip(facts).enumerate().filter_map(|(index, (limit, fact))| {
                let (gcra, states) = limit.as_mut()?;
                let state = states.get_mut(fact.column.caller(request)?)?;
                Some((index, gcra, state))
            });
        // Each limit is charged as it allows; if a later one refuses, the charges are undone.
        let mut charged: SmallVec<[(&mut Tat, Tat); 4]> = SmallVec::new();
        let refusing = applying.find_map(|(index, gcra, state)| {
            let before = *state;
            let allowed = decide(gcra, state, cost, at);
            charged.push((state, before));
            (!allowed).then_some(index)
        });
        if refusing.is_some() {
            charged.into_iter().for_each(|(state, before)| *state = before);
        }
        refusing
    })
}

/// Decides by a replay of the policy, which gives the result that users will see.
pub(super) fn replayed(
    observed: &Observed,
    facts: &[Grouped<'_>],
    quotas: &[Option<Quota>],
) -> Result<Together, PolicyError> {
    let limits: Vec<(usize, Quota)> =
        quotas.iter().enumerate().filter_map(|(index, quota)| Some((index, (*quota)?))).collect();
    let policy = limits.iter().filter_map(|(index, quota)| {
        let fact = facts.get(*index)?;
        Some(limit(&fact.column.fact, *quota, max_keys(fact.callers())))
    });
    let mut replay = Replay::new(policy.fold(Policy::new(), Policy::limit))?;
    let names: Vec<_> = facts.iter().map(|fact| fact.column.names()).collect();
    Ok(count(observed, facts, |request| {
        let (at, cost) = observed.request(request);
        let values = facts.iter().zip(&names).filter_map(|(fact, names)| {
            let value = names.get(fact.column.caller(request)?)?;
            Some((Cow::Borrowed(fact.column.fact.as_str()), Cow::Borrowed(*value)))
        });
        let facts = values.collect();
        let event = Event { at, id: None, op: Op::Admit, facts, cost, took: None };
        let refused = replay.event(&event)?.answer.err()?;
        limits.get(refused.index()).map(|(index, _)| *index)
    }))
}

/// Counts what `decide` refuses of all requests, and by which limit.
fn count(
    observed: &Observed,
    facts: &[Grouped<'_>],
    mut refusing: impl FnMut(usize) -> Option<usize>,
) -> Together {
    let mut by_limit = vec![0; facts.len()];
    let mut refused: Vec<_> = facts.iter().map(|fact| vec![false; fact.callers()]).collect();
    for request in 0..observed.requests() as usize {
        let Some(limit) = refusing(request) else { continue };
        if let Some(count) = by_limit.get_mut(limit) {
            *count += 1;
        }
        for (fact, refused) in facts.iter().zip(&mut refused) {
            let caller = fact.column.caller(request).and_then(|id| refused.get_mut(id));
            if let Some(refused) = caller {
                *refused = true;
            }
        }
    }
    let callers = |refused: &Vec<bool>| refused.iter().filter(|refused| **refused).count();
    Together {
        requests: by_limit.iter().sum(),
        by_limit,
        callers: refused.iter().map(|refused| callers(refused) as u64).collect(),
    }
}
