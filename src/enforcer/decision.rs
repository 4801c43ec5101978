//! One request under one policy: what it asks of which limits, and what they say.
//!
//! [`Asks`] are found once. [`Fast`] decides them where all are enforced rates whose keys are words
//! that stand in their slots; [`Decision`] decides whatever there may be.

use std::hash::BuildHasher;

use smallvec::SmallVec;

use crate::cells::Charge;
use crate::concurrency_limiter::Room;
use crate::decision::{Allowed, Denied, Refused, Retry, Standing};
use crate::policy::Mode;
use crate::rate_limiter::Rate;
use crate::slots::Held;
use crate::sync::Arc;
use crate::telemetry::{self, LOGS};
use crate::time::Timestamp;
use crate::transaction::{self, Asked, Entries, Entry, FastPart, INLINE, Refusal, commit_fast};

use super::account::Counts;
use super::compiled::{Applies, Compiled};
use super::facts::Facts;

/// A place among the rules, and the variant whose account is asked.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    pub(crate) rule: u32,
    /// `u32::MAX`: the rule's own.
    pub(crate) variant: u32,
}

impl Source {
    fn new(rule: u32, variant: Option<usize>) -> Source {
        let variant = variant.and_then(|index| u32::try_from(index).ok()).unwrap_or(u32::MAX);
        Source { rule, variant }
    }
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
    pub(crate) allowed: Allowed,
    pub(crate) charges: SmallVec<[(Source, Charge); INLINE]>,
    pub(crate) slots: SmallVec<[HeldSlots; 2]>,
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

impl Compiled {
    /// What a request with these facts asks of which limits. Those whose mode is off are left out if
    /// `skip_off`.
    #[inline]
    pub(super) fn asks<S: BuildHasher>(
        &self,
        facts: &Facts<'_>,
        cost: u64,
        hasher: &S,
        skip_off: bool,
    ) -> Asks {
        let mut asks = Asks::new();
        self.for_each(facts, |place, rule| {
            if skip_off && rule.mode() == Mode::Off {
                return;
            }
            match rule.applies(facts, cost, hasher) {
                Applies::Not(_) => {}
                Applies::Refuses => {
                    asks.push(LimitAsked { source: Source::new(place, None), key: None });
                }
                Applies::Decides { variant, tag, cost, .. } => {
                    let source = Source::new(place, variant);
                    asks.push(LimitAsked { source, key: Some((tag, cost)) });
                }
            }
        });
        asks
    }

    fn counts(&self, source: Source) -> &Counts {
        &self.rules[source.rule as usize].account_of(source.variant).counts
    }

    /// A refusal in the name of its limit.
    pub(super) fn refused(&self, refusal: &Refusal) -> Refused {
        let place = refusal.place as usize;
        Refused::new(Some(self.rules[place].name), place, refusal.denied)
    }

    /// Counts a limit that applied.
    fn count(&self, place: u32, is_shadow_refused: bool) {
        let live = &self.rules[place as usize].live;
        live.checked.add(1);
        if is_shadow_refused {
            live.shadow_refused.add(1);
        }
    }

    fn count_decided(&self, decided: &Result<(), Refusal>) {
        match decided {
            Ok(()) => self.totals.admitted.add(1),
            Err(refusal) => self.rules[refusal.place as usize].live.refused.add(1),
        }
    }
}

/// A request on the fast path.
pub(super) struct Fast<'a> {
    policy: &'a Compiled,
    /// Rules by place, and the parts of their keys.
    sources: SmallVec<[LimitAsked; INLINE]>,
    parts: SmallVec<[FastPart<'a>; INLINE]>,
}

impl<'a> Fast<'a> {
    #[inline]
    pub(super) fn new(policy: &'a Compiled) -> Self {
        Fast { policy, sources: SmallVec::new(), parts: SmallVec::new() }
    }

    /// Charges all, or says why not. `None`: a limit is not an enforced rate whose key is a word in
    /// its slot, a cost is 0, or something came between. Then nothing is written.
    #[inline]
    pub(super) fn admit(&mut self, asks: &Asks, now: Timestamp) -> Option<Result<(), Refusal>> {
        for asked in asks {
            let rule = &self.policy.rules[asked.source.rule as usize];
            match rule.mode() {
                Mode::Enforce => {}
                Mode::Shadow => return None,
                Mode::Off => continue,
            }
            let (tag, cost) = asked.key?;
            let Counts::Rate(rate) = self.policy.counts(asked.source) else { return None };
            self.parts.push(FastPart::new(&rate.store, tag, cost, now)?);
            self.sources.push(*asked);
        }
        let mut refused = false;
        for part in &self.parts {
            refused |= part.is_denied();
        }
        if !refused {
            return commit_fast(&self.parts).then_some(Ok(()));
        }
        // They were all so at one moment if all still are.
        let stands = self.parts.iter().all(FastPart::stands);
        stands.then(|| self.refusal().map_or(Ok(()), Err))
    }

    #[cold]
    fn refusal(&self) -> Option<Refusal> {
        let each = self.sources.iter().zip(&self.parts);
        each.filter_map(|(asked, part)| part.refusal(asked.source.rule)).reduce(Refusal::and)
    }

    /// Counts what was decided, for each limit that applied.
    #[inline]
    pub(super) fn count(&self, decided: &Result<(), Refusal>) {
        self.sources.iter().for_each(|asked| self.policy.count(asked.source.rule, false));
        self.policy.count_decided(decided);
    }

    /// Hands over what was charged.
    #[inline]
    pub(super) fn hand_over(&self, holding: &mut Holding) {
        let tightest = self.parts.iter().reduce(FastPart::tighter);
        holding.allowed = tightest.and_then(FastPart::allowed).unwrap_or(Allowed::UNLIMITED);
        for (asked, part) in self.sources.iter().zip(&self.parts) {
            let cost = asked.key.map_or(0, |(_, cost)| cost);
            holding.charges.push((asked.source, part.charge(cost)));
        }
    }

    /// What each limit said.
    pub(super) fn said(&self) -> SmallVec<[RateSaid; INLINE]> {
        let each = self.sources.iter().zip(&self.parts);
        let said = |(asked, part): (&LimitAsked, &FastPart<'_>)| {
            Some(RateSaid { source: asked.source, tag: asked.key?.0, answer: part.answer() })
        };
        each.filter_map(said).collect()
    }
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
        asks: &Asks,
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
        self.policy.count_decided(decided);
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
        holding.allowed = self.tightest();
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
        allowed.reduce(|a, b| a.tighter(b)).unwrap_or(Allowed::UNLIMITED)
    }

    /// What each enforced rate said.
    pub(super) fn said(&self) -> SmallVec<[RateSaid; INLINE]> {
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
