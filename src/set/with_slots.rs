//! Sets that have slots among their keys.

use smallvec::SmallVec;

use crate::concurrency_limiter::SlotKey;
use crate::decision::{Allowed, Refused};
use crate::gate::{self, Entries, Entry, SlotEntries, SlotEntry};
use crate::sync::Arc;
use crate::time::{Clock, Timestamp};

use super::{Charged, Kind, Set, SetPermit};

impl<'a, const N: usize> Set<'a, N> {
    #[inline(never)]
    pub(super) fn decide_with_slots(
        &self,
        cost: u64,
        now: &mut dyn FnMut(&'a Clock) -> Timestamp,
    ) -> Result<SetPermit<'a, N>, Refused> {
        let mut entries = Entries::new();
        let mut slots = SlotEntries::new();
        let mut rates: SmallVec<[_; gate::INLINE]> = SmallVec::new();
        for (index, key) in self.keys.iter().enumerate() {
            let place = index as u32;
            match &key.0 {
                Kind::Rate(key) => {
                    let cost = self.cost(index, key, cost);
                    let mut entry = Entry::blank(&key.rate.cells);
                    entry.ask(&key.rate.cells, key.tag, cost, now(key.clock), true);
                    entry.place = place;
                    entries.push(entry);
                    rates.push(key.rate);
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
        let decided = if cost == 0 {
            gate::peek(&mut entries, &mut slots)
        } else {
            gate::admit(&mut entries, &mut slots)
        };
        if let Err(refusal) = decided {
            self.serve(&entries);
            slots.iter().for_each(SlotEntry::serve);
            return Err(self.refused(&entries, &refusal, cost));
        }
        let rates_allowed =
            entries.iter().filter_map(|entry| entry.answer().as_ref().ok().copied());
        let slots_allowed = slots.iter().filter_map(|entry| entry.answer().ok());
        let tighter = |a: Allowed, b: Allowed| *a.tighter(&b);
        let mut permit = self.nothing(cost);
        if let Some(allowed) = rates_allowed.chain(slots_allowed).reduce(tighter) {
            permit.allowed = allowed;
        }
        for (entry, rate) in entries.iter().zip(rates) {
            if let Some(charge) = entry.charge() {
                permit.charges[entry.place as usize] = Some(Charged { rate, charge });
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
