//! The transaction: several limits decided as one step, charged all or none.
//!
//! First every key is looked at and nothing is written. If one denies, the refusal stands if all
//! words are still what they were: then there was a moment at which the whole answer was true. If
//! all allow, each key but the last is held on the way in, the last is charged by one
//! compare-and-swap, which is the moment of the decision, and the others are charged on the way
//! out. Whoever meets a hold waits. Whoever meets one while holding lets go of everything and
//! starts over, so that no order of keys is needed and no deadlock exists.

use smallvec::SmallVec;

use crate::cells::{Cells, Look};
use crate::decision::{Allowed, Denied, Retry};
use crate::sync::{Backoff, mutant};
use crate::time::Timestamp;

/// As many limits of one request as are decided without allocating.
pub(crate) const INLINE: usize = 8;

/// One limit's part in a decision.
pub(crate) struct Entry<'a> {
    pub(crate) cells: &'a Cells,
    pub(crate) tag: u64,
    pub(crate) cost: u64,
    pub(crate) now: Timestamp,
    /// Whether its denial refuses the request. If not it is charged if it agrees.
    pub(crate) enforced: bool,
    look: Option<Look<'a>>,
}

pub(crate) type Entries<'a> = SmallVec<[Entry<'a>; INLINE]>;

impl<'a> Entry<'a> {
    pub(crate) fn new(
        cells: &'a Cells,
        tag: u64,
        cost: u64,
        now: Timestamp,
        enforced: bool,
    ) -> Self {
        Entry { cells, tag, cost, now, enforced, look: None }
    }

    /// What this limit said, once it has been asked.
    pub(crate) fn answer(&self) -> Option<Result<Allowed, Denied>> {
        self.look.map(|look| look.answer)
    }

    /// What was charged, if it was.
    pub(crate) fn charge(&self) -> Option<crate::cells::Charge> {
        let look = self.look.filter(|_| self.is_charged())?;
        Some(look.charge(self.tag, self.cost, self.now))
    }

    fn refuses(&self) -> bool {
        self.enforced && self.look.is_some_and(|look| look.answer.is_err())
    }

    fn is_charged(&self) -> bool {
        self.cost > 0 && self.look.is_some_and(|look| look.answer.is_ok() && look.is_counted())
    }

    fn stands(&self) -> bool {
        self.look.is_none_or(|look| look.stands())
    }

    fn is_current(&self) -> bool {
        self.look.is_none_or(|look| look.is_current())
    }
}

/// The first limit that refuses, and how long until none would.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) index: usize,
    pub(crate) denied: Denied,
}

/// Something came between: nothing is written, start over.
struct Again;

/// Charges all of `entries`, or none.
pub(crate) fn admit(entries: &mut [Entry<'_>]) -> Result<(), Refusal> {
    let mut backoff = Backoff::default();
    loop {
        look(entries);
        if let Some(refusal) = refusal(entries) {
            if entries.iter().all(Entry::stands) {
                return Err(finish(entries, refusal));
            }
            continue;
        }
        if !seat(entries) {
            continue;
        }
        // A seat in a full table may refuse.
        if let Some(refusal) = refusal(entries) {
            if entries.iter().all(Entry::stands) {
                return Err(finish(entries, refusal));
            }
            continue;
        }
        if pass(entries, 0).is_ok() {
            count(entries);
            return Ok(());
        }
        backoff.wait();
    }
}

/// What `admit` would say, charging nothing.
pub(crate) fn peek(entries: &mut [Entry<'_>]) -> Result<(), Refusal> {
    loop {
        look(entries);
        if entries.iter().all(Entry::stands) {
            return refusal(entries).map_or(Ok(()), Err);
        }
    }
}

fn look(entries: &mut [Entry<'_>]) {
    for entry in entries {
        entry.look = Some(entry.cells.look(entry.tag, entry.cost, entry.now));
    }
}

/// Gives new keys a slot to be held in. Nothing is charged, and a slot not charged is free.
fn seat(entries: &mut [Entry<'_>]) -> bool {
    for entry in entries.iter_mut().filter(|entry| entry.is_charged()) {
        if entry.look.is_some_and(|look| look.needs_seat()) {
            match entry.cells.seat(entry.tag, entry.cost, entry.now) {
                Some(look) => entry.look = Some(look),
                None => return false,
            }
        }
    }
    true
}

fn refusal(entries: &[Entry<'_>]) -> Option<Refusal> {
    let denied = |entry: &Entry<'_>| match entry.look?.answer {
        Err(denied) if entry.enforced => Some(denied),
        _ => None,
    };
    let index = entries.iter().position(Entry::refuses)?;
    let first = denied(&entries[index])?;
    let rest = entries[index + 1..].iter().filter_map(denied);
    let retry = rest.map(|denied| denied.retry()).fold(first.retry(), Retry::max);
    Some(Refusal { index, denied: Denied { retry, ..first } })
}

/// Holds each charged entry from `from` on on the way in, charges the last, writes the others on
/// the way out.
fn pass(entries: &mut [Entry<'_>], from: usize) -> Result<(), Again> {
    let mut charged = (from..entries.len()).filter(|index| entries[*index].is_charged());
    let Some(at) = charged.next() else {
        // Nothing to charge: what was seen must have been so at one moment.
        return if entries.iter().all(Entry::stands) { Ok(()) } else { Err(Again) };
    };
    if charged.next().is_none() {
        return commit(entries, at);
    }
    let look = entries[at].look.ok_or(Again)?;
    let mut hold = look.hold().ok_or(Again)?;
    if mutant("charge_first") {
        hold.charge(&look);
    }
    pass(entries, at + 1)?;
    hold.charge(&look);
    Ok(())
}

/// Charges the innermost entry. All others are held, so if it agrees the decision is made.
fn commit(entries: &mut [Entry<'_>], innermost: usize) -> Result<(), Again> {
    loop {
        // Two keys of one limiter are not decided under two quotas of it.
        if !entries.iter().all(Entry::is_current) {
            return Err(Again);
        }
        let entry = &mut entries[innermost];
        let look = entry.look.ok_or(Again)?;
        if look.commit() {
            return Ok(());
        }
        // Somebody else charged it; whoever is held up here waits for nobody.
        let look = match mutant("wait_while_holding") {
            true => entry.cells.look(entry.tag, entry.cost, entry.now),
            false => look.again(entry.cost, entry.now).ok_or(Again)?,
        };
        if look.answer.is_err() {
            return Err(Again);
        }
        entry.look = Some(look);
    }
}

fn finish(entries: &[Entry<'_>], refusal: Refusal) -> Refusal {
    count(entries);
    refusal
}

fn count(entries: &[Entry<'_>]) {
    for entry in entries {
        if let Some(look) = &entry.look {
            entry.cells.count_seat(look);
        }
    }
}
