//! The table: finds the slot of a key, and claims one for a new key. It knows key hashes and words,
//! not what a word means: callers pass that as a [`Meaning`].
//!
//! A *line* is one cache line: [`SLOTS`] key hashes, then their words. A *group* is a run of lines
//! with one lock. A key is in its group, as near as possible behind its home line, which its hash
//! names. The table grows by levels. At level l the low l bits of a key hash name its group. Group
//! i is *born* when its parent (i without its top bit) is split into itself and i, each word moving
//! to the same place in the twin; until then its keys are in the parent. Allocations are never
//! moved or freed, so readers need no lock.
//!
//! While the table is smaller than [`CACHED_BYTES`], an idle key keeps its slot: most keys of a
//! service are idle again by their next visit, and a claim takes a lock. In a larger table a new
//! key takes the slot that has been idle longest in the nearest line with an idle slot, and the
//! table grows only for keys that are not idle.

mod group;
mod line;

use crate::sync::{AtomicU64, OnceLock, Ordering};

use super::word::{self, NEVER_USED};

use group::{GroupPlace, Segment, home, wrap};
use line::{SLOTS, SlotLine, SlotOfLine, cell, count_touch, read, take_out};

pub(super) use group::{ClaimedSlot, Meaning};
pub(super) use line::Cell;
#[cfg(test)]
pub(super) use line::touches;

/// Lines in a group: between this and twice this, unless the table has a single group.
#[cfg(not(tollgate_loom))]
const GROUP_LINES: usize = 128;
#[cfg(tollgate_loom)]
const GROUP_LINES: usize = 1;

/// While the table can grow, a key is in one of this many lines from its home line on. With 2 a
/// small table is twice as large and leaves the first-level cache. With 8 it is no smaller, and
/// 10,000 keys take a quarter longer, since more are behind the second line.
const NEAR: usize = 4;

/// This many lines are searched before anything else is read: they hold nearly all keys of a table
/// that can grow.
const LOOKED_AT: usize = 2;

/// The logarithm of how many groups the root segment has. A group of a small table is found without
/// computing its segment.
#[cfg(not(tollgate_loom))]
const ROOT_BITS: u32 = 2;
#[cfg(tollgate_loom)]
const ROOT_BITS: u32 = 0;
const ROOT_GROUPS: usize = 1 << ROOT_BITS;

/// The most segments of a table. That is room for 10^10 keys, in 240 GB; a larger `max_keys` is
/// treated as that.
#[cfg(not(tollgate_loom))]
const SEGMENTS: usize = 24;
#[cfg(tollgate_loom)]
const SEGMENTS: usize = 4;

/// A table grows to this size rather than forget idle keys: 100,000 keys take 3 MiB. With 1 MiB,
/// four in ten of them claim a slot at each visit, and a check takes four times as long.
#[cfg(not(tollgate_loom))]
pub(super) const CACHED_BYTES: usize = 1 << 22;
#[cfg(tollgate_loom)]
pub(super) const CACHED_BYTES: usize = 2 * size_of::<SlotLine>();

/// Lines for each 128 keys of the capacity: 1.47 slots a key, or 24 bytes with the bookkeeping.
/// Keys fall on groups at random; a group of 512 slots whose mean is 348 keys overflows with a
/// chance of 10^-15.
#[cfg(not(tollgate_loom))]
const LINES_PER_128_KEYS: usize = 47;
#[cfg(tollgate_loom)]
const LINES_PER_128_KEYS: usize = 64;

// The order of fields puts all that finds a key of a small table on one cache line, without a
// pointer to the segments.
#[repr(C)]
pub(crate) struct Table {
    /// The low bits of a key hash that name its group, as many as the level. Only rises.
    mask: AtomicU64,
    /// Lines in each group.
    lines: usize,
    /// The first holds the first `1 << ROOT_BITS` groups, each later one the groups that one doubling
    /// of the table adds.
    segments: [OnceLock<Segment>; SEGMENTS],
    /// The mask at which the table has its full size.
    top: u64,
    /// Below this mask the table grows rather than forget idle keys.
    cached: u64,
}

/// What a claim writes to the new slot.
pub(crate) enum Start {
    With(u64),
    /// No slot is wanted.
    None,
    /// The caller's parameters are no longer in force.
    Stale,
}

