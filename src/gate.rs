//! The transaction: several limits decided as one step, charged all or none.
//!
//! First every limit is looked at and nothing is written. If one denies, the refusal stands if all
//! words are still what they were: then there was a moment at which the whole answer was true. If
//! all allow, each but the last is held on the way in, the last is charged by one
//! compare-and-swap, which is the moment of the decision, and the others are charged on the way
//! out. Slots come after rates. Whoever meets a hold waits. Whoever meets one while holding lets go
//! of everything and starts over, so that no order is needed and no deadlock exists.

mod slots;

use smallvec::SmallVec;

use crate::cells::{Cells, Charge, Look};
use crate::decision::{Allowed, Denied, Retry};
use crate::sync::{Backoff, mutant};
use crate::time::Timestamp;

use slots::Taking;
pub(crate) use slots::{SlotEntries, SlotEntry};

/// As many limits of one request as are decided without allocating.
pub(crate) const INLINE: usize = 8;

/// One limit's part in a decision.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) cells: &'a Cells,
    pub(crate) tag: u64,
    pub(crate) cost: u64,
    pub(crate) now: Timestamp,
    /// Whether its denial refuses the request. If not it is charged if it agrees.
    pub(crate) enforced: bool,
    /// Its place among all limits of the request, slots included.
    pub(crate) place: u32,
    /// Whether whoever waits in line for the key has been asked.
    turn: bool,
    /// What it charges for entries that turned out to share its cell.
    carried: u64,
    look: Look<'a>,
}

pub(crate) type Entries<'a> = SmallVec<[Entry<'a>; INLINE]>;

impl<'a> Entry<'a> {
    /// An entry that asks nothing yet.
    #[inline]
    pub(crate) fn blank(cells: &'a Cells) -> Self {
        let (now, look) = (Timestamp::ZERO, Look::blank());
        Entry {
            cells,
            tag: 0,
            cost: 0,
            now,
            enforced: false,
            place: 0,
            turn: false,
            carried: 0,
            look,
        }
    }

    /// Asks `cost` of the key, and looks at it once.
    #[inline(always)]
    pub(crate) fn ask(
        &mut self,
        cells: &'a Cells,
        tag: u64,
        cost: u64,
        now: Timestamp,
        enforced: bool,
    ) {
        self.cells = cells;
        self.tag = tag;
        self.cost = cost;
        self.now = now;
        self.enforced = enforced;
        cells.look(tag, cost, now, &mut self.look);
    }

    /// For who is at the head of the key's line.
    pub(crate) fn at_head(&mut self) {
        self.turn = true;
        self.look_again();
    }

    #[cold]
    fn look_again(&mut self) {
        self.carried = 0;
        if self.turn {
            self.look = self.cells.look_at_head(self.tag, self.cost, self.now);
        } else {
            self.cells.look(self.tag, self.cost, self.now, &mut self.look);
        }
    }

    /// What this limit says.
    #[inline]
    pub(crate) fn answer(&self) -> &Result<Allowed, Denied> {
        &self.look.answer
    }

    /// What was charged, if it was and is this entry's alone.
    #[inline]
    pub(crate) fn charge(&self) -> Option<Charge> {
        (self.is_charged() && self.carried == 0)
            .then(|| self.look.charge(self.tag, self.cost, self.now))
    }

    pub(crate) fn is_for(&self, cells: &Cells, tag: u64) -> bool {
        self.tag == tag && std::ptr::eq(self.cells, cells)
    }

    #[inline]
    fn refuses(&self) -> bool {
        self.enforced && self.look.answer.is_err()
    }

    #[inline]
    fn is_charged(&self) -> bool {
        self.cost > 0 && self.look.answer.is_ok() && self.look.is_counted()
    }

    /// Whether it is to be charged and its key has no slot to be held in.
    #[inline]
    fn needs_seat(&self) -> bool {
        self.is_charged() && self.look.needs_seat()
    }
}

