//! Looking at what runs: each limit's numbers, and why a request would be decided as it would.

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

/// A limit as it runs: [`Enforcer::limits`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LimitStatus {
    /// Its name.
    pub name: &'static str,
    /// Its quota or its cap, where no override says otherwise.
    pub amount: Amount,
    /// What it does with its decisions.
    pub mode: Mode,
    /// Requests it applied to.
    pub checked: u64,
    /// Requests that were refused in its name.
    pub refused: u64,
    /// Requests that it would have denied while in shadow.
    pub shadow_refused: u64,
    /// Requests for whose key there was no room.
    pub overflows: u64,
    /// Callers waiting in its lines.
    pub waiting: usize,
    /// Waits in its lines that ended in a refusal.
    pub timeouts: u64,
    /// Requests that took its slots. Not those of a rate.
    pub acquired: u64,
    /// Requests that gave its slots back, in time or late.
    pub returned: u64,
    /// How often it, or an override of it, was there and a reload had it start without keys.
    pub fresh_starts: u64,
    /// How its slots stand, of all keys together, if it is a concurrency limit, or was one before a
    /// reload; the cap is that of one key.
    pub slots: Option<Usage>,
    /// How full the fullest of its keys is: [`Usage::utilization`] of that key. Of a rate 0.
    pub fullest: f64,
    /// Keys in debt now, or of which slots are held, those of overrides included.
    pub keys: usize,
    /// Keys for which it has room, those of overrides included; none if there is no bound.
    pub max_keys: Option<usize>,
    /// Bytes allocated for keys.
    pub memory: usize,
}

/// What a limit is to a request: [`Enforcer::explain`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The limit's name.
    pub limit: &'static str,
    /// What it does with its decision.
    pub mode: Mode,
    /// The key in words, as `user=42 view=/a`.
    pub key: String,
    /// What it says, or why it does not apply.
    pub verdict: Verdict,
}

/// What a limit says to a request by itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// The limit does not apply.
    Skipped(SkipReason),
    /// It refuses: a fact of its key is missing, or its cost is no whole number.
    Refused,
    /// It decides.
    Decided {
        /// The quota or the cap in force for the key.
        amount: Amount,
        /// Which override gave it, from 0 among those of the limit.
        overridden: Option<usize>,
        /// Units the request costs here, or slots it takes.
        cost: u64,
        /// What it would say now.
        answer: Result<Allowed, Denied>,
    },
}

/// What an [`Enforcer`] did so far, through all reloads: [`Enforcer::totals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnforcerTotals {
    /// Requests admitted. Those let through by a bypass are not counted.
    pub admitted: u64,
    /// Requests refused.
    pub refused: u64,
    /// Reloads that replaced the policy.
    pub reloads: u64,
    /// Reloads that did not, since the new policy was not right.
    pub failed_reloads: u64,
    /// Facts that requests had and a policy with declared facts does not declare.
    pub undeclared_facts: u64,
}

impl<S> Enforcer<S> {
    /// What was decided so far, and how often the policy was replaced.
    pub fn totals(&self) -> EnforcerTotals {
        let policy = self.policy.load();
        EnforcerTotals {
            admitted: policy.totals.admitted.sum(),
            // Each refusal is in the name of one limit.
            refused: policy.all_counters().map(|(_, counters)| counters.refused.sum()).sum(),
            // Relaxed: counts.
            reloads: policy.totals.reloads.load(Ordering::Relaxed),
            failed_reloads: policy.totals.failed_reloads.load(Ordering::Relaxed),
            undeclared_facts: self.undeclared_facts(),
        }
    }

    /// Each limit as it runs, in the order of the policy. Looks at every slot of every table.
    pub fn limits(&self) -> Vec<LimitStatus> {
        let now = self.clock.now();
        self.policy.load().rules.iter().map(|rule| rule.status(now)).collect()
    }

    /// As [`limits`](Self::limits), and behind them those that a reload dropped, with what is still
    /// held of them.
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
    /// What each limit says to these facts now, in the order of the policy, charging and counting
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
    /// What the request's key would be told now by this limit alone.
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
        // What was owed in a table that was replaced is not owed any more.
        for state in self.states() {
            if let Limiter::Rate(rate) = &state.limiter {
                status.keys += rate.store.len(now);
            }
        }
        status
    }
}

impl LimitCounters {
    /// As it is without keys.
    fn status(&self, name: &'static str, amount: Amount, mode: Mode) -> LimitStatus {
        // Relaxed: counts.
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

    /// As if there were room for none.
    fn status_of_dropped(&self, name: &'static str) -> LimitStatus {
        let mut status = self.status(name, Amount::Cap(0), Mode::Off);
        status.max_keys = status.slots.is_none().then_some(0);
        self.each_replaced(|state| status.add(state));
        status
    }
}

impl LimitStatus {
    /// All but the keys of a rate.
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
                // The cap stays that of the limit.
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
