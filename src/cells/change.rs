//! Changing the quota, or moving the axis, of a table in use: publishes the parameters, then
//! rewrites every word. What the parameters are, and how a word is converted, is in `parameters`.

use std::collections::VecDeque;

use crate::quota::Quota;
use crate::sync::Backoff;
use crate::time::Timestamp;

use super::parameters::{HORIZON, Parameters};
use super::published::read_word;
use super::table::Cell;
use super::{Cells, word};

/// How many changes of quota a reservation can look back on. Beyond that, nothing is given back.
const REMEMBERED_CHANGES: usize = 16;

pub(super) struct Changes {
    /// The generation in which the present quota came into force.
    began: u64,
    /// The quotas before it and the generation in which each began, the latest last.
    past: VecDeque<(u64, Quota)>,
}

impl Changes {
    /// The changes of a table whose quota comes into force in this generation.
    pub(super) fn since(began: u64) -> Changes {
        Changes { began, past: VecDeque::new() }
    }

    /// The fastest quota in force since `generation`, with `present` as the latest. `None` if that
    /// is more changes ago than are remembered.
    pub(super) fn fastest_since(&self, generation: u64, present: Quota) -> Option<Quota> {
        let mut fastest = present;
        if generation < self.began {
            let from = self.past.iter().rposition(|(began, _)| *began <= generation)?;
            for (_, quota) in self.past.iter().skip(from) {
                let (a, b) = (u128::from(quota.count()), u128::from(fastest.count()));
                if a * fastest.period().as_nanos() > b * quota.period().as_nanos() {
                    fastest = *quota;
                }
            }
        }
        Some(fastest)
    }
}

impl Cells {
    /// The quota in force. Takes no lock.
    pub(crate) fn quota(&self) -> Quota {
        self.published.load().quota
    }

    /// Puts another quota in force at `now`. Debt is kept in units. Waits for holds.
    pub(crate) fn set_quota(&self, quota: Quota, now: Timestamp) {
        let mut changes = self.changes.lock();
        let before = self.published.load();
        self.change(&mut changes, &before, &before.changed(quota, now));
    }

    /// Whether the axis reaches to `now`. Always `false` at the end of time.
    #[inline]
    pub(crate) fn reaches(&self, now: Timestamp) -> bool {
        self.published.reaches(now)
    }

    /// Moves the axis to `now` if the clock, which shows `latest`, has reached `now`. The first
    /// stamp places the axis; if that stamp lies beyond the clock's horizon, the clock places it. A
    /// clock at 0 is ignored, since all stamps then come from the caller. Returns whether the axis
    /// now reaches to `now`, or lies after it.
    ///
    /// Waits for holds.
    #[cold]
    pub(crate) fn reach(&self, now: Timestamp, latest: Timestamp) -> bool {
        let to = |params: &Parameters| match params.is_unset() {
            true if latest > Timestamp::ZERO && now > latest + HORIZON => Some(latest),
            true => Some(now),
            false => (now <= latest && params.is_beyond(now)).then_some(now),
        };
        if to(&self.published.load()).is_some() {
            let mut changes = self.changes.lock();
            let before = self.published.load();
            if let Some(to) = to(&before) {
                self.change(&mut changes, &before, &before.moved(to));
            }
        }
        !self.published.load().is_beyond(now)
    }

    /// Runs `make` under the lock that keeps the quota from changing.
    pub(crate) fn unchanged<R>(&self, make: impl FnOnce() -> R) -> R {
        let _changes = self.changes.lock();
        make()
    }

    /// Publishes `params` and converts every word to them.
    fn change(&self, changes: &mut Changes, before: &Parameters, params: &Parameters) {
        if params.quota != before.quota {
            if changes.past.len() == REMEMBERED_CHANGES {
                changes.past.pop_front();
            }
            changes.past.push_back((changes.began, before.quota));
            changes.began = params.generation;
        }
        self.published.publish(params);
        self.table.for_each(|cell| self.follow(&cell, params));
        for index in 0..self.pool.get().map_or(0, |pool| pool.len()) {
            if let Some(cell) = self.pool_cell(index as u64) {
                self.follow(&cell, params);
            }
        }
    }

    /// Converts the cell's word to `params`.
    fn follow(&self, cell: &Cell<'_>, params: &Parameters) {
        let backoff = Backoff::default();
        while let Some(word) = cell.load() {
            if word::is_held(word) {
                backoff.snooze();
                continue;
            }
            if word::is_of(word, params.generation) || self.renew(cell, word, params) {
                return;
            }
        }
    }

    /// The state in `word`. `None`: try again. A word of the previous parameters is converted
    /// first: otherwise a charge decided under those could land on it after an answer under
    /// `params`.
    #[inline]
    pub(super) fn state(&self, cell: &Cell<'_>, word: u64, params: &Parameters) -> Option<u64> {
        if word::is_of(word, params.generation) {
            return Some(word::decode(word, cell.tag, params.generation));
        }
        self.renew(cell, word, params);
        None
    }

    /// Converts a word of the previous parameters, unless another write came between.
    #[cold]
    fn renew(&self, cell: &Cell<'_>, word: u64, params: &Parameters) -> bool {
        let Some(tick) = read_word(&self.published, params, word, cell.tag) else { return false };
        cell.replace(word, word::encode(tick, cell.tag, params.generation))
    }
}