/// Counts the entries that had no slot of their own.
#[inline]
fn count(entries: &[Entry<'_>]) {
    for entry in entries {
        entry.cells.count_seat(&entry.look);
    }
}

/// The first limit that refuses, and how long until none would.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) place: u32,
    pub(crate) denied: Denied,
}

/// Something came between: nothing is written, start over.
struct Again;

/// Charges all of `entries` and takes all of `slots`, or none.
#[inline(always)]
pub(crate) fn admit(entries: &mut [Entry<'_>], slots: &mut [SlotEntry]) -> Result<(), Refusal> {
    let mut backoff = Backoff::default();
    loop {
        let mut refused = refusal(entries, slots);
        if refused.is_none() && entries.iter().any(Entry::needs_seat) {
            if seat(entries).is_err() {
                look(entries, slots);
                continue;
            }
            // A seat in a full table may refuse.
            refused = refusal(entries, slots);
        }
        match refused {
            None if pass(entries, slots).is_ok() => {
                count(entries);
                return Ok(());
            }
            None => backoff.wait(),
            Some(refusal) if stand(entries, slots) => {
                count(entries);
                return Err(refusal);
            }
            Some(_) => {}
        }
        look(entries, slots);
    }
}

/// What `admit` would say, charging nothing.
pub(crate) fn peek(entries: &mut [Entry<'_>], slots: &mut [SlotEntry]) -> Result<(), Refusal> {
    while !stand(entries, slots) {
        look(entries, slots);
    }
    refusal(entries, slots).map_or(Ok(()), Err)
}

#[cold]
fn look(entries: &mut [Entry<'_>], slots: &mut [SlotEntry]) {
    entries.iter_mut().for_each(Entry::look_again);
    slots.iter_mut().for_each(SlotEntry::look_again);
}

/// Whether what was seen was so at one moment.
#[inline]
fn stand(entries: &[Entry<'_>], slots: &[SlotEntry]) -> bool {
    entries.iter().all(|entry| entry.look.stands(entry.cells, entry.tag))
        && slots.iter().all(SlotEntry::stands)
}

#[inline]
fn refusal(entries: &[Entry<'_>], slots: &[SlotEntry]) -> Option<Refusal> {
    let refuses = entries.iter().any(Entry::refuses) || slots.iter().any(SlotEntry::refuses);
    refuses.then(|| refusal_of(entries, slots))?
}

#[inline(never)]
fn refusal_of(entries: &[Entry<'_>], slots: &[SlotEntry]) -> Option<Refusal> {
    let rates = entries.iter().filter(|entry| entry.refuses());
    let rates = rates.filter_map(|entry| Some((entry.place, entry.look.answer.err()?)));
    let slots = slots.iter().filter(|entry| entry.refuses());
    let slots = slots.filter_map(|entry| Some((entry.place, entry.answer().err()?)));
    rates.chain(slots).map(|(place, denied)| Refusal { place, denied }).reduce(|a, b| {
        let first = if a.place <= b.place { a } else { b };
        let retry = Retry::max(a.denied.retry, b.denied.retry);
        Refusal { denied: Denied { retry, ..first.denied }, ..first }
    })
}

/// Charges every entry that agrees and takes every slot, unless something came between.
#[inline]
fn pass(entries: &mut [Entry<'_>], slots: &mut [SlotEntry]) -> Result<(), Again> {
    if !slots.is_empty() {
        return pass_with_slots(entries, slots);
    }
    let Some(innermost) = entries.iter().rposition(Entry::is_charged) else {
        // Nothing to charge: what was seen must have been so at one moment.
        return if stand(entries, slots) { Ok(()) } else { Err(Again) };
    };
    let (outer, inner) = entries.split_at_mut(innermost);
    let mut holds = Holds { entries: outer, reached: 0, charge: mutant("charge_first") };
    holds.take()?;
    if let Some(entry) = inner.first_mut() {
        commit(holds.entries, entry)?;
    }
    holds.charge = true;
    Ok(())
}

/// `pass` where slots are to be taken: then all rates are held, and so are all slots but the last,
/// which is the moment of the decision.
#[inline(never)]
fn pass_with_slots(entries: &mut [Entry<'_>], slots: &mut [SlotEntry]) -> Result<(), Again> {
    if !slots.iter().any(SlotEntry::is_enforced) {
        // They count what is admitted without them.
        pass(entries, &mut [])?;
        slots.iter_mut().for_each(SlotEntry::take_anyway);
        return Ok(());
    }
    let held = {
        let mut taking = Taking::prepare(slots)?;
        let mut holds = Holds { entries, reached: 0, charge: mutant("charge_first") };
        holds.take()?;
        taking.hold()?;
        if !entries.iter().all(|entry| entry.look.is_current(entry.cells)) {
            return Err(Again);
        }
        taking.commit()?;
        holds.charge = true;
        drop(holds);
        taking.finish()
    };
    let mut held = held.into_iter();
    for entry in slots {
        if entry.is_enforced() {
            entry.keep(held.next());
        } else {
            entry.take_anyway();
        }
    }
    Ok(())
}

/// Entries of which those that are charged are held, up to `reached`. Dropping it, unwinding
/// included, lets go of them as they were, or charged once all agreed.
struct Holds<'h, 'a> {
    entries: &'h [Entry<'a>],
    reached: usize,
    charge: bool,
}

impl Holds<'_, '_> {
    #[inline]
    fn take(&mut self) -> Result<(), Again> {
        for entry in self.entries {
            if entry.is_charged() && !entry.look.hold() {
                return Err(Again);
            }
            self.reached += 1;
        }
        Ok(())
    }
}

impl Drop for Holds<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        for entry in self.entries.iter().take(self.reached).filter(|entry| entry.is_charged()) {
            entry.look.release(self.charge);
        }
    }
}

/// Charges the innermost entry. All others are held, so if it agrees the decision is made.
#[inline]
fn commit(outer: &[Entry<'_>], entry: &mut Entry<'_>) -> Result<(), Again> {
    loop {
        // Two keys of one limiter are not decided under two quotas of it.
        if !outer.iter().chain([&*entry]).all(|entry| entry.look.is_current(entry.cells)) {
            return Err(Again);
        }
        if entry.look.commit(entry.cells, entry.tag) {
            return Ok(());
        }
        // Somebody else charged it; whoever is held up here waits for nobody.
        let cost = entry.cost.saturating_add(entry.carried);
        if mutant("wait_while_holding") {
            entry.cells.look(entry.tag, cost, entry.now, &mut entry.look);
            continue;
        }
        let look = entry.look.again(entry.cells, cost, entry.now).ok_or(Again)?;
        if look.answer.is_err() {
            return Err(Again);
        }
        entry.look = look;
    }
}

/// Gives new keys a slot to be held in. Nothing is charged, and a slot not charged is free.
#[cold]
fn seat(entries: &mut [Entry<'_>]) -> Result<(), Again> {
    for index in 0..entries.len() {
        let (before, after) = entries.split_at_mut(index);
        let Some(entry) = after.first_mut().filter(|entry| entry.needs_seat()) else { continue };
        let taken = |tag| before.iter().any(|other| other.is_for(entry.cells, tag));
        let look = entry.cells.seat(entry.tag, entry.cost, entry.now, taken).ok_or(Again)?;
        entry.look = look;
        if let Some(other) = before.iter_mut().find(|other| other.look.shares_cell_with(&look)) {
            other.carried = other.carried.saturating_add(entry.cost);
            let cost = other.cost.saturating_add(other.carried);
            other.look = look.again(other.cells, cost, other.now).ok_or(Again)?;
            entry.look = look.as_passenger();
        }
    }
    Ok(())
}
