//! Space-Saving, the counts of one limit. When all counters are taken, a new key takes over the
//! counter of the key with the lowest count, and keeps that count as an upper bound, since the new
//! key may have been counted and replaced before.

use crate::tagged::TagMap;

use super::BusyKey;

/// The counts of one limit.
#[derive(Default)]
pub(super) struct SpaceSaving {
    counters: Vec<BusyCount>,
    /// The index in `counters` by key hash.
    by_tag: TagMap<usize>,
    /// Indices in `counters`, as a min-heap by count: the first has the lowest count.
    heap: Vec<usize>,
}

struct BusyCount {
    tag: u64,
    text: String,
    /// An upper bound of how often the key was counted.
    count: u64,
    /// The part of `count` that was taken over from replaced keys.
    inherited: u64,
    /// The index of this counter in `heap`.
    place: usize,
}

impl SpaceSaving {
    /// Counts the key once. At most `most` keys are kept; `most` must be at least 1.
    pub(super) fn count(&mut self, most: usize, tag: u64, text: &str) {
        match self.by_tag.get(&tag).copied() {
            Some(at) => self.raise(at),
            None if self.counters.len() < most => self.add(tag, text),
            None => self.replace_least(tag, text),
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = BusyKey> + '_ {
        self.counters.iter().map(|counter| BusyKey {
            key: counter.text.clone(),
            at_most: counter.count,
            at_least: counter.count - counter.inherited,
        })
    }

    fn add(&mut self, tag: u64, text: &str) {
        let (at, place) = (self.counters.len(), self.heap.len());
        self.counters.push(BusyCount { tag, text: text.to_owned(), count: 1, inherited: 0, place });
        self.heap.push(at);
        self.by_tag.insert(tag, at);
        self.sift_up(place);
    }

    fn replace_least(&mut self, tag: u64, text: &str) {
        let Some(&at) = self.heap.first() else { return };
        let least = &mut self.counters[at];
        self.by_tag.remove(&least.tag);
        self.by_tag.insert(tag, at);
        least.tag = tag;
        least.inherited = least.count;
        // Reuse the string, so that a flood of new keys does not allocate for each.
        least.text.clear();
        least.text.reserve_exact(text.len());
        least.text.push_str(text);
        self.raise(at);
    }

    fn raise(&mut self, at: usize) {
        let counter = &mut self.counters[at];
        counter.count = counter.count.saturating_add(1);
        let place = counter.place;
        self.sift_down(place);
    }

    fn sift_up(&mut self, mut place: usize) {
        while place > 0 && self.counted(place) < self.counted((place - 1) / 2) {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    fn sift_down(&mut self, mut place: usize) {
        let children = |place| [2 * place + 1, 2 * place + 2];
        loop {
            let there = children(place).into_iter().filter(|child| *child < self.heap.len());
            match there.min_by_key(|child| self.counted(*child)) {
                Some(child) if self.counted(child) < self.counted(place) => {
                    self.swap(place, child);
                    place = child;
                }
                _ => return,
            }
        }
    }

    fn counted(&self, place: usize) -> u64 {
        self.counters[self.heap[place]].count
    }

    fn swap(&mut self, place: usize, other: usize) {
        self.heap.swap(place, other);
        for place in [place, other] {
            self.counters[self.heap[place]].place = place;
        }
    }
}
