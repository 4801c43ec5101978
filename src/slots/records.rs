//! The records: for each lease of a limit its end and what it weighs.
//!
//! | state | who may change it |
//! |---|---|
//! | free | anybody, by claiming it |
//! | claimed | its claimer: makes it live, or free again, and waits for nobody meanwhile |
//! | live | its holder, by leaving; and a thread that has shut the slots, by ending the lease |
//! | leaving | its holder: frees it, or makes it live again, and waits for nobody meanwhile |
//!
//! The word of a record is its state and a serial number that rises with each claim: what belongs
//! to a lease that is over never fits again. A bit of the serial number says whether the record is
//! *listed*: whether those who look for the first end know of it (see `ends`).

use crate::sync::{
    AtomicBool, AtomicU32, AtomicU64, Backoff, CachePadded, OnceLock, Ordering, fence, mutant,
    thread_mark,
};

use super::NEVER;

const FREE: u64 = 0;
const CLAIMED: u64 = 1;
const LIVE: u64 = 2;
const LEAVING: u64 = 3;
const STATE: u64 = 3;
const LISTED: u64 = 4;
const SERIAL: u64 = 8;

/// Records that are there from the start.
const FIRST: usize = 2;

/// Hints where threads meet, and records from one to the next at first: more than a cache line has.
const HINTS: usize = 8;
const APART: u32 = 4;

/// Chunk k has as many records as all before it: together more than there are slots.
const CHUNKS: usize = 24;

/// In this order: the first records stand beside what each call touches.
#[repr(C)]
pub(super) struct Records {
    first: [Record; FIRST],
    /// Where a free record probably is, as long as threads do not meet.
    hint: AtomicU32,
    /// How many there are.
    len: AtomicU32,
    /// The index + 1 of the record that was listed last and that `ends` does not know yet.
    pub(super) news: AtomicU32,
    /// Whether a listed record was claimed for a lease that ends sooner than the one before.
    pub(super) is_disordered: AtomicBool,
    more: OnceLock<Box<[Chunk]>>,
    /// Then a hint for each group of threads, so that each works on records of a cache line of its own.
    hints: OnceLock<Box<[CachePadded<AtomicU32>; HINTS]>>,
}

type Chunk = OnceLock<Box<[Record]>>;

#[derive(Default)]
pub(super) struct Record {
    /// Serial number and state.
    word: AtomicU64,
    /// When the lease is over, in nanoseconds; `u64::MAX` never.
    pub(super) end: AtomicU64,
    units: AtomicU32,
    /// What `news` was before this record was listed.
    pub(super) next: AtomicU32,
}

/// What a lease holds. Not `Copy`: it is given back once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) index: u32,
    pub(crate) units: u32,
    pub(crate) serial: u64,
}

/// A live record.
pub(super) struct Live {
    pub(super) serial: u64,
    pub(super) end: u64,
    pub(super) units: u32,
}

/// A claimed record: dropping it makes it free again.
pub(crate) struct Claim<'a> {
    record: &'a Record,
    index: u32,
    units: u32,
    serial: u64,
    is_live: bool,
}

