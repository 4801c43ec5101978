//! A key in a transaction: decided first, then held or charged if no other write came between. The
//! transaction itself is in `transaction.rs`; the fast path of several keys uses `sight` instead.

use crate::decision::{Allowed, Denied, Retry};
use crate::sync::Backoff;
use crate::time::Timestamp;

use super::pending::Pending;
use super::pool::{Full, Overflow};
use super::settle::Charge;
use super::table::{Cell, ClaimedSlot};
use super::{Cells, ChargedTo, word};

/// One key in a transaction: the answer, and what to write if all participants agree.
#[derive(Clone, Copy)]
pub(crate) struct WordSnapshot<'a> {
    pub(crate) cells: &'a Cells,
    pub(crate) tag: u64,
    charged_to: ChargedTo,
    found: Basis<'a>,
    /// The generation of the quota it was decided under.
    generation: u64,
    /// The cost it also charges for other keys that share its pool cell.
    merged_cost: u64,
    pub(crate) answer: Result<Allowed, Denied>,
}

/// What a decision is based on.
#[derive(Clone, Copy)]
enum Basis<'a> {
    /// A word, and the word after the charge.
    Word(Pending<'a>),
    /// No word: the `forgotten` stamp of the key's group.
    Nothing(u64),
    /// Nothing to validate or write: the charge is part of another snapshot, or the key is not
    /// counted.
    Passenger,
}

impl Cells {
    /// What `decide` would answer, and what it would write. Waits while the key is held. `ahead`:
    /// units that callers ahead of this one wait for.
    #[inline(never)]
    pub(crate) fn look(&self, tag: u64, ahead: u64, cost: u64, now: Timestamp) -> WordSnapshot<'_> {
        let backoff = Backoff::default();
        loop {
            match self.table.find(tag, word::spread(tag)) {
                Some((_, word)) if word::is_held(word) => backoff.snooze(),
                Some((cell, word)) => {
                    if let Some(found) = self.look_at(tag, cell, word, ahead, cost, now) {
                        return found;
                    }
                }
                None => {
                    if let Some(look) = self.look_at_absent(tag, ahead, cost, now) {
                        return look;
                    }
                }
            }
        }
    }

    /// `None`: the word has changed.
    #[inline]
    fn look_at<'a>(
        &'a self,
        tag: u64,
        cell: Cell<'a>,
        word: u64,
        ahead: u64,
        cost: u64,
        now: Timestamp,
    ) -> Option<WordSnapshot<'a>> {
        let (params, moment) = self.numbers_at(now);
        let tat = self.state(&cell, word, &params)?;
        let decided = params.bucket.decide_behind(tat, ahead, cost, moment);
        let generation = params.generation;
        let charged = decided.map_or(word, |(next, _)| word::encode(next, cell.tag, generation));
        Some(WordSnapshot {
            found: Basis::Word(Pending::new(cell, word, charged)),
            ..self.looked(tag, ChargedTo::Own, generation, decided.map(|(_, allowed)| allowed))
        })
    }

    fn look_at_absent(
        &self,
        tag: u64,
        ahead: u64,
        cost: u64,
        now: Timestamp,
    ) -> Option<WordSnapshot<'_>> {
        let (params, moment) = self.numbers_at(now);
        let forgotten = self.table.forgotten(tag);
        let tat = self.initial(tag, forgotten, &params, moment)?;
        let decided = params.bucket.decide_behind(tat, ahead, cost, moment);
        let answer = decided.map(|(_, allowed)| allowed);
        let pooled = answer.is_err_and(|denied: Denied| denied.retry != Retry::Never)
            && self.is_pooled(tag, now);
        let charged_to = if pooled { ChargedTo::Pool } else { ChargedTo::Own };
        let look = self.looked(tag, charged_to, params.generation, answer);
        Some(WordSnapshot { found: Basis::Nothing(forgotten), ..look })
    }

    /// A snapshot without a basis.
    fn looked(
        &self,
        tag: u64,
        charged_to: ChargedTo,
        generation: u64,
        answer: Result<Allowed, Denied>,
    ) -> WordSnapshot<'_> {
        WordSnapshot {
            cells: self,
            tag,
            charged_to,
            found: Basis::Passenger,
            generation,
            merged_cost: 0,
            answer,
        }
    }
}

