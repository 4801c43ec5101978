//! Keys for which the table has no room: the shared pool of newcomers, and the answers to keys that
//! are counted nowhere. Records have a pool of their own, in `records/shard.rs`.

use std::time::Duration;

use crate::algorithm::Bucket;
use crate::decision::{Allowed, Denied, Retry, Standing};
use crate::sync::AtomicU64;
use crate::time::Timestamp;

use super::parameters::Parameters;
use super::published::read_word;
use super::table::Cell;
use super::{Cells, word};

/// Number of cells that newcomers share while the table is full.
#[cfg(not(tollgate_loom))]
const POOL_CELLS: usize = 64;
#[cfg(tollgate_loom)]
const POOL_CELLS: usize = 1;

/// What happens to a new key when `max_keys` other keys are in debt and there is no room for it.
///
/// Every such call is counted ([`RateLimiter::overflows`](crate::RateLimiter::overflows)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// New keys share 64 cells, each with the limiter's quota. A flood of new keys is limited, and
    /// a new key that shares a cell with the flood is denied with it.
    #[default]
    Pool,
    /// New keys are denied until a key becomes idle.
    Deny,
    /// New keys are allowed and not counted.
    Allow,
}

pub(super) struct PoolCell {
    tag: AtomicU64,
    word: AtomicU64,
}

/// No slot is free before this stamp, in nanoseconds.
pub(super) struct Full {
    pub(super) until: u64,
}

impl Cells {
    /// Whether the key has no slot and its pool cell is in debt. The key then owes that debt.
    #[cold]
    pub(super) fn is_pooled(&self, tag: u64, now: Timestamp) -> bool {
        if self.pool.get().is_none() || self.table.find(tag, word::spread(tag)).is_some() {
            return false;
        }
        let (params, moment) = self.numbers_at(now);
        self.pooled(tag, &params).is_some_and(|tat| !Bucket::is_idle(tat, moment))
    }

    /// The state of the pool cell that the key shares. `None`: try again.
    pub(super) fn pooled(&self, tag: u64, params: &Parameters) -> Option<u64> {
        let cell = self.pool_cell(tag)?;
        let word = cell.load().filter(|word| !word::is_held(*word))?;
        read_word(&self.published, params, word, cell.tag)
    }

    /// The answer for a key that is counted nowhere.
    pub(super) fn not_inserted(
        &self,
        cost: u64,
        now: Timestamp,
        full: &Full,
    ) -> Result<Allowed, Denied> {
        let (params, moment) = self.numbers_at(now);
        let (_, allowed) = params.bucket.decide(0, cost, moment)?;
        if self.overflow == Overflow::Allow {
            return Ok(allowed);
        }
        let wait = full.until.saturating_sub(now.as_nanos());
        Err(Denied {
            standing: Standing { room: 0, reset: wait, per_nano: 1, ..allowed.0 },
            retry: Retry::After(Duration::from_nanos(wait)),
        })
    }

    /// The pool cell that the key shares. Creates the pool if there is none.
    pub(super) fn pool_cell(&self, tag: u64) -> Option<Cell<'_>> {
        let pool = match self.pool.get() {
            Some(pool) => pool,
            None => self.make_pool(),
        };
        let cell = pool.get(tag as usize % POOL_CELLS)?;
        Some(Cell::apart(&cell.tag, &cell.word, !(tag % POOL_CELLS as u64)))
    }

    #[cold]
    fn make_pool(&self) -> &[PoolCell] {
        // Held until the pool is visible: a change of quota comes before the pool or converts its
        // cells.
        let _changes = self.changes.lock();
        let generation = self.published.load().generation;
        self.pool.get_or_init(|| {
            (0..POOL_CELLS as u64)
                .map(|index| PoolCell {
                    tag: AtomicU64::new(!index),
                    word: AtomicU64::new(word::encode(0, !index, generation)),
                })
                .collect()
        })
    }
}
