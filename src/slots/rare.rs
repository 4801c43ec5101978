//! State that most slots never need, and that slots with a single lease at a time never need:
//! records beyond the first ones, hints to free records, the order in which leases end, and
//! counters. It is allocated when it is first needed, so that a semaphore that needs none of it is
//! small.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::sync::{
    AtomicBool, AtomicU32, AtomicU64, CachePadded, Mutex, OnceLock, Ordering, thread_mark,
};

use super::record::{LeaseRecord, UNKNOWN};

/// The number of records beside the head. Models have one, so that two leases need more.
#[cfg(not(tollgate_loom))]
pub(super) const FIRST: usize = 2;
#[cfg(tollgate_loom)]
pub(super) const FIRST: usize = 1;

/// The number of hints once threads contend, and how many records apart they start: more than one
/// cache line holds.
const HINTS: usize = 8;
const APART: u32 = 4;

/// Chunk k has as many records as all records before it, so all chunks have more records than there
/// are slots.
const CHUNKS: usize = 24;

type RecordChunk = OnceLock<Box<[LeaseRecord]>>;

/// A heap of ends and the indexes of their records, with the first end on top. See `ends`.
#[derive(Default)]
pub(super) struct Ends(pub(super) BinaryHeap<Reverse<(u64, u32)>>);

pub(super) struct Rare {
    /// The index of a record that is probably free. Used until threads contend.
    hint: AtomicU32,
    /// The number of records, including the first ones.
    len: AtomicU32,
    /// The index + 1 of the last listed record that has no entry in `ends` yet; 0 if there is none.
    pub(super) news: AtomicU32,
    /// A listed record was claimed for a lease that ends sooner than the one before.
    pub(super) is_disordered: AtomicBool,
    /// The first end; `UNKNOWN`, or `NEVER` if no lease has an end.
    pub(super) first: AtomicU64,
    /// The index of the record of that lease.
    pub(super) first_at: AtomicU32,
    chunks: OnceLock<Box<[RecordChunk]>>,
    /// A hint for each group of threads once threads contend, so that each group works on records
    /// of its own cache lines.
    hints: OnceLock<Box<[CachePadded<AtomicU32>; HINTS]>>,
    /// Locked while a thread has exclusive access.
    pub(super) ends: Mutex<Ends>,
    pub(super) expired: AtomicU64,
    pub(super) late: AtomicU64,
    /// How many of `expired` were logged.
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

    /// The number of records, including the first ones.
    #[inline]
    pub(super) fn len(&self) -> u32 {
        // Acquire: pairs with the Release in `grow`, so all these records exist.
        self.len.load(Ordering::Acquire)
    }

    /// A record beyond the first ones.
    pub(super) fn get(&self, index: u32) -> Option<&LeaseRecord> {
        let index = index as usize;
        let chunk = (index / FIRST).checked_ilog2()? as usize;
        self.chunks.get()?.get(chunk)?.get()?.get(index - (FIRST << chunk))
    }

    /// Doubles the number of records if it is still `len`. Returns `None` at the maximum.
    #[cold]
    pub(super) fn grow(&self, len: u32) -> Option<()> {
        let chunk = (len as usize / FIRST).checked_ilog2()? as usize;
        let chunks = self.chunks.get_or_init(|| (0..CHUNKS).map(|_| RecordChunk::new()).collect());
        chunks.get(chunk)?.get_or_init(|| (0..len).map(|_| LeaseRecord::default()).collect());
        // Release: publishes the chunk to `len`.
        self.len.fetch_max(len * 2, Ordering::Release);
        Some(())
    }

    #[inline]
    pub(super) fn hint(&self) -> &AtomicU32 {
        let Some(hints) = self.hints.get() else { return &self.hint };
        // The high bits of the product depend on all bits of the mark.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        &hints[(thread_mark().wrapping_mul(SPREAD) >> (u64::BITS - HINTS.ilog2())) as usize]
    }

    /// Records that the record at `index` is probably free.
    #[inline]
    pub(super) fn set_hint(&self, index: u32) {
        // Relaxed: only a hint. Written only if it changes, because the next taker reads it.
        let hint = self.hint();
        if hint.load(Ordering::Relaxed) != index {
            hint.store(index, Ordering::Relaxed);
        }
    }

    /// Makes each group of threads claim records on its own cache lines from now on.
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

    /// Lists a record, so that the next search for the first end reads it.
    #[cold]
    pub(super) fn list(&self, index: u32, record: &LeaseRecord) {
        let mut last = self.news.load(Ordering::Relaxed);
        loop {
            record.next.store(last, Ordering::Relaxed);
            let listed = index.wrapping_add(1);
            // Release: publishes `next` and the end to `Ends::catch_up`.
            match self.news.compare_exchange(last, listed, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(seen) => last = seen,
            }
        }
    }

    /// Bytes allocated, including this struct.
    pub(super) fn memory(&self) -> usize {
        let chunks = self.chunks.get().map_or(0, |chunks| size_of_val(&**chunks));
        let records = (self.len() as usize - FIRST) * size_of::<LeaseRecord>();
        let hints = self.hints.get().map_or(0, |hints| size_of_val(&**hints));
        let ends = self.ends.lock().0.capacity() * size_of::<Reverse<(u64, u32)>>();
        size_of::<Rare>() + chunks + records + hints + ends
    }
}
