//! One request under one policy: what it asks of each limit, and what the limits answer.
//!
//! [`Compiled::ask`] finds the [`Asks`] once, in the place where the permit later keeps the
//! charges. The fast path, in `fast`, decides them if every limit is enforced and supports it;
//! [`Decision`] decides any request, as a transaction.

mod fast;

use std::hash::BuildHasher;
use std::mem::ManuallyDrop;

use smallvec::SmallVec;

use crate::cells::{Charge, ChargedTo};
use crate::decision::{Allowed, Denied, Refused, Retry, Standing};
use crate::policy::Mode;
use crate::rate_limiter::Rate;
use crate::telemetry::{self, LOGS};
use crate::time::Timestamp;
use crate::transaction::{
    self, Asked, Entries, Entry, FastParticipant, HeldSlots, INLINE, Refusal,
};

use super::compiled::{Applies, Candidates, Compiled};
use super::counter::{Counter, add_each};
use super::facts::Facts;
use super::framing::KeyWords;
use super::limit_state::Limiter;

/// The place of a limit in the policy, and the override whose limit state is asked.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    pub(crate) rule: u32,
    /// `u32::MAX`: no override, the limit's own state.
    pub(crate) variant: u32,
}

/// What a request asks of one limit, and later what it was charged there. One type for both, so
/// that nothing is copied from one list to another.
#[derive(Clone, Copy)]
pub(crate) struct LimitAsked {
    pub(crate) source: Source,
    /// The key hash and the cost. The decision fills in the other fields.
    pub(crate) charge: Charge,
    /// After a charge on the fast path, the tick at which the bucket is full again; otherwise 0.
    pub(crate) full: u64,
}

impl LimitAsked {
    /// The key hash that no key has: the limit refuses without being asked.
    const NO_KEY: u64 = 0;

    /// The key hash and the cost. `None`: the limit refuses without being asked.
    #[inline(always)]
    pub(super) fn key(&self) -> Option<(u64, u64)> {
        let Charge { tag, cost, .. } = self.charge;
        (tag != LimitAsked::NO_KEY).then_some((tag, cost))
    }
}

/// How many charges a permit has room for without allocating. A permit is copied to the caller with
/// all this room: with eight, an admission takes 5 % longer than with six.
const CHARGES: usize = 6;

/// What a request asks, in the order of the policy.
pub(super) type Asks = SmallVec<[LimitAsked; CHARGES]>;

/// What an admitted request was charged, and the slots it holds.
pub(crate) struct Holding {
    /// The answer of the tightest enforced limit, and the place of that limit. If the fast path
    /// decided, it covers the concurrency limits only; [`Compiled::tightest`] adds the rates on
    /// demand.
    pub(crate) tightest: Option<(u32, Allowed)>,
    /// What was charged; before the decision, what is asked.
    pub(crate) charges: Asks,
    /// The permit takes them out when it is dropped. Most permits hold none and drop nothing.
    pub(crate) slots: ManuallyDrop<SmallVec<[HeldSlots; 2]>>,
}

impl Default for Holding {
    #[inline(always)]
    fn default() -> Holding {
        let slots = ManuallyDrop::new(SmallVec::new());
        Holding { tightest: None, charges: Asks::new(), slots }
    }
}

/// The answer of one enforced limit.
#[derive(Clone, Copy)]
pub(super) struct LimitSaid<'a> {
    pub(super) source: Source,
    /// The key hash, if the limit is a rate.
    pub(super) tag: u64,
    pub(super) said: Saying<'a>,
}

/// The answer itself, or what it is made of.
#[derive(Clone, Copy)]
pub(super) enum Saying<'a> {
    /// A key on the fast path. Its answer is computed only if it is read.
    Seen(FastParticipant<'a>),
    Answer(Result<Allowed, Denied>),
}

impl Compiled {
    /// Adds to `asks` what a request with these facts asks of each limit that applies. Leaves out
    /// limits whose mode is off if `skip_off`.
    #[inline(always)]
    pub(super) fn ask<S: BuildHasher>(
        &self,
        asks: &mut Asks,
        facts: &Facts<'_>,
        cost: u64,
        hasher: &S,
        skip_off: bool,
    ) {
        let (mut tested_as, mut is_meant) = (u32::MAX, false);
        // One buffer for all keys, so that it is cleared only once.
        let mut words = KeyWords::default();
        for place in self.find(facts, &mut Candidates::new()) {
            let Some(rule) = self.rules.get(*place as usize) else { continue };
            if rule.counters.mode() == Mode::Off && skip_off {
                continue;
            }
            if rule.tested_as != tested_as {
                (tested_as, is_meant) = (rule.tested_as, rule.is_meant(facts));
            }
            let (variant, tag, cost) = match rule.applies(is_meant, facts, cost, hasher, &mut words)
            {
                Applies::Not(_) => continue,
                Applies::Refuses => (u32::MAX, LimitAsked::NO_KEY, cost),
                Applies::Decides { variant, tag, cost, .. } => (variant, tag, cost),
            };
            let (at, charged_to, generation) = (Timestamp::ZERO, ChargedTo::Own, 0);
            let charge = Charge { tag, cost, at, charged_to, generation };
            asks.push(LimitAsked { source: Source { rule: *place, variant }, charge, full: 0 });
        }
    }

