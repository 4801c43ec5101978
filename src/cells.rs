//! The cells of one limiter: one word for each key, decided without a lock.
//!
//! Modules, lowest layer first: `word` packs a key's state; `parameters` says what its ticks mean;
//! `published` and `sequence` are where decisions read the parameters, and `moment` places a stamp
//! among them; `table` finds and claims slots; `queued` counts the units that waiters ask for;
//! `pending` is what a decision writes; `sight` is the fast path. This file runs every call as one
//! [`Step`] from a state to the next and retries until no other write came between. `claim` does so
//! for a key without a slot, and `newcomer` is the fast path of these keys. On top are `pool` (keys
//! without room), `apart` (keys charged far ahead of the clock), `change` (of the quota), `take`
//! and `settle` (charges that are corrected later) and `snapshot` (a key in a transaction).
//!
//! # What is remembered
//!
//! Keys are not kept: a key *is* its 64-bit hash. Two of n live keys share one with a chance of
//! n^2 / 2^65, about 3 * 10^-8 for a million. An idle key is forgotten when its slot is needed.
//! Each group remembers the latest stamp at which a forgotten key was full again, and an unknown
//! key starts from there, so forgetting is invisible even to an earlier stamp.

mod apart;
mod change;
mod claim;
mod moment;
mod newcomer;
mod parameters;
mod pending;
mod pool;
mod published;
mod queued;
mod sequence;
mod settle;
mod sight;
mod snapshot;
mod table;
mod take;
mod word;

use crate::algorithm::{Bucket, Moment, Refill};
use crate::decision::{Allowed, Denied};
use crate::quota::Quota;
use crate::sync::{AtomicU64, Backoff, Mutex, OnceLock, Ordering};
use crate::time::Timestamp;

use change::Changes;
use parameters::Parameters;
use pool::{Full, PoolCell};
use published::{Published, read_word};
use table::{Cell, Table};
use word::MAX_TICK;

pub(crate) use newcomer::Newcomer;
pub(crate) use parameters::HORIZON;
pub(crate) use pending::FastPending;
pub use pool::Overflow;
pub(crate) use queued::Queued;
pub(crate) use settle::Charge;
pub(crate) use sight::Sight;
pub(crate) use snapshot::WordSnapshot;
pub(crate) use take::{Ask, Taken};

pub(crate) struct Cells {
    published: Published,
    table: Table,
    queued: Queued,
    overflow: Overflow,
    pool: OnceLock<Box<[PoolCell]>>,
    overflows: AtomicU64,
    /// Held while the quota changes, so that changes are serialized.
    changes: Mutex<Changes>,
}

/// What a call makes of a state.
enum Step<R> {
    /// Nothing is written.
    Stay(R),
    /// The state becomes this tick.
    Move(u64, R),
}

/// Where a key is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChargedTo {
    Own,
    Pool,
    Uncounted,
}

impl Cells {
    pub(crate) fn new(quota: Quota, refill: Refill, max_keys: usize, overflow: Overflow) -> Cells {
        Cells::under(&Parameters::unset(0, quota, refill), max_keys, overflow)
    }

    fn under(params: &Parameters, max_keys: usize, overflow: Overflow) -> Cells {
        Cells {
            published: Published::new(params),
            table: Table::new(max_keys),
            queued: Queued::default(),
            overflow,
            pool: OnceLock::new(),
            overflows: AtomicU64::new(0),
            changes: Mutex::new(Changes::since(params.generation)),
        }
    }

    /// Decides `cost` for the key and charges it if allowed. Returns `None`, which leaves it to
    /// [`decide`](Self::decide), if the key has no slot, callers wait in line, another write came
    /// between, or the cost is 0.
    #[inline(always)]
    pub(crate) fn decide_fast(
        &self,
        tag: u64,
        cost: u64,
        now: Timestamp,
    ) -> Option<Result<Allowed, Denied>> {
        self.sight::<false>(tag, now)?.decide(cost)
    }

    /// Decides `cost` for the key and charges it if allowed. A cost of 0 is a peek.
    #[inline(never)]
    pub(crate) fn decide(&self, tag: u64, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        if let Some(answer) = self.decide_absent(tag, cost, now) {
            return answer;
        }
        let taken = self.take(tag, self.queued.ahead(tag), Ask::all(cost), now);
        taken.map(|taken| taken.allowed)
    }

    /// What `check` of `cost` would answer, charging nothing. `None`: the fast path cannot say.
    #[inline]
    pub(crate) fn peek_fast(
        &self,
        tag: u64,
        cost: u64,
        now: Timestamp,
    ) -> Option<Result<Allowed, Denied>> {
        self.sight::<false>(tag, now)?.peek(cost)
    }

