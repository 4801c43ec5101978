//! The transaction: several limits decided as one step, charged all or none.
//!
//! A participant does four things: it is *looked* at, *held*, *committed* and *released*. First
//! every one is looked at and nothing is written. If one denies, the refusal stands if all are still
//! what they were: then there was a moment at which the whole answer was true. If all agree, all but
//! the innermost are held, and the innermost is committed by one compare-and-swap, which is the
//! moment of the decision; the others are charged as they are released. A record has no such step:
//! its shard is locked from before the look until it is charged.
//!
//! A caller that meets a hold waits. One that meets a hold while holding lets go of everything and
//! starts over, so that no order is needed and no deadlock exists.
//!
//! This is the general way, a cold loop. Where all limits are words that stand in their slots,
//! callers first try the same four things with [`FastParticipant`]s, or a list of them ([`Listed`]).

mod asked;
mod entry;
mod fast;
mod listed;
mod locks;
mod record_participant;
mod slot_participant;

use smallvec::SmallVec;

use crate::cells::WordSnapshot;
use crate::decision::{Denied, Retry};
use crate::slots::{self, Claim, Held};
use crate::sync::{Backoff, mutant};

pub(crate) use asked::Asked;
use entry::Participant;
pub(crate) use entry::{Entries, Entry};
pub(crate) use fast::{FastParticipant, Said, commit_last};
pub(crate) use listed::{Listed, tighter};
use locks::Locks;
pub(crate) use slot_participant::HeldSlots;
use slot_participant::SLOTS;

/// As many limits of one request as are decided without allocating.
pub(crate) const INLINE: usize = 8;

/// The first limit that refuses, and how long until none would.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) place: u32,
    pub(crate) denied: Denied,
}

impl Refusal {
    /// That of both: the first in the order of the limits, and the longer wait.
    #[inline(always)]
    pub(crate) fn and(self, other: Refusal) -> Refusal {
        let first = if self.place <= other.place { self } else { other };
        let retry = Retry::max(self.denied.retry, other.denied.retry);
        Refusal { denied: Denied { retry, ..first.denied }, ..first }
    }
}

/// Something came between: nothing is written, start over.
struct Conflict;

/// Charges and takes all, or none.
pub(crate) fn admit(entries: &mut [Entry<'_>]) -> Result<(), Refusal> {
    until_decided(entries, |entries, locks| attempt(entries, locks, true))
}

/// What `admit` would say, charging nothing.
pub(crate) fn peek(entries: &mut [Entry<'_>]) -> Result<(), Refusal> {
    let said = |entries: &[Entry<'_>]| refusal(entries).map_or(Ok(()), Err);
    until_decided(entries, |entries, _| validate(entries).then(|| said(entries)))
}

/// Runs `attempt` with the records locked, until nothing comes between. Waits with nothing locked.
fn until_decided<'a, R>(
    entries: &mut [Entry<'a>],
    mut attempt: impl FnMut(&mut [Entry<'a>], &mut Locks<'a>) -> Option<R>,
) -> R {
    let (mut locks, backoff) = (Locks::default(), Backoff::default());
    loop {
        if let Some(decided) = lock(entries, &mut locks).and_then(|()| attempt(entries, &mut locks))
        {
            return decided;
        }
        locks.unlock();
        backoff.snooze();
        entries.iter_mut().for_each(Entry::look_again);
    }
}

/// Charges each rate as many times what it asks as all have room for, `up_to` so many times, and
/// takes the slots; says how many times. A rate asks what one unit costs it.
pub(crate) fn grant(entries: &mut [Entry<'_>], up_to: u64) -> Result<u64, Refusal> {
    let costs: SmallVec<[u64; INLINE]> = entries.iter().map(|entry| entry.asked.cost).collect();
    let left = |entries: &[Entry<'_>]| {
        let rates = entries.iter().zip(&costs).filter(|(entry, _)| entry.tag().is_some());
        let times = |(entry, cost): (&Entry<'_>, &u64)| {
            entry.answer().map_or(0, |allowed| allowed.remaining()).checked_div(*cost)
        };
        rates.filter_map(times).min().unwrap_or(u64::MAX)
    };
    let mut most = up_to;
    until_decided(entries, |entries, locks| {
        ask(entries, locks, &costs, 0);
        // If nothing remains, answer as for one unit.
        let times = left(entries).clamp(1, most);
        let states: SmallVec<[_; INLINE]> = entries.iter().map(Entry::state).collect();
        ask(entries, locks, &costs, times);
        // Unless something came between the two looks.
        if entries.iter().zip(&states).any(|(entry, state)| entry.state() != *state) {
            return None;
        }
        // A line of waiting callers is in the way of all, and so may be a place that two keys share.
        if times > 1 && refusal(entries).is_some() {
            most = 1;
            return None;
        }
        attempt(entries, locks, false).map(|decided| decided.map(|()| times))
    })
}

/// Asks each rate for `times` its cost.
fn ask<'a>(entries: &mut [Entry<'a>], locks: &mut Locks<'a>, costs: &[u64], times: u64) {
    for (entry, cost) in entries.iter_mut().zip(costs) {
        if entry.tag().is_some() {
            entry.asked.cost = cost.saturating_mul(times);
        }
        entry.look_again();
        entry.look_again_locked(locks);
    }
}

/// Locks the shards of all records, and looks at these. `None`: a quota changes.
fn lock<'a>(entries: &mut [Entry<'a>], locks: &mut Locks<'a>) -> Option<()> {
    let shards = |entry: &Entry<'a>| match &entry.part {
        Participant::Record(record) => Some((record.shard(), record.records)),
        Participant::Word(_) | Participant::Slots(_) => None,
    };
    if mutant("lock_one_by_one") {
        for entry in entries.iter_mut() {
            locks.lock([&*entry].into_iter().filter_map(shards))?;
            entry.look_again_locked(locks);
            locks.unlock();
        }
        return locks.lock(entries.iter().filter_map(shards));
    }
    locks.lock(entries.iter().filter_map(shards))?;
    entries.iter_mut().for_each(|entry| entry.look_again_locked(locks));
    Some(())
}