    fn limiter_of(&self, source: Source) -> &Limiter {
        &self.rules[source.rule as usize].state_of(source.variant).limiter
    }

    /// Makes a refusal of the transaction a [`Refused`] that names the limit.
    pub(super) fn refused(&self, refusal: &Refusal) -> Refused {
        let place = refusal.place as usize;
        Refused::new(Some(self.rules[place].name), place, refusal.denied)
    }

    /// As [`refused`](Self::refused), and logs the refusal.
    pub(super) fn refused_told(&self, refusal: &Refusal) -> Refused {
        if LOGS {
            self.rules[refusal.place as usize].log_refused(&refusal.denied);
        }
        self.refused(refusal)
    }

    /// The answer of the tightest limit, among `tightest` and the rates that the fast path charged.
    pub(super) fn tightest(
        &self,
        tightest: Option<(u32, Allowed)>,
        charges: &[LimitAsked],
    ) -> Allowed {
        let stood = |LimitAsked { source, charge, full }: &LimitAsked| {
            // `full` is above 0 exactly if the fast path charged the key.
            let rate = rate_of(self, *source).filter(|_| *full > 0)?;
            Some((source.rule, rate.store.stood(charge, *full)?))
        };
        let all = tightest.into_iter().chain(charges.iter().filter_map(stood));
        all.reduce(transaction::tighter).map_or(Allowed::UNLIMITED, |(_, allowed)| allowed)
    }

    /// Counts one decision for a limit that applied.
    pub(super) fn count(&self, place: u32, is_shadow_refused: bool) {
        let counters = &self.rules[place as usize].counters;
        counters.checked.add(1);
        if is_shadow_refused {
            counters.shadow_refused.add(1);
        }
    }

    /// Counts a decision of the fast path, for each limit that applied.
    #[inline(always)]
    pub(super) fn count_fast(&self, asks: &[LimitAsked], refusal: Option<&Refusal>) {
        let rules = asks.iter().filter_map(|asked| self.rules.get(asked.source.rule as usize));
        add_each(rules.map(|rule| &rule.counters.checked), self.counter_of(refusal), 1);
    }

    /// The counter of admissions, or the counter of refusals of the limit that refused.
    #[inline(always)]
    pub(super) fn counter_of(&self, refusal: Option<&Refusal>) -> &Counter {
        match refusal {
            None => &self.totals.admitted,
            Some(refusal) => &self.rules[refusal.place as usize].counters.refused,
        }
    }
}

/// A request that is decided as a transaction.
pub(super) struct Decision<'a> {
    pub(super) policy: &'a Compiled,
    pub(super) entries: Entries<'a>,
    /// The source of each entry, in the same order.
    sources: SmallVec<[Source; INLINE]>,
    /// Places of enforced limits that refuse without being asked. `shadows`: of limits in shadow
    /// that would.
    pub(super) refusing: SmallVec<[u32; INLINE]>,
    shadows: SmallVec<[u32; INLINE]>,
}

impl<'a> Decision<'a> {
    /// Makes an entry for each limit that is not off. `turn_at`: the place of the limit in whose
    /// line the request is at the head, if any.
    pub(super) fn new(
        policy: &'a Compiled,
        asks: &[LimitAsked],
        now: Timestamp,
        turn_at: Option<u32>,
    ) -> Self {
        let mut decision = Decision {
            policy,
            entries: Entries::new(),
            sources: SmallVec::new(),
            refusing: SmallVec::new(),
            shadows: SmallVec::new(),
        };
        for asked in asks {
            let source = asked.source;
            let place = source.rule;
            let rule = &policy.rules[place as usize];
            let enforced = match rule.counters.mode() {
                Mode::Enforce => true,
                Mode::Shadow => false,
                Mode::Off => continue,
            };
            let Some((tag, cost)) = asked.key() else {
                let list = if enforced { &mut decision.refusing } else { &mut decision.shadows };
                list.push(place);
                continue;
            };
            let turn = turn_at == Some(place);
            let asked = |cost| Asked { place, cost, now, enforced, turn };
            decision.entries.push(match policy.limiter_of(source) {
                Limiter::Rate(rate) => Entry::rate(&rate.store, tag, asked(cost)),
                Limiter::Slots(semaphores) => {
                    Entry::slots(semaphores.semaphore(tag), asked(rule.weight.into()))
                }
            });
            decision.sources.push(source);
        }
        decision
    }

    /// Charges and takes everything, or nothing. A cost of 0 is a peek.
    pub(super) fn admit(&mut self, cost: u64) -> Result<(), Refusal> {
        match self.refusing.first() {
            None if cost == 0 => self.peek(),
            None => transaction::admit(&mut self.entries),
            Some(place) => Err(self.refuse(*place)),
        }
    }

