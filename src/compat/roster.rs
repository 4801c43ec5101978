//! Ids, each of which is there until a moment.

use std::collections::VecDeque;

use crate::tagged::TagMap;
use crate::time::Timestamp;

/// Ids by the moment at which they leave: each at 16 bytes and the map's slack, and each moment at
/// 16.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    until: TagMap<Timestamp>,
    /// How many leave at each moment. Moments rise, and are few where they are those of granules.
    leaving: VecDeque<(Timestamp, u64)>,
}

/// At the end of time nobody leaves.
fn has_left(until: Timestamp, now: Timestamp) -> bool {
    until <= now && until < Timestamp::MAX
}

impl Roster {
    /// How many there are, with those that should have left and were not [reaped](Self::reap).
    pub(crate) fn len(&self) -> u64 {
        self.until.len() as u64
    }

    /// How many have not left.
    pub(crate) fn live(&self, now: Timestamp) -> u64 {
        let left = self.leaving.iter().take_while(|(until, _)| has_left(*until, now));
        self.len() - left.map(|(_, ids)| ids).sum::<u64>()
    }

    pub(crate) fn is_live(&self, id: u64, now: Timestamp) -> bool {
        self.until.get(&id).is_some_and(|until| !has_left(*until, now))
    }

    /// The moment from which on at most `ids` are there; the beginning of time if it always is so.
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

    /// When the last leaves.
    pub(crate) fn last(&self) -> Timestamp {
        self.leaving.back().map_or(Timestamp::ZERO, |(until, _)| *until)
    }

    /// Removes those that have left, and says how many they were.
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

    /// Lets `id` be there `until` a moment, which is not before that of any other.
    pub(crate) fn put(&mut self, id: u64, until: Timestamp) {
        self.remove(id);
        let until = until.max(self.last());
        match self.leaving.back_mut() {
            Some((last, ids)) if *last == until => *ids += 1,
            _ => self.leaving.push_back((until, 1)),
        }
        self.until.insert(id, until);
    }

    /// Removes an id, if it is there.
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

    /// Bytes allocated, its own included.
    pub(crate) fn bytes(&self) -> usize {
        // A map of n entries has room for n * 7 / 8 of them, and a byte of its own for each.
        let ids = self.until.capacity() * 8 / 7 * (size_of::<(u64, Timestamp)>() + 1);
        size_of::<Roster>() + ids + self.leaving.capacity() * size_of::<(Timestamp, u64)>()
    }
}
