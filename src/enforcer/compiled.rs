//! [`Compiled`]: a policy made ready to decide. Facts have places, patterns are split, routes are
//! indexed, and each limit has its limit state. `routes` finds the limits of a request; `applies`
//! says whether and how each of them applies to it.

mod applies;
mod routes;

use std::collections::HashSet;
use std::time::Duration;

use crate::concurrency_limiter::Semaphore;
use crate::decision::{Denied, intern};
use crate::policy::{Change, Limit, Missing, Override, Policy, What};
use crate::sync::{Arc, Ordering};
use crate::telemetry;
use crate::time::Clock;

use super::facts::{FactId, Names};
use super::key_facts::KeyFacts;
use super::limit_counters::{LimitCounters, Totals};
use super::limit_state::LimitState;
use super::pattern::Test;
use super::reload::Reload;
use super::rollout::CompiledRollout;

use routes::{Route, index};

pub(crate) use applies::Applies;
pub use applies::SkipReason;
pub(crate) use routes::Candidates;

pub(crate) struct Compiled {
    pub(crate) names: Names,
    /// The facts that the policy declares; all others are mistakes. `None`: it declares no facts.
    pub(crate) declared: Option<HashSet<Box<str>>>,
    pub(crate) rules: Box<[CompiledLimit]>,
    /// Places of the limits that no route leads to. Their conditions are tested for every request.
    always: Vec<u32>,
    /// For each fact, the limits by the exact value that they need the fact to have.
    routes: Box<[Route]>,
    /// Whether any limit lets requests wait.
    pub(crate) waits: bool,
    /// Counts of the enforcer, across all reloads.
    pub(crate) totals: Arc<Totals>,
    /// Limits that reloads dropped, with the counters that they continue with if they come back.
    gone: Vec<(&'static str, Arc<LimitCounters>)>,
}

/// A limit made ready to decide.
pub(crate) struct CompiledLimit {
    pub(crate) name: &'static str,
    pub(crate) key: Box<[KeyFacts]>,
    when: Box<[Test]>,
    /// The place of the first limit with the same conditions. Successive limits test them only
    /// once.
    pub(crate) tested_as: u32,
    pub(crate) missing: Missing,
    /// Whether the limit has no rollout, no override and no cost by a fact, as most limits do.
    is_plain: bool,
    rollout: Option<CompiledRollout>,
    pub(crate) cost: Option<FactId>,
    /// How long a request may wait for its turn. `None`: it does not wait.
    pub(crate) wait: Option<Duration>,
    /// The slots that a request takes; 1 for a rate.
    pub(crate) weight: u32,
    pub(crate) state: Arc<LimitState>,
    pub(crate) variants: Box<[Variant]>,
    pub(crate) counters: Arc<LimitCounters>,
}

/// An override made ready to decide.
pub(crate) struct Variant {
    tests: Box<[Test]>,
    source: Override,
    /// `None`: the override exempts its keys.
    pub(crate) state: Option<Arc<LimitState>>,
}

impl Compiled {
    /// Compiles a checked policy. Limits that `before` has too keep their counters, and their limit
    /// state if it fits.
    pub(crate) fn new(policy: &Policy, before: Option<&Compiled>, clock: &Clock) -> (Self, Reload) {
        let names = Names::new(policy.named_facts());
        let mut reload = Reload::default();
        let rules: Box<[CompiledLimit]> = policy
            .limits
            .iter()
            .filter_map(|limit| {
                CompiledLimit::new(limit, policy, &names, before, clock, &mut reload)
            })
            .collect();
        let had: usize =
            before.map_or(0, |before| before.rules.iter().map(|rule| rule.states().count()).sum());
        reload.dropped = had.saturating_sub(reload.kept);
        let (always, routes) = index(&rules);
        let waits = rules.iter().any(|rule| rule.wait.is_some());
        let totals = before.map(|before| before.totals.clone()).unwrap_or_default();
        let had = before.into_iter().flat_map(Compiled::all_counters);
        let gone = had.filter(|(name, _)| rules.iter().all(|rule| rule.name != *name));
        let gone = gone.map(|(name, counters)| (name, counters.clone())).collect();
        let declared =
            policy.facts.as_ref().map(|facts| facts.iter().map(|f| Box::from(&**f)).collect());
        (Compiled { names, declared, rules, always, routes, waits, totals, gone }, reload)
    }

    /// The counters of all limits that exist or existed, with their names.
    pub(crate) fn all_counters(&self) -> impl Iterator<Item = (&'static str, &Arc<LimitCounters>)> {
        let there = self.rules.iter().map(|rule| (rule.name, &rule.counters));
        there.chain(self.gone())
    }

    /// The counters of the limits that a reload dropped, with their names.
    pub(crate) fn gone(&self) -> impl Iterator<Item = (&'static str, &Arc<LimitCounters>)> {
        self.gone.iter().map(|(name, counters)| (*name, counters))
    }

