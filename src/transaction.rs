//! The transaction: several limits decided as one step, charged all or none.
//!
//! A participant does four things: it is *looked* at, *held*, *committed* and *released*. First
//! every one is looked at and nothing is written. If one denies, the refusal stands if all are still
//! what they were: then there was a moment at which the whole answer was true. If all agree, all but
//! the innermost are held, and the innermost is committed by one compare-and-swap, which is the
//! moment of the decision; the others are charged as they are released. A record has no such step:
//! if there is no innermost, all are held, and any moment while they are is that of the decision.
//!
//! A caller that meets a hold waits. One that meets a hold while holding lets go of everything and
//! starts over, so that no order is needed and no deadlock exists.
//!
//! This is the general way, a cold loop. Where all limits are words that stand in their slots,
//! callers first try the same four things with [`FastPart`]s.

mod fast;
mod record;
mod slots;
mod word;

use smallvec::SmallVec;

use crate::cells::{Charge, Queued};
use crate::concurrency_limiter::{Lease, Room};
use crate::decision::{Allowed, Denied, Retry};
use crate::rate_limiter::Store;
use crate::slots::Held;
use crate::sync::{Arc, Backoff, mutant};
use crate::time::Timestamp;

pub(crate) use fast::{FastPart, commit as commit_fast};
use record::Record;
use slots::SlotPart;
use word::Word;

/// As many limits of one request as are decided without allocating.
pub(crate) const INLINE: usize = 8;

/// One limit's part in a decision.
pub(crate) struct Entry<'a> {
    pub(crate) asked: Asked,
    part: Part<'a>,
}

pub(crate) type Entries<'a> = SmallVec<[Entry<'a>; INLINE]>;

/// What is asked of a limit.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    /// Its place among all limits of the request.
    pub(crate) place: u32,
    /// Units of a rate; slots.
    pub(crate) cost: u64,
    pub(crate) now: Timestamp,
    /// Whether its denial refuses the request. If not it is charged if it agrees, and its slots are
    /// taken all the same.
    pub(crate) enforced: bool,
    /// Whether the request is at the head of the line before it.
    pub(crate) turn: bool,
}

impl Asked {
    /// Units of the key's line that come before it.
    fn ahead(&self, queued: &Queued, tag: u64) -> u64 {
        if self.turn { 0 } else { queued.ahead(tag) }
    }
}

