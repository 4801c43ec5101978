//! Routes: the rules that a request may meet, by the exact values of its facts.

use std::collections::{HashMap, HashSet};

use smallvec::SmallVec;

use crate::enforcer::facts::{FactId, Facts};

use super::{Compiled, CompiledLimit};

/// As many limits as are found for one request without allocating, if any has a route.
const FOUND: usize = 32;

/// The places of rules.
pub(crate) type Candidates = SmallVec<[u32; FOUND]>;

/// Rules by the exact value that they need a fact to have.
pub(super) struct Route {
    fact: FactId,
    rules: HashMap<Box<[u8]>, Vec<u32>>,
}

impl Compiled {
    /// The places of the rules that may apply, in order. `found` is empty.
    #[inline(always)]
    pub(crate) fn find<'a>(&'a self, facts: &Facts<'_>, found: &'a mut Candidates) -> &'a [u32] {
        if self.routes.is_empty() { &self.always } else { self.route(facts, found) }
    }

    /// The same, of a policy with rules that some facts lead to by their exact values.
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

/// Files each rule under the exact values of one of its facts: the one that tells most rules
/// apart. A rule without such a condition is always looked at.
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
