//! The records of all leases of a limit: the first beside the head, others and what else is rare in a
//! box that is made when it is needed.

use crate::sync::{OnceLock, Ordering, mutant};

use super::rare::{FIRST, Rare};
use super::record::{Claim, LeaseRecord, LiveLease, NEVER, is_listed, serial_after};

/// In this order: what each call touches is on as few cache lines as can be.
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

    /// What is rare, made if it is not there.
    pub(super) fn rare(&self) -> &Rare {
        self.rare.get_or_init(|| Box::new(Rare::new()))
    }

    /// What is rare, if it was ever needed.
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

    /// Notes that the record is probably free.
    #[inline]
    pub(super) fn set_hint(&self, index: u32) {
        if let Some(rare) = self.known_rare() {
            rare.set_hint(index);
        }
    }

    /// Threads meet here: see [`Rare::spread`].
    #[cold]
    pub(super) fn spread(&self) {
        self.rare().spread();
    }

    /// Claims a free record, the first from the hint on; makes more if there is none.
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

    /// The record and its word, if it was free.
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

    /// Tells those who look for the first end what `ends` must know of a record beyond the first, which
    /// was claimed.
    fn tell(&self, index: u32, record: &LeaseRecord, word: u64, before: u64, end: u64) {
        let Some(rare) = self.known_rare() else { return };
        if !is_listed(word) {
            if end < NEVER && !mutant("unlisted") {
                rare.list(index, record);
            }
        } else if end < before {
            // Release: a search that sees it sees the end. A read-modify-write, so that it also sees the
            // ends of those who set it before.
            rare.is_disordered.swap(true, Ordering::Release);
        }
    }

    fn len(&self) -> u32 {
        self.known_rare().map_or(FIRST as u32, Rare::len)
    }

    /// Shows every record that is live, and waits for those that are claimed or leave. Only while the
    /// slots are shut: then none becomes live meanwhile. One of which `visit` says false is shown again.
    pub(super) fn each_live(&self, mut visit: impl FnMut(&LeaseRecord, &LiveLease) -> bool) {
        for record in (0..self.len()).filter_map(|index| self.get(index)) {
            while record.live().is_some_and(|live| !visit(record, &live)) {}
        }
    }
}