enum Part<'a> {
    Word(Word<'a>),
    Record(Record<'a>),
    Slots(SlotPart),
}

/// What each kind of limit does in a transaction.
trait Participant {
    /// Looks at it anew. Waits while others hold it.
    fn look(&mut self, asked: &Asked);
    /// What it said.
    fn answer(&self) -> Result<Allowed, Denied>;
    /// Whether the answer is still the one that would be given.
    fn stands(&self) -> bool;
    /// Whether there is something to write, if it agrees.
    fn is_counted(&self, asked: &Asked) -> bool;
    /// Keeps others away, if nothing came between. Then `release` must follow.
    fn hold(&self) -> bool;
    /// Lets go of what is held: charged, or as it was.
    fn release(&self, asked: &Asked, is_charged: bool);
    /// Counts what was decided.
    fn count(&self, asked: &Asked);
}

macro_rules! each {
    ($entry:expr, $part:ident => $call:expr) => {
        match $entry {
            Part::Word($part) => $call,
            Part::Record($part) => $call,
            Part::Slots($part) => $call,
        }
    };
}

impl<'a> Entry<'a> {
    /// Asks a rate, and looks at it once.
    pub(crate) fn rate(store: &'a Store, tag: u64, asked: Asked) -> Entry<'a> {
        let part = match store {
            Store::Words(cells) => Part::Word(Word::new(cells, tag, &asked)),
            Store::Records(records) => Part::Record(Record::new(&**records, tag, &asked)),
        };
        Entry { asked, part }
    }

    /// Asks for slots, and looks at them once.
    pub(crate) fn slots(room: Arc<Room>, asked: Asked) -> Entry<'a> {
        Entry { asked, part: Part::Slots(SlotPart::new(room, &asked)) }
    }

    /// What this limit says.
    pub(crate) fn answer(&self) -> Result<Allowed, Denied> {
        each!(&self.part, part => part.answer())
    }

    /// The key of a rate.
    pub(crate) fn tag(&self) -> Option<u64> {
        match &self.part {
            Part::Word(word) => Some(word.tag),
            Part::Record(record) => Some(record.tag),
            Part::Slots(_) => None,
        }
    }

    /// What slots are taken of.
    pub(crate) fn room(&self) -> Option<&Arc<Room>> {
        match &self.part {
            Part::Slots(slots) => Some(slots.room()),
            Part::Word(_) | Part::Record(_) => None,
        }
    }

    /// What was charged, if it was and is this entry's alone.
    pub(crate) fn charge(&self) -> Option<Charge> {
        match &self.part {
            Part::Word(word) if self.is_charged() => word.charge(&self.asked),
            Part::Record(record) if self.is_charged() => record.charge(&self.asked),
            _ => None,
        }
    }

    /// What was taken, for a caller that gives it back.
    pub(crate) fn taken(self) -> Option<(Arc<Room>, Held)> {
        match self.part {
            Part::Slots(slots) => slots.taken(),
            Part::Word(_) | Part::Record(_) => None,
        }
    }

    /// What was taken.
    pub(crate) fn lease(self) -> Option<Lease> {
        self.taken().map(|(room, held)| Lease::new(room, held))
    }

    fn look_again(&mut self) {
        each!(&mut self.part, part => part.look(&self.asked));
    }

    fn stands(&self) -> bool {
        each!(&self.part, part => part.stands())
    }

    /// What it refuses the request with, if it does.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let denied = self.answer().err().filter(|_| self.asked.enforced)?;
        Some(Refusal { place: self.asked.place, denied })
    }

    fn is_charged(&self) -> bool {
        self.asked.cost > 0
            && self.answer().is_ok()
            && each!(&self.part, part => part.is_counted(&self.asked))
    }

    /// Whether its key must be given a place before it can be held.
    fn needs_seat(&self) -> bool {
        self.is_charged()
            && match &self.part {
                Part::Word(word) => word.needs_seat(),
                Part::Record(record) => record.needs_seat(),
                Part::Slots(_) => false,
            }
    }

    /// Whether both are charged in one place: keys of one limiter that share its pool.
    fn shares_with(&self, other: &Entry<'_>) -> bool {
        match (&self.part, &other.part) {
            (Part::Word(a), Part::Word(b)) => a.shares_with(b),
            (Part::Record(a), Part::Record(b)) => a.shares_with(b),
            _ => false,
        }
    }

    fn hold(&self) -> bool {
        each!(&self.part, part => part.hold())
    }

    fn release(&self, is_charged: bool) {
        each!(&self.part, part => part.release(&self.asked, is_charged));
    }

    /// The state of a rate that was decided on.
    fn state(&self) -> [u64; 3] {
        match &self.part {
            Part::Word(word) => word.state(),
            Part::Record(record) => record.state(),
            Part::Slots(_) => [0; 3],
        }
    }
}

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
struct Again;

