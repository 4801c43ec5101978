//! A shard as decisions see it, whatever the algorithm: looked at, then charged under one lock.

use crate::algorithm::Algorithm;
use crate::cells::{Charge, ChargedTo, Overflow};
use crate::decision::{Allowed, Denied, Retry, Standing};
use crate::time::Timestamp;

use super::Recorded;
use super::answer::{behind, later};
use super::shard::{RecordPlace, RecordShard};

/// What a key would get, and where it would be counted.
#[derive(Clone, Copy)]
pub(crate) struct RecordSnapshot {
    pub(super) place: RecordPlace,
    /// Whether there is something to write.
    pub(crate) is_counted: bool,
    /// Whether there was no room for the key.
    is_overflow: bool,
    /// When it would be charged, and how many changes of quota there were before.
    at: Timestamp,
    generation: u64,
    pub(crate) answer: Result<Allowed, Denied>,
}

/// A shard that is locked.
pub(crate) trait Locked {
    /// What the key would get for `cost` after `ahead` units were had by others: `at` that place, or
    /// where its record is.
    fn look(
        &mut self,
        tag: u64,
        at: Option<RecordPlace>,
        ahead: u64,
        cost: u64,
        now: Timestamp,
    ) -> RecordSnapshot;
    /// Gives a key that was not there a record, as if never seen, and looks at it. Not that of a
    /// key that is `taken` by the same transaction, and idle as yet. `elsewhere`: asks other shards
    /// for room.
    fn insert_new(
        &mut self,
        tag: u64,
        cost: u64,
        now: Timestamp,
        elsewhere: &dyn Fn() -> bool,
        taken: &dyn Fn(u64) -> bool,
    ) -> RecordSnapshot;
    /// Charges what was allowed, or denied if the algorithm counts that.
    fn charge(
        &mut self,
        tag: u64,
        look: &RecordSnapshot,
        cost: u64,
        now: Timestamp,
        elsewhere: &dyn Fn() -> bool,
    );
}

impl<A: Algorithm> Locked for RecordShard<A> {
    fn look(
        &mut self,
        tag: u64,
        at: Option<RecordPlace>,
        ahead: u64,
        cost: u64,
        now: Timestamp,
    ) -> RecordSnapshot {
        let place = at.unwrap_or_else(|| self.place(tag));
        let (answer, lag) = self.ask(tag, place, now, |algorithm, state, now| {
            behind(algorithm, state, ahead, cost, now)
        });
        let answer = later(answer, lag);
        let denied = answer.is_err_and(|denied| denied.retry != Retry::Never);
        RecordSnapshot {
            place,
            // A line in the way denies, not the algorithm.
            is_counted: cost > 0 && ahead == 0,
            is_overflow: match place {
                RecordPlace::Own => false,
                RecordPlace::Pool => true,
                RecordPlace::New => denied && self.is_pooled(tag, now),
            },
            at: self.charged_at(tag, place, now),
            generation: self.generation,
            answer,
        }
    }

    fn insert_new(
        &mut self,
        tag: u64,
        cost: u64,
        now: Timestamp,
        elsewhere: &dyn Fn() -> bool,
        taken: &dyn Fn(u64) -> bool,
    ) -> RecordSnapshot {
        let place = self.admit(tag, now, elsewhere, taken);
        let look = self.look(tag, Some(place), 0, cost, now);
        if place != RecordPlace::New {
            return look;
        }
        let answer = match look.answer {
            Ok(Allowed(standing)) if self.room.overflow == Overflow::Deny => {
                let standing = Standing { room: 0, reset: 0, per_nano: 1, ..standing };
                Err(Denied { standing, retry: Retry::Unknown { at_latest: None } })
            }
            answer => answer,
        };
        RecordSnapshot { is_counted: false, is_overflow: true, answer, ..look }
    }

    fn charge(
        &mut self,
        tag: u64,
        look: &RecordSnapshot,
        cost: u64,
        now: Timestamp,
        elsewhere: &dyn Fn() -> bool,
    ) {
        if !look.is_counted || look.answer.is_err() && !self.algorithm.counts_denied() {
            return;
        }
        let place = match look.place {
            RecordPlace::New => self.admit(tag, now, elsewhere, &|_| false),
            place => place,
        };
        self.write(tag, place, now, |algorithm, state, now| algorithm.charge(state, cost, now));
    }
}

impl RecordSnapshot {
    /// What nobody was asked for.
    pub(crate) const NONE: RecordSnapshot = RecordSnapshot {
        place: RecordPlace::New,
        is_counted: false,
        is_overflow: false,
        at: Timestamp::ZERO,
        generation: 0,
        answer: Err(Denied { standing: Standing::NONE, retry: Retry::Never }),
    };

    /// Whether the key must be given a record before it can be charged.
    pub(crate) fn needs_insert(&self) -> bool {
        self.is_counted && self.place == RecordPlace::New
    }

    /// Where the key is, if that is its shard's pool.
    pub(crate) fn pool(&self) -> Option<RecordPlace> {
        Some(self.place).filter(|place| self.is_counted && *place == RecordPlace::Pool)
    }

    /// Counts the overflow if the decided key had no record of its own.
    pub(crate) fn count_overflow(&self, records: &dyn Recorded) {
        if self.is_overflow {
            records.count_overflow();
        }
    }

    pub(crate) fn charge(&self, tag: u64, cost: u64) -> Charge {
        let charged_to = match self.place {
            RecordPlace::New if self.is_overflow => ChargedTo::Uncounted,
            RecordPlace::New | RecordPlace::Own => ChargedTo::Own,
            RecordPlace::Pool => ChargedTo::Pool,
        };
        Charge { tag, cost, at: self.at, charged_to, generation: self.generation }
    }

    /// The same answer with nothing to write: another entry charges for it.
    pub(crate) fn as_shared(self) -> RecordSnapshot {
        RecordSnapshot { is_counted: false, ..self }
    }
}
