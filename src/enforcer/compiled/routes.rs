//! Routes: an index of the compiled limits by the exact values that their conditions require. It
//! narrows down the limits that a request may meet; `applies` tests their conditions.

use std::collections::{HashMap, HashSet};

use smallvec::SmallVec;

use crate::enforcer::facts::{FactId, Facts};

use super::{Compiled, CompiledLimit};

/// How many limits are found for one request without allocating, if the policy has routes.
const FOUND: usize = 32;

/// Places of limits in the policy.
pub(crate) type Candidates = SmallVec<[u32; FOUND]>;

/// The limits by the exact value that they need one fact to have.
pub(super) struct Route {
    fact: FactId,
    rules: HashMap<Box<[u8]>, Vec<u32>>,
}

impl Compiled {
    /// The places of the limits that may apply, in order. `found` must be empty.
    #[inline(always)]
    pub(crate) fn find<'a>(&'a self, facts: &Facts<'_>, found: &'a mut Candidates) -> &'a [u32] {
        if self.routes.is_empty() { &self.always } else { self.route(facts, found) }
    }

    /// As [`find`](Self::find), for a policy with routes.
    #[inline(never)]
    fn route<'a>(&'a self, facts: &Facts<'_>, found: &'a mut Candidates) -> &'a [u32] {
        for route in &self.routes {
            let value = facts.get(route.fact);
            if let Some(rules) = value.and_then(|value| route.rules.get(value)) {
                found.extend_from_slice(rules);
            }
        }
        if found.is_empty() {
            return &self.always;
        }
        found.extend_from_slice(&self.always);
        found.sort_unstable();
        found
    }
}

/// Indexes each limit under the exact values of one of its facts: the fact with the most different
/// values in the policy. Also returns the limits without such a condition, which always may apply.
pub(super) fn index(rules: &[CompiledLimit]) -> (Vec<u32>, Box<[Route]>) {
    let mut values: HashMap<FactId, HashSet<&[u8]>> = HashMap::new();
    for test in rules.iter().flat_map(|rule| &rule.when) {
        values.entry(test.fact).or_default().extend(test.exact_values().into_iter().flatten());
    }
    let mut always = Vec::new();
    let mut routes: HashMap<FactId, HashMap<Box<[u8]>, Vec<u32>>> = HashMap::new();
    for (place, rule) in rules.iter().enumerate() {
        let place = place as u32;
        let best = rule
            .when
            .iter()
            .filter_map(|test| Some((test.fact, test.exact_values()?)))
            .max_by_key(|(fact, _)| (values.get(fact).map_or(0, |v| v.len()), *fact));
        let Some((fact, exact)) = best else {
            always.push(place);
            continue;
        };
        let route = routes.entry(fact).or_default();
        for value in exact {
            let rules = route.entry(value.into()).or_default();
            if rules.last() != Some(&place) {
                rules.push(place);
            }
        }
    }
    let routes = routes.into_iter().map(|(fact, rules)| Route { fact, rules }).collect();
    (always, routes)
}