impl<'a> WordSnapshot<'a> {
    /// Inserts the absent key uncharged, in the pool if the table is full, and takes a new
    /// snapshot. Does not use the slot of a key that is `taken` by the same transaction. `None`:
    /// take a snapshot again.
    pub(crate) fn insert_new(
        &self,
        cost: u64,
        now: Timestamp,
        taken: impl Fn(u64) -> bool,
    ) -> Option<WordSnapshot<'a>> {
        let (cells, tag) = (self.cells, self.tag);
        let (params, moment) = cells.numbers_at(now);
        let (cell, charged_to) = match cells.claim(tag, &params, moment, taken, Some) {
            ClaimedSlot::Made(cell) | ClaimedSlot::Present(cell) => (cell, ChargedTo::Own),
            ClaimedSlot::None | ClaimedSlot::Stale => return None,
            ClaimedSlot::Full { until } => match cells.overflow {
                Overflow::Pool => (cells.pool_cell(tag)?, ChargedTo::Pool),
                Overflow::Allow | Overflow::Deny => {
                    let answer = cells.not_inserted(cost, now, &Full { until });
                    return Some(cells.looked(
                        tag,
                        ChargedTo::Uncounted,
                        params.generation,
                        answer,
                    ));
                }
            },
        };
        WordSnapshot { charged_to, ..*self }.at(cell, cost, now)
    }

    /// Takes a snapshot of `cell` without waiting. `None`: the key is held or has no slot any more.
    fn at(&self, cell: Cell<'a>, cost: u64, now: Timestamp) -> Option<WordSnapshot<'a>> {
        let word = cell.load().filter(|word| !word::is_held(*word))?;
        let look = self.cells.look_at(self.tag, cell, word, 0, cost, now)?;
        Some(WordSnapshot { charged_to: self.charged_to, merged_cost: self.merged_cost, ..look })
    }

    /// Takes the snapshot again, without waiting. `None`: the key is held or has no slot any more.
    pub(crate) fn again(&self, cost: u64, now: Timestamp) -> Option<WordSnapshot<'a>> {
        let Basis::Word(pending) = &self.found else { return None };
        self.at(pending.cell(), cost.saturating_add(self.merged_cost), now)
    }

    /// Charges `more` as well, for another key. Returns whether a new snapshot could be taken.
    pub(crate) fn merge_cost(&mut self, more: u64, cost: u64, now: Timestamp) -> bool {
        self.merged_cost = self.merged_cost.saturating_add(more);
        self.again(cost, now).map(|again| *self = again).is_some()
    }

    /// Leaves the charge to the snapshot of another key.
    pub(crate) fn share(&mut self) {
        (self.found, self.charged_to) = (Basis::Passenger, ChargedTo::Uncounted);
    }

    /// Equal for two snapshots of the same state under the same quota.
    pub(crate) fn state(&self) -> [u64; 3] {
        let (kind, on) = match &self.found {
            Basis::Word(pending) => (0, pending.word()),
            Basis::Nothing(forgotten) => (1, *forgotten),
            Basis::Passenger => (2, 0),
        };
        [kind, on, self.generation]
    }

    /// Whether the key must be given a slot before it can be held.
    pub(crate) fn needs_insert(&self) -> bool {
        self.is_absent() && self.charged_to == ChargedTo::Own
    }

    /// Whether the key has no slot.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self.found, Basis::Nothing(_))
    }

    /// Whether there is something to write.
    pub(crate) fn is_counted(&self) -> bool {
        self.charged_to != ChargedTo::Uncounted
    }

    /// Whether both keys share one cell of their limiter's pool.
    pub(crate) fn shares_cell_with(&self, other: &WordSnapshot<'_>) -> bool {
        match (&self.found, &other.found) {
            (Basis::Word(a), Basis::Word(b)) => a.cell().is_same(&b.cell()),
            _ => false,
        }
    }

    /// Whether the answer is still what would be answered now.
    #[inline]
    pub(crate) fn is_valid(&self) -> bool {
        match &self.found {
            // A change of quota converts words one by one, after it is published: an unchanged word
            // may be of the previous quota, while another key of the limiter was decided under the
            // new one.
            _ if !self.is_current() => false,
            Basis::Word(pending) => pending.is_valid(),
            // Valid if the key is still absent and its group has forgotten nothing later.
            Basis::Nothing(forgotten) => self.cells.table.absent(self.tag) == Some(*forgotten),
            Basis::Passenger => true,
        }
    }

    /// Whether the quota it was decided under is still in force.
    #[inline]
    pub(crate) fn is_current(&self) -> bool {
        self.cells.published.is_current(self.generation)
    }

    /// Writes the charge, if there is one and no other write came between.
    #[inline]
    pub(crate) fn commit(&self) -> bool {
        match &self.found {
            Basis::Word(pending) if pending.is_changed() => pending.write(),
            _ => self.is_valid(),
        }
    }

    /// Holds the key, if no other write came between. If this returns `true`, `release` must
    /// follow.
    #[inline]
    pub(crate) fn hold(&self) -> bool {
        matches!(&self.found, Basis::Word(pending) if pending.take())
    }

    /// Releases a held key: charged, or as it was.
    #[inline]
    pub(crate) fn release(&self, is_charged: bool) {
        if let Basis::Word(pending) = &self.found {
            pending.release(is_charged);
        }
    }

    /// The charge, if it is for this key alone.
    pub(crate) fn charge(&self, cost: u64, at: Timestamp) -> Option<Charge> {
        let WordSnapshot { tag, charged_to, generation, .. } = *self;
        (self.merged_cost == 0).then_some(Charge { tag, cost, at, charged_to, generation })
    }

    /// Counts an overflow if the key is not counted in a slot of its own.
    pub(crate) fn count_insert(&self) {
        if self.charged_to != ChargedTo::Own {
            self.cells.count_overflow();
        }
    }
}
