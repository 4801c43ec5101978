//! The transaction: several limits decided as one step, charged all or none.
//!
//! First every limit is looked at and nothing is written. If one denies, the refusal stands if all
//! words are still what they were: then there was a moment at which the whole answer was true. If
//! all allow, each but the last is held on the way in, the last is charged by one
//! compare-and-swap, which is the moment of the decision, and the others are charged on the way
//! out. Where a limit's state is a record, or slots are taken, all are held. Whoever meets a hold
//! waits. Whoever meets one while holding lets go of everything and starts over, so that no order
//! is needed and no deadlock exists.

mod recorded;
mod slots;

use smallvec::SmallVec;

use crate::cells::{Cells, Charge, Look};
use crate::decision::{Allowed, Denied, Retry};
use crate::sync::{Backoff, mutant};
use crate::time::Timestamp;

pub(crate) use recorded::{RecordEntries, RecordEntry};
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
        self.look = cells.look(tag, cost, now);
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
            self.look = self.cells.look(self.tag, self.cost, self.now);
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

/// What a decision takes besides words: keys with records, and slots.
pub(crate) struct Rest<'g, 'a> {
    pub(crate) records: &'g mut [RecordEntry<'a>],
    pub(crate) slots: &'g mut [SlotEntry],
}

impl Rest<'_, '_> {
    pub(crate) fn none() -> Self {
        Rest { records: &mut [], slots: &mut [] }
    }

    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.slots.is_empty()
    }
}

/// Counts the entries that had no place of their own, and denials where those count.
#[inline]
fn count(entries: &[Entry<'_>], rest: &Rest<'_, '_>) {
    for entry in entries {
        entry.cells.count_seat(&entry.look);
    }
    rest.records.iter().for_each(RecordEntry::count);
}

/// The first limit that refuses, and how long until none would.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) place: u32,
    pub(crate) denied: Denied,
}

/// Something came between: nothing is written, start over.
struct Again;

