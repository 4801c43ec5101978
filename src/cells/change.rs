//! Changing the quota, and the axis, of a table in use.

use std::collections::VecDeque;

use crate::quota::Quota;
use crate::sync::{Backoff, mutant};
use crate::time::Timestamp;

use super::parameters::{HORIZON, Parameters};
use super::published::read_word;
use super::table::Cell;
use super::{Cells, word};

/// Changes of quota that a reservation can look back on. Over an older one nothing is given back.
const REMEMBERED_CHANGES: usize = 16;

pub(super) struct Changes {
    /// The generation in which the present quota came into force.
    began: u64,
    /// The quotas before it and when each began, the latest last.
    past: VecDeque<(u64, Quota)>,
}

impl Changes {
    /// Of a quota that comes into force in this generation.
    pub(super) fn since(began: u64) -> Changes {
        Changes { began, past: VecDeque::new() }
    }

    /// The fastest quota in force since `generation`, `present` being the latest; `None` if that is
    /// too many changes ago.
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

    /// Puts another quota in force at `now`. Debt is kept in units.
    pub(crate) fn set_quota(&self, quota: Quota, now: Timestamp) {
        let mut changes = self.changes.lock();
        let before = self.published.load();
        self.change(&mut changes, &before, &before.changed(quota, now));
    }

    /// Whether the axis reaches to `now`. `false` also at the end of time.
    #[inline]
    pub(crate) fn reaches(&self, now: Timestamp) -> bool {
        self.published.reaches(now)
    }

    /// Moves the axis to `now` if the clock, which shows `latest`, has got there. The first stamp gives
    /// it its place, or the clock if that stamp lies beyond the clock's horizon; but a clock at 0 says
    /// nothing, since all stamps are then the caller's own. Whether the axis does not end before `now`.
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

    /// Runs `make` while the quota does not change.
    pub(crate) fn unchanged<R>(&self, make: impl FnOnce() -> R) -> R {
        let _changes = self.changes.lock();
        make()
    }

    /// Publishes `params` and makes every word follow.
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

    /// Writes the cell's word anew under `params`.
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

    /// The state that `word` says. `None`: ask again. A word of the numbers before is written anew
    /// first, since a charge decided under those could land on it after an answer under these.
    #[inline]
    pub(super) fn state(&self, cell: &Cell<'_>, word: u64, params: &Parameters) -> Option<u64> {
        if word::is_of(word, params.generation) {
            return Some(word::decode(word, cell.tag, params.generation));
        }
        if mutant("answer_from_old") {
            return read_word(&self.published, params, word, cell.tag);
        }
        self.renew(cell, word, params);
        None
    }

    /// Writes a word of the numbers before as these say it, if nothing came between.
    #[cold]
    fn renew(&self, cell: &Cell<'_>, word: u64, params: &Parameters) -> bool {
        let Some(tick) = read_word(&self.published, params, word, cell.tag) else { return false };
        cell.replace(word, word::encode(tick, cell.tag, params.generation))
    }
}
