//! The cells of one limiter: for each key a word, decided on without a lock.
//!
//! Floors in here: [`word`] packs a key's state, [`numbers`] says what its ticks mean and changes
//! them under way, [`table`] finds and claims slots. This file puts them together: every verb is
//! one [`Step`] from a state to the next, run until nothing else came between.
//!
//! # What is remembered, and what is not
//!
//! Keys are not kept: a key *is* its 64-bit hash. Two of n live keys share one with a chance of
//! n^2 / 2^65, about 10^-8 for a million. Idle keys are forgotten when their slot is needed; each
//! group remembers the latest stamp at which a key it forgot was full again, and an unknown key
//! starts from there, so that not even a stamp from before can tell.

mod mutants;
mod numbers;
mod table;
mod word;

use std::collections::VecDeque;
use std::time::Duration;

use crate::algorithm::{Gcra, Moment};
use crate::decision::{Allowed, Denied, Retry, Standing};
use crate::quota::Quota;
use crate::sync::{AtomicU64, Backoff, Mutex, OnceLock, Ordering, mutant};
use crate::ticks::Scale;
use crate::time::{Clock, Timestamp};

use numbers::{Numbers, Published, read_word};
use table::{Cell, Claim, Table, Use};
use word::MAX_TICK;

/// Cells that newcomers share while the table is full.
#[cfg(not(tollgate_loom))]
const POOL_CELLS: usize = 64;
#[cfg(tollgate_loom)]
const POOL_CELLS: usize = 1;

/// Changes of quota that a reservation can look back on. Over an older one nothing is given back.
const REMEMBERED_CHANGES: usize = 16;

/// What happens to a key for which there is no room: `max_keys` others are in debt.
///
/// Every such call is counted ([`RateLimiter::overflows`](crate::RateLimiter::overflows)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Newcomers share 64 cells, each with the limiter's quota. A flood is limited, and newcomers
    /// that share a cell with it are denied with it.
    #[default]
    Pool,
    /// Newcomers are denied until a key becomes idle.
    Deny,
    /// Newcomers are allowed without being counted.
    Allow,
}

pub(crate) struct Cells {
    published: Published,
    table: Table,
    overflow: Overflow,
    pool: OnceLock<Box<[PoolCell]>>,
    overflows: AtomicU64,
    /// Held while the quota changes, so that changes come one at a time.
    changes: Mutex<Changes>,
}

struct Changes {
    quota: Quota,
    /// The generation in which it came into force.
    began: u64,
    /// The quotas before it and when each began, the latest last.
    past: VecDeque<(u64, Quota)>,
}

struct PoolCell {
    tag: AtomicU64,
    word: AtomicU64,
}

/// What a verb makes of a state.
enum Step<R> {
    /// Nothing is written.
    Stay(R),
    /// The state becomes this tick.
    Move(u64, R),
}

/// No slot is free before this stamp, in nanoseconds.
struct Full {
    until: u64,
}

/// A charge that can be settled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charge {
    pub(crate) tag: u64,
    pub(crate) cost: u64,
    pub(crate) at: Timestamp,
    seat: Seat,
    generation: u64,
}

/// Where a key is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seat {
    Own,
    Pool,
    Uncounted,
}

impl Cells {
    pub(crate) fn new(quota: Quota, max_keys: usize, overflow: Overflow) -> Cells {
        Cells {
            published: Published::new(&quota),
            table: Table::new(max_keys),
            overflow,
            pool: OnceLock::new(),
            overflows: AtomicU64::new(0),
            changes: Mutex::new(Changes { quota, began: 0, past: VecDeque::new() }),
        }
    }

    /// Decides `cost` for the key and charges it if allowed. A cost of 0 is a peek.
    #[inline(always)]
    pub(crate) fn decide(&self, tag: u64, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        if mutant("add_then_check") {
            return self.add_then_check(tag, cost, now);
        }
        match self.decide_at_once(tag, cost, now) {
            Some(answer) => answer,
            None => self.decide_in_turn(tag, cost, now),
        }
    }