impl Table {
    pub(crate) fn new(max_keys: usize) -> Table {
        let all = max_keys.saturating_mul(LINES_PER_128_KEYS).div_ceil(128).max(1);
        let levels = (all / GROUP_LINES).max(1).ilog2().min(ROOT_BITS + SEGMENTS as u32 - 1);
        // The bound matters only if the number of levels was cut.
        let lines = (all >> levels).min(2 * GROUP_LINES - 1);
        let cached = (CACHED_BYTES / (lines * size_of::<SlotLine>())).max(1).ilog2();
        Table {
            mask: AtomicU64::new(0),
            top: low_bits(levels),
            cached: low_bits(cached.min(levels)),
            lines,
            segments: std::array::from_fn(|_| OnceLock::new()),
        }
    }

    /// The slot of the key and its word, if they are found. `None` does not prove that the key is
    /// absent: `claim` looks under the lock.
    ///
    /// `spread` is [`word::spread`] of the key hash.
    #[inline(always)]
    pub(crate) fn find(&self, tag: u64, spread: u64) -> Option<(Cell<'_>, u64)> {
        // Relaxed: every level there ever was finds the key or leads to `claim`.
        let mask = self.mask.load(Ordering::Relaxed);
        let group = (tag & mask) as usize;
        // A branch on the mask, which rarely changes, so the processor predicts it. It could not
        // predict the segment of a group.
        let (segment, index) = if mask < ROOT_GROUPS as u64 {
            (&self.segments[0], group)
        } else {
            self.segment_of(group)?
        };
        // A segment that is not made yet has only unborn groups.
        if let Some(segment) = segment.get() {
            let mut line = home(spread, self.lines);
            for _ in 0..LOOKED_AT {
                let found =
                    segment.line(index * self.lines + line).and_then(|line| read(line, tag));
                if found.is_some() {
                    return found;
                }
                line = wrap(line + 1, self.lines);
            }
        }
        let (line, slot) = self.find_beyond(tag, spread)?;
        let cell = cell(line, slot, tag);
        Some((cell, cell.load()?))
    }

