//! One request under one policy: what it asks of which limits, and what they say.
//!
//! [`Asks`] are found once. [`Fast`] decides them where all are enforced rates whose keys are words
//! that stand in their slots; [`Decision`] decides whatever there may be.

use std::hash::BuildHasher;

use smallvec::SmallVec;

use crate::cells::{Charge, Newcomer, Pending};
use crate::concurrency_limiter::Room;
use crate::decision::{Allowed, Denied, Refused, Retry, Standing};
use crate::policy::Mode;
use crate::rate_limiter::Rate;
use crate::slots::Held;
use crate::sync::Arc;
use crate::telemetry::{self, LOGS};
use crate::time::Timestamp;
use crate::transaction::{
    self, Asked, Entries, Entry, FastPart, INLINE, Refusal, commit_fast, newcomer,
};

use super::account::Counts;
use super::compiled::{Applies, Compiled, Routed};
use super::counter::{Counter, add_each};
use super::facts::Facts;

/// A place among the rules, and the variant whose account is asked.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    pub(crate) rule: u32,
    /// `u32::MAX`: the rule's own.
    pub(crate) variant: u32,
}

/// What is asked of one limit.
#[derive(Clone, Copy)]
pub(super) struct LimitAsked {
    pub(super) source: Source,
    /// The identity of the key, and the cost; none if the limit refuses without being asked.
    pub(super) key: Option<(u64, u64)>,
}

/// What a request asks, in the order of the policy.
pub(super) type Asks = SmallVec<[LimitAsked; INLINE]>;

/// What an admitted request was charged and holds.
pub(crate) struct Holding {
    /// How the tightest of the enforced limits stands.
    pub(crate) tightest: Allowed,
    pub(crate) charges: SmallVec<[(Source, Charge); INLINE]>,
    pub(crate) slots: SmallVec<[HeldSlots; 2]>,
}

impl Default for Holding {
    fn default() -> Holding {
        let (charges, slots) = Default::default();
        Holding { tightest: Allowed::UNLIMITED, charges, slots }
    }
}

/// Slots that are held, and the rule they are of.
pub(crate) struct HeldSlots {
    pub(crate) rule: u32,
    pub(crate) room: Arc<Room>,
    pub(crate) held: Held,
}

/// What an enforced rate said.
pub(super) struct RateSaid {
    pub(super) source: Source,
    pub(super) tag: u64,
    pub(super) answer: Result<Allowed, Denied>,
}

/// What the enforced rates of a request said.
pub(super) type Answered = SmallVec<[RateSaid; INLINE]>;

impl Compiled {
    /// Adds to `asks` what a request with these facts asks of which limits. Those whose mode is off
    /// are left out if `skip_off`.
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
        for (place, rule) in self.found(facts, &mut Routed::new()) {
            if skip_off && rule.mode() == Mode::Off {
                continue;
            }
            if rule.tested_as != tested_as {
                (tested_as, is_meant) = (rule.tested_as, rule.is_meant(facts));
            }
            let (variant, key) = match rule.applies(is_meant, facts, cost, hasher) {
                Applies::Not(_) => continue,
                Applies::Refuses => (u32::MAX, None),
                Applies::Decides { variant, tag, cost, .. } => (variant, Some((tag, cost))),
            };
            asks.push(LimitAsked { source: Source { rule: place, variant }, key });
        }
    }

    fn counts(&self, source: Source) -> &Counts {
        &self.rules[source.rule as usize].account_of(source.variant).counts
    }

    /// A refusal in the name of its limit.
    pub(super) fn refused(&self, refusal: &Refusal) -> Refused {
        let place = refusal.place as usize;
        Refused::new(Some(self.rules[place].name), place, refusal.denied)
    }

    /// The same, and tells of it.
    pub(super) fn refused_told(&self, refusal: &Refusal) -> Refused {
        if LOGS {
            self.rules[refusal.place as usize].tell_refused(&refusal.denied);
        }
        self.refused(refusal)
    }

    /// Counts a limit that applied.
    fn count(&self, place: u32, is_shadow_refused: bool) {
        let live = &self.rules[place as usize].live;
        live.checked.add(1);
        if is_shadow_refused {
            live.shadow_refused.add(1);
        }
    }

    /// Counts what was decided on the fast path, for each limit that applied.
    #[inline(always)]
    pub(super) fn count_fast(&self, asks: &[LimitAsked], decided: &Result<(), Refusal>) {
        let rules = asks.iter().filter_map(|asked| self.rules.get(asked.source.rule as usize));
        add_each(rules.map(|rule| &rule.live.checked), self.counter_of(decided), 1);
    }

    /// What counts how it was decided.
    #[inline(always)]
    fn counter_of(&self, decided: &Result<(), Refusal>) -> &Counter {
        match decided {
            Ok(()) => &self.totals.admitted,
            Err(refusal) => &self.rules[refusal.place as usize].live.refused,
        }
    }
}

