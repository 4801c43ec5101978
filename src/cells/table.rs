//! The table: where the word of a key stands. It knows tags and words, not what a word means.
//!
//! A *line* is one cache line: [`SLOTS`] tags, then their words. A *group* is a run of lines with
//! one lock; a key lives in its group, as near as possible behind the line that its tag names.
//! The table grows by levels. At level l the low l bits of a tag name its group; group i is *born*
//! when its parent (i without its top bit) is split into itself and i, each word going to the same
//! place in the twin. Until then its keys stand in the parent. What is allocated is never moved
//! or freed, so that nobody who reads needs a lock.

use crate::sync::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, Backoff, Mutex, OnceLock, Ordering, mutant,
};

use super::word::{self, IN_TRANSIT, NEVER_USED};

/// Slots in a line of 64 bytes.
#[cfg(not(tollgate_loom))]
const SLOTS: usize = 4;
#[cfg(tollgate_loom)]
const SLOTS: usize = 2;

const LINE: usize = 2 * SLOTS;

type Line = [AtomicU64; LINE];

/// A line and a slot of it.
type Spot<'a> = (&'a Line, usize);

/// Lines in a group: between this and twice it, unless one group is all there is.
#[cfg(not(tollgate_loom))]
const GROUP_LINES: usize = 128;
#[cfg(tollgate_loom)]
const GROUP_LINES: usize = 1;

/// While the table can grow, a key stands at most this many lines from its own.
const NEAR: usize = 8;

/// Lines for each 128 keys of the capacity: 1.47 slots a key, which with the bookkeeping makes
/// 24 bytes. Keys fall on groups at random, and a group of 512 slots whose mean is 348 keys
/// overfills with a chance of 10^-15.
#[cfg(not(tollgate_loom))]
const LINES_PER_128_KEYS: usize = 47;
#[cfg(tollgate_loom)]
const LINES_PER_128_KEYS: usize = 64;

pub(crate) struct Table {
    /// How many low bits of a tag name its group. Only rises.
    level: AtomicU32,
    /// The level at which the table has its full size.
    top: u32,
    /// Lines of a group.
    lines: usize,
    /// Segment 0 is group 0; segment s holds the 2^(s-1) groups that level s adds.
    segments: Box<[OnceLock<Segment>]>,
}

struct Segment {
    /// Lines, from the first multiple of a line's size on.
    words: Box<[AtomicU64]>,
    start: usize,
    groups: Box<[Group]>,
    /// For each line, how far the keys that it names may stand from it. Only rises.
    reach: Box<[AtomicU8]>,
}

/// What is known of a group besides its lines.
struct Group {
    /// Held to claim, move or look for the absence of keys.
    lock: Mutex<()>,
    born: AtomicBool,
    /// The latest stamp, in nanoseconds, at which a forgotten key's bucket was full. Written under
    /// the lock.
    forgotten: AtomicU64,
}

/// A slot that was found to be a key's.
#[derive(Clone, Copy)]
pub(crate) struct Cell<'a> {
    tag_at: &'a AtomicU64,
    pub(crate) word: &'a AtomicU64,
    pub(crate) tag: u64,
}

impl<'a> Cell<'a> {
    /// A cell outside the table.
    pub(crate) fn apart(tag_at: &'a AtomicU64, word: &'a AtomicU64, tag: u64) -> Self {
        Cell { tag_at, word, tag }
    }

    /// The word, unless the slot has gone to another key.
    #[inline]
    pub(crate) fn load(&self) -> Option<u64> {
        // Acquire: if the word is another key's, that key's tag is visible below.
        let word = self.word.load(Ordering::Acquire);
        // Acquire: if the tag was put back since, that it had been away is visible in the word
        // when it is loaded again (`is_still`).
        (self.tag_at.load(Ordering::Acquire) == self.tag).then_some(word)
    }

    /// Whether the word is what `load` said: what was decided without writing stands.
    #[inline]
    pub(crate) fn is_still(&self, word: u64) -> bool {
        self.word.load(Ordering::Relaxed) == word
    }

    /// Writes `new` if the word is still `old`.
    #[inline]
    pub(crate) fn replace(&self, old: u64, new: u64) -> bool {
        if mutant("replace_by_store") {
            self.word.store(new, Ordering::Release);
            return true;
        }
        // Release: whoever reads this word and then the clock sees no earlier time than its writer
        // saw (settling), and whoever reads it as a commit sees what the transaction holds.
        self.word.compare_exchange(old, new, Ordering::Release, Ordering::Relaxed).is_ok()
    }
}

