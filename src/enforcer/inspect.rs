//! Inspection of a running enforcer: the counts and state of each limit, and what each limit says
//! to a request and why.

use std::hash::BuildHasher;

use crate::concurrency_limiter::Usage;
use crate::decision::{Allowed, Denied};
use crate::policy::{Amount, Mode};
use crate::sync::Ordering;
use crate::time::Timestamp;

use super::compiled::{Applies, CompiledLimit, SkipReason};
use super::facts::Facts;
use super::framing::KeyWords;
use super::limit_counters::LimitCounters;
use super::limit_state::{LimitState, Limiter};
use super::{Enforcer, Value};

/// The state of a running limit. Returned by [`Enforcer::limits`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LimitStatus {
    /// The limit's name.
    pub name: &'static str,
    /// The quota or the cap, where no override changes it.
    pub amount: Amount,
    /// What the limit does with its decisions.
    pub mode: Mode,
    /// Requests that the limit applied to.
    pub checked: u64,
    /// Requests that were refused in the limit's name.
    pub refused: u64,
    /// Requests that the limit would have refused while it was in shadow.
    pub shadow_refused: u64,
    /// Requests whose key found no room.
    pub overflows: u64,
    /// Callers that wait in the limit's lines.
    pub waiting: usize,
    /// Waits in the limit's lines that ended in a refusal.
    pub timeouts: u64,
    /// Requests that took slots. 0 for a rate.
    pub acquired: u64,
    /// Requests that gave slots back, in time or late.
    pub returned: u64,
    /// How often a reload made the limit, or an override of it, start again without keys.
    pub fresh_starts: u64,
    /// The usage of the slots of all keys together, if the limit is a concurrency limit or was one
    /// before a reload. The cap is that of one key.
    pub slots: Option<Usage>,
    /// [`Usage::utilization`] of the key with the highest one. 0 for a rate.
    pub fullest: f64,
    /// Keys that are in debt, or hold slots, now. Includes keys of overrides.
    pub keys: usize,
    /// Keys that the limit has room for, including overrides. `None`: there is no bound.
    pub max_keys: Option<usize>,
    /// Bytes allocated for keys.
    pub memory: usize,
}

/// What a limit says to a request. Returned by [`Enforcer::explain`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The limit's name.
    pub limit: &'static str,
    /// What the limit does with its decision.
    pub mode: Mode,
    /// The key in words, as in `user=42 view=/a`.
    pub key: String,
    /// What the limit says, or why it does not apply.
    pub verdict: Verdict,
}

/// What a limit, taken alone, says to a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// The limit does not apply.
    Skipped(SkipReason),
    /// The limit refuses: a fact of its key is missing, or the cost is not a whole number.
    Refused,
    /// The limit decides.
    Decided {
        /// The quota or the cap in force for the key.
        amount: Amount,
        /// Which of the limit's overrides gave the amount, counted from 0. `None`: the limit
        /// itself.
        overridden: Option<usize>,
        /// The units that the request costs, or the slots that it takes.
        cost: u64,
        /// What the limit would answer now.
        answer: Result<Allowed, Denied>,
    },
}

/// What an [`Enforcer`] has done so far, across all reloads. Returned by [`Enforcer::totals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnforcerTotals {
    /// Requests that were admitted. Requests under a bypass are not counted.
    pub admitted: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Reloads that replaced the policy.
    pub reloads: u64,
    /// Reloads that failed, since the new policy had problems.
    pub failed_reloads: u64,
    /// Facts that were given and that a policy with declared facts does not declare.
    pub undeclared_facts: u64,
}

impl<S> Enforcer<S> {
    /// The number of decisions and reloads so far.
    pub fn totals(&self) -> EnforcerTotals {
        let policy = self.policy.load();
        EnforcerTotals {
            admitted: policy.totals.admitted.sum(),
            // Each refusal is in the name of one limit.
            refused: policy.all_counters().map(|(_, counters)| counters.refused.sum()).sum(),
            // Relaxed: counts; they need not be consistent with each other.
            reloads: policy.totals.reloads.load(Ordering::Relaxed),
            failed_reloads: policy.totals.failed_reloads.load(Ordering::Relaxed),
            undeclared_facts: self.undeclared_facts(),
        }
    }

    /// The state of each limit, in the order of the policy. Visits every slot of every table.
    pub fn limits(&self) -> Vec<LimitStatus> {
        let now = self.clock.now();
        self.policy.load().rules.iter().map(|rule| rule.status(now)).collect()
    }

    /// As [`limits`](Self::limits), followed by the limits that a reload dropped, with what permits
    /// of earlier policies still hold of them.
    #[cfg_attr(not(feature = "metrics"), allow(dead_code))]
    pub(crate) fn limits_and_dropped(&self) -> Vec<LimitStatus> {
        let now = self.clock.now();
        let policy = self.policy.load();
        let there = policy.rules.iter().map(|rule| rule.status(now));
        there
            .chain(policy.gone().map(|(name, counters)| counters.status_of_dropped(name)))
            .collect()
    }
}

