//! A locked shard as decisions use it, whatever the algorithm: take a snapshot of a key, insert the
//! key if needed, then charge it under the same lock. The records themselves are in `shard`.

use crate::algorithm::Algorithm;
use crate::cells::{Charge, ChargedTo, Overflow};
use crate::decision::{Allowed, Denied, Retry, Standing};
use crate::time::Timestamp;

use super::Recorded;
use super::answer::{behind, later};
use super::shard::{RecordPlace, RecordShard};

/// The answer that a key would get, and where the key would be counted.
#[derive(Clone, Copy)]
pub(crate) struct RecordSnapshot {
    pub(super) place: RecordPlace,
    /// Whether a charge has anything to write.
    pub(crate) is_counted: bool,
    /// Whether there was no room for the key.
    is_overflow: bool,
    /// The time at which the charge would be counted.
    at: Timestamp,
    /// How many changes of quota came before the snapshot.
    generation: u64,
    pub(crate) answer: Result<Allowed, Denied>,
}

/// A locked shard, whatever its algorithm.
pub(crate) trait Locked {
    /// Takes a snapshot: the answer for `cost` after `ahead` units of others, with the key counted
    /// `at` the given place, or at the place of its record if `None`.
    fn look(
        &mut self,
        tag: u64,
        at: Option<RecordPlace>,
        ahead: u64,
        cost: u64,
        now: Timestamp,
    ) -> RecordSnapshot;
    /// Admits a key without a record and takes a snapshot of it. Forgets no key that the same
    /// transaction has `taken`, since that key may still be idle. `elsewhere` makes room in other
    /// shards and returns whether there is any.
    fn insert_new(
        &mut self,
        tag: u64,
        cost: u64,
        now: Timestamp,
        elsewhere: &dyn Fn() -> bool,
        taken: &dyn Fn(u64) -> bool,
    ) -> RecordSnapshot;
    /// Charges `cost` if the snapshot allows it, or if the algorithm counts denied costs.
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
            // With units ahead it is the line that denies, which is never charged.
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
    /// A placeholder that no shard has filled in.
    pub(crate) const NONE: RecordSnapshot = RecordSnapshot {
        place: RecordPlace::New,
        is_counted: false,
        is_overflow: false,
        at: Timestamp::ZERO,
        generation: 0,
        answer: Err(Denied { standing: Standing::NONE, retry: Retry::Never }),
    };

    /// Whether the key needs a record before it can be charged.
    pub(crate) fn needs_insert(&self) -> bool {
        self.is_counted && self.place == RecordPlace::New
    }

    /// The place of the key, if it is counted in its shard's pool.
    pub(crate) fn pool(&self) -> Option<RecordPlace> {
        Some(self.place).filter(|place| self.is_counted && *place == RecordPlace::Pool)
    }

    /// Counts an overflow if there was no room for the key.
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

    /// The same answer with nothing to write, because another entry charges for this one.
    pub(crate) fn as_shared(self) -> RecordSnapshot {
        RecordSnapshot { is_counted: false, ..self }
    }
}