    /// `decide` for a key that is there, if nothing comes between: one turn of `run`, small
    /// enough to become part of the caller, where what it does not ask for costs nothing.
    #[inline(always)]
    fn decide_at_once(
        &self,
        tag: u64,
        cost: u64,
        now: Timestamp,
    ) -> Option<Result<Allowed, Denied>> {
        let cell = self.table.find(tag)?;
        let word = cell.load()?;
        let (generation, gcra, moment) = self.published.at_once(now)?;
        if !word::is_free_of(word, generation) {
            return None;
        }
        match decide(word::decode(word, tag, generation), cost, &gcra, moment) {
            Step::Stay(answer) => cell.is_still(word).then_some(answer),
            Step::Move(next, answer) => {
                cell.replace(word, word::encode(next, tag, generation)).then_some(answer)
            }
        }
    }

    #[inline(never)]
    fn decide_in_turn(&self, tag: u64, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        let step = |tat, numbers: &Numbers, moment| decide(tat, cost, &numbers.gcra, moment);
        match self.run(Seat::Own, tag, || now, step) {
            Ok(Err(denied)) if self.pool.get().is_some() => {
                if denied.retry != Retry::Never && self.is_pooled(tag, now) {
                    self.count_overflow();
                }
                Err(denied)
            }
            Ok(answer) => answer,
            Err(full) => self.decide_without_room(tag, cost, now, &full),
        }
    }

    /// Whether the key has no slot and its pool cell is in debt, which is then its own.
    #[cold]
    fn is_pooled(&self, tag: u64, now: Timestamp) -> bool {
        if self.pool.get().is_none() || self.table.find(tag).is_some() {
            return false;
        }
        let (numbers, moment) = self.numbers_at(now);
        let owed = self.pool_cell(tag).and_then(|cell| {
            let word = cell.load().filter(|word| !word::is_held(*word))?;
            read_word(&self.published, &numbers, word, cell.tag)
        });
        owed.is_some_and(|tat| !Gcra::is_idle(tat, moment))
    }

    #[cold]
    fn decide_without_room(
        &self,
        tag: u64,
        cost: u64,
        now: Timestamp,
        full: &Full,
    ) -> Result<Allowed, Denied> {
        self.count_overflow();
        if self.overflow == Overflow::Pool {
            let step = |tat, numbers: &Numbers, moment| decide(tat, cost, &numbers.gcra, moment);
            if let Ok(answer) = self.run(Seat::Pool, tag, || now, step) {
                return answer;
            }
        }
        self.without_seat(cost, now, full)
    }

    /// The answer to a key that is counted nowhere.
    fn without_seat(&self, cost: u64, now: Timestamp, full: &Full) -> Result<Allowed, Denied> {
        let (numbers, moment) = self.numbers_at(now);
        let (_, allowed) = numbers.gcra.decide(0, cost, moment)?;
        if self.overflow == Overflow::Allow {
            return Ok(allowed);
        }
        let wait = full.until.saturating_sub(now.as_nanos());
        Err(Denied {
            standing: Standing { burst: numbers.gcra.burst, reset_nanos: wait, ..Standing::NONE },
            retry: Retry::After(Duration::from_nanos(wait)),
        })
    }

    /// What `check` of `cost` would say, charging nothing.
    pub(crate) fn peek(&self, tag: u64, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        let step = |tat, numbers: &Numbers, moment| {
            Step::Stay(numbers.gcra.decide(tat, cost, moment).map(|(_, allowed)| allowed))
        };
        match self.run(Seat::Own, tag, || now, step) {
            Ok(answer) => answer,
            Err(full) => self.without_seat(cost, now, &full),
        }
    }

    /// As `decide`, and says what `settle` needs to know.
    pub(crate) fn reserve(
        &self,
        tag: u64,
        cost: u64,
        now: Timestamp,
    ) -> Result<(Charge, Allowed), Denied> {
        let mut look = Look::blank();
        self.look(tag, cost, now, &mut look);
        loop {
            // A cost of 0 is a peek: no key.
            if cost > 0 && look.answer.is_ok() && look.needs_seat() {
                let Some(seated) = self.seat(tag, cost, now, |_| false) else {
                    self.look(tag, cost, now, &mut look);
                    continue;
                };
                look = seated;
            }
            match look.answer {
                Ok(allowed) if look.commit(self, tag) => {
                    self.count_seat(&look);
                    return Ok((look.charge(tag, cost, now), allowed));
                }
                Err(denied) if look.stands(self, tag) => {
                    self.count_seat(&look);
                    return Err(denied);
                }
                _ => self.look(tag, cost, now, &mut look),
            }
        }
    }

