//! Which lease of a limit ends first.
//!
//! The first records are looked at each time. For the others there is a heap of records by their ends,
//! kept under the lock of the slots. Takers do not touch it, so it is behind: the entry of a record may
//! have the end of an earlier lease in that record. Such an end is too early and does no harm: the entry
//! on top is compared with its record, and corrected. If the two agree no lease ends sooner.
//!
//! A record that has an entry is *listed*. A taker that claims one that is not puts it on a list
//! (`Rare::news`), from which the next search takes it. A taker whose lease ends sooner than the
//! one before in its record says so, since the entry is then too late, and the next search corrects all
//! entries. That happens where a clock goes back, where leases become shorter, and where two
//! threads read the clock in one order and claim the record in the other.

use std::cmp::Reverse;

use crate::sync::{Backoff, Ordering, mutant};

use super::rare::Ends;
use super::record::{LiveLease, NEVER};
use super::records::LeaseRecords;

/// The index of a live record, and its lease.
pub(super) type FirstEnd = (u32, LiveLease);

impl Ends {
    /// The lease that ends first, with the index of its record; `None` if no lease has an end. Only while
    /// the slots are shut. Waits while a record that matters is claimed or leaving.
    pub(super) fn first(&mut self, records: &LeaseRecords) -> Option<FirstEnd> {
        let mut first = self.first_of_heap(records);
        for (index, record) in (0..).zip(&records.first) {
            let end = first.as_ref().map_or(NEVER, |(_, live)| live.end);
            if let Some(live) = record.live().filter(|live| live.end < end) {
                first = Some((index, live));
            }
        }
        first
    }

    fn first_of_heap(&mut self, records: &LeaseRecords) -> Option<FirstEnd> {
        self.catch_up(records);
        let backoff = Backoff::default();
        loop {
            let Reverse((end, index)) = *self.0.peek()?;
            let record = records.get(index)?;
            match record.live() {
                Some(live) if live.end == end => return (end < NEVER).then_some((index, live)),
                Some(live) => {
                    self.0.pop();
                    self.0.push(Reverse((live.end, index)));
                }
                None if record.unlist() => {
                    self.0.pop();
                }
                None => backoff.snooze(),
            }
        }
    }

    /// Takes over what was listed since, and the ends of all if one is too late here.
    fn catch_up(&mut self, records: &LeaseRecords) {
        let rare = records.rare();
        // Acquire: sees the ends that are sooner than those here.
        let is_disordered = rare.is_disordered.load(Ordering::Relaxed)
            && rare.is_disordered.swap(false, Ordering::Acquire);
        // Relaxed: published with the flag, or as the record was listed.
        let entry = |index| Some(Reverse((records.get(index)?.end.load(Ordering::Relaxed), index)));
        if is_disordered && !mutant("disorder_unseen") {
            let entries = std::mem::take(&mut self.0).into_vec();
            self.0 = entries.into_iter().filter_map(|Reverse((_, index))| entry(index)).collect();
        }
        // Acquire: sees the ends of the records that are listed.
        let mut listed = match rare.news.load(Ordering::Relaxed) {
            0 => 0,
            _ => rare.news.swap(0, Ordering::Acquire),
        };
        while let Some(index) = listed.checked_sub(1) {
            self.0.extend(entry(index));
            listed = records.get(index).map_or(0, |record| record.next.load(Ordering::Relaxed));
        }
    }
}
