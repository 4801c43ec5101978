//! The transaction: decides several limits as one step, and charges all or none.
//!
//! A participant has four operations: snapshot, hold, commit, release. First the transaction takes
//! a snapshot of every participant and charges nothing. If one denies, the refusal is valid if no
//! participant has changed: then there was a moment at which the whole answer was true. If all
//! agree, it holds all but the innermost and commits the innermost with one compare-and-swap, which
//! is the moment of the decision. The release then charges the others. A record needs neither hold
//! nor commit: its shard is locked from before the snapshot until the charge.
//!
//! A thread that finds a hold waits for its release. If that thread holds participants itself, it
//! releases them and starts over, so holds need no order and cannot deadlock.
//!
//! This file has the slow path. The fast path runs the same operations on [`FastParticipant`]s or
//! on a list of participants ([`Listed`]); callers try it first.

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
use crate::sync::Backoff;

pub(crate) use asked::Asked;
use entry::Participant;
pub(crate) use entry::{Entries, Entry};
pub(crate) use fast::{FastParticipant, Said, commit_last};
pub(crate) use listed::{Listed, tighter};
use locks::Locks;
pub(crate) use slot_participant::HeldSlots;
use slot_participant::SLOTS;

/// Up to this many limits of one request are decided without allocating.
pub(crate) const INLINE: usize = 8;

/// The first limit that refuses, with the wait until no limit would refuse.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) place: u32,
    pub(crate) denied: Denied,
}

impl Refusal {
    /// Combines two refusals: the first in the order of the limits, with the longer wait.
    #[inline(always)]
    pub(crate) fn and(self, other: Refusal) -> Refusal {
        let first = if self.place <= other.place { self } else { other };
        let retry = Retry::max(self.denied.retry, other.denied.retry);
        Refusal { denied: Denied { retry, ..first.denied }, ..first }
    }
}

/// A participant has changed since its snapshot. Nothing is charged; start over.
struct Conflict;

/// Charges all rates and takes all slots, or none.
pub(crate) fn admit(entries: &mut [Entry<'_>]) -> Result<(), Refusal> {
    until_decided(entries, |entries, locks| attempt(entries, locks, true))
}

/// The answer that `admit` would give. Charges nothing.
pub(crate) fn peek(entries: &mut [Entry<'_>]) -> Result<(), Refusal> {
    let said = |entries: &[Entry<'_>]| refusal(entries).map_or(Ok(()), Err);
    until_decided(entries, |entries, _| validate(entries).then(|| said(entries)))
}

/// Runs `attempt` with the records locked until it decides. Between attempts it waits with nothing
/// locked.
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

/// Charges each rate `n` times its cost and takes the slots, for the largest `n` up to `up_to` that
/// all rates have room for. Returns `n`. The cost asked of a rate is for one unit.
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
        // If nothing remains, decide one unit.
        let times = left(entries).clamp(1, most);
        let states: SmallVec<[_; INLINE]> = entries.iter().map(Entry::state).collect();
        ask(entries, locks, &costs, times);
        // Both snapshots must be of the same state.
        if entries.iter().zip(&states).any(|(entry, state)| entry.state() != *state) {
            return None;
        }
        // A wait line blocks any number of units, and a place that two keys share may do so: retry
        // with one unit.
        if times > 1 && refusal(entries).is_some() {
            most = 1;
            return None;
        }
        attempt(entries, locks, false).map(|decided| decided.map(|()| times))
    })
}

/// Sets the cost of each rate to `times` its own, and takes new snapshots.
fn ask<'a>(entries: &mut [Entry<'a>], locks: &mut Locks<'a>, costs: &[u64], times: u64) {
    for (entry, cost) in entries.iter_mut().zip(costs) {
        if entry.tag().is_some() {
            entry.asked.cost = cost.saturating_mul(times);
        }
        entry.look_again();
        entry.look_again_locked(locks);
    }
}

/// Locks the shards of all records, and takes their snapshots. `None`: a quota is being changed.
fn lock<'a>(entries: &mut [Entry<'a>], locks: &mut Locks<'a>) -> Option<()> {
    let shards = |entry: &Entry<'a>| match &entry.part {
        Participant::Record(record) => Some((record.shard(), record.records)),
        Participant::Word(_) | Participant::Slots(_) => None,
    };
    locks.lock(entries.iter().filter_map(shards))?;
    entries.iter_mut().for_each(|entry| entry.look_again_locked(locks));
    Some(())
}