    /// Makes a charge what it should have been. What time has already given back is not given
    /// back again: of `c` units charged at `t0` at most `c - (t1 - t0) / interval` return at `t1`,
    /// the interval being the shortest in force since.
    pub(crate) fn settle(&self, charge: &Charge, cost: u64, clock: &Clock) {
        if charge.seat == Seat::Uncounted || cost == charge.cost {
            return;
        }
        // The clock is read after the state: an earlier reading would give back too much, and so
        // would a clock that was set back.
        let settled = self.run(
            charge.seat,
            charge.tag,
            || clock.latest(),
            |tat, numbers, moment| {
                let unit = numbers.gcra.scale.unit;
                let next = match cost.checked_sub(charge.cost) {
                    Some(more) => {
                        let more = u64::try_from(u128::from(more) * u128::from(unit));
                        tat.max(moment.ceil).saturating_add(more.unwrap_or(MAX_TICK)).min(MAX_TICK)
                    }
                    None => {
                        let now = numbers.stamp_of(moment);
                        tat.saturating_sub(self.refund(charge, charge.cost - cost, numbers, now))
                    }
                };
                if next == tat { Step::Stay(()) } else { Step::Move(next, ()) }
            },
        );
        if settled.is_err() {
            // A debt for which there is no room.
            self.count_overflow();
        }
    }

    /// Ticks of `units` charged then that time has not given back until `now`, rounded down.
    fn refund(&self, charge: &Charge, units: u64, numbers: &Numbers, now: u64) -> u64 {
        let elapsed = now.saturating_sub(charge.at.as_nanos());
        let Scale { unit, .. } = numbers.gcra.scale;
        let ticks = if charge.generation == numbers.generation {
            let (ticks, cut) = numbers.gcra.scale.ticks(elapsed);
            u128::from(ticks) + u128::from(cut)
        } else {
            let Some(quota) = self.fastest_since(charge.generation) else { return 0 };
            let per = quota.period().as_nanos();
            let given = u128::from(elapsed) * u128::from(quota.count());
            // No overflow: what is left of a period is below 2^64, a unit at most 2^60.
            let part = (given % per * u128::from(unit)).div_ceil(per);
            (given / per).saturating_mul(u128::from(unit)).saturating_add(part)
        };
        let charged = u128::from(units) * u128::from(unit);
        u64::try_from(charged.saturating_sub(ticks)).unwrap_or(MAX_TICK)
    }

    /// The fastest quota in force since `generation`; `None` if that is too many changes ago.
    fn fastest_since(&self, generation: u64) -> Option<Quota> {
        let changes = self.changes.lock();
        let mut fastest = changes.quota;
        if generation < changes.began {
            let from = changes.past.iter().rposition(|(began, _)| *began <= generation)?;
            for (_, quota) in changes.past.iter().skip(from) {
                let (a, b) = (u128::from(quota.count()), u128::from(fastest.count()));
                if a * fastest.period().as_nanos() > b * quota.period().as_nanos() {
                    fastest = *quota;
                }
            }
        }
        Some(fastest)
    }

    /// Makes the key as if never seen.
    pub(crate) fn reset(&self, tag: u64, now: Timestamp) {
        let clear = |tat, _: &Numbers, _| if tat == 0 { Step::Stay(()) } else { Step::Move(0, ()) };
        // A key without a slot in a full table has nothing to clear.
        let _ = self.run(Seat::Own, tag, || now, clear);
    }

    /// Makes every key as if never seen.
    pub(crate) fn reset_all(&self, now: Timestamp) {
        self.for_each(now, |cell, word, numbers, _| {
            cell.replace(word, word::encode(0, cell.tag, numbers.generation))
        });
        for index in 0..self.pool.get().map_or(0, |pool| pool.len()) {
            let _ = self.run(Seat::Pool, index as u64, || now, |_, _, _| Step::Move(0, ()));
        }
    }

    /// Keys in debt at `now`. Looks at every slot.
    pub(crate) fn len(&self, now: Timestamp) -> usize {
        let mut live = 0;
        self.for_each(now, |_, _, _, idle| {
            live += usize::from(!idle);
            true
        });
        live
    }

