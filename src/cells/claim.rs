//! Keys without a slot: the state they are decided on, and how they get a slot. The fast path for
//! such keys is in `newcomer`; how the table chooses the slot is in `table`.

use crate::algorithm::{Bucket, Moment};
use crate::time::Timestamp;

use super::parameters::Parameters;
use super::pool::Full;
use super::published::{Published, read_word};
use super::table::{ClaimedSlot, Meaning, Start};
use super::{Cells, Step, word};

impl Cells {
    /// As `run`, for a key that was not found: decides it under the lock of its group. `None`: the
    /// key has a slot now, or the parameters changed; try again.
    #[inline(never)]
    pub(super) fn run_new<R>(
        &self,
        tag: u64,
        now: Timestamp,
        step: &impl Fn(u64, &Parameters, Moment) -> Step<R>,
    ) -> Option<Result<R, Full>> {
        let (params, moment) = self.numbers_at(now);
        let mut result = None;
        let claim = self.claim(
            tag,
            &params,
            moment,
            |_| false,
            |tat| {
                let (next, made) = match step(tat, &params, moment) {
                    Step::Stay(made) => (None, made),
                    Step::Move(next, made) => (Some(next), made),
                };
                result = Some(made);
                next
            },
        );
        match claim {
            ClaimedSlot::Full { until } => Some(Err(Full { until })),
            ClaimedSlot::Made(_) | ClaimedSlot::None => result.map(Ok),
            ClaimedSlot::Present(_) | ClaimedSlot::Stale => None,
        }
    }

    /// The state of a key that has no slot. `None`: try again.
    pub(super) fn initial(
        &self,
        tag: u64,
        forgotten: u64,
        params: &Parameters,
        moment: Moment,
    ) -> Option<u64> {
        let tat = match forgotten {
            0 => 0,
            // The forgotten key is idle now: rounding its stamp up to a tick must not leave a debt.
            _ if forgotten <= params.stamp_of(moment) => params.tick(forgotten).min(moment.floor),
            _ => params.tick(forgotten),
        };
        if self.pool.get().is_none() {
            return Some(tat);
        }
        // The key may have been counted in the pool, so it may owe what its pool cell owes.
        let pooled = self.pooled(tag, params)?;
        Some(if Bucket::is_idle(pooled, moment) { tat } else { tat.max(pooled) })
    }

    /// Claims a slot for a key that has none. Under the lock, `first` gets the key's initial state
    /// and returns the state to write, or `None` if no slot is wanted.
    ///
    /// Slots of keys that are `taken` are not free, even if those keys are idle.
    pub(super) fn claim(
        &self,
        tag: u64,
        params: &Parameters,
        moment: Moment,
        taken: impl Fn(u64) -> bool,
        mut first: impl FnMut(u64) -> Option<u64>,
    ) -> ClaimedSlot<'_> {
        let words = WordReader { published: &self.published, params, moment, taken };
        self.table.claim(tag, &words, |forgotten| {
            if !self.published.is_current(params.generation) {
                return Start::Stale;
            }
            match self.initial(tag, forgotten, params, moment) {
                None => Start::Stale,
                Some(tat) => match first(tat) {
                    None => Start::None,
                    Some(next) => Start::With(word::encode(next, tag, params.generation)),
                },
            }
        })
    }
}

/// What words mean under these parameters at this moment.
struct WordReader<'a, F> {
    published: &'a Published,
    params: &'a Parameters,
    moment: Moment,
    taken: F,
}

impl<F: Fn(u64) -> bool> Meaning for WordReader<'_, F> {
    #[inline]
    fn needed_until(&self, word: u64, tag: u64) -> Option<u64> {
        if word::is_held(word) || (self.taken)(tag) {
            return Some(u64::MAX);
        }
        read_word(self.published, self.params, word, tag)
    }

    #[inline]
    fn now(&self) -> u64 {
        self.moment.floor
    }

    #[inline]
    fn stamp(&self, tick: u64) -> u64 {
        self.params.stamp(tick)
    }
}