/// What a word means to the table.
pub(crate) enum Use {
    /// Its key is idle, its bucket full since the stamp `since`, in nanoseconds.
    Idle { since: u64 },
    /// Its key is in debt until the stamp `until`.
    Live { until: u64 },
    /// Written under numbers the caller does not know.
    Unknown,
}

/// What became of a claim.
pub(crate) enum Claim<'a> {
    /// The slot is the key's, with the word that was asked for.
    Made(Cell<'a>),
    /// The key was there.
    Present(Cell<'a>),
    /// The caller decided on what is no longer so.
    Stale,
    /// No slot is free before the stamp `until`.
    Full { until: u64 },
}

impl Table {
    pub(crate) fn new(max_keys: usize) -> Table {
        let all = max_keys.saturating_mul(LINES_PER_128_KEYS).div_ceil(128).max(1);
        let top = (all / GROUP_LINES).max(1).ilog2();
        Table {
            level: AtomicU32::new(0),
            top,
            lines: all >> top,
            segments: (0..=top).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The slot of the key, if it is seen. That it is not seen proves nothing: see `claim`.
    #[inline(always)]
    pub(crate) fn find(&self, tag: u64) -> Option<Cell<'_>> {
        // Relaxed: any level that ever was finds the key or leads to `claim`.
        let group = self.index(tag, self.level.load(Ordering::Relaxed));
        if let Some(place) = self.place(group) {
            let (home, _) = place.home(tag, self.lines);
            if let Some((line, slot)) = place
                .line(home)
                .and_then(|line| seek(line, tag))
                .or_else(|| place.beyond(home, tag, self.lines))
            {
                return Some(cell(line, slot, tag));
            }
        }
        self.find_above(group, tag)
    }

    /// Brings the key's line near, without waiting for it.
    #[inline]
    pub(crate) fn touch(&self, tag: u64) -> u64 {
        let group = self.index(tag, self.level.load(Ordering::Relaxed));
        let Some(place) = self.place(group) else { return 0 };
        let (line, slot) = place.home(tag, self.lines);
        place.line(line).map_or(0, |line| line[slot].load(Ordering::Relaxed))
    }

    /// The slot of a key that does not stand in `group`: perhaps that is not born, and it stands in
    /// a group that this comes from.
    #[inline(never)]
    fn find_above(&self, mut group: usize, tag: u64) -> Option<Cell<'_>> {
        while !self.is_born(group) {
            group = parent(group)?;
            let place = self.place(group);
            if let Some(cell) = place.and_then(|place| place.find(tag, self.lines)) {
                return Some(cell);
            }
        }
        None
    }

    /// Makes a slot the key's, unless it has one. Under the lock of the key's group.
    ///
    /// `ready` says, under the lock, the word to start with, or `None` if what the caller decided
    /// on is no longer so; it is given the stamp of `forgotten`. `use_of` says what a word means.
    pub(crate) fn claim(
        &self,
        tag: u64,
        use_of: impl Fn(u64, u64) -> Use,
        ready: impl Fn(u64) -> Option<u64>,
    ) -> Claim<'_> {
        loop {
            let group = self.home(tag);
            let Some(place) = self.place(group) else { continue };
            let guard = (!mutant("claim_unlocked")).then(|| place.group.lock.lock());
            // Only under this lock are keys claimed in this group and moved out of it.
            let level = self.level.load(Ordering::Acquire);
            if self.home(tag) != group {
                continue;
            }
            if let Some(cell) = place.find(tag, self.lines).filter(|_| !mutant("two_cells")) {
                return Claim::Present(cell);
            }
            if let Some(child) = next_towards(group, self.index(tag, level)) {
                self.split(&place, child);
                continue;
            }
            let growing = level < self.top;
            let claim = self.take(&place, tag, growing, &use_of, &ready);
            let Claim::Full { .. } = claim else { return claim };
            // That there is no room and that no child is unborn hold under the same lock.
            match self.unborn_child(group, level) {
                Some(child) => self.split(&place, child),
                None if growing => {
                    drop(guard);
                    // Relaxed: a level says where to look first, and no more.
                    let _ = self.level.compare_exchange(
                        level,
                        level + 1,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    );
                }
                None => return claim,
            }
        }
    }

    /// A group that would take words from `group` at its birth.
    fn unborn_child(&self, group: usize, level: u32) -> Option<usize> {
        let bits = usize::BITS - group.leading_zeros();
        (bits..level).map(|bit| group | 1 << bit).find(|child| !self.is_born(*child))
    }

    fn is_born(&self, group: usize) -> bool {
        // Acquire: sees the words that moved at birth.
        self.place(group).is_some_and(|place| place.group.born.load(Ordering::Acquire))
    }

    /// Whether the key has no slot, as seen under the lock of its group, and the stamp `forgotten`
    /// is still what was decided on.
    pub(crate) fn is_absent(&self, tag: u64, forgotten: u64) -> bool {
        if mutant("absent_unasked") {
            return true;
        }
        loop {
            let group = self.home(tag);
            let Some(place) = self.place(group) else { continue };
            let _guard = place.group.lock.lock();
            if self.home(tag) == group {
                // Relaxed: written under this lock.
                return place.group.forgotten.load(Ordering::Relaxed) == forgotten
                    && place.find(tag, self.lines).is_none();
            }
        }
    }

    /// Takes the nearest free slot for `tag`. The group's lock is held.
    fn take<'a>(
        &'a self,
        place: &Place<'a>,
        tag: u64,
        growing: bool,
        use_of: &impl Fn(u64, u64) -> Use,
        ready: &impl Fn(u64) -> Option<u64>,
    ) -> Claim<'a> {
        // Relaxed: written under this lock.
        let forgotten = place.group.forgotten.load(Ordering::Relaxed);
        let Some(start) = ready(forgotten) else { return Claim::Stale };
        let (home, favourite) = place.home(tag, self.lines);
        let mut full_until = u64::MAX;
        let lines = if growing { self.lines.min(NEAR) } else { self.lines };
        for distance in 0..lines {
            let Some(line) = place.line(wrap(home + distance, self.lines)) else { break };
            for slot in (0..SLOTS).map(|i| (favourite + i) % SLOTS) {
                count_touch();
                let (tag_at, word_at) = (&line[slot], &line[SLOTS + slot]);
                // Relaxed: tags change only under this lock.
                let old_tag = tag_at.load(Ordering::Relaxed);
                // Acquire: see `Cell::load`. The swap below makes sure of the word.
                let old = word_at.load(Ordering::Acquire);
                let since = match old_tag {
                    0 => 0,
                    _ if word::is_held(old) => continue,
                    _ => match use_of(old, old_tag) {
                        Use::Idle { since } => since,
                        Use::Live { until } => {
                            full_until = full_until.min(until);
                            continue;
                        }
                        Use::Unknown => return Claim::Stale,
                    },
                };
                // Relaxed: whoever sees the mark waits; what follows is published below.
                if word_at
                    .compare_exchange(old, IN_TRANSIT, Ordering::Relaxed, Ordering::Relaxed)
                    .is_err()
                {
                    continue;
                }
                if since > forgotten {
                    // Release: whoever decides on this stamp may find the slot gone.
                    place.group.forgotten.store(since, Ordering::Release);
                }
                place.reach(home).fetch_max(distance as u8, Ordering::Relaxed);
                // Release: whoever sees the tag sees that the old word is gone.
                tag_at.store(tag, Ordering::Release);
                // Release: whoever sees the word sees its tag.
                word_at.store(start, Ordering::Release);
                return Claim::Made(Cell { tag_at, word: word_at, tag });
            }
        }
        Claim::Full { until: full_until }
    }

    /// The stamp `forgotten` of the key's group, to decide on before a claim.
    pub(crate) fn forgotten(&self, tag: u64) -> u64 {
        // Acquire: pairs with the store in `take`.
        self.place(self.home(tag)).map_or(0, |place| place.group.forgotten.load(Ordering::Acquire))
    }

    /// Gives birth to `child`. The lock of its parent `place` is held.
    fn split(&self, place: &Place<'_>, child: usize) {
        let Some(twin) = self.place_or_allocate(child) else { return };
        let bits = (child + 1).next_power_of_two() as u64 - 1;
        for index in 0..self.lines {
            let (Some(from), Some(to)) = (place.line(index), twin.line(index)) else { return };
            for slot in 0..SLOTS {
                count_touch();
                // Relaxed: tags change only under this lock.
                let tag = from[slot].load(Ordering::Relaxed);
                if tag == 0 || tag & bits != child as u64 {
                    continue;
                }
                let word_at = &from[SLOTS + slot];
                let word = take_out(word_at);
                // Release, twice: whoever sees the tag sees the word.
                to[SLOTS + slot].store(word, Ordering::Release);
                to[slot].store(tag, Ordering::Release);
                // Release: whoever sees the slot unused again sees where its key has gone.
                from[slot].store(0, Ordering::Release);
                word_at.store(NEVER_USED, Ordering::Release);
            }
            // Relaxed: read for certain only under the twin's lock, after its birth.
            let reach = place.reach(index).load(Ordering::Relaxed);
            twin.reach(index).fetch_max(reach, Ordering::Relaxed);
        }
        let forgotten = place.group.forgotten.load(Ordering::Relaxed);
        twin.group.forgotten.fetch_max(forgotten, Ordering::Relaxed);
        // Release: publishes all that moved.
        twin.group.born.store(true, Ordering::Release);
    }

    /// Shows every used slot to `visit`, group by group under their locks.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(Cell<'_>)) {
        // The root is made if need be: who claims there first then comes after this walk, or before
        // it, and not beside it. Any other group is born under the lock of one that is walked.
        if !mutant("walk_without_root") {
            self.place_or_allocate(0);
        }
        for group in 0..1_usize << self.top {
            let Some(place) = self.place(group) else { continue };
            let _guard = place.group.lock.lock();
            for line in (0..self.lines).filter_map(|index| place.line(index)) {
                for slot in 0..SLOTS {
                    // Relaxed: tags change only under this lock.
                    let tag = line[slot].load(Ordering::Relaxed);
                    if tag != 0 {
                        visit(Cell { tag_at: &line[slot], word: &line[SLOTS + slot], tag });
                    }
                }
            }
        }
    }

    /// Bytes allocated.
    pub(crate) fn memory(&self) -> usize {
        let segments = self.segments.iter().filter_map(OnceLock::get);
        size_of_val(&*self.segments) + segments.map(Segment::memory).sum::<usize>()
    }

    fn index(&self, tag: u64, level: u32) -> usize {
        (tag & ((1 << level) - 1)) as usize
    }

    /// The group that the key stands in, if it is anywhere.
    fn home(&self, tag: u64) -> usize {
        let mut group = self.index(tag, self.level.load(Ordering::Acquire));
        while !self.is_born(group) {
            match parent(group) {
                Some(parent) => group = parent,
                None => {
                    // Group 0 is born with the first claim.
                    if let Some(root) = self.place_or_allocate(0) {
                        root.group.born.store(true, Ordering::Release);
                    }
                    return 0;
                }
            }
        }
        group
    }

    #[inline(always)]
    fn place(&self, group: usize) -> Option<Place<'_>> {
        let (segment, index) = segment_of(group);
        Place::new(self.segments.get(segment)?.get()?, index, self.lines)
    }

    fn place_or_allocate(&self, group: usize) -> Option<Place<'_>> {
        let (segment, index) = segment_of(group);
        let groups = 1 << segment.saturating_sub(1);
        let segment = self.segments.get(segment)?.get_or_init(|| Segment::new(groups, self.lines));
        Place::new(segment, index, self.lines)
    }
}