impl<S: BuildHasher> Enforcer<S> {
    /// What each limit says to these facts now, in the order of the policy. Charges and counts
    /// nothing.
    pub fn explain<'f, V: Copy + Into<Value<'f>>>(
        &self,
        facts: &[(&str, V)],
        cost: u64,
    ) -> Vec<Explanation> {
        let now = self.clock.now();
        let policy = self.policy.load();
        let mut known = Facts::new();
        known.take(&policy.names, facts);
        let facts = &known;
        let explain = |rule: &CompiledLimit| Explanation {
            limit: rule.name,
            mode: rule.counters.mode(),
            key: rule.key_text(facts, &policy.names),
            verdict: match rule.applies(
                rule.is_meant(facts),
                facts,
                cost,
                &self.hasher,
                &mut KeyWords::default(),
            ) {
                _ if rule.counters.mode() == Mode::Off => Verdict::Skipped(SkipReason::Off),
                Applies::Not(why) => Verdict::Skipped(why),
                Applies::Refuses => Verdict::Refused,
                Applies::Decides { state, variant, tag, cost } => Verdict::Decided {
                    amount: state.amount(),
                    overridden: (variant != u32::MAX).then_some(variant as usize),
                    cost: rule.cost_of(state, cost),
                    answer: rule.peek(state, tag, cost, now),
                },
            },
        };
        policy.rules.iter().map(explain).collect()
    }
}

impl CompiledLimit {
    /// What this limit alone would answer for the key now.
    pub(super) fn peek(
        &self,
        state: &LimitState,
        tag: u64,
        cost: u64,
        now: Timestamp,
    ) -> Result<Allowed, Denied> {
        match &state.limiter {
            Limiter::Rate(rate) => rate.store.peek(tag, cost, now),
            Limiter::Slots(semaphores) => {
                semaphores.semaphore(tag).slots.look(self.weight, now, false).answer()
            }
        }
    }

    fn cost_of(&self, state: &LimitState, cost: u64) -> u64 {
        match state.limiter {
            Limiter::Rate(_) => cost,
            Limiter::Slots(_) => self.weight.into(),
        }
    }

    fn status(&self, now: Timestamp) -> LimitStatus {
        let plus = |sum: usize, keys: Option<usize>| Some(sum.saturating_add(keys?));
        let mut status = self.counters.status(self.name, self.state.amount(), self.counters.mode());
        status.max_keys = self.states().map(|state| state.max_keys()).try_fold(0, plus);
        self.each_state(|state| status.add(state));
        // Keys of a replaced table owe nothing to the current one, so they are left out.
        for state in self.states() {
            if let Limiter::Rate(rate) = &state.limiter {
                status.keys += rate.store.len(now);
            }
        }
        status
    }
}

impl LimitCounters {
    /// The status without what the limit states add.
    fn status(&self, name: &'static str, amount: Amount, mode: Mode) -> LimitStatus {
        // Relaxed: counts; they need not be consistent with each other.
        let slots = self.had_slots.load(Ordering::Relaxed).then(|| {
            let cap = match amount {
                Amount::Cap(cap) => cap,
                Amount::Quota(_) => 0,
            };
            let (expired, late) = (&self.past.expired, &self.past.late);
            Usage {
                expired: expired.load(Ordering::Relaxed),
                late: late.load(Ordering::Relaxed),
                ..Usage::of_nothing(cap)
            }
        });
        LimitStatus {
            name,
            amount,
            mode,
            checked: self.checked.sum(),
            refused: self.refused.sum(),
            shadow_refused: self.shadow_refused.sum(),
            overflows: self.past.overflows.load(Ordering::Relaxed),
            waiting: 0,
            timeouts: self.timeouts.load(Ordering::Relaxed),
            acquired: self.acquired.sum(),
            returned: self.returned.sum(),
            fresh_starts: self.fresh_starts.load(Ordering::Relaxed),
            slots,
            fullest: 0.0,
            keys: 0,
            max_keys: None,
            memory: 0,
        }
    }

    /// The status of a limit without room for any key.
    fn status_of_dropped(&self, name: &'static str) -> LimitStatus {
        let mut status = self.status(name, Amount::Cap(0), Mode::Off);
        status.max_keys = status.slots.is_none().then_some(0);
        self.each_replaced(|state| status.add(state));
        status
    }
}

impl LimitStatus {
    /// Adds what the state holds, except the number of keys of a rate.
    fn add(&mut self, state: &LimitState) {
        match &state.limiter {
            Limiter::Rate(rate) => {
                self.overflows += rate.store.overflows();
                self.waiting += rate.waiting();
                self.memory += rate.store.memory();
            }
            Limiter::Slots(semaphores) => {
                let usage = semaphores.usage();
                self.waiting += usage.waiting;
                // The cap remains the limit's own.
                self.slots = self.slots.map(|sum| sum.plus(&usage));
                semaphores.each(|semaphore| {
                    self.fullest = self.fullest.max(semaphore.usage().utilization());
                });
                self.keys += semaphores.len();
                self.memory += semaphores.memory();
            }
        }
    }
}