    /// Bytes allocated.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Cells>() + self.table.memory() + self.pool.get().map_or(0, |p| size_of_val(&**p))
    }

    pub(crate) fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }

    #[cold]
    pub(crate) fn count_overflow(&self) {
        // Relaxed: a count.
        self.overflows.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn touch(&self, tag: u64) -> u64 {
        self.table.touch(tag)
    }

    pub(crate) fn quota(&self) -> Quota {
        self.changes.lock().quota
    }

    /// Puts another quota in force at `now`. Debt is kept in units.
    pub(crate) fn set_quota(&self, quota: Quota, now: Timestamp) {
        let mut changes = self.changes.lock();
        let numbers = self.published.load().changed(&quota, now);
        self.change(&mut changes, &numbers, quota);
    }

    /// Moves the origin of the axis so that it reaches to `now`. The first stamp comes here, and
    /// one in years of ticks.
    #[cold]
    fn move_axis(&self, now: Timestamp) {
        let mut changes = self.changes.lock();
        let numbers = self.published.load();
        if numbers.moment(now).is_none() {
            let quota = changes.quota;
            self.change(&mut changes, &numbers.moved(&quota, now), quota);
        }
    }

    /// Publishes `numbers` and makes every word follow.
    fn change(&self, changes: &mut Changes, numbers: &Numbers, quota: Quota) {
        if quota != changes.quota {
            if changes.past.len() == REMEMBERED_CHANGES {
                changes.past.pop_front();
            }
            let before = (changes.began, changes.quota);
            changes.past.push_back(before);
            (changes.began, changes.quota) = (numbers.generation, quota);
        }
        self.published.publish(numbers);
        self.table.for_each(|cell| self.follow(&cell, numbers));
        for index in 0..self.pool.get().map_or(0, |pool| pool.len()) {
            if let Some(cell) = self.pool_cell(index as u64) {
                self.follow(&cell, numbers);
            }
        }
    }

    /// Writes the cell's word anew under `numbers`.
    fn follow(&self, cell: &Cell<'_>, numbers: &Numbers) {
        let mut backoff = Backoff::default();
        while let Some(word) = cell.load() {
            if word::is_held(word) {
                backoff.wait();
                continue;
            }
            if word::is_of(word, numbers.generation) || self.renew(cell, word, numbers) {
                return;
            }
        }
    }

    /// The state that `word` says. `None`: ask again. A word of the numbers before is written anew
    /// first, since a charge decided under those could land on it after an answer under these.
    #[inline]
    fn state(&self, cell: &Cell<'_>, word: u64, numbers: &Numbers) -> Option<u64> {
        if word::is_of(word, numbers.generation) {
            return Some(word::decode(word, cell.tag, numbers.generation));
        }
        if mutant("answer_from_old") {
            return read_word(&self.published, numbers, word, cell.tag);
        }
        self.renew(cell, word, numbers);
        None
    }

    /// Writes a word of the numbers before as these say it, if nothing came between.
    #[cold]
    fn renew(&self, cell: &Cell<'_>, word: u64, numbers: &Numbers) -> bool {
        let Some(tick) = read_word(&self.published, numbers, word, cell.tag) else { return false };
        cell.replace(word, word::encode(tick, cell.tag, numbers.generation))
    }

    /// The numbers in force, and `now` on their axis.
    #[inline]
    fn numbers_at(&self, now: Timestamp) -> (Numbers, Moment) {
        loop {
            let numbers = self.published.load();
            if let Some(moment) = numbers.moment(now) {
                return (numbers, moment);
            }
            self.move_axis(now);
        }
    }

    /// Runs `step` on the key's state until nothing else came between.
    ///
    /// `now` is asked, and the numbers are read, after the word: whatever changed in between made
    /// the word another.
    #[inline]
    fn run<R>(
        &self,
        seat: Seat,
        tag: u64,
        mut now: impl FnMut() -> Timestamp,
        step: impl Fn(u64, &Numbers, Moment) -> Step<R>,
    ) -> Result<R, Full> {
        let mut backoff = Backoff::default();
        loop {
            let found = match seat {
                Seat::Own => self.table.find(tag),
                _ => self.pool_cell(tag),
            };
            let Some(cell) = found else {
                match self.run_new(tag, now(), &step) {
                    Some(result) => return result,
                    None => continue,
                }
            };
            let early = mutant("clock_before_word").then(&mut now);
            let Some(word) = cell.load() else { continue };
            if word::is_held(word) {
                backoff.wait();
                continue;
            }
            let (numbers, moment) = self.numbers_at(early.unwrap_or_else(&mut now));
            let Some(tat) = self.state(&cell, word, &numbers) else { continue };
            match step(tat, &numbers, moment) {
                Step::Stay(result) => {
                    if cell.is_still(word) {
                        return Ok(result);
                    }
                }
                Step::Move(next, result) => {
                    let next = word::encode(next, cell.tag, numbers.generation);
                    if cell.replace(word, next) {
                        return Ok(result);
                    }
                }
            }
        }
    }

    /// `run` for a key that was not found: `None` if it may be there now.
    #[inline(never)]
    fn run_new<R>(
        &self,
        tag: u64,
        now: Timestamp,
        step: &impl Fn(u64, &Numbers, Moment) -> Step<R>,
    ) -> Option<Result<R, Full>> {
        let (numbers, moment) = self.numbers_at(now);
        let forgotten = self.table.forgotten(tag);
        let tat = self.initial(tag, forgotten, &numbers, moment)?;
        match step(tat, &numbers, moment) {
            Step::Stay(result) => self.table.is_absent(tag, forgotten).then_some(Ok(result)),
            Step::Move(next, result) => {
                match self.claim(tag, tat, next, &numbers, moment, |_| false) {
                    Claim::Made(_) => Some(Ok(result)),
                    Claim::Full { until } => Some(Err(Full { until })),
                    Claim::Present(_) | Claim::Stale => None,
                }
            }
        }
    }

    /// The state of a key that has no slot. `None`: ask again.
    fn initial(&self, tag: u64, forgotten: u64, numbers: &Numbers, moment: Moment) -> Option<u64> {
        let tat = match forgotten {
            0 => 0,
            // It is idle now, and a stamp rounded up to a tick must not make it owe.
            _ if forgotten <= numbers.stamp_of(moment) => numbers.tick(forgotten).min(moment.floor),
            _ => numbers.tick(forgotten),
        };
        if self.pool.get().is_none() {
            return Some(tat);
        }
        // Perhaps it was counted in the pool: what the pool owes it may owe.
        let cell = self.pool_cell(tag)?;
        let word = cell.load().filter(|word| !word::is_held(*word))?;
        let pooled = read_word(&self.published, numbers, word, cell.tag)?;
        Some(if Gcra::is_idle(pooled, moment) { tat } else { tat.max(pooled) })
    }

    /// Claims a slot whose first state is `next`, which was decided from `tat`.
    ///
    /// Slots of keys that are `taken` are not free, though their keys are idle.
    fn claim(
        &self,
        tag: u64,
        tat: u64,
        next: u64,
        numbers: &Numbers,
        moment: Moment,
        taken: impl Fn(u64) -> bool,
    ) -> Claim<'_> {
        let use_of = |word, tag| match read_word(&self.published, numbers, word, tag) {
            None => Use::Unknown,
            Some(_) if taken(tag) => Use::Live { until: numbers.stamp_of(moment) },
            Some(tick) if Gcra::is_idle(tick, moment) => Use::Idle { since: numbers.stamp(tick) },
            Some(tick) => Use::Live { until: numbers.stamp(tick.saturating_add(1)) },
        };
        let ready = |forgotten| {
            let same = self.published.is_current(numbers.generation)
                && self.initial(tag, forgotten, numbers, moment) == Some(tat);
            (same || mutant("claim_unasked")).then(|| word::encode(next, tag, numbers.generation))
        };
        self.table.claim(tag, use_of, ready)
    }

    /// The pool cell that the key shares.
    fn pool_cell(&self, tag: u64) -> Option<Cell<'_>> {
        let pool = match self.pool.get() {
            Some(pool) => pool,
            None => self.make_pool(),
        };
        let cell = pool.get(tag as usize % POOL_CELLS)?;
        Some(Cell::apart(&cell.tag, &cell.word, !(tag % POOL_CELLS as u64)))
    }

    #[cold]
    fn make_pool(&self) -> &[PoolCell] {
        // Until the pool is there for all to see: a change meets it or precedes it.
        let changes = self.changes.lock();
        let generation = self.published.load().generation;
        if mutant("pool_unlocked") {
            drop(changes);
        }
        self.pool.get_or_init(|| {
            (0..POOL_CELLS as u64)
                .map(|index| PoolCell {
                    tag: AtomicU64::new(!index),
                    word: AtomicU64::new(word::encode(0, !index, generation)),
                })
                .collect()
        })
    }

    /// Shows each used slot and whether it is idle at `now`, until `visit` says it is done with it.
    fn for_each(
        &self,
        now: Timestamp,
        mut visit: impl FnMut(&Cell<'_>, u64, &Numbers, bool) -> bool,
    ) {
        self.table.for_each(|cell| {
            let mut backoff = Backoff::default();
            loop {
                let Some(word) = cell.load() else { return };
                let numbers = self.published.load();
                let state = (!word::is_held(word))
                    .then(|| read_word(&self.published, &numbers, word, cell.tag))
                    .flatten();
                if let Some(tick) = state {
                    // Beyond the end of the axis every word is in the past.
                    let idle = numbers.moment(now).is_none_or(|now| Gcra::is_idle(tick, now));
                    if visit(&cell, word, &numbers, idle) {
                        return;
                    }
                }
                backoff.wait();
            }
        });
    }
}

