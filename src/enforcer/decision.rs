//! One request under one policy: which limits it meets, and what they say.

use std::hash::BuildHasher;

use smallvec::SmallVec;

use crate::cells::Charge;
use crate::concurrency_limiter::Room;
use crate::decision::{Allowed, Denied, Refused, Retry, Standing};
use crate::gate::{
    self, Entries, Entry, INLINE, RecordEntries, RecordEntry, Refusal, Rest, SlotEntries, SlotEntry,
};
use crate::policy::Mode;
use crate::rate_limiter::Store;
use crate::slots::Held;
use crate::sync::Arc;
use crate::telemetry::{self, LOGS};
use crate::time::Timestamp;

use super::account::{Account, Counts};
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
    pub(super) fn new(rule: u32, variant: Option<usize>) -> Source {
        let variant = variant.and_then(|index| u32::try_from(index).ok()).unwrap_or(u32::MAX);
        Source { rule, variant }
    }
}

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

pub(super) struct Decision<'a> {
    pub(super) policy: &'a Compiled,
    pub(super) entries: Entries<'a>,
    /// For each entry the rule it is of.
    pub(super) sources: SmallVec<[Source; INLINE]>,
    pub(super) records: RecordEntries<'a>,
    pub(super) record_sources: SmallVec<[Source; INLINE]>,
    pub(super) slots: SlotEntries,
    /// Enforced rules that refuse without being asked, and shadowed ones that would.
    pub(super) refusing: SmallVec<[u32; INLINE]>,
    shadows: SmallVec<[u32; INLINE]>,
}

impl<'a> Decision<'a> {
    #[inline]
    pub(super) fn new(policy: &'a Compiled) -> Self {
        Decision {
            policy,
            entries: Entries::new(),
            sources: SmallVec::new(),
            records: RecordEntries::new(),
            record_sources: SmallVec::new(),
            slots: SlotEntries::new(),
            refusing: SmallVec::new(),
            shadows: SmallVec::new(),
        }
    }

    /// Finds the limits that apply, and looks at each.
    #[inline]
    pub(super) fn ask<S: BuildHasher>(
        &mut self,
        facts: &Facts<'_>,
        cost: u64,
        now: Timestamp,
        hasher: &S,
    ) {
        let policy = self.policy;
        policy.for_each(facts, |place, rule| {
            let mode = rule.mode();
            if mode == Mode::Off {
                return;
            }
            match rule.applies(facts, cost, hasher) {
                Applies::Not(_) => {}
                Applies::Refuses => self.refuses(place, mode),
                Applies::Decides { account, variant, tag, cost } => {
                    let source = Source::new(place, variant);
                    self.look(account, source, tag, cost, now, mode, false);
                }
            }
        });
    }

    /// A rule that refuses without being asked.
    pub(super) fn refuses(&mut self, place: u32, mode: Mode) {
        match mode {
            Mode::Enforce => self.refusing.push(place),
            Mode::Shadow => self.shadows.push(place),
            Mode::Off => {}
        }
    }

    /// Looks at one account, at the head of its line if that is where the request waits.
    #[inline]
    #[allow(clippy::too_many_arguments)]
    pub(super) fn look(
        &mut self,
        account: &'a Account,
        source: Source,
        tag: u64,
        cost: u64,
        now: Timestamp,
        mode: Mode,
        turn: bool,
    ) {
        let enforced = mode == Mode::Enforce;
        match &account.counts {
            Counts::Rate(rate) => match &rate.store {
                Store::Words(cells) => {
                    self.entries.push(Entry::blank(cells));
                    if let Some(entry) = self.entries.last_mut() {
                        entry.ask(cells, tag, cost, now, enforced);
                        entry.place = source.rule;
                        if turn {
                            entry.at_head();
                        }
                    }
                    self.sources.push(source);
                }
                Store::Records(records) => {
                    let (records, place) = (&**records, source.rule);
                    let entry = RecordEntry::new(records, tag, cost, now, enforced, place, turn);
                    self.records.push(entry);
                    self.record_sources.push(source);
                }
            },
            Counts::Slots(rooms) => {
                let weight = self.policy.rules[source.rule as usize].weight;
                let room = rooms.room(tag);
                self.slots.push(SlotEntry::new(room, weight, now, enforced, source.rule, turn));
            }
        }
    }

    /// Charges and takes all, or none. A cost of 0 is a peek.
    pub(super) fn admit(&mut self, cost: u64) -> Result<(), Refusal> {
        match self.refusing.first() {
            None if cost == 0 => self.peek(),
            None => {
                let (entries, mut rest) = self.parts();
                gate::admit(entries, &mut rest)
            }
            Some(place) => Err(self.refuse(*place)),
        }
    }

    pub(super) fn peek(&mut self) -> Result<(), Refusal> {
        match self.refusing.first() {
            None => {
                let (entries, mut rest) = self.parts();
                gate::peek(entries, &mut rest)
            }
            Some(place) => Err(self.refuse(*place)),
        }
    }