/// A group's place in its segment.
struct Place<'a> {
    segment: &'a Segment,
    group: &'a Group,
    /// Index of its first line.
    first: usize,
}

impl<'a> Place<'a> {
    #[inline]
    fn new(segment: &'a Segment, index: usize, lines: usize) -> Option<Self> {
        Some(Place { segment, group: segment.groups.get(index)?, first: index * lines })
    }

    #[inline]
    fn line(&self, index: usize) -> Option<&'a Line> {
        self.segment.line(self.first + index)
    }

    fn reach(&self, index: usize) -> &'a AtomicU8 {
        &self.segment.reach[self.first + index]
    }

    /// The line and slot that a tag names. Its high half names the line, bits below them the slot;
    /// the low bits name the group.
    #[inline]
    fn home(&self, tag: u64, lines: usize) -> (usize, usize) {
        ((((tag >> 32) * lines as u64) >> 32) as usize, (tag >> 30) as usize % SLOTS)
    }

    fn find(&self, tag: u64, lines: usize) -> Option<Cell<'a>> {
        let (home, _) = self.home(tag, lines);
        let (line, slot) = seek(self.line(home)?, tag).or_else(|| self.beyond(home, tag, lines))?;
        Some(cell(line, slot, tag))
    }

    /// Where the key stands behind the line that its tag names: one in eight does.
    #[inline]
    fn beyond(&self, home: usize, tag: u64, lines: usize) -> Option<Spot<'a>> {
        self.segment.beyond(self.first, home, tag, lines)
    }
}