#[inline(always)]
fn decide(tat: u64, cost: u64, gcra: &Gcra, moment: Moment) -> Step<Result<Allowed, Denied>> {
    match gcra.decide(tat, cost, moment) {
        Ok((_, allowed)) if cost == 0 => Step::Stay(Ok(allowed)),
        Ok((next, allowed)) => Step::Move(next, Ok(allowed)),
        Err(denied) => Step::Stay(Err(denied)),
    }
}

/// One key as a transaction sees it: the answer, and what to write if all agree.
#[derive(Clone, Copy)]
pub(crate) struct Look<'a> {
    cell: Option<Cell<'a>>,
    seat: Seat,
    /// What was decided on: the word, or the stamp `forgotten` if there is no cell.
    word: u64,
    next: u64,
    generation: u64,
    pub(crate) answer: Result<Allowed, Denied>,
}

impl Cells {
    /// What `decide` would say, with what it would write. Waits while the key is held.
    ///
    /// Written where it is to be: a look that is moved is read before it has reached memory.
    #[inline(always)]
    pub(crate) fn look<'a>(&'a self, tag: u64, cost: u64, now: Timestamp, look: &mut Look<'a>) {
        if self.look_at_once(tag, cost, now, look).is_none() {
            *look = self.look_in_turn(tag, cost, now);
        }
    }

    /// `look` as `decide_at_once` decides.
    #[inline(always)]
    fn look_at_once<'a>(
        &'a self,
        tag: u64,
        cost: u64,
        now: Timestamp,
        look: &mut Look<'a>,
    ) -> Option<()> {
        let cell = self.table.find(tag)?;
        let word = cell.load()?;
        let (generation, gcra, moment) = self.published.at_once(now)?;
        if !word::is_free_of(word, generation) {
            return None;
        }
        look.cell = Some(cell);
        look.seat = Seat::Own;
        look.word = word;
        look.generation = generation;
        match gcra.decide(word::decode(word, tag, generation), cost, moment) {
            Ok((next, allowed)) => {
                look.next = word::encode(next, tag, generation);
                look.answer = Ok(allowed);
            }
            Err(denied) => {
                look.next = word;
                look.answer = Err(denied);
            }
        }
        Some(())
    }

    #[inline(never)]
    fn look_in_turn(&self, tag: u64, cost: u64, now: Timestamp) -> Look<'_> {
        let mut backoff = Backoff::default();
        loop {
            match self.table.find(tag) {
                Some(cell) => match self.look_at(cell, Seat::Own, cost, now) {
                    Sight::Clear(look) => return look,
                    Sight::Held => backoff.wait(),
                    Sight::Beyond => self.move_axis(now),
                    Sight::Gone => {}
                },
                None => {
                    if let Some(look) = self.look_at_absent(tag, cost, now) {
                        return look;
                    }
                }
            }
        }
    }

    #[inline]
    fn look_at<'a>(&'a self, cell: Cell<'a>, seat: Seat, cost: u64, now: Timestamp) -> Sight<'a> {
        let Some(word) = cell.load() else { return Sight::Gone };
        if word::is_held(word) {
            return Sight::Held;
        }
        let numbers = self.published.load();
        // Moving the axis waits for holds, and the caller may hold: that is for the caller to do.
        if mutant("move_while_holding") {
            let _ = self.numbers_at(now);
        }
        let Some(moment) = numbers.moment(now) else { return Sight::Beyond };
        let Some(tat) = self.state(&cell, word, &numbers) else { return Sight::Gone };
        let decided = numbers.gcra.decide(tat, cost, moment);
        Sight::Clear(Look {
            cell: Some(cell),
            seat,
            word,
            next: decided
                .map_or(word, |(next, _)| word::encode(next, cell.tag, numbers.generation)),
            generation: numbers.generation,
            answer: decided.map(|(_, allowed)| allowed),
        })
    }

    fn look_at_absent(&self, tag: u64, cost: u64, now: Timestamp) -> Option<Look<'_>> {
        let (numbers, moment) = self.numbers_at(now);
        let forgotten = self.table.forgotten(tag);
        let tat = self.initial(tag, forgotten, &numbers, moment)?;
        let answer = numbers.gcra.decide(tat, cost, moment).map(|(_, allowed)| allowed);
        let pooled = answer.is_err_and(|denied: Denied| denied.retry != Retry::Never)
            && self.is_pooled(tag, now);
        let seat = if pooled { Seat::Pool } else { Seat::Own };
        Some(Look::nowhere(seat, forgotten, numbers.generation, answer))
    }

    /// Gives a key that was not there a slot, in the state of a key never seen, and looks at it.
    /// Not one that the same transaction gave to a key that is `taken`. `None`: look again.
    pub(crate) fn seat(
        &self,
        tag: u64,
        cost: u64,
        now: Timestamp,
        taken: impl Fn(u64) -> bool,
    ) -> Option<Look<'_>> {
        let (numbers, moment) = self.numbers_at(now);
        let tat = self.initial(tag, self.table.forgotten(tag), &numbers, moment)?;
        let (cell, seat) = match self.claim(tag, tat, tat, &numbers, moment, taken) {
            Claim::Made(cell) | Claim::Present(cell) => (cell, Seat::Own),
            Claim::Stale => return None,
            Claim::Full { until } => match self.overflow {
                Overflow::Pool => (self.pool_cell(tag)?, Seat::Pool),
                Overflow::Allow | Overflow::Deny => {
                    let answer = self.without_seat(cost, now, &Full { until });
                    let generation = numbers.generation;
                    return Some(Look::nowhere(Seat::Uncounted, 0, generation, answer));
                }
            },
        };
        match self.look_at(cell, seat, cost, now) {
            Sight::Clear(look) => Some(look),
            Sight::Held | Sight::Beyond | Sight::Gone => None,
        }
    }

    /// Counts the overflow if the decided key had no slot of its own.
    pub(crate) fn count_seat(&self, look: &Look<'_>) {
        if look.seat != Seat::Own {
            self.count_overflow();
        }
    }
}

