//! Sets that have slots among their keys, or keys with records.

use crate::concurrency_limiter::SlotKey;
use crate::decision::{Allowed, Refused};
use crate::gate::{self, Entries, Entry, RecordEntries, RecordEntry, Rest, SlotEntries, SlotEntry};
use crate::rate_limiter::Store;
use crate::records::Ask;
use crate::sync::Arc;
use crate::time::{Clock, Timestamp};

use super::{Charged, Kind, Set, SetPermit};

impl<'a, const N: usize> Set<'a, N> {
    #[inline(never)]
    pub(super) fn decide_beside(
        &self,
        ask: Ask,
        now: &mut dyn FnMut(&'a Clock) -> Timestamp,
    ) -> Result<SetPermit<'a, N>, Refused> {
        let asked = match ask {
            Ask::All(cost) => cost,
            Ask::UpTo(up_to) => up_to.min(1),
        };
        let mut entries = Entries::new();
        let mut records = RecordEntries::new();
        let mut slots = SlotEntries::new();
        for (index, key) in self.keys.iter().enumerate() {
            let place = index as u32;
            match &key.0 {
                Kind::Rate(key) => {
                    let (cost, now) = (self.cost(index, key, asked), now(key.clock));
                    match &key.rate.store {
                        Store::Words(cells) => {
                            let mut entry = Entry::blank(cells);
                            entry.ask(cells, key.tag, cost, now, true);
                            entry.place = place;
                            entries.push(entry);
                        }
                        Store::Records(of) => {
                            let entry =
                                RecordEntry::new(&**of, key.tag, cost, now, true, place, false);
                            records.push(entry);
                        }
                    }
                }
                Kind::Slots(key) => {
                    // What is listed several times is asked for once, together.
                    if let Some(weight) = self.weight(index, key) {
                        let (room, now) = (key.room.clone(), now(key.clock));
                        slots.push(SlotEntry::new(room, weight, now, true, place, false));
                    }
                }
            }
        }
        let mut rest = Rest { records: &mut records, slots: &mut slots };
        let decided = match ask {
            Ask::All(0) | Ask::UpTo(0) => gate::peek(&mut entries, &mut rest).map(|()| 0),
            Ask::All(cost) => gate::admit(&mut entries, &mut rest).map(|()| cost),
            Ask::UpTo(up_to) => gate::grant(&mut entries, &mut rest, up_to),
        };
        let cost = decided.map_err(|refusal| self.refused(&refusal, asked, now))?;
        let words_allowed =
            entries.iter().filter_map(|entry| entry.answer().as_ref().ok().copied());
        let records_allowed = records.iter().filter_map(|entry| entry.answer().ok());
        let slots_allowed = slots.iter().filter_map(|entry| entry.answer().ok());
        let tighter = |a: Allowed, b: Allowed| *a.tighter(&b);
        let mut permit = self.nothing(cost);
        let all_allowed = words_allowed.chain(records_allowed).chain(slots_allowed);
        if let Some(allowed) = all_allowed.reduce(tighter) {
            permit.allowed = allowed;
        }
        let words = entries.iter().map(|entry| (entry.place, entry.charge()));
        let records = records.iter().map(|entry| (entry.place, entry.charge()));
        for (place, charge) in words.chain(records) {
            if let (Some(charge), Some(key)) = (charge, self.keys[place as usize].rate()) {
                permit.charges[place as usize] = Some(Charged { rate: key.rate, charge });
            }
        }
        permit.leases = slots.into_iter().filter_map(SlotEntry::lease).collect();
        Ok(permit)
    }

    /// What all listings of the slots weigh, if `index` is the first of them.
    fn weight(&self, index: usize, key: &SlotKey<'_>) -> Option<u32> {
        let same = |other: &SlotKey<'_>| Arc::ptr_eq(&other.room, &key.room);
        let listed = self.keys.iter().enumerate().filter_map(|(at, other)| match &other.0 {
            Kind::Slots(other) if same(other) => Some((at, other.weight)),
            _ => None,
        });
        let mut weight = 0_u32;
        for (at, of_listing) in listed {
            if at < index {
                return None;
            }
            weight = weight.saturating_add(of_listing);
        }
        Some(weight)
    }
}
