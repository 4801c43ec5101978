//! [`Roster`]: a set of ids, each present until a moment.
//!
//! The state of a key in `slots_by_id` and `distinct_limiter`.

use std::collections::VecDeque;

use crate::tagged::TagMap;
use crate::time::Timestamp;

/// Ids by the moment at which they leave. An id takes 16 bytes and the map's slack, a moment 16
/// bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    until: TagMap<Timestamp>,
    /// The number of ids that leave at each moment, in ascending order. Few entries if all moments
    /// are ends of granules.
    leaving: VecDeque<(Timestamp, u64)>,
}

/// An id that stays until the end of time never leaves.
fn has_left(until: Timestamp, now: Timestamp) -> bool {
    until <= now && until < Timestamp::MAX
}

impl Roster {
    /// The number of ids, including ids that are due to leave and were not [reaped](Self::reap).
    pub(crate) fn len(&self) -> u64 {
        self.until.len() as u64
    }

    /// The number of ids that are not due to leave.
    pub(crate) fn live(&self, now: Timestamp) -> u64 {
        let left = self.leaving.iter().take_while(|(until, _)| has_left(*until, now));
        self.len() - left.map(|(_, ids)| ids).sum::<u64>()
    }

    pub(crate) fn is_live(&self, id: u64, now: Timestamp) -> bool {
        self.until.get(&id).is_some_and(|until| !has_left(*until, now))
    }

    /// The moment from which on at most `ids` are left; [`Timestamp::ZERO`] if that holds already.
    pub(crate) fn down_to(&self, ids: u64) -> Timestamp {
        let mut there = self.len();
        let mut from = Timestamp::ZERO;
        for (until, leave) in &self.leaving {
            if there <= ids {
                break;
            }
            there -= leave;
            from = *until;
        }
        from
    }

    /// The moment at which the last id leaves.
    pub(crate) fn last(&self) -> Timestamp {
        self.leaving.back().map_or(Timestamp::ZERO, |(until, _)| *until)
    }

    /// Removes the ids that are due to leave, and returns their number.
    pub(crate) fn reap(&mut self, now: Timestamp) -> u64 {
        let mut reaped = 0;
        while let Some((_, ids)) = self.leaving.front().filter(|(until, _)| has_left(*until, now)) {
            reaped += ids;
            self.leaving.pop_front();
        }
        if reaped > 0 {
            self.until.retain(|_, until| !has_left(*until, now));
        }
        reaped
    }

    /// Inserts `id` until a moment, which is raised to the latest moment of any other id.
    pub(crate) fn put(&mut self, id: u64, until: Timestamp) {
        self.remove(id);
        let until = until.max(self.last());
        match self.leaving.back_mut() {
            Some((last, ids)) if *last == until => *ids += 1,
            _ => self.leaving.push_back((until, 1)),
        }
        self.until.insert(id, until);
    }

    /// Removes an id, if present.
    pub(crate) fn remove(&mut self, id: u64) {
        let Some(until) = self.until.remove(&id) else { return };
        let at = self.leaving.partition_point(|(moment, _)| *moment < until);
        if let Some((_, ids)) = self.leaving.get_mut(at) {
            *ids -= 1;
        }
        while self.leaving.back().is_some_and(|(_, ids)| *ids == 0) {
            self.leaving.pop_back();
        }
    }

    /// The bytes allocated, including the roster itself.
    pub(crate) fn bytes(&self) -> usize {
        // A map with room for n entries allocates n * 8 / 7 slots, and one more byte for each.
        let ids = self.until.capacity() * 8 / 7 * (size_of::<(u64, Timestamp)>() + 1);
        size_of::<Roster>() + ids + self.leaving.capacity() * size_of::<(Timestamp, u64)>()
    }
}