enum Sight<'a> {
    Clear(Look<'a>),
    Held,
    /// Now lies beyond the axis.
    Beyond,
    Gone,
}

impl<'a> Look<'a> {
    /// At nothing.
    #[inline]
    pub(crate) fn blank() -> Self {
        Look::nowhere(Seat::Uncounted, 0, 0, Ok(Allowed::UNLIMITED))
    }

    fn nowhere(
        seat: Seat,
        forgotten: u64,
        generation: u64,
        answer: Result<Allowed, Denied>,
    ) -> Self {
        Look { cell: None, seat, word: forgotten, next: forgotten, generation, answer }
    }

    /// Whether the key must be given a slot before it can be held.
    pub(crate) fn needs_seat(&self) -> bool {
        self.cell.is_none() && self.seat == Seat::Own
    }

    /// Whether there is something to write.
    pub(crate) fn is_counted(&self) -> bool {
        self.seat != Seat::Uncounted
    }

    /// Whether both are one cell: keys of one limiter that share a cell of its pool.
    pub(crate) fn shares_cell_with(&self, other: &Look<'_>) -> bool {
        match (self.cell, other.cell) {
            (Some(a), Some(b)) => a.tag == b.tag && std::ptr::eq(a.word, b.word),
            _ => false,
        }
    }

