//! The records: for each lease of a limit its end and what it weighs.
//!
//! | state | who may change it |
//! |---|---|
//! | free | anybody, by claiming it |
//! | claimed | who claimed it: makes it live, or free again, and waits for nobody meanwhile |
//! | live | its holder, by giving back; and whoever has shut the slots |
//!
//! The word of a record is its state and a serial number that rises with each claim: what belongs
//! to a lease that is over never fits again.

use crate::sync::{AtomicU32, AtomicU64, Backoff, OnceLock, Ordering, fence, mutant};

const FREE: u64 = 0;
const CLAIMED: u64 = 1;
const LIVE: u64 = 2;
const STATE: u64 = 3;
const SERIAL: u64 = 4;

/// Records that are there from the start.
const FIRST: usize = 2;

/// Chunk k has as many records as all before it: together more than there are slots.
const CHUNKS: usize = 24;

#[repr(C)]
pub(super) struct Records {
    /// How many there are.
    len: AtomicU32,
    first: [Record; FIRST],
    more: OnceLock<Box<[Chunk]>>,
}

type Chunk = OnceLock<Box<[Record]>>;

#[derive(Default)]
pub(super) struct Record {
    /// Serial number and state.
    word: AtomicU64,
    /// When the lease is over, in nanoseconds; `u64::MAX` never.
    pub(super) end: AtomicU64,
    units: AtomicU32,
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
    pub(super) index: u32,
    units: u32,
    serial: u64,
    is_live: bool,
}

impl Records {
    pub(super) fn new() -> Records {
        Records {
            first: std::array::from_fn(|_| Record::default()),
            more: OnceLock::new(),
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

    /// Claims a free record, the first from `hint` on; makes more if there is none.
    #[inline]
    pub(super) fn claim(&self, hint: u32, units: u32, end: u64) -> Option<Claim<'_>> {
        // Acquire: as many are there.
        let len = self.len.load(Ordering::Acquire);
        let hinted = if hint < len { self.claim_at(hint) } else { None };
        let (index, record, serial) = match hinted {
            Some(claimed) => claimed,
            None => self.claim_any(hint)?,
        };
        record.units.store(units, Ordering::Relaxed);
        record.end.store(end, Ordering::Relaxed);
        Some(Claim { record, index, units, serial, is_live: false })
    }

    #[inline]
    fn claim_at(&self, index: u32) -> Option<(u32, &Record, u64)> {
        let record = self.get(index)?;
        Some((index, record, record.claim()?))
    }

    #[inline(never)]
    fn claim_any(&self, hint: u32) -> Option<(u32, &Record, u64)> {
        loop {
            // Acquire: as in `claim`.
            let len = self.len.load(Ordering::Acquire);
            let start = if hint < len { hint } else { 0 };
            let claimed = (start..len).chain(0..start).find_map(|index| self.claim_at(index));
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

    /// Shows every record that is live, and waits for those that are claimed. Only while the
    /// slots are shut: then none becomes live meanwhile.
    pub(super) fn each_live(&self, mut visit: impl FnMut(&Record, &Live)) {
        // Acquire: as in `claim`.
        let len = self.len.load(Ordering::Acquire);
        let chunks = self.more.get().into_iter().flatten();
        let more = chunks.map_while(Chunk::get).flatten();
        self.first.iter().chain(more).take(len as usize).for_each(|record| {
            if let Some(live) = record.live() {
                visit(record, &live);
            }
        });
    }

    /// Bytes allocated.
    pub(super) fn memory(&self) -> usize {
        let chunks = self.more.get().map_or(0, |more| size_of_val(&**more));
        let records = self.len.load(Ordering::Relaxed) as usize - FIRST;
        chunks + records * size_of::<Record>()
    }
}

impl Record {
    /// Its serial number, if it was free.
    #[inline]
    fn claim(&self) -> Option<u64> {
        let word = self.word.load(Ordering::Relaxed);
        if word & STATE != FREE {
            return None;
        }
        let serial = (word & !STATE).wrapping_add(SERIAL);
        if mutant("claim_by_store") {
            self.word.store(serial | CLAIMED, Ordering::Relaxed);
            return Some(serial);
        }
        // Acquire: after whoever freed it. Relaxed on failure: another is tried.
        self.word
            .compare_exchange(word, serial | CLAIMED, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        // Pairs with the fence in `live`: whoever reads what is written next sees it claimed.
        fence(Ordering::Release);
        Some(serial)
    }

    #[inline]
    pub(super) fn is_live(&self, held: &Held) -> bool {
        // Acquire: whoever sees it over sees who ended it.
        self.word.load(Ordering::Acquire) == held.serial | LIVE
    }

    #[inline]
    pub(super) fn free(&self, serial: u64) {
        // Release: whoever claims it next comes after all that was read of it.
        self.word.store(serial | FREE, Ordering::Release);
    }

    fn live(&self) -> Option<Live> {
        let backoff = Backoff::default();
        loop {
            // Acquire: sees what was written of it before it became live.
            let word = self.word.load(Ordering::Acquire);
            match word & STATE {
                FREE => return None,
                LIVE => {
                    let end = self.end.load(Ordering::Relaxed);
                    let units = self.units.load(Ordering::Relaxed);
                    fence(Ordering::Acquire);
                    if self.word.load(Ordering::Relaxed) == word {
                        return Some(Live { serial: word & !STATE, end, units });
                    }
                }
                _ => backoff.snooze(),
            }
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
