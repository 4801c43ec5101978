//! The search for the lease of a limit that ends first.
//!
//! The search reads the first records each time. For the others it has a heap of records by their
//! ends, under the lock of the slots. Takers do not touch the heap, so it lags behind: the entry of
//! a record may have the end of an earlier lease in that record. Such an end is too early and does
//! no harm, because the search compares the top entry with its record and corrects the entry. If
//! the two agree, no lease ends sooner.
//!
//! A record with an entry is *listed*. A taker that claims an unlisted record puts it on a list
//! (`Rare::news`), from which the next search takes it. A taker whose lease ends sooner than the
//! lease before in its record sets `Rare::is_disordered`, because the entry is then too late, and
//! the next search corrects all entries. That happens if a clock goes back, if leases become
//! shorter, and if two threads read the clock in one order and claim the record in the other.

use std::cmp::Reverse;

use crate::sync::{Backoff, Ordering};

use super::rare::Ends;
use super::record::{LiveLease, NEVER};
use super::records::LeaseRecords;

/// The index of a live record, and its lease.
pub(super) type FirstEnd = (u32, LiveLease);

impl Ends {
    /// The lease that ends first, with the index of its record; `None` if no lease has an end. Only
    /// under exclusive access. Waits while a record that matters is claimed or leaving.
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

    /// Adds the records that were listed since the last search, and reads all ends again if the
    /// entry of one is too late.
    fn catch_up(&mut self, records: &LeaseRecords) {
        let rare = records.rare();
        // Acquire: pairs with the Release in `LeaseRecords::tell`. Sees the ends that are sooner
        // than their entries.
        let is_disordered = rare.is_disordered.load(Ordering::Relaxed)
            && rare.is_disordered.swap(false, Ordering::Acquire);
        // Relaxed: the Acquire of the flag or of the list makes the ends visible.
        let entry = |index| Some(Reverse((records.get(index)?.end.load(Ordering::Relaxed), index)));
        if is_disordered {
            let entries = std::mem::take(&mut self.0).into_vec();
            self.0 = entries.into_iter().filter_map(|Reverse((_, index))| entry(index)).collect();
        }
        // Acquire: pairs with the Release in `Rare::list`. Sees the ends of the listed records.
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