    fn parts(&mut self) -> (&mut [Entry<'a>], Rest<'_, 'a>) {
        (&mut self.entries, Rest { records: &mut self.records, slots: &mut self.slots })
    }

    /// The refusal of a request that no wait will help: by `place`, or by a limit before it.
    fn refuse(&mut self, place: u32) -> Refusal {
        let never = |denied: Denied| Denied { retry: Retry::Never, ..denied };
        let (entries, mut rest) = self.parts();
        match gate::peek(entries, &mut rest) {
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
        let rates = self.entries.iter().filter(|entry| entry.enforced);
        let rates = rates.filter_map(|entry| Some((entry.place, entry.answer().err()?)));
        let records = self.records.iter().filter(|entry| entry.enforced);
        let records = records.filter_map(|entry| Some((entry.place, entry.answer().err()?)));
        let slots = self.slots.iter().filter(|entry| entry.is_enforced());
        let slots = slots.filter_map(|entry| Some((entry.place, entry.answer().err()?)));
        let mut refusals: SmallVec<_> = rates.chain(records).chain(slots).collect();
        refusals.sort_by_key(|(place, _)| *place);
        refusals
    }

    /// After a refusal: perhaps it is the turn of those who wait, and nobody told them.
    pub(super) fn serve(&self) {
        let words = self.sources.iter().zip(self.entries.iter().map(|entry| entry.tag));
        let records = self.record_sources.iter().zip(self.records.iter().map(|entry| entry.tag));
        for (source, tag) in words.chain(records) {
            let rule = &self.policy.rules[source.rule as usize];
            rule.account_of(source.variant).serve_queued(tag);
        }
        self.slots.iter().for_each(SlotEntry::serve);
    }

    pub(super) fn refused(&self, refusal: &Refusal) -> Refused {
        let place = refusal.place as usize;
        Refused::new(Some(self.policy.rules[place].name), place, refusal.denied)
    }

    /// Counts what was decided, for each limit that applied.
    pub(super) fn count(&self, decided: &Result<(), Refusal>) {
        let live = |place: u32| &self.policy.rules[place as usize].live;
        let rates = self.entries.iter();
        let rates = rates.map(|entry| (entry.place, entry.enforced, entry.answer().is_err()));
        let records = self.records.iter();
        let records = records.map(|entry| (entry.place, entry.enforced, entry.answer().is_err()));
        let slots = self.slots.iter();
        let slots = slots.map(|entry| (entry.place, entry.is_enforced(), entry.answer().is_err()));
        for (place, enforced, denied) in rates.chain(records).chain(slots) {
            live(place).checked.add(1);
            if !enforced && denied {
                live(place).shadow_refused.add(1);
            }
        }
        for place in &self.shadows {
            live(*place).checked.add(1);
            live(*place).shadow_refused.add(1);
        }
        for place in &self.refusing {
            live(*place).checked.add(1);
        }
        match decided {
            Ok(()) => self.policy.totals.admitted.add(1),
            Err(refusal) => live(refusal.place).refused.add(1),
        }
    }

    /// Tells of what came to light, after what was taken is `held`. No lock is held, nor any key.
    #[inline]
    pub(super) fn tell(&self, refusal: Option<&Refusal>, held: &Holding) {
        if !LOGS {
            return;
        }
        let rule = |place: u32| &self.policy.rules[place as usize];
        for Source { rule: place, variant } in self.sources.iter().chain(&self.record_sources) {
            if let Some(overflows) = rule(*place).account_of(*variant).tell_overflows() {
                telemetry::overflowed(rule(*place).name, overflows);
            }
        }
        for entry in &self.slots {
            rule(entry.place).tell_expired(entry.room());
        }
        for HeldSlots { rule: place, room, .. } in &held.slots {
            rule(*place).tell_expired(room);
        }
        if let Some(refusal) = refusal {
            rule(refusal.place).tell_refused(&refusal.denied);
        }
    }

    /// Hands over what was charged and taken.
    #[inline]
    pub(super) fn hand_over(&mut self, holding: &mut Holding) {
        holding.allowed = self.tightest();
        for (source, entry) in self.sources.iter().zip(&self.entries) {
            if let Some(charge) = entry.charge() {
                holding.charges.push((*source, charge));
            }
        }
        for (source, entry) in self.record_sources.iter().zip(&self.records) {
            if let Some(charge) = entry.charge() {
                holding.charges.push((*source, charge));
            }
        }
        for entry in self.slots.drain(..) {
            let rule = entry.place;
            if let Some((room, held)) = entry.taken() {
                self.policy.rules[rule as usize].live.acquired.add(1);
                holding.slots.push(HeldSlots { rule, room, held });
            }
        }
    }

    /// How the enforced limit stands of which the least remains.
    pub(super) fn tightest(&self) -> Allowed {
        let rates = self.entries.iter().filter(|entry| entry.enforced);
        let rates = rates.filter_map(|entry| entry.answer().as_ref().ok());
        let rates = rates.reduce(Allowed::tighter).copied();
        let records = self.records.iter().filter(|entry| entry.enforced);
        let records = records.filter_map(|entry| entry.answer().ok());
        let slots = self.slots.iter().filter(|entry| entry.is_enforced());
        let slots = slots.filter_map(|entry| entry.answer().ok());
        let tighter = |a: Allowed, b: Allowed| *a.tighter(&b);
        rates.into_iter().chain(records).chain(slots).reduce(tighter).unwrap_or(Allowed::UNLIMITED)
    }
}
