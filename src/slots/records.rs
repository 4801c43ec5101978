//! The records of all leases of a limit: the first ones beside the head, the others and further
//! rare state in [`Rare`], which is allocated when it is first needed. A single record is in
//! `record`.

use crate::sync::{OnceLock, Ordering};

use super::rare::{FIRST, Rare};
use super::record::{Claim, LeaseRecord, LiveLease, NEVER, is_listed, serial_after};

/// The order of the fields keeps what each call touches on as few cache lines as possible.
#[repr(C)]
pub(super) struct LeaseRecords {
    rare: OnceLock<Box<Rare>>,
    pub(super) first: [LeaseRecord; FIRST],
}

impl LeaseRecords {
    pub(super) fn new() -> LeaseRecords {
        LeaseRecords {
            rare: OnceLock::new(),
            first: std::array::from_fn(|_| LeaseRecord::default()),
        }
    }

    /// The rare state. Allocates it if it does not exist.
    pub(super) fn rare(&self) -> &Rare {
        self.rare.get_or_init(|| Box::new(Rare::new()))
    }

    /// The rare state, if it exists.
    #[inline]
    pub(super) fn known_rare(&self) -> Option<&Rare> {
        self.rare.get().map(|rare| &**rare)
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&LeaseRecord> {
        match self.first.get(index as usize) {
            Some(record) => Some(record),
            None => self.known_rare()?.get(index),
        }
    }

    /// Records that the record at `index` is probably free.
    #[inline]
    pub(super) fn set_hint(&self, index: u32) {
        if let Some(rare) = self.known_rare() {
            rare.set_hint(index);
        }
    }

    /// Called when threads contend: see [`Rare::spread`].
    #[cold]
    pub(super) fn spread(&self) {
        self.rare().spread();
    }

    /// Claims the first free record from the hint on. Allocates more records if none is free.
    #[inline(always)]
    pub(super) fn claim(&self, units: u32, end: u64) -> Option<Claim<'_>> {
        let (hint, len) = match self.known_rare() {
            Some(rare) => (rare.hint().load(Ordering::Relaxed), rare.len()),
            None => (0, FIRST as u32),
        };
        let hinted = if hint < len { self.claim_at(hint, end) } else { None };
        let (index, record, word) = match hinted {
            Some(claimed) => claimed,
            None => self.claim_any(hint, end)?,
        };
        record.units.store(units, Ordering::Relaxed);
        let before = record.end.load(Ordering::Relaxed);
        record.end.store(end, Ordering::Relaxed);
        if index as usize >= FIRST {
            self.tell(index, record, word, before, end);
        }
        Some(Claim { record, index, units, serial: serial_after(word, end), is_live: false })
    }

    /// Claims the record if it is free, and returns it with the word it had.
    #[inline]
    fn claim_at(&self, index: u32, end: u64) -> Option<(u32, &LeaseRecord, u64)> {
        let record = self.get(index)?;
        Some((index, record, record.claim(end)?))
    }

    #[inline(never)]
    fn claim_any(&self, hint: u32, end: u64) -> Option<(u32, &LeaseRecord, u64)> {
        loop {
            let len = self.len();
            let start = if hint < len { hint } else { 0 };
            let mut all = (start..len).chain(0..start);
            if let Some(claimed) = all.find_map(|index| self.claim_at(index, end)) {
                self.set_hint(claimed.0.wrapping_add(1));
                return Some(claimed);
            }
            self.rare().grow(len)?;
        }
    }

    /// Tells `ends` about a claimed record beyond the first ones: lists it, or reports that its
    /// entry is too late.
    fn tell(&self, index: u32, record: &LeaseRecord, word: u64, before: u64, end: u64) {
        let Some(rare) = self.known_rare() else { return };
        if !is_listed(word) {
            if end < NEVER {
                rare.list(index, record);
            }
        } else if end < before {
            // Release: pairs with the Acquire swap in `Ends::catch_up`, which then sees the end. A
            // read-modify-write, so that the search also sees the ends of the threads that set the
            // flag before.
            rare.is_disordered.swap(true, Ordering::Release);
        }
    }

    fn len(&self) -> u32 {
        self.known_rare().map_or(FIRST as u32, Rare::len)
    }

    /// Calls `visit` for every live record, and waits for records that are claimed or leaving. Only
    /// under exclusive access, so that no lease begins meanwhile. Visits a record again if `visit`
    /// returned false.
    pub(super) fn each_live(&self, mut visit: impl FnMut(&LeaseRecord, &LiveLease) -> bool) {
        for record in (0..self.len()).filter_map(|index| self.get(index)) {
            while record.live().is_some_and(|live| !visit(record, &live)) {}
        }
    }
}