    /// What `check` of `cost` would answer once `ahead` units were charged for others.
    pub(crate) fn peek_behind(
        &self,
        tag: u64,
        ahead: u64,
        cost: u64,
        now: Timestamp,
    ) -> Result<Allowed, Denied> {
        let step = |tat, params: &Parameters, moment| {
            let decided = params.bucket.decide_behind(tat, ahead, cost, moment);
            Step::Stay(decided.map(|(_, allowed)| allowed))
        };
        match self.run(ChargedTo::Own, tag, now, step) {
            Ok(answer) => answer,
            Err(full) => self.not_inserted(cost, now, &full),
        }
    }

    /// Sets how many units callers wait for in the key's line. Other callers come after them.
    pub(crate) fn set_queued(&self, tag: u64, units: u64) {
        self.queued.set(tag, units, |any| self.published.set_queued(any));
    }

    pub(crate) fn queued(&self) -> &Queued {
        &self.queued
    }

    /// Makes the key as if never seen. Returns whether it had left the table.
    pub(crate) fn reset(&self, tag: u64, now: Timestamp) -> bool {
        let clear = |tat, _: &Parameters, _| match tat {
            0 => Step::Stay(false),
            _ => Step::Move(0, tat > MAX_TICK),
        };
        // A key without a slot in a full table has nothing to clear.
        self.run(ChargedTo::Own, tag, now, clear).unwrap_or(false)
    }

    /// Makes every key as if never seen. Returns how many had left the table.
    pub(crate) fn reset_all(&self, now: Timestamp) -> u64 {
        let mut left = 0;
        self.for_each(now, |cell, word, params, _| {
            let tick = read_word(&self.published, params, word, cell.tag);
            let is_reset = cell.replace(word, word::encode(0, cell.tag, params.generation));
            left += u64::from(is_reset && tick.is_some_and(|tick| tick > MAX_TICK));
            is_reset
        });
        for index in 0..self.pool.get().map_or(0, |pool| pool.len()) {
            let _ = self.run(ChargedTo::Pool, index as u64, now, |_, _, _| Step::Move(0, ()));
        }
        left
    }

    /// How many keys are in debt at `now`, keys that left the table included. Visits every slot.
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
        // Relaxed: only a counter; it orders nothing.
        self.overflows.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn touch(&self, tag: u64) -> u64 {
        self.table.touch(tag)
    }

    /// The parameters in force, and `now` on their axis.
    #[inline]
    fn numbers_at(&self, now: Timestamp) -> (Parameters, Moment) {
        let params = self.published.load();
        let moment = params.moment(now);
        (params, moment)
    }

    /// The cell of a key that is counted at `charged_to`, and its word. Creates the pool if needed.
    #[inline]
    fn find(&self, charged_to: ChargedTo, tag: u64) -> Option<(Cell<'_>, u64)> {
        match charged_to {
            ChargedTo::Own => self.table.find(tag, word::spread(tag)),
            ChargedTo::Pool | ChargedTo::Uncounted => {
                let cell = self.pool_cell(tag)?;
                Some((cell, cell.load()?))
            }
        }
    }

    /// Runs `step` on the key's state until no other write came between.
    ///
    /// The parameters are read after the word: a change in between makes the word another.
    #[inline]
    fn run<R>(
        &self,
        charged_to: ChargedTo,
        tag: u64,
        now: Timestamp,
        step: impl Fn(u64, &Parameters, Moment) -> Step<R>,
    ) -> Result<R, Full> {
        let backoff = Backoff::default();
        loop {
            let Some((cell, word)) = self.find(charged_to, tag) else {
                match self.run_new(tag, now, &step) {
                    Some(result) => return result,
                    None => continue,
                }
            };
            if word::is_held(word) {
                backoff.snooze();
                continue;
            }
            let (params, moment) = self.numbers_at(now);
            let Some(tat) = self.state(&cell, word, &params) else { continue };
            match step(tat, &params, moment) {
                Step::Stay(result) => {
                    if cell.is_still(word) {
                        return Ok(result);
                    }
                }
                Step::Move(next, result) => {
                    let next = word::encode(next, cell.tag, params.generation);
                    if cell.replace(word, next) {
                        return Ok(result);
                    }
                }
            }
        }
    }