/// Charges all of `entries` and takes all of the `rest`, or none.
#[inline(always)]
pub(crate) fn admit(entries: &mut [Entry<'_>], rest: &mut Rest<'_, '_>) -> Result<(), Refusal> {
    let mut backoff = Backoff::default();
    loop {
        if let Some(decided) = attempt(entries, rest, &mut backoff, pass) {
            return decided;
        }
        look(entries, rest);
    }
}

/// Charges each entry as many times what it asks as all have room for, `up_to` so many times, and
/// takes the slots; says how many times. An entry asks what one unit costs it.
pub(crate) fn grant(
    entries: &mut [Entry<'_>],
    rest: &mut Rest<'_, '_>,
    up_to: u64,
) -> Result<u64, Refusal> {
    let mut backoff = Backoff::default();
    let costs: SmallVec<[u64; INLINE]> = entries.iter().map(|entry| entry.cost).collect();
    let record_costs: SmallVec<[u64; INLINE]> =
        rest.records.iter().map(RecordEntry::cost).collect();
    let ask = |entries: &mut [Entry<'_>], rest: &mut Rest<'_, '_>, times: u64| {
        for (entry, cost) in entries.iter_mut().zip(&costs) {
            entry.cost = cost.saturating_mul(times);
        }
        for (entry, cost) in rest.records.iter_mut().zip(&record_costs) {
            entry.set_cost(cost.saturating_mul(times));
        }
        look(entries, rest);
    };
    let left = |entries: &[Entry<'_>], rest: &Rest<'_, '_>| {
        let words = entries.iter().zip(&costs).map(|(entry, cost)| (*entry.answer(), cost));
        let records = rest.records.iter().zip(&record_costs);
        let records = records.map(|(entry, cost)| (entry.answer(), cost));
        let times = |(answer, cost): (Result<Allowed, Denied>, &u64)| {
            answer.map_or(0, |allowed| allowed.remaining()).checked_div(*cost)
        };
        words.chain(records).filter_map(times).min().unwrap_or(u64::MAX)
    };
    let mut most = up_to;
    loop {
        ask(entries, rest, 0);
        // Nothing left is refused as one unit is.
        let times = left(entries, rest).clamp(1, most);
        let words: SmallVec<[Look<'_>; INLINE]> = entries.iter().map(|entry| entry.look).collect();
        let records: SmallVec<[_; INLINE]> = rest.records.iter().map(RecordEntry::look).collect();
        ask(entries, rest, times);
        // Unless something came between the two looks.
        let same_words =
            entries.iter().zip(&words).all(|(entry, look)| entry.look.is_of_same_state(look));
        let mut all_records = rest.records.iter().zip(&records);
        let same_records = all_records.all(|(entry, look)| entry.look().is_of_same_state(look));
        if !same_words || !same_records {
            continue;
        }
        // Who waits in line is in the way of all, and so may be a record that two keys share.
        if times > 1 && refusal(entries, rest).is_some() {
            most = 1;
            continue;
        }
        // All are held: none has more by the time it is charged.
        if let Some(decided) = attempt(entries, rest, &mut backoff, pass_beside) {
            return decided.map(|()| times);
        }
    }
}

/// One attempt to `pass` what was looked at. `None`: something came between.
#[inline(always)]
fn attempt(
    entries: &mut [Entry<'_>],
    rest: &mut Rest<'_, '_>,
    backoff: &mut Backoff,
    pass: impl FnOnce(&mut [Entry<'_>], &mut Rest<'_, '_>) -> Result<(), Again>,
) -> Option<Result<(), Refusal>> {
    let mut refused = refusal(entries, rest);
    if refused.is_none()
        && (entries.iter().any(Entry::needs_seat)
            || rest.records.iter().any(RecordEntry::needs_seat))
    {
        seat(entries).ok()?;
        recorded::seat(rest.records).ok()?;
        // A seat where there is no room may refuse.
        refused = refusal(entries, rest);
    }
    match refused {
        None if pass(entries, rest).is_ok() => {
            count(entries, rest);
            Some(Ok(()))
        }
        None => {
            backoff.wait();
            None
        }
        Some(refusal) if stand(entries, rest) => {
            count(entries, rest);
            Some(Err(refusal))
        }
        Some(_) => None,
    }
}

/// What `admit` would say, charging nothing.
pub(crate) fn peek(entries: &mut [Entry<'_>], rest: &mut Rest<'_, '_>) -> Result<(), Refusal> {
    while !stand(entries, rest) {
        look(entries, rest);
    }
    refusal(entries, rest).map_or(Ok(()), Err)
}

#[cold]
fn look(entries: &mut [Entry<'_>], rest: &mut Rest<'_, '_>) {
    entries.iter_mut().for_each(Entry::look_again);
    rest.records.iter_mut().for_each(RecordEntry::look_again);
    rest.slots.iter_mut().for_each(SlotEntry::look_again);
}

/// Whether what was seen was so at one moment.
#[inline]
fn stand(entries: &[Entry<'_>], rest: &Rest<'_, '_>) -> bool {
    entries.iter().all(|entry| entry.look.stands(entry.cells, entry.tag))
        && rest.records.iter().all(RecordEntry::stands)
        && rest.slots.iter().all(SlotEntry::stands)
}

#[inline]
fn refusal(entries: &[Entry<'_>], rest: &Rest<'_, '_>) -> Option<Refusal> {
    let refuses = entries.iter().any(Entry::refuses)
        || rest.records.iter().any(RecordEntry::refuses)
        || rest.slots.iter().any(SlotEntry::refuses);
    refuses.then(|| refusal_of(entries, rest))?
}

#[inline(never)]
fn refusal_of(entries: &[Entry<'_>], rest: &Rest<'_, '_>) -> Option<Refusal> {
    let words = entries.iter().filter(|entry| entry.refuses());
    let words = words.filter_map(|entry| Some((entry.place, entry.look.answer.err()?)));
    let records = rest.records.iter().filter(|entry| entry.refuses());
    let records = records.filter_map(|entry| Some((entry.place, entry.answer().err()?)));
    let slots = rest.slots.iter().filter(|entry| entry.refuses());
    let slots = slots.filter_map(|entry| Some((entry.place, entry.answer().err()?)));
    let all = words.chain(records).chain(slots);
    all.map(|(place, denied)| Refusal { place, denied }).reduce(|a, b| {
        let first = if a.place <= b.place { a } else { b };
        let retry = Retry::max(a.denied.retry, b.denied.retry);
        Refusal { denied: Denied { retry, ..first.denied }, ..first }
    })
}

/// Charges every entry that agrees and takes the rest, unless something came between.
#[inline]
fn pass(entries: &mut [Entry<'_>], rest: &mut Rest<'_, '_>) -> Result<(), Again> {
    if !rest.is_empty() {
        return pass_beside(entries, rest);
    }
    let Some(innermost) = entries.iter().rposition(Entry::is_charged) else {
        // Nothing to charge: what was seen must have been so at one moment.
        return if stand(entries, rest) { Ok(()) } else { Err(Again) };
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

/// `pass` where there is a rest: then all rates are held, and so are all slots but the last. The
/// moment of the decision is when that is taken, or any while all is held.
#[inline(never)]
fn pass_beside(entries: &mut [Entry<'_>], rest: &mut Rest<'_, '_>) -> Result<(), Again> {
    let any_charged =
        entries.iter().any(Entry::is_charged) || rest.records.iter().any(RecordEntry::is_charged);
    let any_slot = rest.slots.iter().any(SlotEntry::is_enforced);
    if !any_charged && !any_slot && !stand(entries, rest) {
        return Err(Again);
    }
    let held = {
        let mut taking = Taking::prepare(rest.slots)?;
        let mut holds = Holds { entries, reached: 0, charge: mutant("charge_first") };
        holds.take()?;
        let mut records = recorded::Holds::take(rest.records)?;
        taking.hold()?;
        if !entries.iter().all(|entry| entry.look.is_current(entry.cells)) {
            return Err(Again);
        }
        taking.commit()?;
        holds.charge = true;
        records.charge = true;
        drop(holds);
        drop(records);
        taking.finish()
    };
    let mut held = held.into_iter();
    for entry in rest.slots.iter_mut() {
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
            entry.look = entry.cells.look(entry.tag, cost, entry.now);
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
