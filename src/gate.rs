//! The transaction: several limits decided as one step, charged all or none.
//!
//! First every key is looked at and nothing is written. If one denies, the refusal stands if all
//! words are still what they were: then there was a moment at which the whole answer was true. If
//! all allow, each key but the last is held on the way in, the last is charged by one
//! compare-and-swap, which is the moment of the decision, and the others are charged on the way
//! out. Whoever meets a hold waits. Whoever meets one while holding lets go of everything and
//! starts over, so that no order of keys is needed and no deadlock exists.

use smallvec::SmallVec;

use crate::cells::{Cells, Charge, Look};
use crate::decision::{Allowed, Denied, Retry};
use crate::sync::Backoff;
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
    /// What it charges for entries that turned out to share its cell.
    carried: u64,
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
        Entry { cells, tag, cost, now, enforced, carried: 0, look: None }
    }

    /// What this limit said, once it has been asked.
    pub(crate) fn answer(&self) -> Option<Result<Allowed, Denied>> {
        self.look.as_ref().map(|look| look.answer)
    }

    /// What was charged, if it was and is this entry's alone.
    pub(crate) fn charge(&self) -> Option<Charge> {
        let look = self.look.as_ref().filter(|_| self.is_charged() && self.carried == 0)?;
        Some(look.charge(self.tag, self.cost, self.now))
    }

    pub(crate) fn is_for(&self, cells: &Cells, tag: u64) -> bool {
        self.tag == tag && std::ptr::eq(self.cells, cells)
    }

    fn refuses(&self) -> bool {
        self.enforced && self.look.as_ref().is_some_and(|look| look.answer.is_err())
    }

    fn is_charged(&self) -> bool {
        self.cost > 0
            && self.look.as_ref().is_some_and(|look| look.answer.is_ok() && look.is_counted())
    }

    fn stands(&self) -> bool {
        self.look.as_ref().is_none_or(|look| look.stands())
    }

    fn is_current(&self) -> bool {
        self.look.as_ref().is_none_or(|look| look.is_current())
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
        if seat(entries).is_err() {
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
        entry.carried = 0;
        entry.look = Some(entry.cells.look(entry.tag, entry.cost, entry.now));
    }
}

/// Gives new keys a slot to be held in. Nothing is charged, and a slot not charged is free.
fn seat(entries: &mut [Entry<'_>]) -> Result<(), Again> {
    for index in 0..entries.len() {
        let (before, after) = entries.split_at_mut(index);
        let Some(entry) = after.first_mut().filter(|entry| entry.is_charged()) else { continue };
        if !entry.look.as_ref().is_some_and(|look| look.needs_seat()) {
            continue;
        }
        let taken = |tag| before.iter().any(|other| other.is_for(entry.cells, tag));
        let look = entry.cells.seat(entry.tag, entry.cost, entry.now, taken).ok_or(Again)?;
        entry.look = Some(look);
        let shared = before
            .iter_mut()
            .find(|other| other.look.as_ref().is_some_and(|seated| seated.shares_cell_with(&look)));
        if let Some(other) = shared {
            other.carried = other.carried.saturating_add(entry.cost);
            let cost = other.cost.saturating_add(other.carried);
            other.look = Some(look.again(cost, other.now).ok_or(Again)?);
            entry.look = Some(look.as_passenger());
        }
    }
    Ok(())
}

fn refusal(entries: &[Entry<'_>]) -> Option<Refusal> {
    let denied = |entry: &Entry<'_>| match entry.look.as_ref()?.answer {
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
    let look = entries[at].look.as_ref().ok_or(Again)?;
    let (next, mut hold) = (look.next(), look.hold().ok_or(Again)?);
    pass(entries, at + 1)?;
    hold.charge(next);
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
        let look = entry.look.as_ref().ok_or(Again)?;
        if look.commit() {
            return Ok(());
        }
        // Somebody else charged it; whoever is held up here waits for nobody.
        let cost = entry.cost.saturating_add(entry.carried);
        let look = look.again(cost, entry.now).ok_or(Again)?;
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