/// Charges and takes all, or none.
pub(crate) fn admit(entries: &mut [Entry<'_>]) -> Result<(), Refusal> {
    let mut backoff = Backoff::default();
    loop {
        if let Some(decided) = attempt(entries, &mut backoff, true) {
            return decided;
        }
        look(entries);
    }
}

/// What `admit` would say, charging nothing.
pub(crate) fn peek(entries: &mut [Entry<'_>]) -> Result<(), Refusal> {
    while !stand(entries) {
        look(entries);
    }
    refusal(entries).map_or(Ok(()), Err)
}

/// Charges each rate as many times what it asks as all have room for, `up_to` so many times, and
/// takes the slots; says how many times. A rate asks what one unit costs it.
pub(crate) fn grant(entries: &mut [Entry<'_>], up_to: u64) -> Result<u64, Refusal> {
    let mut backoff = Backoff::default();
    let costs: SmallVec<[u64; INLINE]> = entries.iter().map(|entry| entry.asked.cost).collect();
    let ask = |entries: &mut [Entry<'_>], times: u64| {
        for (entry, cost) in entries.iter_mut().zip(&costs) {
            if entry.tag().is_some() {
                entry.asked.cost = cost.saturating_mul(times);
            }
        }
        look(entries);
    };
    let left = |entries: &[Entry<'_>]| {
        let rates = entries.iter().zip(&costs).filter(|(entry, _)| entry.tag().is_some());
        let times = |(entry, cost): (&Entry<'_>, &u64)| {
            entry.answer().map_or(0, |allowed| allowed.remaining()).checked_div(*cost)
        };
        rates.filter_map(times).min().unwrap_or(u64::MAX)
    };
    let mut most = up_to;
    loop {
        ask(entries, 0);
        // If nothing remains, answer as for one unit.
        let times = left(entries).clamp(1, most);
        let states: SmallVec<[_; INLINE]> = entries.iter().map(Entry::state).collect();
        ask(entries, times);
        // Unless something came between the two looks.
        if entries.iter().zip(&states).any(|(entry, state)| entry.state() != *state) {
            continue;
        }
        // A line of waiting callers is in the way of all, and so may be a place that two keys share.
        if times > 1 && refusal(entries).is_some() {
            most = 1;
            continue;
        }
        if let Some(decided) = attempt(entries, &mut backoff, false) {
            return decided.map(|()| times);
        }
    }
}

/// One attempt at what was looked at. `None`: something came between.
///
/// `may_look_again`: the innermost may be decided on a later state than was seen.
fn attempt(
    entries: &mut [Entry<'_>],
    backoff: &mut Backoff,
    may_look_again: bool,
) -> Option<Result<(), Refusal>> {
    let mut refused = refusal(entries);
    if refused.is_none() && entries.iter().any(Entry::needs_seat) {
        seat(entries).ok()?;
        // A seat where there is no room may refuse.
        refused = refusal(entries);
    }
    let decided = match refused {
        None if pass(entries, may_look_again).is_ok() => Ok(()),
        None => {
            backoff.wait();
            return None;
        }
        Some(refusal) if stand(entries) => Err(refusal),
        Some(_) => return None,
    };
    entries.iter().for_each(|entry| each!(&entry.part, part => part.count(&entry.asked)));
    Some(decided)
}

fn look(entries: &mut [Entry<'_>]) {
    entries.iter_mut().for_each(Entry::look_again);
}

/// Whether what was seen was so at one moment.
fn stand(entries: &[Entry<'_>]) -> bool {
    entries.iter().all(Entry::stands)
}

fn refusal(entries: &[Entry<'_>]) -> Option<Refusal> {
    entries.iter().filter_map(Entry::refusal).reduce(Refusal::and)
}

/// Charges every entry that agrees and takes the slots, unless something came between.
fn pass(entries: &mut [Entry<'_>], may_look_again: bool) -> Result<(), Again> {
    if !entries.iter().any(Entry::is_charged) {
        // Nothing to charge: what was seen must have been so at one moment.
        stand(entries).then_some(()).ok_or(Again)?;
    }
    let innermost = innermost(entries);
    let (held, seen) = {
        let entries = &*entries;
        // While it has claims the caller waits for nobody.
        let claims = slots::claim(entries)?;
        let mut holds = Holds { entries, innermost, reached: 0, charge: false };
        holds.take()?;
        let seen = commit(entries, innermost, may_look_again)?;
        holds.charge = true;
        drop(holds);
        (claims.begin(), seen)
    };
    if let (Some(Entry { part: Part::Word(word), .. }), Some(seen)) =
        (innermost.and_then(|at| entries.get_mut(at)), seen)
    {
        *word = seen;
    }
    slots::keep(entries, held);
    Ok(())
}

/// The entry that is committed while the others are held: slots if there are any, or else a word,
/// if there are only words.
fn innermost(entries: &[Entry<'_>]) -> Option<usize> {
    let is_slots = |entry: &Entry<'_>| matches!(entry.part, Part::Slots(_));
    let is_record = |entry: &Entry<'_>| matches!(entry.part, Part::Record(_));
    let slots = entries.iter().rposition(|entry| is_slots(entry) && entry.is_charged());
    let charged = || entries.iter().rposition(Entry::is_charged);
    let all_words = || !entries.iter().any(|entry| is_record(entry) && entry.is_charged());
    slots.or_else(|| if all_words() { charged() } else { None })
}

/// Entries of which those that are charged are held, up to `reached`. Dropping it, unwinding
/// included, lets go of them as they were, or charged once all agreed.
struct Holds<'h, 'a> {
    entries: &'h [Entry<'a>],
    /// It is committed and not held.
    innermost: Option<usize>,
    reached: usize,
    charge: bool,
}

impl Holds<'_, '_> {
    fn take(&mut self) -> Result<(), Again> {
        for (at, entry) in self.entries.iter().enumerate() {
            if self.innermost != Some(at) && entry.is_charged() && !entry.hold() {
                return Err(Again);
            }
            self.reached += 1;
        }
        Ok(())
    }
}

impl Drop for Holds<'_, '_> {
    fn drop(&mut self) {
        let Some((entry, others)) = self.entries.split_first().filter(|_| self.reached > 0) else {
            return;
        };
        let is_held = self.innermost != Some(0) && entry.is_charged();
        // Should the algorithm of a record panic, dropping what is left lets go of the others.
        let left = Holds {
            entries: others,
            innermost: self.innermost.and_then(|at| at.checked_sub(1)),
            reached: self.reached - 1,
            charge: self.charge,
        };
        if is_held {
            entry.release(self.charge);
        }
        drop(left);
    }
}

/// Commits the innermost entry. All others are held, so if it agrees the decision is made. Gives
/// what it became, if that is not what was looked at.
fn commit<'a>(
    entries: &[Entry<'a>],
    innermost: Option<usize>,
    may_look_again: bool,
) -> Result<Option<Word<'a>>, Again> {
    // Two keys of one limiter are not decided under two quotas of it.
    let is_current = |entry: &Entry<'_>| match &entry.part {
        Part::Word(word) => word.is_current(),
        // A change of quota makes a held record wait.
        Part::Record(_) | Part::Slots(_) => true,
    };
    let all_current = || entries.iter().all(is_current);
    let done = |is_done: bool| if is_done { Ok(None) } else { Err(Again) };
    match innermost.and_then(|at| entries.get(at)) {
        None => done(all_current()),
        Some(Entry { part: Part::Slots(slots), asked }) => {
            done(all_current() && slots.commit(asked))
        }
        Some(Entry { part: Part::Record(_), .. }) => Err(Again),
        Some(Entry { part: Part::Word(word), asked }) => {
            if all_current() && word.commit() {
                return Ok(None);
            }
            if !may_look_again {
                return Err(Again);
            }
            let mut seen = *word;
            loop {
                // Lost the compare-and-swap. Keys are held, so look again without waiting.
                if mutant("wait_while_holding") {
                    seen.look(asked);
                } else {
                    seen = seen.again(asked).ok_or(Again)?;
                }
                if seen.answer().is_err() || !all_current() || !seen.is_current() {
                    return Err(Again);
                }
                if seen.commit() {
                    return Ok(Some(seen));
                }
            }
        }
    }
}

/// Gives new keys a place to be held in. Nothing is charged, and a place not charged is free.
fn seat(entries: &mut [Entry<'_>]) -> Result<(), Again> {
    for index in 0..entries.len() {
        if !entries[index].needs_seat() {
            continue;
        }
        seat_one(entries, index)?;
        let (before, after) = entries.split_at_mut(index);
        let Some(entry) = after.first_mut() else { continue };
        let Some(at) = before.iter().position(|other| other.shares_with(entry)) else { continue };
        let cost = entry.asked.cost;
        // The other charges for both.
        match &mut entry.part {
            Part::Word(word) => word.ride(),
            Part::Record(record) => record.ride(),
            Part::Slots(_) => {}
        }
        let Entry { asked, part } = &mut before[at];
        let is_carried = match part {
            Part::Word(word) => word.carry(cost, asked),
            Part::Record(record) => record.carry(cost, asked),
            Part::Slots(_) => true,
        };
        is_carried.then_some(()).ok_or(Again)?;
    }
    Ok(())
}

/// Gives the key of the entry at `index` a place, and takes none for it from the others.
fn seat_one(entries: &mut [Entry<'_>], index: usize) -> Result<(), Again> {
    let entry = &entries[index];
    let is_taken = |is_its: &dyn Fn(&Part<'_>) -> bool| {
        let others = entries.iter().enumerate().filter(|(at, _)| *at != index);
        others.map(|(_, other)| other).any(|other| other.is_charged() && is_its(&other.part))
    };
    let seated = match &entry.part {
        Part::Word(word) => {
            let taken = |tag| {
                is_taken(&|other| matches!(other, Part::Word(other) if other.is_beside(word, tag)))
            };
            Part::Word(word.seat(&entry.asked, taken).ok_or(Again)?)
        }
        Part::Record(record) => {
            let taken = |tag| {
                is_taken(
                    &|other| matches!(other, Part::Record(other) if other.is_beside(record, tag)),
                )
            };
            Part::Record(record.seat(&entry.asked, &taken))
        }
        Part::Slots(_) => return Ok(()),
    };
    entries[index].part = seated;
    Ok(())
}
