//! Routes: the rules that a request may meet, by the exact values of its facts.

use std::collections::{HashMap, HashSet};
use std::slice;

use smallvec::SmallVec;

use crate::enforcer::facts::{FactId, Facts};

use super::{Compiled, Rule};

/// As many limits as are found for one request without allocating.
const FOUND: usize = 16;

/// The places of rules.
pub(crate) type Routed = SmallVec<[u32; FOUND]>;

/// Rules by the exact value that they need a fact to have.
pub(super) struct Route {
    fact: FactId,
    rules: HashMap<Box<[u8]>, Vec<u32>>,
}

/// Rules by their places: two sorted lists, merged.
pub(crate) struct Found<'a> {
    rules: &'a [Rule],
    /// The next of those found by their routes. A policy has fewer rules than the greatest place.
    next_routed: u32,
    routed: slice::Iter<'a, u32>,
    always: slice::Iter<'a, u32>,
}

/// The place of no rule.
const NOWHERE: u32 = u32::MAX;

impl<'a> Iterator for Found<'a> {
    type Item = (u32, &'a Rule);

    #[inline(always)]
    fn next(&mut self) -> Option<(u32, &'a Rule)> {
        let place = match self.always.as_slice().first() {
            Some(always) if *always < self.next_routed => *self.always.next()?,
            _ => std::mem::replace(&mut self.next_routed, next(&mut self.routed)),
        };
        Some((place, self.rules.get(place as usize)?))
    }
}

#[inline(always)]
fn next(places: &mut slice::Iter<'_, u32>) -> u32 {
    places.next().map_or(NOWHERE, |place| *place)
}

impl Compiled {
    /// The places of the rules that the facts lead to by their exact values, in order.
    #[inline(never)]
    fn route(&self, facts: &Facts<'_>, routed: &mut Routed) {
        for route in &self.routes {
            let value = facts.get(route.fact);
            if let Some(rules) = value.and_then(|value| route.rules.get(value)) {
                routed.extend_from_slice(rules);
            }
        }
        routed.sort_unstable();
    }

    /// The rules that may apply, in order. `routed` is empty.
    #[inline(always)]
    pub(crate) fn found<'a>(&'a self, facts: &Facts<'_>, routed: &'a mut Routed) -> Found<'a> {
        if !self.routes.is_empty() {
            self.route(facts, routed);
        }
        let mut routed = routed.iter();
        let next_routed = next(&mut routed);
        Found { rules: &self.rules, next_routed, routed, always: self.always.iter() }
    }
}

/// Files each rule under the exact values of one of its facts: the one that tells most rules
/// apart. A rule without such a condition is always looked at.
pub(super) fn index(rules: &[Rule]) -> (Vec<u32>, Box<[Route]>) {
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