impl Segment {
    fn new(groups: usize, lines: usize) -> Segment {
        // Zeroed memory that the system gives page by page as it is touched, made atomic in place;
        // one line more, to begin at a multiple of a line's size.
        let words = vec![NEVER_USED; (groups * lines + 1) * LINE];
        let words: Box<[AtomicU64]> = words.into_iter().map(AtomicU64::new).collect();
        let line_bytes = LINE * 8;
        let start = (line_bytes - words.as_ptr().addr() % line_bytes) % line_bytes / 8;
        Segment {
            words,
            start,
            groups: (0..groups).map(|_| Group::new()).collect(),
            reach: vec![0; groups * lines].into_iter().map(AtomicU8::new).collect(),
        }
    }

    #[inline]
    fn line(&self, index: usize) -> Option<&Line> {
        self.words.get(self.start + index * LINE..)?.first_chunk()
    }

    // Apart, with arguments and an answer that fit registers.
    #[inline(never)]
    fn beyond(&self, first: usize, home: usize, tag: u64, lines: usize) -> Option<Spot<'_>> {
        // Relaxed: who must be certain holds the lock under which it was written.
        let reach = usize::from(self.reach[first + home].load(Ordering::Relaxed));
        (1..=reach).find_map(|distance| seek(self.line(first + wrap(home + distance, lines))?, tag))
    }

    fn memory(&self) -> usize {
        size_of_val(&*self.words) + size_of_val(&*self.groups) + size_of_val(&*self.reach)
    }
}

