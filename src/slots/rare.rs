//! What most slots never need, and keys of which one thing is held never: records beyond the first,
//! hints where a free one is, the order in which leases end, and counts. It is made when it is first
//! needed, so that a room that needs none of it is small.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::sync::{
    AtomicBool, AtomicU32, AtomicU64, CachePadded, Mutex, OnceLock, Ordering, thread_mark,
};

use super::record::{LeaseRecord, UNKNOWN};

/// Records that stand beside the head. Models have one, so that two leases need more.
#[cfg(not(tollgate_loom))]
pub(super) const FIRST: usize = 2;
#[cfg(tollgate_loom)]
pub(super) const FIRST: usize = 1;

/// Hints where threads meet, and records from one to the next at first: more than a cache line has.
const HINTS: usize = 8;
const APART: u32 = 4;

/// Chunk k has as many records as all before it: together more than there are slots.
const CHUNKS: usize = 24;

type RecordChunk = OnceLock<Box<[LeaseRecord]>>;

/// Ends and the indexes of their records, the first on top. See `ends`.
#[derive(Default)]
pub(super) struct Ends(pub(super) BinaryHeap<Reverse<(u64, u32)>>);

pub(super) struct Rare {
    /// Where a free record probably is, as long as threads do not meet.
    hint: AtomicU32,
    /// How many records there are.
    len: AtomicU32,
    /// The index + 1 of the record that was listed last and that `ends` does not know yet.
    pub(super) news: AtomicU32,
    /// Whether a listed record was claimed for a lease that ends sooner than the one before.
    pub(super) is_disordered: AtomicBool,
    /// When the first lease ends; `UNKNOWN`, or `NEVER` if none does.
    pub(super) first: AtomicU64,
    /// The record of that lease.
    pub(super) first_at: AtomicU32,
    chunks: OnceLock<Box<[RecordChunk]>>,
    /// Then a hint for each group of threads, so that each works on records of a cache line of its own.
    hints: OnceLock<Box<[CachePadded<AtomicU32>; HINTS]>>,
    /// Held while the slots are shut.
    pub(super) ends: Mutex<Ends>,
    pub(super) expired: AtomicU64,
    pub(super) late: AtomicU64,
    /// How many of `expired` somebody was told of.
    pub(super) told: AtomicU64,
}

impl Rare {
    pub(super) fn new() -> Rare {
        Rare {
            hint: AtomicU32::new(0),
            len: AtomicU32::new(FIRST as u32),
            news: AtomicU32::new(0),
            is_disordered: AtomicBool::new(false),
            first: AtomicU64::new(UNKNOWN),
            first_at: AtomicU32::new(u32::MAX),
            chunks: OnceLock::new(),
            hints: OnceLock::new(),
            ends: Mutex::default(),
            expired: AtomicU64::new(0),
            late: AtomicU64::new(0),
            told: AtomicU64::new(0),
        }
    }

    /// How many records there are, with the first.
    #[inline]
    pub(super) fn len(&self) -> u32 {
        // Acquire: as many are there.
        self.len.load(Ordering::Acquire)
    }

    /// A record beyond the first.
    pub(super) fn get(&self, index: u32) -> Option<&LeaseRecord> {
        let index = index as usize;
        let chunk = (index / FIRST).checked_ilog2()? as usize;
        self.chunks.get()?.get(chunk)?.get()?.get(index - (FIRST << chunk))
    }

    /// Makes more records than `len`.
    #[cold]
    pub(super) fn grow(&self, len: u32) -> Option<()> {
        let chunk = (len as usize / FIRST).checked_ilog2()? as usize;
        let chunks = self.chunks.get_or_init(|| (0..CHUNKS).map(|_| RecordChunk::new()).collect());
        chunks.get(chunk)?.get_or_init(|| (0..len).map(|_| LeaseRecord::default()).collect());
        // Release: publishes the chunk.
        self.len.fetch_max(len * 2, Ordering::Release);
        Some(())
    }

    #[inline]
    pub(super) fn hint(&self) -> &AtomicU32 {
        let Some(hints) = self.hints.get() else { return &self.hint };
        // The high bits of a product depend on all of the number.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        &hints[(thread_mark().wrapping_mul(SPREAD) >> (u64::BITS - HINTS.ilog2())) as usize]
    }

    /// Notes that the record is probably free.
    #[inline]
    pub(super) fn set_hint(&self, index: u32) {
        // Relaxed: a hint. Seldom written: the next taker reads it.
        let hint = self.hint();
        if hint.load(Ordering::Relaxed) != index {
            hint.store(index, Ordering::Relaxed);
        }
    }

    /// From now on each group of threads claims records on cache lines of its own.
    pub(super) fn spread(&self) {
        self.hints.get_or_init(|| {
            while self.len() < FIRST as u32 + HINTS as u32 * APART {
                if self.grow(self.len()).is_none() {
                    break;
                }
            }
            let hint = |number| AtomicU32::new(FIRST as u32 + number as u32 * APART);
            Box::new(std::array::from_fn(|number| CachePadded::new(hint(number))))
        });
    }

    /// Tells those who look for the first end of a record.
    #[cold]
    pub(super) fn list(&self, index: u32, record: &LeaseRecord) {
        let mut last = self.news.load(Ordering::Relaxed);
        loop {
            record.next.store(last, Ordering::Relaxed);
            let listed = index.wrapping_add(1);
            // Release: publishes `next` and the end.
            match self.news.compare_exchange(last, listed, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(seen) => last = seen,
            }
        }
    }

    /// Bytes allocated, with itself.
    pub(super) fn memory(&self) -> usize {
        let chunks = self.chunks.get().map_or(0, |chunks| size_of_val(&**chunks));
        let records = (self.len() as usize - FIRST) * size_of::<LeaseRecord>();
        let hints = self.hints.get().map_or(0, |hints| size_of_val(&**hints));
        let ends = self.ends.lock().0.capacity() * size_of::<Reverse<(u64, u32)>>();
        size_of::<Rare>() + chunks + records + hints + ends
    }
}
