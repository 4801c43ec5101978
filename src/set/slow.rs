//! Sets that the fast path does not decide: as a transaction.

use crate::concurrency_limiter::SlotKey;
use crate::decision::{Allowed, Refused};
use crate::records::Ask;
use crate::sync::Arc;
use crate::time::{Clock, Timestamp};
use crate::transaction::{self, Asked, Entries, Entry};

use super::{Charged, Kind, Set, SetPermit};

impl<'a, const N: usize> Set<'a, N> {
    #[inline(never)]
    pub(super) fn decide_slow(
        &self,
        ask: Ask,
        now: &mut dyn FnMut(&'a Clock) -> Timestamp,
    ) -> Result<SetPermit<'a, N>, Refused> {
        let units = match ask {
            Ask::All(cost) => cost,
            Ask::UpTo(up_to) => up_to.min(1),
        };
        let mut entries = Entries::new();
        for (index, key) in self.keys.iter().enumerate() {
            let place = index as u32;
            let asked = |cost, now| Asked { place, cost, now, enforced: true, turn: false };
            match &key.0 {
                Kind::Rate(key) => {
                    let asked = asked(self.cost(index, key, units), now(key.clock));
                    entries.push(Entry::rate(&key.rate.store, key.tag, asked));
                }
                Kind::Slots(key) => {
                    // What is listed several times is asked for once, together.
                    if let Some(weight) = self.weight(index, key) {
                        let asked = asked(weight.into(), now(key.clock));
                        entries.push(Entry::slots(key.room.clone(), asked));
                    }
                }
            }
        }
        let decided = match ask {
            Ask::All(0) | Ask::UpTo(0) => transaction::peek(&mut entries).map(|()| 0),
            Ask::All(cost) => transaction::admit(&mut entries).map(|()| cost),
            Ask::UpTo(up_to) => transaction::grant(&mut entries, up_to),
        };
        let cost = decided.map_err(|refusal| self.refused(&refusal, units, now))?;
        let mut permit = self.nothing(cost);
        let all_allowed = entries.iter().filter_map(|entry| entry.answer().ok());
        if let Some(allowed) = all_allowed.reduce(|a: Allowed, b| *a.tighter(&b)) {
            permit.allowed = allowed;
        }
        for entry in &entries {
            let place = entry.asked.place as usize;
            if let (Some(charge), Some(key)) = (entry.charge(), self.keys[place].rate()) {
                permit.charges[place] = Some(Charged { rate: key.rate, charge });
            }
        }
        let leases: Box<[_]> = entries.into_iter().filter_map(Entry::lease).collect();
        permit.leases = (!leases.is_empty()).then_some(leases);
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