/// One attempt at what was looked at. `None`: something came between.
///
/// `may_look_again`: the innermost may be decided on a later state than was seen.
fn attempt<'a>(
    entries: &mut [Entry<'a>],
    locks: &mut Locks<'a>,
    may_look_again: bool,
) -> Option<Result<(), Refusal>> {
    let mut refused = refusal(entries);
    if refused.is_none() && entries.iter().any(Entry::needs_insert) {
        insert_new(entries, locks).ok()?;
        // A seat where there is no room may refuse.
        refused = refusal(entries);
    }
    let decided = match refused {
        None => commit(entries, may_look_again).ok().map(Ok)?,
        Some(refusal) => validate(entries).then_some(Err(refusal))?,
    };
    for Entry { asked, part } in entries {
        match part {
            Participant::Word(look) => look.count_insert(),
            Participant::Record(record) => record.write(asked, decided.is_ok(), locks),
            Participant::Slots(_) => {}
        }
    }
    Some(decided)
}

/// Whether what was seen was so at one moment.
fn validate(entries: &[Entry<'_>]) -> bool {
    // Keys without a slot first: only the table can say that they have none, and does so now. The others
    // are confirmed after that, and have not changed since they were looked at.
    let all = |absent: bool| {
        let mut some = entries.iter().filter(|entry| entry.is_absent() == absent);
        some.all(Entry::is_valid)
    };
    all(true) && all(false)
}

fn refusal(entries: &[Entry<'_>]) -> Option<Refusal> {
    entries.iter().filter_map(Entry::refusal).reduce(Refusal::and)
}

/// Charges every entry that agrees and takes the slots, unless something came between.
fn commit(entries: &mut [Entry<'_>], may_look_again: bool) -> Result<(), Conflict> {
    if !entries.iter().any(Entry::is_charged) {
        // Nothing to charge: what was seen must have been so at one moment.
        validate(entries).then_some(()).ok_or(Conflict)?;
    }
    let innermost = innermost(entries);
    let (taken, seen) = {
        let entries = &*entries;
        // While it has claims the caller waits for nobody.
        let claims = claim(entries)?;
        let outer = entries.iter().enumerate().filter(|(at, _)| innermost != Some(*at));
        let outer = outer.map(|(_, entry)| entry).filter(|entry| entry.is_charged());
        // Nothing can panic until the last is released.
        let held = outer.clone().take_while(|entry| entry.hold()).count();
        let all_held = outer.clone().count() == held;
        let seen = if all_held {
            commit_innermost(entries, innermost, may_look_again)
        } else {
            Err(Conflict)
        };
        outer.take(held).for_each(|entry| entry.release(seen.is_ok()));
        let seen = seen?;
        let taken: SmallVec<[Held; SLOTS]> = claims.into_iter().map(Claim::live).collect();
        (taken, seen)
    };
    if let Some(Entry { part, .. }) = innermost.and_then(|at| entries.get_mut(at)) {
        match (part, seen) {
            (Participant::Word(look), Some(Seen::Word(seen))) => *look = seen,
            (Participant::Slots(slots), Some(Seen::Slots(seen))) => slots.look = seen,
            _ => {}
        }
    }
    let mut taken = taken.into_iter();
    for Entry { asked, part } in entries {
        match part {
            Participant::Slots(slots) if asked.enforced => slots.held = taken.next(),
            Participant::Slots(slots) => slots.take_anyway(),
            Participant::Word(_) | Participant::Record(_) => {}
        }
    }
    Ok(())
}

/// Claims records for all slots that are enforced, in the order of the entries.
fn claim<'s>(entries: &'s [Entry<'_>]) -> Result<SmallVec<[Claim<'s>; SLOTS]>, Conflict> {
    let slots = entries.iter().filter_map(|Entry { asked, part }| match part {
        Participant::Slots(slots) if asked.enforced => Some(slots),
        _ => None,
    });
    slots.map(|slots| slots.claim().ok_or(Conflict)).collect()
}

/// What the innermost entry was when it was committed, if that is not what was looked at.
enum Seen<'a> {
    Word(WordSnapshot<'a>),
    Slots(slots::SlotSnapshot),
}

/// The entry that is committed while the others are held: slots if there are any, or else a word.
fn innermost(entries: &[Entry<'_>]) -> Option<usize> {
    let last = |is_it: fn(&Participant<'_>) -> bool| {
        entries.iter().rposition(|entry| is_it(&entry.part) && entry.is_charged())
    };
    last(|part| matches!(part, Participant::Slots(_)))
        .or_else(|| last(|part| matches!(part, Participant::Word(_))))
}

/// Commits the innermost entry. All others are held, so if it agrees the decision is made.
fn commit_innermost<'a>(
    entries: &[Entry<'a>],
    innermost: Option<usize>,
    may_look_again: bool,
) -> Result<Option<Seen<'a>>, Conflict> {
    // Two keys of one limiter are not decided under two quotas of it: a change waits for the locks of
    // records, but not for words that are only looked at.
    let all_current = || {
        let mut parts = entries.iter().map(|entry| &entry.part);
        parts.all(|part| !matches!(part, Participant::Word(look) if !look.is_current()))
    };
    all_current().then_some(()).ok_or(Conflict)?;
    let Some(Entry { asked, part }) = innermost.and_then(|at| entries.get(at)) else {
        return Ok(None);
    };
    let mut seen = match part {
        Participant::Slots(slots) => {
            return slots.commit().map(Seen::Slots).map(Some).ok_or(Conflict);
        }
        Participant::Word(look) if look.commit() => return Ok(None),
        Participant::Word(look) if may_look_again => *look,
        _ => return Err(Conflict),
    };
    loop {
        // Lost the compare-and-swap. Keys are held, so look again without waiting.
        seen = if mutant("wait_while_holding") {
            seen.cells.look(seen.tag, 0, asked.cost, asked.now)
        } else {
            seen.again(asked.cost, asked.now).ok_or(Conflict)?
        };
        if seen.answer.is_err() || !all_current() || !seen.is_current() {
            return Err(Conflict);
        }
        if seen.commit() {
            return Ok(Some(Seen::Word(seen)));
        }
    }
}

/// Gives new keys a place to be held in. Nothing is charged, and a place not charged is free.
fn insert_new<'a>(entries: &mut [Entry<'a>], locks: &mut Locks<'a>) -> Result<(), Conflict> {
    for index in 0..entries.len() {
        if !entries[index].needs_insert() {
            continue;
        }
        insert_one(entries, index, locks)?;
        let (before, after) = entries.split_at_mut(index);
        let Some(entry) = after.first_mut() else { continue };
        let Some(at) = before.iter().position(|other| other.shares_with(entry)) else { continue };
        let cost = entry.asked.cost;
        // The other charges for both.
        let Entry { asked, part } = &mut before[at];
        match (&mut entry.part, part) {
            (Participant::Word(sharing), Participant::Word(look)) => {
                sharing.share();
                look.merge_cost(cost, asked.cost, asked.now).then_some(()).ok_or(Conflict)?;
            }
            (Participant::Record(sharing), Participant::Record(record)) => {
                sharing.share();
                record.merge_cost(cost, asked, locks);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Gives the key of the entry at `index` a place, and takes none for it from the others.
fn insert_one<'a>(
    entries: &mut [Entry<'a>],
    index: usize,
    locks: &mut Locks<'a>,
) -> Result<(), Conflict> {
    let entry = &entries[index];
    let taken = |tag| {
        let mut others = entries.iter().enumerate().filter(|(at, _)| *at != index);
        others.any(|(_, other)| other.is_charged() && other.is_beside(entry, tag))
    };
    let inserted = match &entry.part {
        Participant::Word(look) => {
            let Asked { cost, now, .. } = entry.asked;
            Participant::Word(look.insert_new(cost, now, taken).ok_or(Conflict)?)
        }
        Participant::Record(record) => {
            Participant::Record(record.insert_new(&entry.asked, locks, &taken))
        }
        Participant::Slots(_) => return Ok(()),
    };
    entries[index].part = inserted;
    Ok(())
}