    pub(super) fn peek(&mut self) -> Result<(), Refusal> {
        match self.refusing.first() {
            None => transaction::peek(&mut self.entries),
            Some(place) => Err(self.refuse(*place)),
        }
    }

    /// The refusal of a request that waiting cannot help, in the name of `place` or of a limit
    /// before it.
    fn refuse(&mut self, place: u32) -> Refusal {
        let never = |denied: Denied| Denied { retry: Retry::Never, ..denied };
        match transaction::peek(&mut self.entries) {
            Err(refusal) if refusal.place < place => {
                Refusal { denied: never(refusal.denied), ..refusal }
            }
            _ => {
                let denied = Denied { standing: Standing::NONE, retry: Retry::Never };
                Refusal { place, denied }
            }
        }
    }

    /// Each limit that refuses, and its answer, in the order of the policy. Empty if a limit
    /// refuses without being asked.
    pub(super) fn refusals(&self) -> SmallVec<[(u32, Denied); INLINE]> {
        if !self.refusing.is_empty() {
            return SmallVec::new();
        }
        self.entries.iter().filter_map(Entry::refusal).map(|r| (r.place, r.denied)).collect()
    }

    /// After a refusal, serves the lines of all limits asked: a waiter may be ready, since the
    /// passing of time alone does not wake it.
    pub(super) fn serve(&self) {
        for (entry, source) in self.entries.iter().zip(&self.sources) {
            match (entry.tag(), entry.semaphore()) {
                (Some(tag), _) => {
                    let rule = &self.policy.rules[source.rule as usize];
                    rule.state_of(source.variant).serve_queued(tag);
                }
                (None, Some(semaphore)) => semaphore.serve_queued(),
                (None, None) => {}
            }
        }
    }

    /// Counts the decision for each limit that applied.
    pub(super) fn count(&self, decided: &Result<(), Refusal>) {
        for entry in &self.entries {
            let is_shadow_refused = !entry.asked.enforced && entry.answer().is_err();
            self.policy.count(entry.asked.place, is_shadow_refused);
        }
        self.shadows.iter().for_each(|place| self.policy.count(*place, true));
        self.refusing.iter().for_each(|place| self.policy.count(*place, false));
        self.policy.counter_of(decided.as_ref().err()).add(1);
    }

    /// Logs overflows and expired leases. Runs once what was taken is in `held`, so that a logger
    /// that panics loses nothing, and while no lock and no key is held.
    pub(super) fn log(&self, held: &Holding) {
        if !LOGS {
            return;
        }
        for source in &self.sources {
            let rule = &self.policy.rules[source.rule as usize];
            if let Some(overflows) = rule.state_of(source.variant).unlogged_overflows() {
                telemetry::overflowed(rule.name, overflows);
            }
        }
        for entry in &self.entries {
            if let Some(semaphore) = entry.semaphore() {
                self.policy.rules[entry.asked.place as usize].log_expired(semaphore);
            }
        }
        for HeldSlots { place, semaphore, .. } in held.slots.iter() {
            self.policy.rules[*place as usize].log_expired(semaphore);
        }
    }

    /// Moves what was charged and taken to `holding`.
    pub(super) fn hand_over(&mut self, holding: &mut Holding) {
        holding.tightest = Some((0, self.tightest()));
        holding.charges.clear();
        for (source, entry) in self.sources.iter().zip(&self.entries) {
            if let Some(charge) = entry.charge() {
                holding.charges.push(LimitAsked { source: *source, charge, full: 0 });
            }
        }
        for entry in self.entries.drain(..) {
            if let Some(slots) = entry.taken() {
                self.policy.rules[slots.place as usize].counters.acquired.add(1);
                holding.slots.push(slots);
            }
        }
    }

    /// The answer of the tightest enforced limit: the limit with the least remaining.
    pub(super) fn tightest(&self) -> Allowed {
        let enforced = self.entries.iter().filter(|entry| entry.asked.enforced);
        let allowed = enforced.filter_map(|entry| entry.answer().ok());
        allowed.reduce(Allowed::tighter).unwrap_or(Allowed::UNLIMITED)
    }

    /// The answer of each enforced limit.
    pub(super) fn said(&self) -> impl Iterator<Item = LimitSaid<'a>> {
        let each = self.entries.iter().zip(&self.sources);
        let said = |(entry, source): (&Entry<'_>, &Source)| {
            let tag = entry.tag().unwrap_or(LimitAsked::NO_KEY);
            let said = LimitSaid { source: *source, tag, said: Saying::Answer(entry.answer()) };
            entry.asked.enforced.then_some(said)
        };
        each.filter_map(said)
    }
}

/// The rate of the limit. `None`: it is a concurrency limit.
pub(super) fn rate_of(policy: &Compiled, source: Source) -> Option<&Rate> {
    match policy.limiter_of(source) {
        Limiter::Rate(rate) => Some(rate),
        Limiter::Slots(_) => None,
    }
}