    /// The same answer with nothing to write: another entry charges for it.
    pub(crate) fn as_passenger(self) -> Self {
        Look { cell: None, seat: Seat::Uncounted, ..self }
    }

    /// Whether the answer is still the one that would be given.
    #[inline]
    pub(crate) fn stands(&self, cells: &Cells, tag: u64) -> bool {
        if mutant("answer_unconfirmed") {
            return true;
        }
        match self.cell {
            Some(cell) => cell.is_still(self.word),
            // A change of quota rewrites words, and here is none.
            None if !self.is_current(cells) => false,
            None => self.seat == Seat::Uncounted || cells.table.is_absent(tag, self.word),
        }
    }

    /// Whether the quota that it was decided under is still in force.
    #[inline]
    pub(crate) fn is_current(&self, cells: &Cells) -> bool {
        mutant("mixed_quotas") || cells.published.is_current(self.generation)
    }

    /// Writes the charge, if there is one and nothing came between.
    #[inline]
    pub(crate) fn commit(&self, cells: &Cells, tag: u64) -> bool {
        match self.cell {
            Some(cell) if self.next != self.word => cell.replace(self.word, self.next),
            _ => self.stands(cells, tag),
        }
    }

    /// Holds the key, if nothing came between. Then `release` must follow.
    #[inline]
    pub(crate) fn hold(&self) -> bool {
        let Some(cell) = self.cell else { return false };
        // Nothing is published: the commit that follows is a release.
        let held = cell.replace(self.word, word::held(self.word));
        if held && mutant("release_early") {
            cell.word.store(self.word, Ordering::Release);
        }
        held
    }