/// Decides on the fast path: charges all, or says why not; if it only `peeks` it charges none.
///
/// Notes in `holding` what was charged if all agreed, and in `answered`, if that is there, what each
/// limit said. Keys without a slot are given one if all agree, and the request is decided once more;
/// `is_seated`: that has been done. `None`: a limit is not an enforced rate whose key is a word, a cost
/// is 0, or something came between. Then nothing is charged.
#[inline(always)]
pub(super) fn decide_fast(
    policy: &Compiled,
    asks: &[LimitAsked],
    now: Timestamp,
    peeks: bool,
    is_seated: bool,
    holding: &mut Holding,
    mut answered: Option<&mut Answered>,
) -> Option<Result<(), Refusal>> {
    let mut all = SmallVec::<[Pending<'_>; INLINE]>::new();
    let mut newcomers = SmallVec::<[Newcomer<'_>; 2]>::new();
    let mut refusal: Option<Refusal> = None;
    for LimitAsked { source, key } in asks {
        let rule = policy.rules.get(source.rule as usize)?;
        let (tag, cost) = (*key)?;
        let Counts::Rate(rate) = &rule.account_of(source.variant).counts else { return None };
        if rule.mode() != Mode::Enforce {
            return None;
        }
        let part = match FastPart::new(&rate.store, tag, cost, now) {
            Some(part) => part,
            None => match FastPart::cut(&rate.store, tag, cost, now) {
                Some(part) => part,
                // A newcomer's answer is not at hand, and one that was seated has lost its slot.
                None if answered.is_some() || is_seated => return None,
                None => {
                    newcomers.push(newcomer(&rate.store, tag, cost, now)?);
                    continue;
                }
            },
        };
        if let Some(answered) = &mut answered {
            answered.push(RateSaid { source: *source, tag, answer: part.answer() });
        }
        match part.allowed() {
            Some(allowed) if allowed.is_tighter(&holding.tightest) => holding.tightest = allowed,
            Some(_) => {}
            None => refuse(&mut refusal, &part, source.rule),
        }
        let pending = part.pending();
        holding.charges.push((*source, pending.charged(cost, now)));
        all.push(pending);
    }
    match refusal {
        None if !newcomers.is_empty() => {
            let is_seated = !peeks && newcomers.iter().all(|newcomer| newcomer.seat(now));
            is_seated.then(|| decide_seated(policy, asks, now, holding))?
        }
        None if !peeks => commit_fast(&all).then_some(Ok(())),
        // They were all so at one moment if all still are.
        _ => {
            let stands = all.iter().all(Pending::stands) && newcomers.iter().all(Newcomer::stands);
            stands.then_some(refusal.map_or(Ok(()), Err))
        }
    }
}

/// `decide_fast` once those that had no slot have one.
#[cold]
#[inline(never)]
fn decide_seated(
    policy: &Compiled,
    asks: &[LimitAsked],
    now: Timestamp,
    holding: &mut Holding,
) -> Option<Result<(), Refusal>> {
    *holding = Holding::default();
    decide_fast(policy, asks, now, false, true, holding, None)
}

/// Adds what a limit that denies says.
#[cold]
#[inline(never)]
fn refuse(refusal: &mut Option<Refusal>, part: &FastPart<'_>, place: u32) {
    let Some(other) = part.refusal(place) else { return };
    *refusal = Some(match refusal.take() {
        Some(first) => first.and(other),
        None => other,
    });
}

/// A request decided as a transaction.
pub(super) struct Decision<'a> {
    pub(super) policy: &'a Compiled,
    pub(super) entries: Entries<'a>,
    /// For each entry the rule it is of.
    sources: SmallVec<[Source; INLINE]>,
    /// Enforced rules that refuse without being asked, and shadowed ones that would.
    pub(super) refusing: SmallVec<[u32; INLINE]>,
    shadows: SmallVec<[u32; INLINE]>,
}

impl<'a> Decision<'a> {
    /// Looks at each limit. The request is at the head of the line of the rule `turn_at`, if that is
    /// one.
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
        for LimitAsked { source, key } in asks {
            let place = source.rule;
            let rule = &policy.rules[place as usize];
            let enforced = match rule.mode() {
                Mode::Enforce => true,
                Mode::Shadow => false,
                Mode::Off => continue,
            };
            let Some((tag, cost)) = *key else {
                let list = if enforced { &mut decision.refusing } else { &mut decision.shadows };
                list.push(place);
                continue;
            };
            let turn = turn_at == Some(place);
            let asked = |cost| Asked { place, cost, now, enforced, turn };
            decision.entries.push(match policy.counts(*source) {
                Counts::Rate(rate) => Entry::rate(&rate.store, tag, asked(cost)),
                Counts::Slots(rooms) => Entry::slots(rooms.room(tag), asked(rule.weight.into())),
            });
            decision.sources.push(*source);
        }
        decision
    }

    /// Charges and takes all, or none. A cost of 0 is a peek.
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

    /// The refusal of a request that no wait will help: by `place`, or by a limit before it.
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

    /// Each limit that refuses, with what it says, in the order of the policy; none if one refuses
    /// without being asked.
    pub(super) fn refusals(&self) -> SmallVec<[(u32, Denied); INLINE]> {
        if !self.refusing.is_empty() {
            return SmallVec::new();
        }
        self.entries.iter().filter_map(Entry::refusal).map(|r| (r.place, r.denied)).collect()
    }

    /// After a refusal: waiters may be ready, and nobody tells them that time has passed.
    pub(super) fn serve(&self) {
        for (entry, source) in self.entries.iter().zip(&self.sources) {
            match (entry.tag(), entry.room()) {
                (Some(tag), _) => {
                    let rule = &self.policy.rules[source.rule as usize];
                    rule.account_of(source.variant).serve_queued(tag);
                }
                (None, Some(room)) => room.serve_queued(),
                (None, None) => {}
            }
        }
    }

    /// Counts what was decided, for each limit that applied.
    pub(super) fn count(&self, decided: &Result<(), Refusal>) {
        for entry in &self.entries {
            let is_shadow_refused = !entry.asked.enforced && entry.answer().is_err();
            self.policy.count(entry.asked.place, is_shadow_refused);
        }
        self.shadows.iter().for_each(|place| self.policy.count(*place, true));
        self.refusing.iter().for_each(|place| self.policy.count(*place, false));
        self.policy.counter_of(decided).add(1);
    }

    /// Logs what came to light, after what was taken is `held`. No lock is held, nor any key.
    pub(super) fn tell(&self, held: &Holding) {
        if !LOGS {
            return;
        }
        for source in &self.sources {
            let rule = &self.policy.rules[source.rule as usize];
            if let Some(overflows) = rule.account_of(source.variant).tell_overflows() {
                telemetry::overflowed(rule.name, overflows);
            }
        }
        for entry in &self.entries {
            if let Some(room) = entry.room() {
                self.policy.rules[entry.asked.place as usize].tell_expired(room);
            }
        }
        for HeldSlots { rule, room, .. } in &held.slots {
            self.policy.rules[*rule as usize].tell_expired(room);
        }
    }

    /// Hands over what was charged and taken.
    pub(super) fn hand_over(&mut self, holding: &mut Holding) {
        holding.tightest = self.tightest();
        for (source, entry) in self.sources.iter().zip(&self.entries) {
            if let Some(charge) = entry.charge() {
                holding.charges.push((*source, charge));
            }
        }
        for entry in self.entries.drain(..) {
            let rule = entry.asked.place;
            if let Some((room, held)) = entry.taken() {
                self.policy.rules[rule as usize].live.acquired.add(1);
                holding.slots.push(HeldSlots { rule, room, held });
            }
        }
    }

    /// How the enforced limit stands of which the least remains.
    pub(super) fn tightest(&self) -> Allowed {
        let enforced = self.entries.iter().filter(|entry| entry.asked.enforced);
        let allowed = enforced.filter_map(|entry| entry.answer().ok());
        allowed.reduce(Allowed::tighter).unwrap_or(Allowed::UNLIMITED)
    }

    /// What each enforced rate said.
    pub(super) fn said(&self) -> Answered {
        let each = self.entries.iter().zip(&self.sources);
        let said = |(entry, source): (&Entry<'_>, &Source)| {
            let (tag, answer) = (entry.tag()?, entry.answer());
            entry.asked.enforced.then_some(RateSaid { source: *source, tag, answer })
        };
        each.filter_map(said).collect()
    }
}

/// The rate of a rule, if it is one.
pub(super) fn rate_of(policy: &Compiled, source: Source) -> Option<&Rate> {
    match policy.counts(source) {
        Counts::Rate(rate) => Some(rate),
        Counts::Slots(_) => None,
    }
}