    pub(crate) fn rule(&self, name: &str) -> Option<&CompiledLimit> {
        self.rules.iter().find(|rule| rule.name == name)
    }
}

impl CompiledLimit {
    fn new(
        limit: &Limit,
        policy: &Policy,
        names: &Names,
        before: Option<&Compiled>,
        clock: &Clock,
        reload: &mut Reload,
    ) -> Option<CompiledLimit> {
        let name = intern(&limit.name);
        let counters =
            before.and_then(|before| before.all_counters().find(|(had, _)| *had == name));
        let counters = counters.map(|(_, counters)| counters.clone()).unwrap_or_default();
        let before = before.and_then(|before| before.rule(name));
        let parts = |parts: &mut dyn Iterator<Item = &[String]>| -> Box<[KeyFacts]> {
            parts.map(|facts| KeyFacts::new(facts, names)).collect()
        };
        let when: Box<[Test]> =
            limit.when.iter().map(|condition| Test::new(condition, names)).collect();
        let rollout = limit.rollout.as_ref().map(|rollout| {
            let by = if rollout.by.is_empty() {
                parts(&mut limit.key.iter().map(|part| &*part.facts))
            } else {
                parts(&mut rollout.by.iter().map(std::slice::from_ref))
            };
            CompiledRollout::new(&limit.name, rollout.share, by)
        });
        let alike = policy.limits.iter().position(|other| other.when == limit.when);
        let own = before.map(|before| &before.state);
        if matches!(limit.what, What::Slots { .. }) {
            // Relaxed: a flag that is only ever set, and no other data is published with it.
            counters.had_slots.store(true, Ordering::Relaxed);
        }
        // `None` cannot happen: only an override exempts.
        let state = new_state(limit, Change::Nothing, own, &counters, clock, reload)?;
        let variants = policy
            .overrides
            .iter()
            .filter(|change| change.limit == limit.name)
            .map(|change| Variant::new(change, limit, names, before, &counters, clock, reload))
            .collect::<Box<[Variant]>>();
        let rule = CompiledLimit {
            name,
            key: parts(&mut limit.key.iter().map(|part| &*part.facts)),
            when,
            tested_as: alike.and_then(|place| u32::try_from(place).ok()).unwrap_or(u32::MAX),
            missing: limit.missing,
            is_plain: rollout.is_none() && limit.cost.is_none() && variants.is_empty(),
            rollout,
            cost: limit.cost.as_ref().and_then(|fact| names.find(fact)),
            wait: limit.wait,
            weight: match limit.what {
                What::Slots { weight, .. } => weight,
                What::Rate(_) => 1,
            },
            state,
            variants,
            counters,
        };
        rule.counters.set_mode(limit.mode);
        Some(rule)
    }

    /// The limit state of the override; the limit's own if the override has none or does not exist.
    pub(crate) fn state_of(&self, variant: u32) -> &Arc<LimitState> {
        let variant = self.variants.get(variant as usize);
        variant.and_then(|variant| variant.state.as_ref()).unwrap_or(&self.state)
    }

    /// The limit states of the overrides, then the limit's own.
    pub(crate) fn states(&self) -> impl Iterator<Item = &Arc<LimitState>> {
        let variants = self.variants.iter().filter_map(|variant| variant.state.as_ref());
        variants.chain([&self.state])
    }

    /// Logs a refusal in the limit's name.
    #[cold]
    pub(crate) fn log_refused(&self, denied: &Denied) {
        telemetry::refused(self.name, &denied.retry(), self.counters.refused.of_thread());
    }

    /// Logs leases of the semaphore that expired, unless they were logged before.
    pub(crate) fn log_expired(&self, semaphore: &Semaphore) {
        match semaphore.slots.unlogged_expired() {
            0 => {}
            leases => telemetry::leases_expired(self.name, leases),
        }
    }

    /// Checks all waiters of the limit again.
    pub(crate) fn serve_all(&self) {
        self.each_state(LimitState::serve_all);
    }

    /// Visits the limit states, including those that a reload replaced.
    pub(crate) fn each_state(&self, mut visit: impl FnMut(&LimitState)) {
        self.states().for_each(|state| visit(state));
        self.counters.each_replaced(visit);
    }

    /// Notes the limit states that `next` does not continue with. `next`: the limit in the next
    /// policy.
    pub(crate) fn replaced_by(&self, next: Option<&CompiledLimit>) {
        let goes_on = |state: &&Arc<LimitState>| {
            next.is_some_and(|next| next.states().any(|next| Arc::ptr_eq(state, next)))
        };
        let replaced = self.states().filter(|state| !goes_on(state)).map(Arc::downgrade);
        let mut list = self.counters.replaced.lock();
        list.retain(|state| state.strong_count() > 0);
        list.extend(replaced);
    }
}

/// The limit state of `limit` under `change`: `before` if it can continue, or else a new one.
/// `None`: the change exempts.
fn new_state(
    limit: &Limit,
    change: Change,
    before: Option<&Arc<LimitState>>,
    counters: &LimitCounters,
    clock: &Clock,
    reload: &mut Reload,
) -> Option<Arc<LimitState>> {
    let state = LimitState::new(limit, change, before, &counters.past, clock, reload)?;
    if before.is_some_and(|before| !Arc::ptr_eq(before, &state)) {
        // Relaxed: a count; no other data is published with it.
        counters.fresh_starts.fetch_add(1, Ordering::Relaxed);
    }
    Some(state)
}

impl Variant {
    fn new(
        change: &Override,
        limit: &Limit,
        names: &Names,
        before: Option<&CompiledLimit>,
        counters: &LimitCounters,
        clock: &Clock,
        reload: &mut Reload,
    ) -> Variant {
        let before = before
            .and_then(|rule| rule.variants.iter().find(|old| old.source.matches == change.matches))
            .and_then(|old| old.state.as_ref());
        Variant {
            tests: change.matches.iter().map(|c| Test::new(c, names)).collect(),
            source: change.clone(),
            state: new_state(limit, change.change, before, counters, clock, reload),
        }
    }
}