    /// Lets go of a key that is held: as it was, or charged.
    #[inline]
    pub(crate) fn release(&self, charged: bool) {
        if let Some(cell) = self.cell {
            // Release: whoever reads this word sees the commit that it belongs to.
            cell.word.store(if charged { self.next } else { self.word }, Ordering::Release);
        }
    }

    /// Looks again, without waiting. `None` if the key is held or gone.
    pub(crate) fn again(&self, cells: &'a Cells, cost: u64, now: Timestamp) -> Option<Look<'a>> {
        match cells.look_at(self.cell?, self.seat, cost, now) {
            Sight::Clear(look) => Some(look),
            Sight::Held | Sight::Beyond | Sight::Gone => None,
        }
    }

    pub(crate) fn charge(&self, tag: u64, cost: u64, at: Timestamp) -> Charge {
        Charge { tag, cost, at, seat: self.seat, generation: self.generation }
    }
}

#[cfg(test)]
mod tests {
    use super::table::touches;
    use super::*;

    /// A tag as a good hasher would make it.
    fn tag(key: u64) -> u64 {
        let z = key.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        (z ^ (z >> 32)).max(1)
    }

    /// The most slots that one call touched: while the table filled and a flood went by, and of
    /// calls for the keys that came first.
    fn most_touched(max_keys: u64) -> (usize, usize) {
        let cells = Cells::new(Quota::per_hour(1), max_keys as usize, Overflow::Pool);
        let touched = |key| {
            touches::take();
            let _ = cells.decide(tag(key), 1, Timestamp::from_secs(1));
            touches::take()
        };
        let flood = (0..).take_while(|_| cells.overflows() < 5_000);
        let any = flood.map(touched).max().unwrap_or(0);
        (any, (0..max_keys).map(touched).max().unwrap_or(0))
    }

    #[test]
    fn no_call_touches_more_than_a_fixed_number_of_slots() {
        // Growing, a call may look through a group of up to 255 lines of 4 slots twice and split
        // it; whatever the size of the table.
        let sizes = [1, 10, 100, 1_000, 10_000, 100_000];
        let large = if cfg!(debug_assertions) { 1 << 17 } else { 1 << 20 };
        for keys in sizes.into_iter().chain([large]) {
            let (any, known) = most_touched(keys);
            println!("{keys} keys: at most {any} slots a call, {known} for a known key");
            assert!(any <= 3_072 && known <= 1_020, "{keys} keys: {any}, {known}");
        }
    }
}