/// Tries to decide on the snapshots. `None`: a participant has changed.
///
/// `may_look_again`: the innermost may be decided on a later state than its snapshot.
fn attempt<'a>(
    entries: &mut [Entry<'a>],
    locks: &mut Locks<'a>,
    may_look_again: bool,
) -> Option<Result<(), Refusal>> {
    let mut refused = refusal(entries);
    if refused.is_none() && entries.iter().any(Entry::needs_insert) {
        insert_new(entries, locks).ok()?;
        // An insert may refuse if the table is full.
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

/// Whether all snapshots were true at one moment.
fn validate(entries: &[Entry<'_>]) -> bool {
    // Absent keys first: the table confirms now that they have no slot. The others are validated
    // after that, so they did not change between their snapshot and that moment.
    let all = |absent: bool| {
        let mut some = entries.iter().filter(|entry| entry.is_absent() == absent);
        some.all(Entry::is_valid)
    };
    all(true) && all(false)
}

fn refusal(entries: &[Entry<'_>]) -> Option<Refusal> {
    entries.iter().filter_map(Entry::refusal).reduce(Refusal::and)
}

/// Charges every entry that agrees and takes the slots, unless a participant has changed.
fn commit(entries: &mut [Entry<'_>], may_look_again: bool) -> Result<(), Conflict> {
    if !entries.iter().any(Entry::is_charged) {
        // No commit follows that would detect a change, so validate the snapshots here.
        validate(entries).then_some(()).ok_or(Conflict)?;
    }
    let innermost = innermost(entries);
    let (taken, seen) = {
        let entries = &*entries;
        // This thread must not wait while it has claims: exclusive access to the slots waits for
        // claimed records.
        let claims = claim(entries)?;
        let outer = entries.iter().enumerate().filter(|(at, _)| innermost != Some(*at));
        let outer = outer.map(|(_, entry)| entry).filter(|entry| entry.is_charged());
        // No code can panic before the last release.
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

/// Claims lease records for the slots of all enforced limits, in the order of the entries.
fn claim<'s>(entries: &'s [Entry<'_>]) -> Result<SmallVec<[Claim<'s>; SLOTS]>, Conflict> {
    let slots = entries.iter().filter_map(|Entry { asked, part }| match part {
        Participant::Slots(slots) if asked.enforced => Some(slots),
        _ => None,
    });
    slots.map(|slots| slots.claim().ok_or(Conflict)).collect()
}

/// The snapshot on which the innermost entry was committed, if it may differ from the first one.
enum Seen<'a> {
    Word(WordSnapshot<'a>),
    Slots(slots::SlotSnapshot),
}

/// The index of the entry that is committed while the others are held: the last slots if there are
/// any, or else the last word.
fn innermost(entries: &[Entry<'_>]) -> Option<usize> {
    let last = |is_it: fn(&Participant<'_>) -> bool| {
        entries.iter().rposition(|entry| is_it(&entry.part) && entry.is_charged())
    };
    last(|part| matches!(part, Participant::Slots(_)))
        .or_else(|| last(|part| matches!(part, Participant::Word(_))))
}

/// Commits the innermost entry. All others are held, so its commit is the moment of the decision.
fn commit_innermost<'a>(
    entries: &[Entry<'a>],
    innermost: Option<usize>,
    may_look_again: bool,
) -> Result<Option<Seen<'a>>, Conflict> {
    // Two keys of one limiter must not be decided under two of its quotas. A change of quota waits
    // for the locks of records, but not for words of which this thread only has a snapshot.
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
        // Lost the compare-and-swap. Keys are held, so retry without waiting.
        seen = seen.again(asked.cost, asked.now).ok_or(Conflict)?;
        if seen.answer.is_err() || !all_current() || !seen.is_current() {
            return Err(Conflict);
        }
        if seen.commit() {
            return Ok(Some(Seen::Word(seen)));
        }
    }
}

/// Inserts absent keys, so that they can be held. Nothing is charged, and another key may take a
/// place without a charge.
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
        // The earlier entry charges for both.
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

/// Inserts the key of the entry at `index`, but not in the place of another key of this
/// transaction.
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