    /// Shows `visit` each used slot and whether it is idle at `now`, again until `visit` returns
    /// `true`.
    fn for_each(
        &self,
        now: Timestamp,
        mut visit: impl FnMut(&Cell<'_>, u64, &Parameters, bool) -> bool,
    ) {
        self.table.for_each(|cell| {
            let backoff = Backoff::default();
            loop {
                let Some(word) = cell.load() else { return };
                let params = self.published.load();
                let state = (!word::is_held(word))
                    .then(|| read_word(&self.published, &params, word, cell.tag))
                    .flatten();
                if let Some(tick) = state {
                    let idle = Bucket::is_idle(tick, params.moment(now));
                    if visit(&cell, word, &params, idle) {
                        return;
                    }
                }
                backoff.snooze();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::table::touches;
    use super::*;

    /// A key hash as a good hasher would make it.
    fn tag(key: u64) -> u64 {
        let z = key.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        (z ^ (z >> 32)).max(1)
    }

    fn cells(quota: Quota, max_keys: usize, overflow: Overflow) -> Cells {
        let cells = Cells::new(quota, Refill::Steady, max_keys, overflow);
        cells.reach(Timestamp::ZERO, Timestamp::ZERO);
        cells
    }

    /// The most slots that one call touched: of all calls while the table filled and a flood went
    /// by, and of later calls for the first keys.
    fn most_touched(max_keys: u64) -> (usize, usize) {
        let cells = cells(Quota::per_hour(1), max_keys as usize, Overflow::Pool);
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
        // Each pass visits a group, at most 255 lines of 4 slots whatever the size of the table. A
        // call makes two passes without the lock and one with it, splits the group if it can grow,
        // and takes a free slot.
        const GROUP: usize = 255 * 4;
        let sizes = [1, 10, 100, 1_000, 10_000, 100_000];
        let large = if cfg!(debug_assertions) { 1 << 17 } else { 1 << 20 };
        for keys in sizes.into_iter().chain([large]) {
            let (any, known) = most_touched(keys);
            println!("{keys} keys: at most {any} slots a call, {known} for a known key");
            assert!(any <= 5 * GROUP && known <= GROUP, "{keys} keys: {any}, {known}");
        }
    }

    fn decide(cells: &Cells, key: u64, now: u64) -> bool {
        let (tag, now) = (tag(key), Timestamp::from_nanos(now));
        let decided = cells.decide_fast(tag, 1, now);
        decided.unwrap_or_else(|| cells.decide(tag, 1, now)).is_ok()
    }

    #[test]
    fn a_key_that_stands_in_its_slot_takes_no_lock_also_after_it_was_idle() {
        let quota = Quota::per_second(1_000_000);
        let cells = cells(quota, 1 << 20, Overflow::Pool);
        let visit = |round: u64, key: u64| decide(&cells, key, round * 1_000_000_000 + key);
        // The first round claims slots; the second moves some to groups born meanwhile.
        assert!((1..3).all(|round| (0..10_000).all(|key| visit(round, key))));
        touches::take_locks();
        for round in 3..6 {
            assert!((0..10_000).all(|key| visit(round, key)));
        }
        assert_eq!(touches::take_locks(), 0, "every key was full again at its visit");
        // The counter itself works.
        assert!(visit(7, 10_001));
        assert_eq!(touches::take_locks(), 1, "a newcomer takes one lock");
    }

    #[test]
    fn keys_of_a_crowded_line_do_not_forget_each_other_in_turn() {
        // A table of its full size, two thirds full: one key in eight is outside its home line.
        let quota = Quota::per_second(1_000_000);
        let cells = cells(quota, 1_000, Overflow::Pool);
        let visit = |round: u64, key| decide(&cells, key, round * 1_000_000_000 + key * 10_000);
        assert!((1..4).all(|round| (0..1_000).all(|key| visit(round, key))));
        touches::take_locks();
        assert!((0..1_000).all(|key| visit(4, key)));
        let locks = touches::take_locks();
        assert!(locks <= 10, "{locks} of 1,000 keys had lost their slots");
    }

    #[test]
    fn keys_of_a_table_that_was_crowded_once_are_not_looked_for_farther_than_they_stand() {
        // A table of its full size, of 1,470 slots.
        let quota = Quota::per_second(1_000_000);
        let cells = cells(quota, 1_000, Overflow::Deny);
        let touched = |key: u64, now| {
            touches::take();
            assert!(decide(&cells, key, now));
            touches::take()
        };
        // All keys are in debt at the same time.
        let crowded = (0..1_300).map(|key| touched(key, 1)).max();
        // Each key is idle again before the next comes.
        let touched: Vec<usize> = (0..60_000).map(|key| touched(key, key * 10_000)).collect();
        let later = touched[50_000..].iter().max();
        println!("at most {crowded:?} slots a call while crowded, {later:?} later");
        assert!(crowded > Some(20 * 4) && later < Some(&(8 * 4)), "{crowded:?}, {later:?}");
    }

    #[test]
    fn a_scan_of_keys_that_come_once_costs_the_bound_and_no_more() {
        let quota = Quota::per_second(1_000_000);
        let cells = cells(quota, 1 << 24, Overflow::Deny);
        let keys = if cfg!(debug_assertions) { 1_000_000 } else { 10_000_000 };
        // Each key is idle again before the next comes.
        assert!((0..keys).all(|key| decide(&cells, key, (1 + key) * 10_000)));
        let memory = cells.memory();
        // The lines, and what is kept for the groups and the segments.
        assert!(memory <= table::CACHED_BYTES + table::CACHED_BYTES / 8, "{memory} bytes");
        assert!(
            memory >= table::CACHED_BYTES / 4,
            "{memory} bytes: the scan did not fill the table"
        );
    }
}