impl Group {
    fn new() -> Group {
        Group { lock: Mutex::new(()), born: AtomicBool::new(false), forgotten: AtomicU64::new(0) }
    }
}

/// Where the key stands in this line. Looks at all slots and branches once: nobody can foresee
/// which it is, and a wrong guess costs more than looking.
#[inline(always)]
fn seek(line: &Line, tag: u64) -> Option<Spot<'_>> {
    let found = (0..SLOTS).fold(0, |found, slot| {
        count_touch();
        // Relaxed: `Cell::load` looks again.
        found | usize::from(line[slot].load(Ordering::Relaxed) == tag) << slot
    });
    (found != 0).then(|| (line, found.trailing_zeros() as usize % SLOTS))
}

#[inline(always)]
fn cell(line: &Line, slot: usize, tag: u64) -> Cell<'_> {
    Cell { tag_at: &line[slot], word: &line[SLOTS + slot], tag }
}

/// Waits until nobody holds the word, and takes it out.
fn take_out(word_at: &AtomicU64) -> u64 {
    let mut backoff = Backoff::default();
    loop {
        let word = word_at.load(Ordering::Relaxed);
        if word::is_held(word) {
            // Whoever holds a word waits for no lock, so this ends.
            backoff.wait();
        // Relaxed: the tag is known under the lock, and the word is all there is to see.
        } else if mutant("move_unmarked")
            || word_at
                .compare_exchange(word, IN_TRANSIT, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            return word;
        }
    }
}

/// `index` in a ring of `lines`. Indexes are below twice that.
#[inline]
fn wrap(index: usize, lines: usize) -> usize {
    if index < lines { index } else { index - lines }
}

/// The group without its top bit, which it is split from.
fn parent(group: usize) -> Option<usize> {
    (group != 0).then(|| group & !(1 << group.ilog2()))
}

/// The first group on the way from `group` down to `target` that is not born.
fn next_towards(group: usize, target: usize) -> Option<usize> {
    let missing = group ^ target;
    (missing != 0).then(|| group | 1 << missing.trailing_zeros())
}

/// Segment and index in it.
#[inline]
fn segment_of(group: usize) -> (usize, usize) {
    // Without a branch: in a small table either way would be as likely.
    let segment = (group << 1 | 1).ilog2();
    (segment as usize, group ^ (1 << segment >> 1))
}

#[cfg(not(test))]
fn count_touch() {}

#[cfg(test)]
pub(crate) use touches::count_touch;

/// How many slots the calls of this thread have touched.
#[cfg(test)]
pub(crate) mod touches {
    use std::cell::Cell;

    thread_local!(static TOUCHES: Cell<usize> = const { Cell::new(0) });

    pub(crate) fn count_touch() {
        TOUCHES.set(TOUCHES.get() + 1);
    }

    /// The count since the last call.
    pub(crate) fn take() -> usize {
        TOUCHES.take()
    }
}
