//! A policy made ready to decide: facts have places, patterns are split, routes are indexed, and
//! each limit has its cells. `routes` finds the limits of a request, `applies` says whether and how
//! each applies to it.

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
    /// Whether the policy declares its facts, so that others are mistakes.
    pub(crate) declared: Option<HashSet<Box<str>>>,
    pub(crate) rules: Box<[CompiledLimit]>,
    /// Rules that only looking at their conditions can exclude.
    always: Vec<u32>,
    /// For each fact, rules by the exact value they need it to have.
    routes: Box<[Route]>,
    /// Whether any rule lets requests wait.
    pub(crate) waits: bool,
    /// Counts of the enforcer, through all reloads.
    pub(crate) totals: Arc<Totals>,
    /// Of limits that are gone, what they would go on with if they came back.
    gone: Vec<(&'static str, Arc<LimitCounters>)>,
}

/// A limit made ready.
pub(crate) struct CompiledLimit {
    pub(crate) name: &'static str,
    pub(crate) key: Box<[KeyFacts]>,
    when: Box<[Test]>,
    /// The place of the first rule with these conditions: they are tested once for rules in a row.
    pub(crate) tested_as: u32,
    pub(crate) missing: Missing,
    /// Whether it has no rollout, no overrides and no cost by a fact: most have none.
    is_plain: bool,
    rollout: Option<CompiledRollout>,
    pub(crate) cost: Option<FactId>,
    /// How long a request may wait for its turn, if at all.
    pub(crate) wait: Option<Duration>,
    /// Slots that a request takes, if it is of slots.
    pub(crate) weight: u32,
    pub(crate) state: Arc<LimitState>,
    pub(crate) variants: Box<[Variant]>,
    pub(crate) counters: Arc<LimitCounters>,
}

/// What an override of a rule does.
pub(crate) struct Variant {
    tests: Box<[Test]>,
    source: Override,
    /// `None`: exempt.
    pub(crate) state: Option<Arc<LimitState>>,
}

impl Compiled {
    /// Makes a checked policy ready. Limits that `before` had keep their cells and counts.
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

    /// All limits there are and were, by name.
    pub(crate) fn all_counters(&self) -> impl Iterator<Item = (&'static str, &Arc<LimitCounters>)> {
        let there = self.rules.iter().map(|rule| (rule.name, &rule.counters));
        there.chain(self.gone())
    }

    /// Limits that a reload dropped, by name.
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
            // Relaxed: nothing else goes with it.
            counters.had_slots.store(true, Ordering::Relaxed);
        }
        // Only an override exempts.
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

    /// The account that decides for the variant, or its own.
    pub(crate) fn state_of(&self, variant: u32) -> &Arc<LimitState> {
        let variant = self.variants.get(variant as usize);
        variant.and_then(|variant| variant.state.as_ref()).unwrap_or(&self.state)
    }

    /// The accounts of its overrides and its own.
    pub(crate) fn states(&self) -> impl Iterator<Item = &Arc<LimitState>> {
        let variants = self.variants.iter().filter_map(|variant| variant.state.as_ref());
        variants.chain([&self.state])
    }

    /// Tells of a refusal in its name.
    #[cold]
    pub(crate) fn log_refused(&self, denied: &Denied) {
        telemetry::refused(self.name, &denied.retry(), self.counters.refused.of_thread());
    }

    /// Tells of leases of the room that ran out, if nobody did.
    pub(crate) fn log_expired(&self, semaphore: &Semaphore) {
        match semaphore.slots.unlogged_expired() {
            0 => {}
            leases => telemetry::leases_expired(self.name, leases),
        }
    }

    /// Asks all who wait for it again.
    pub(crate) fn serve_all(&self) {
        self.each_state(LimitState::serve_all);
    }

    /// Visits its accounts, those included that a reload replaced.
    pub(crate) fn each_state(&self, mut visit: impl FnMut(&LimitState)) {
        self.states().for_each(|state| visit(state));
        self.counters.each_replaced(visit);
    }

    /// Notes which accounts `next`, if the limit goes on, does not go on with.
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

/// That of `limit` under `change`, or that of `before` if it goes on. `None`: the change exempts.
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
        // Relaxed: a count.
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