impl Records {
    pub(super) fn new() -> Records {
        Records {
            first: std::array::from_fn(|_| Record::default()),
            hint: AtomicU32::new(0),
            hints: OnceLock::new(),
            more: OnceLock::new(),
            news: AtomicU32::new(0),
            is_disordered: AtomicBool::new(false),
            len: AtomicU32::new(FIRST as u32),
        }
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&Record> {
        match self.first.get(index as usize) {
            Some(record) => Some(record),
            None => self.get_more(index as usize),
        }
    }

    fn get_more(&self, index: usize) -> Option<&Record> {
        let chunk = (index / FIRST).checked_ilog2()? as usize;
        self.more.get()?.get(chunk)?.get()?.get(index - (FIRST << chunk))
    }

    #[inline]
    fn hint(&self) -> &AtomicU32 {
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
    #[cold]
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

    /// Claims a free record, the first from the hint on; makes more if there is none.
    #[inline]
    pub(super) fn claim(&self, units: u32, end: u64) -> Option<Claim<'_>> {
        let hint = self.hint().load(Ordering::Relaxed);
        // Acquire: as many are there.
        let len = self.len.load(Ordering::Acquire);
        let hinted = if hint < len { self.claim_at(hint, end) } else { None };
        let (index, record, word) = match hinted {
            Some(claimed) => claimed,
            None => self.claim_any(hint, end)?,
        };
        record.units.store(units, Ordering::Relaxed);
        let before = record.end.load(Ordering::Relaxed);
        record.end.store(end, Ordering::Relaxed);
        if word & LISTED == 0 {
            if end < NEVER && !mutant("unlisted") {
                self.list(index, record);
            }
        } else if end < before {
            // Release: a search that sees it sees the end. A read-modify-write, so that it also sees the
            // ends of those who set it before.
            self.is_disordered.swap(true, Ordering::Release);
        }
        if index != hint {
            self.set_hint(index.wrapping_add(1));
        }
        let serial = serial_after(word, end);
        Some(Claim { record, index, units, serial, is_live: false })
    }

    /// The record and its word, if it was free.
    #[inline]
    fn claim_at(&self, index: u32, end: u64) -> Option<(u32, &Record, u64)> {
        let record = self.get(index)?;
        Some((index, record, record.claim(end)?))
    }

    /// Tells those who look for the first end of a record.
    #[cold]
    fn list(&self, index: u32, record: &Record) {
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

    #[inline(never)]
    fn claim_any(&self, hint: u32, end: u64) -> Option<(u32, &Record, u64)> {
        loop {
            // Acquire: as in `claim`.
            let len = self.len.load(Ordering::Acquire);
            let start = if hint < len { hint } else { 0 };
            let mut all = (start..len).chain(0..start);
            let claimed = all.find_map(|index| self.claim_at(index, end));
            if claimed.is_some() {
                return claimed;
            }
            self.grow(len)?;
        }
    }

    #[cold]
    fn grow(&self, len: u32) -> Option<()> {
        let chunk = (len as usize / FIRST).checked_ilog2()? as usize;
        let chunks = self.more.get_or_init(|| (0..CHUNKS).map(|_| Chunk::new()).collect());
        chunks.get(chunk)?.get_or_init(|| (0..len).map(|_| Record::default()).collect());
        // Release: publishes the chunk.
        self.len.fetch_max(len * 2, Ordering::Release);
        Some(())
    }

    /// How many there are.
    fn len(&self) -> u32 {
        // Acquire: as in `claim`.
        self.len.load(Ordering::Acquire)
    }

    /// Shows every record that is live, and waits for those that are claimed or leave. Only while the
    /// slots are shut: then none becomes live meanwhile. One of which `visit` says false is shown again.
    pub(super) fn each_live(&self, mut visit: impl FnMut(&Record, &Live) -> bool) {
        for record in (0..self.len()).filter_map(|index| self.get(index)) {
            while record.live().is_some_and(|live| !visit(record, &live)) {}
        }
    }

    /// Bytes allocated.
    pub(super) fn memory(&self) -> usize {
        let chunks = self.more.get().map_or(0, |more| size_of_val(&**more));
        let records = self.len.load(Ordering::Relaxed) as usize - FIRST;
        let hints = self.hints.get().map_or(0, |hints| size_of_val(&**hints));
        chunks + records * size_of::<Record>() + hints
    }
}

/// The serial number of the lease that takes a record whose word was `word`. A lease without an end
/// needs no entry in `ends`, so its record is not listed for it.
fn serial_after(word: u64, end: u64) -> u64 {
    let serial = (word & !STATE).wrapping_add(SERIAL);
    if end < NEVER { serial | LISTED } else { serial }
}

impl Record {
    /// Its word, if it was free.
    #[inline]
    fn claim(&self, end: u64) -> Option<u64> {
        let word = self.word.load(Ordering::Relaxed);
        if word & STATE != FREE {
            return None;
        }
        let claimed = serial_after(word, end) | CLAIMED;
        if mutant("claim_by_store") {
            self.word.store(claimed, Ordering::Relaxed);
            return Some(word);
        }
        // Acquire: after its last owner freed it. Relaxed on failure: another is tried.
        self.word.compare_exchange(word, claimed, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // Pairs with the fence in `live`: a reader of what is written next sees it claimed.
        fence(Ordering::Release);
        Some(word)
    }

    #[inline]
    pub(super) fn is_live(&self, held: &Held) -> bool {
        // Acquire: whoever sees it over sees who ended it.
        self.word.load(Ordering::Acquire) == held.serial | LIVE
    }

    /// Marks it as leaving, if the lease is not over. Then `free` or `stay` must follow, and no wait.
    #[inline]
    pub(super) fn leave(&self, held: &Held) -> bool {
        let (live, leaving) = (held.serial | LIVE, held.serial | LEAVING);
        if mutant("expiry_frees_stranger") {
            self.word.store(leaving, Ordering::Relaxed);
            return true;
        }
        // Relaxed: the swap of the head publishes it.
        self.word.compare_exchange(live, leaving, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// It does not leave after all.
    #[cold]
    pub(super) fn stay(&self, held: &Held) {
        // Release: as in `Claim::live`.
        self.word.store(held.serial | LIVE, Ordering::Release);
    }

    /// Ends the lease of that serial number. Only while the slots are shut. False: its holder just
    /// tried to leave, or it is over.
    pub(super) fn end_lease(&self, serial: u64) -> bool {
        // Release: as in `free`.
        let (live, free) = (serial | LIVE, serial | FREE);
        self.word.compare_exchange(live, free, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    #[inline]
    pub(super) fn free(&self, serial: u64) {
        // Release: its next claimer comes after all that was read of it.
        self.word.store(serial | FREE, Ordering::Release);
    }

    /// Makes a free record one that is not listed. False: it is claimed.
    pub(super) fn unlist(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        // Release: its next claimer lists it anew after what was read of the list.
        word & STATE == FREE
            && self
                .word
                .compare_exchange(word, word & !LISTED, Ordering::Release, Ordering::Relaxed)
                .is_ok()
    }

    /// The lease of a live record. Waits while it is claimed or leaves.
    pub(super) fn live(&self) -> Option<Live> {
        let backoff = Backoff::default();
        loop {
            // Acquire: sees what was written of it before it became live.
            let word = self.word.load(Ordering::Acquire);
            let is_live =
                word & STATE == LIVE || word & STATE == LEAVING && mutant("reap_unsettled");
            if word & STATE == FREE {
                return None;
            }
            if is_live {
                let end = self.end.load(Ordering::Relaxed);
                let units = self.units.load(Ordering::Relaxed);
                // Acquire: pairs with the fence in `claim`. If the end or the units are those of a later
                // lease, the word has changed.
                fence(Ordering::Acquire);
                if self.word.load(Ordering::Relaxed) == word {
                    return Some(Live { serial: word & !STATE, end, units });
                }
            }
            backoff.snooze();
        }
    }
}

impl Claim<'_> {
    /// The lease begins.
    #[inline]
    pub(crate) fn live(mut self) -> Held {
        // Release: publishes the end and the units.
        self.record.word.store(self.serial | LIVE, Ordering::Release);
        self.is_live = true;
        Held { index: self.index, units: self.units, serial: self.serial }
    }
}

impl Drop for Claim<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.is_live {
            self.record.free(self.serial);
        }
    }
}