    /// The slot of a key that is not in the first two lines.
    // Not inlined; the arguments and the result fit registers.
    #[inline(never)]
    fn find_beyond(&self, tag: u64, spread: u64) -> Option<SlotOfLine<'_>> {
        let mut group = (tag & self.mask.load(Ordering::Relaxed)) as usize;
        let mut from = LOOKED_AT;
        loop {
            if let Some(place) = self.place(group) {
                if let Some(spot) = place.find(tag, spread, from) {
                    return Some(spot);
                }
                // Acquire: pairs with the Release in `split`, so the words that moved at birth are
                // seen.
                if place.group.born.load(Ordering::Acquire) {
                    return None;
                }
            }
            // The group is not born: the key may be in its parent.
            group = parent(group)?;
            from = 0;
        }
    }

    /// Prefetches the key's home line, without waiting for the memory.
    #[inline]
    pub(crate) fn touch(&self, tag: u64) -> u64 {
        let group = (tag & self.mask.load(Ordering::Relaxed)) as usize;
        let Some(place) = self.place(group) else { return 0 };
        let line = place.line(place.home(word::spread(tag)));
        line.map_or(0, |line| line[0].load(Ordering::Relaxed))
    }

    /// Claims a slot for the key, unless it has one. Works under the lock of the key's group.
    ///
    /// `start` is called under the lock with the group's `forgotten` stamp, and returns what to
    /// write.
    #[inline]
    pub(crate) fn claim(
        &self,
        tag: u64,
        meaning: &impl Meaning,
        mut start: impl FnMut(u64) -> Start,
    ) -> ClaimedSlot<'_> {
        let spread = word::spread(tag);
        loop {
            let (group, place) = self.home(tag);
            // First without the lock: a key that is present takes none.
            if let Some(spot) = place.find(tag, spread, 0) {
                return ClaimedSlot::Present(cell(spot.0, spot.1, tag));
            }
            let guard = place.group.lock();
            // Keys are claimed in this group, and moved out of it, only under this lock.
            let mask = self.mask.load(Ordering::Acquire);
            if !self.is_home(tag, mask, group) {
                continue;
            }
            if let Some(spot) = place.find(tag, spread, 0) {
                return ClaimedSlot::Present(cell(spot.0, spot.1, tag));
            }
            if let Some(child) = next_towards(group, (tag & mask) as usize) {
                self.split(&place, child);
                continue;
            }
            // Relaxed: written under this lock.
            let start = match start(place.group.forgotten.load(Ordering::Relaxed)) {
                Start::With(word) => word,
                Start::None => return ClaimedSlot::None,
                Start::Stale => return ClaimedSlot::Stale,
            };
            let lines = if mask < self.top { self.lines.min(NEAR) } else { self.lines };
            let may_forget = mask >= self.cached;
            let claim = place.take(tag, spread, start, lines, may_forget, meaning);
            let ClaimedSlot::Full { .. } = claim else { return claim };
            // Under the same lock: there is no room, and a child is unborn or not.
            match self.unborn_child(group, mask) {
                Some(child) => self.split(&place, child),
                None if mask < self.top => {
                    drop(guard);
                    // Relaxed: a level only says where to look first.
                    let _ = self.mask.compare_exchange(
                        mask,
                        mask << 1 | 1,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    );
                }
                None => return claim,
            }
        }
    }

    /// A group that would take words from `group` at its birth.
    fn unborn_child(&self, group: usize, mask: u64) -> Option<usize> {
        let bits = usize::BITS - group.leading_zeros();
        let level = mask.count_ones();
        (bits..level).map(|bit| group | 1 << bit).find(|child| !self.is_born(*child))
    }

    fn is_born(&self, group: usize) -> bool {
        // Acquire: pairs with the Release in `split`, so the words that moved at birth are seen.
        self.place(group).is_some_and(|place| place.group.born.load(Ordering::Acquire))
    }

    /// The `forgotten` stamp of the key's group, if the key has no slot: both read under the lock.
    pub(crate) fn absent(&self, tag: u64) -> Option<u64> {
        loop {
            let (group, place) = self.home(tag);
            let _guard = place.group.lock();
            if self.is_home(tag, self.mask.load(Ordering::Acquire), group) {
                let is_absent = place.find(tag, word::spread(tag), 0).is_none();
                // Relaxed: written under this lock.
                return is_absent.then(|| place.group.forgotten.load(Ordering::Relaxed));
            }
        }
    }

    /// The `forgotten` stamp of the key's group, read before a claim.
    pub(crate) fn forgotten(&self, tag: u64) -> u64 {
        // Acquire: pairs with the Release in `GroupPlace::take`.
        self.home(tag).1.group.forgotten.load(Ordering::Acquire)
    }

    /// Splits the parent `place` to create `child`. The caller holds the parent's lock.
    fn split(&self, place: &GroupPlace<'_>, child: usize) {
        let Some(twin) = self.place_or_allocate(child) else { return };
        let bits = (child + 1).next_power_of_two() as u64 - 1;
        let mut moved = 0;
        for index in 0..self.lines {
            let (Some(from), Some(to)) = (place.line(index), twin.line(index)) else { return };
            for slot in 0..SLOTS {
                count_touch();
                // Relaxed: key hashes change only under this lock.
                let tag = from[slot].load(Ordering::Relaxed);
                if tag == 0 || tag & bits != child as u64 {
                    continue;
                }
                let word_at = &from[SLOTS + slot];
                let word = take_out(word_at);
                // Release, twice: pairs with the Acquire loads in `Cell::load`, so a thread that
                // sees the key hash sees the word.
                to[SLOTS + slot].store(word, Ordering::Release);
                to[slot].store(tag, Ordering::Release);
                // Release: pairs with `Cell::load`, so a thread that sees the slot empty again sees
                // where its key has gone.
                from[slot].store(0, Ordering::Release);
                word_at.store(NEVER_USED, Ordering::Release);
                moved += 1;
            }
            // Relaxed: exact reads happen only under the twin's lock, after its birth.
            let reach = place.reach(index).load(Ordering::Relaxed);
            twin.reach(index).fetch_max(reach, Ordering::Relaxed);
        }
        let forgotten = place.group.forgotten.load(Ordering::Relaxed);
        twin.group.forgotten.fetch_max(forgotten, Ordering::Relaxed);
        // Relaxed: like `forgotten`, the counts are read under the locks.
        place.group.unused.fetch_add(moved, Ordering::Relaxed);
        twin.group.unused.fetch_sub(moved, Ordering::Relaxed);
        // Release: publishes all that moved. Pairs with the Acquire loads of `born`.
        twin.group.born.store(true, Ordering::Release);
    }

    /// Shows every used slot to `visit`, group by group, each under its lock.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(Cell<'_>)) {
        // Allocates the root if needed, so that the first claim in it comes entirely before or
        // after this walk. Every other group is born under the lock of a group that the walk
        // visits.
        self.place_or_allocate(0);
        // Lazy: a segment may be made during the walk.
        let made = (0..self.segments.len()).filter(|at| self.segments[*at].get().is_some());
        for group in made.flat_map(|at| first_group(at)..first_group(at + 1)) {
            let Some(place) = self.place(group) else { continue };
            let _guard = place.group.lock();
            for line in (0..self.lines).filter_map(|index| place.line(index)) {
                for slot in 0..SLOTS {
                    // Relaxed: key hashes change only under this lock.
                    let tag = line[slot].load(Ordering::Relaxed);
                    if tag != 0 {
                        visit(Cell { tag_at: &line[slot], word: &line[SLOTS + slot], tag });
                    }
                }
            }
        }
    }

    /// Bytes allocated outside this struct.
    pub(crate) fn memory(&self) -> usize {
        let segments = self.segments.iter().filter_map(OnceLock::get);
        segments.map(Segment::memory).sum::<usize>()
    }

    /// The group that holds the key, if any does.
    #[inline(always)]
    fn home(&self, tag: u64) -> (usize, GroupPlace<'_>) {
        let mut group = (tag & self.mask.load(Ordering::Acquire)) as usize;
        loop {
            match self.place(group) {
                // Acquire: pairs with the Release in `split`, so the words that moved at birth are
                // seen.
                Some(place) if place.group.born.load(Ordering::Acquire) => return (group, place),
                _ => group = parent(group).unwrap_or_else(|| self.make_root()),
            }
        }
    }

    /// Whether the key's group at this mask is `group`, which is born.
    #[inline(always)]
    fn is_home(&self, tag: u64, mask: u64, group: usize) -> bool {
        let target = (tag & mask) as usize;
        target == group || self.home(tag).0 == group
    }

    /// Allocates group 0 and marks it born, when a caller first asks for the group of a key.
    #[cold]
    fn make_root(&self) -> usize {
        if let Some(root) = self.place_or_allocate(0) {
            root.group.born.store(true, Ordering::Release);
        }
        0
    }

    #[inline(always)]
    fn place(&self, group: usize) -> Option<GroupPlace<'_>> {
        let (segment, index) = self.segment_of(group)?;
        GroupPlace::new(segment.get()?, index, self.lines)
    }

    fn place_or_allocate(&self, group: usize) -> Option<GroupPlace<'_>> {
        let (segment, index) = self.segment_of(group)?;
        // A small table may have fewer groups than the root segment can hold.
        let groups = if group < ROOT_GROUPS {
            ROOT_GROUPS.min(self.top as usize + 1)
        } else {
            1 << group.ilog2()
        };
        let segment = segment.get_or_init(|| Segment::new(groups, self.lines));
        GroupPlace::new(segment, index, self.lines)
    }

    /// The segment of a group, and its index there.
    #[inline(always)]
    fn segment_of(&self, group: usize) -> Option<(&OnceLock<Segment>, usize)> {
        // Without a branch, which the processor could not predict.
        let at = (usize::BITS - (group >> ROOT_BITS).leading_zeros()) as usize;
        Some((self.segments.get(at)?, group - first_group(at)))
    }
}

/// The first group of a segment.
#[inline(always)]
fn first_group(segment: usize) -> usize {
    // 0 for the first; for each other, how many groups all segments before it have.
    (ROOT_GROUPS << segment >> 1) & !(ROOT_GROUPS - 1)
}

/// The group without its top bit, from which it is split.
fn parent(group: usize) -> Option<usize> {
    (group != 0).then(|| group & !(1 << group.ilog2()))
}

/// The first unborn group on the way from `group` down to `target`.
fn next_towards(group: usize, target: usize) -> Option<usize> {
    let missing = group ^ target;
    (missing != 0).then(|| group | 1 << missing.trailing_zeros())
}

/// A number whose `count` lowest bits are set.
fn low_bits(count: u32) -> u64 {
    (1 << count) - 1
}
