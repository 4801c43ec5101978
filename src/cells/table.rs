//! The table: where the word of a key stands. It knows tags and words, not what a word means.
//!
//! A *line* is one cache line: [`SLOTS`] tags, then their words. A *group* is a run of lines with
//! one lock; a key lives in its group, as near as possible behind the line that its tag names.
//! The table grows by levels. At level l the low l bits of a tag name its group; group i is *born*
//! when its parent (i without its top bit) is split into itself and i, each word going to the same
//! place in the twin. Until then its keys stand in the parent. What is allocated is never moved
//! or freed, so that nobody who reads needs a lock.
//!
//! An idle key keeps its slot while the table is smaller than [`CACHED_BYTES`]: most keys of a
//! service are idle again by their next visit, and a claim takes a lock. In a larger table a
//! newcomer takes the slot that has been idle longest in the nearest line that has one, and the
//! table grows only for keys that are not idle.

use crate::sync::{
    AtomicBool, AtomicU8, AtomicU64, Backoff, Mutex, MutexGuard, OnceLock, Ordering, mutant,
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

/// A slot that no key has is taken before one of an idle key if it is in so many lines.
const NEAR_UNUSED: usize = NEAR;

/// The logarithm of how many groups the root segment has: those of a small table are found without
/// a search.
#[cfg(not(tollgate_loom))]
const ROOT_BITS: u32 = 2;
#[cfg(tollgate_loom)]
const ROOT_BITS: u32 = 0;
const ROOT_GROUPS: usize = 1 << ROOT_BITS;

/// A table grows to this size rather than forget idle keys: about what a second-level cache holds.
#[cfg(not(tollgate_loom))]
pub(super) const CACHED_BYTES: usize = 1 << 20;
#[cfg(tollgate_loom)]
pub(super) const CACHED_BYTES: usize = 0;

/// Lines for each 128 keys of the capacity: 1.47 slots a key, which with the bookkeeping makes
/// 24 bytes. Keys fall on groups at random, and a group of 512 slots whose mean is 348 keys
/// overfills with a chance of 10^-15.
#[cfg(not(tollgate_loom))]
const LINES_PER_128_KEYS: usize = 47;
#[cfg(tollgate_loom)]
const LINES_PER_128_KEYS: usize = 64;

pub(crate) struct Table {
    /// The low bits of a tag that name its group: as many as the level. Only rises.
    mask: AtomicU64,
    /// The mask at which the table has its full size.
    top: u64,
    /// Up to this mask the table grows rather than forget idle keys.
    cached: u64,
    /// Lines of a group.
    lines: usize,
    /// The first `1 << ROOT_BITS` groups.
    root: OnceLock<Segment>,
    /// Segment s holds the groups that level `ROOT_BITS + s + 1` adds.
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
    /// Its key is idle, its bucket full since this tick.
    Idle(u64),
    /// Its key is in debt until after this tick.
    Live(u64),
    /// Written under numbers the caller does not know.
    Unknown,
}

/// What the owner of the words knows of them.
pub(crate) trait Meaning {
    fn of(&self, word: u64, tag: u64) -> Use;
    /// The stamp of a tick, in nanoseconds.
    fn stamp(&self, tick: u64) -> u64;
}

/// What a claim starts with.
pub(crate) enum Start {
    With(u64),
    /// No slot is wanted.
    None,
    /// The caller knows numbers that are no longer in force.
    Stale,
}

/// What became of a claim.
pub(crate) enum Claim<'a> {
    /// The slot is the key's, with the word that was asked for.
    Made(Cell<'a>),
    /// The key was there.
    Present(Cell<'a>),
    /// The key has no slot, and none was wanted.
    None,
    /// The caller decided on what is no longer so.
    Stale,
    /// No slot is free before the stamp `until`.
    Full { until: u64 },
}

impl Table {
    pub(crate) fn new(max_keys: usize) -> Table {
        let all = max_keys.saturating_mul(LINES_PER_128_KEYS).div_ceil(128).max(1);
        let levels = (all / GROUP_LINES).max(1).ilog2();
        let lines = all >> levels;
        let cached = (CACHED_BYTES / (lines * size_of::<Line>())).max(1).ilog2();
        Table {
            mask: AtomicU64::new(0),
            top: low_bits(levels),
            cached: low_bits(cached.min(levels)),
            lines,
            root: OnceLock::new(),
            segments: (ROOT_BITS..levels).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The slot of the key, if it is seen. That it is not seen proves nothing: see `claim`.
    ///
    /// `spread` is [`word::spread`] of the tag.
    #[inline(always)]
    pub(crate) fn find(&self, tag: u64, spread: u64) -> Option<Cell<'_>> {
        // Relaxed: any level that ever was finds the key or leads to `claim`.
        let group = (tag & self.mask.load(Ordering::Relaxed)) as usize;
        let (segment, index) = self.segment_of(group)?;
        // A segment that is not made yet has groups that are not born.
        let line = match segment.get() {
            Some(segment) => segment.line(index * self.lines + home(spread, self.lines)),
            None => None,
        };
        let at_home = line.and_then(|line| seek(line, tag));
        // One key in eight stands behind the line that its tag names.
        let (line, slot) = at_home.or_else(|| self.find_beyond(tag, spread))?;
        Some(cell(line, slot, tag))
    }

    /// The slot of a key that does not stand in the line that its tag names.
    // Apart, with arguments and an answer that fit registers.
    #[inline(never)]
    fn find_beyond(&self, tag: u64, spread: u64) -> Option<Spot<'_>> {
        let mut group = (tag & self.mask.load(Ordering::Relaxed)) as usize;
        loop {
            if let Some(place) = self.place(group) {
                if let Some(spot) = place.find(tag, spread) {
                    return Some(spot);
                }
                // Acquire: sees the words that moved at birth.
                if place.group.born.load(Ordering::Acquire) {
                    return None;
                }
            }
            // The group is not born: the key may stand in one that it comes from.
            group = parent(group)?;
        }
    }

    /// Brings the key's line near, without waiting for it.
    #[inline]
    pub(crate) fn touch(&self, tag: u64) -> u64 {
        let group = (tag & self.mask.load(Ordering::Relaxed)) as usize;
        let Some(place) = self.place(group) else { return 0 };
        let line = place.line(place.home(word::spread(tag)));
        line.map_or(0, |line| line[favourite(tag)].load(Ordering::Relaxed))
    }

    /// Makes a slot the key's, unless it has one. Under the lock of the key's group.
    ///
    /// `start` is asked under the lock what to start with, and given the stamp of `forgotten`.
    /// `meaning` says what a word means.
    pub(crate) fn claim(
        &self,
        tag: u64,
        meaning: &impl Meaning,
        mut start: impl FnMut(u64) -> Start,
    ) -> Claim<'_> {
        let spread = word::spread(tag);
        loop {
            let group = self.home(tag);
            let Some(place) = self.place(group) else { continue };
            let guard = (!mutant("claim_unlocked")).then(|| place.group.lock());
            // Only under this lock are keys claimed in this group and moved out of it.
            let mask = self.mask.load(Ordering::Acquire);
            if self.home(tag) != group {
                continue;
            }
            if let Some(spot) = place.find(tag, spread).filter(|_| !mutant("two_cells")) {
                return Claim::Present(cell(spot.0, spot.1, tag));
            }
            if let Some(child) = next_towards(group, (tag & mask) as usize) {
                self.split(&place, child);
                continue;
            }
            // Relaxed: written under this lock.
            let start = match start(place.group.forgotten.load(Ordering::Relaxed)) {
                Start::With(word) => word,
                Start::None => return Claim::None,
                Start::Stale => return Claim::Stale,
            };
            let lines = if mask < self.top { self.lines.min(NEAR) } else { self.lines };
            let claim = place.take(tag, spread, start, lines, mask >= self.cached, meaning);
            let Claim::Full { .. } = claim else { return claim };
            // That there is no room and that no child is unborn hold under the same lock.
            match self.unborn_child(group, mask) {
                Some(child) => self.split(&place, child),
                None if mask < self.top => {
                    drop(guard);
                    // Relaxed: a level says where to look first, and no more.
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
            let _guard = place.group.lock();
            if self.home(tag) == group {
                // Relaxed: written under this lock.
                return place.group.forgotten.load(Ordering::Relaxed) == forgotten
                    && place.find(tag, word::spread(tag)).is_none();
            }
        }
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
        // Asked when the walk gets there: a segment may be made meanwhile.
        let later = (0..self.segments.len()).filter(|at| self.segments[*at].get().is_some());
        let later = later.flat_map(|at| {
            let first = ROOT_GROUPS << at;
            first..2 * first
        });
        for group in (0..ROOT_GROUPS).chain(later) {
            let Some(place) = self.place(group) else { continue };
            let _guard = place.group.lock();
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
        let segments = self.segments.iter().chain([&self.root]).filter_map(OnceLock::get);
        size_of_val(&*self.segments) + segments.map(Segment::memory).sum::<usize>()
    }

    /// The group that the key stands in, if it is anywhere.
    fn home(&self, tag: u64) -> usize {
        let mut group = (tag & self.mask.load(Ordering::Acquire)) as usize;
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
        let (segment, index) = self.segment_of(group)?;
        Place::new(segment.get()?, index, self.lines)
    }

    fn place_or_allocate(&self, group: usize) -> Option<Place<'_>> {
        let (segment, index) = self.segment_of(group)?;
        let groups = if group < ROOT_GROUPS {
            ROOT_GROUPS.min(self.top as usize + 1)
        } else {
            1 << group.ilog2()
        };
        let segment = segment.get_or_init(|| Segment::new(groups, self.lines));
        Place::new(segment, index, self.lines)
    }

    /// The segment of a group, and its index there.
    #[inline(always)]
    fn segment_of(&self, group: usize) -> Option<(&OnceLock<Segment>, usize)> {
        if group < ROOT_GROUPS {
            return Some((&self.root, group));
        }
        let top = group.ilog2();
        Some((self.segments.get((top - ROOT_BITS) as usize)?, group ^ 1 << top))
    }
}

/// A group's place in its segment.
struct Place<'a> {
    segment: &'a Segment,
    group: &'a Group,
    /// Index of its first line.
    first: usize,
    lines: usize,
}

impl<'a> Place<'a> {
    #[inline(always)]
    fn new(segment: &'a Segment, index: usize, lines: usize) -> Option<Self> {
        Some(Place { segment, group: segment.groups.get(index)?, first: index * lines, lines })
    }

    #[inline(always)]
    fn line(&self, index: usize) -> Option<&'a Line> {
        self.segment.line(self.first + index)
    }

    fn home(&self, spread: u64) -> usize {
        home(spread, self.lines)
    }

    fn reach(&self, index: usize) -> &'a AtomicU8 {
        &self.segment.reach[self.first + index]
    }

    fn find(&self, tag: u64, spread: u64) -> Option<Spot<'a>> {
        let mut index = self.home(spread);
        // Relaxed: a caller that must be certain holds the lock under which it was written.
        let mut left = self.reach(index).load(Ordering::Relaxed);
        loop {
            let spot = seek(self.line(index)?, tag);
            if spot.is_some() || left == 0 {
                return spot;
            }
            left -= 1;
            index = wrap(index + 1, self.lines);
        }
    }

    /// Whether a slot that no key has stands near `home`.
    fn has_unused(&self, home: usize, lines: usize) -> bool {
        (0..lines.min(NEAR_UNUSED)).any(|distance| {
            let line = self.line(wrap(home + distance, self.lines));
            // Relaxed: tags change only under this lock.
            line.is_some_and(|line| {
                line[..SLOTS].iter().any(|tag| tag.load(Ordering::Relaxed) == 0)
            })
        })
    }

    /// Takes a slot for `tag` in the nearest line that has one, of `lines` from its own: one that no
    /// key has, or if it `may_forget` that of the key idle longest. The group's lock is held.
    fn take(
        &self,
        tag: u64,
        spread: u64,
        start: u64,
        lines: usize,
        may_forget: bool,
        meaning: &impl Meaning,
    ) -> Claim<'a> {
        let (home, favourite) = (self.home(spread), favourite(tag));
        // Else the keys of a crowded line would forget each other in turn.
        let may_forget = may_forget && !self.has_unused(home, lines);
        let mut full_until = u64::MAX;
        for distance in 0..lines {
            let Some(line) = self.line(wrap(home + distance, self.lines)) else { break };
            // The slot, its word, and since when its key is idle.
            let mut chosen: Option<(usize, u64, Option<u64>)> = None;
            for slot in (0..SLOTS).map(|i| (favourite + i) % SLOTS) {
                count_touch();
                // Relaxed: tags change only under this lock.
                let old_tag = line[slot].load(Ordering::Relaxed);
                // Acquire: see `Cell::load`. The swap below makes sure of the word.
                let old = line[SLOTS + slot].load(Ordering::Acquire);
                if old_tag == 0 {
                    chosen = Some((slot, old, None));
                    break;
                }
                if word::is_held(old) {
                    continue;
                }
                match meaning.of(old, old_tag) {
                    Use::Idle(_) if !may_forget => {}
                    Use::Idle(tick) => match chosen {
                        Some((.., Some(since))) if since <= tick => {}
                        _ => chosen = Some((slot, old, Some(tick))),
                    },
                    Use::Live(tick) => full_until = full_until.min(tick),
                    Use::Unknown => return Claim::Stale,
                }
            }
            let Some((slot, old, since)) = chosen else { continue };
            let (tag_at, word_at) = (&line[slot], &line[SLOTS + slot]);
            // Relaxed: everybody who sees the mark waits; what follows is published below.
            let marked =
                word_at.compare_exchange(old, IN_TRANSIT, Ordering::Relaxed, Ordering::Relaxed);
            if marked.is_err() {
                // Its key came back. The caller looks at the line again.
                return Claim::Stale;
            }
            if let Some(since) = since.map(|tick| meaning.stamp(tick)) {
                // Relaxed: written under this lock.
                if since > self.group.forgotten.load(Ordering::Relaxed) {
                    // Release: a caller who decides on this stamp may find the slot gone.
                    self.group.forgotten.store(since, Ordering::Release);
                }
            }
            // Relaxed: as in `find`.
            let reach = self.reach(home);
            if usize::from(reach.load(Ordering::Relaxed)) < distance {
                reach.store(distance as u8, Ordering::Relaxed);
            }
            // Release: a thread that sees the tag sees that the old word is gone.
            tag_at.store(tag, Ordering::Release);
            // Release: a thread that sees the word sees its tag.
            word_at.store(start, Ordering::Release);
            return Claim::Made(Cell { tag_at, word: word_at, tag });
        }
        let until = match full_until {
            u64::MAX => u64::MAX,
            tick => meaning.stamp(tick.saturating_add(1)),
        };
        Claim::Full { until }
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

    #[inline(always)]
    fn line(&self, index: usize) -> Option<&Line> {
        self.words.get(self.start + index * LINE..)?.first_chunk()
    }

    fn memory(&self) -> usize {
        size_of_val(&*self.words) + size_of_val(&*self.groups) + size_of_val(&*self.reach)
    }
}

impl Group {
    fn new() -> Group {
        Group { lock: Mutex::new(()), born: AtomicBool::new(false), forgotten: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        count_lock();
        self.lock.lock()
    }
}

/// The line of its group that a tag names.
#[inline(always)]
fn home(spread: u64, lines: usize) -> usize {
    (((spread >> 32) * lines as u64) >> 32) as usize
}

/// The slot of its line that a tag names, if that is free.
fn favourite(tag: u64) -> usize {
    (tag >> 30) as usize % SLOTS
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
    // A slot always is: said once more where the compiler can see it.
    let slot = slot % SLOTS;
    Cell { tag_at: &line[slot], word: &line[SLOTS + slot], tag }
}

/// Waits until nobody holds the word, and takes it out.
fn take_out(word_at: &AtomicU64) -> u64 {
    let backoff = Backoff::default();
    loop {
        let word = word_at.load(Ordering::Relaxed);
        if word::is_held(word) {
            // Whoever holds a word waits for no lock, so this ends.
            backoff.snooze();
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

/// A number of as many low bits.
fn low_bits(count: u32) -> u64 {
    (1 << count) - 1
}

#[cfg(not(test))]
fn count_touch() {}
#[cfg(not(test))]
fn count_lock() {}

#[cfg(test)]
use touches::{count_lock, count_touch};

/// How many slots the calls of this thread have touched, and how many groups they have locked.
#[cfg(test)]
pub(crate) mod touches {
    use std::cell::Cell;

    thread_local!(static TOUCHES: Cell<usize> = const { Cell::new(0) });
    thread_local!(static LOCKS: Cell<usize> = const { Cell::new(0) });

    pub(crate) fn count_touch() {
        TOUCHES.set(TOUCHES.get() + 1);
    }

    pub(crate) fn count_lock() {
        LOCKS.set(LOCKS.get() + 1);
    }

    /// Slots touched since the last call.
    pub(crate) fn take() -> usize {
        TOUCHES.take()
    }

    /// Groups locked since the last call.
    pub(crate) fn take_locks() -> usize {
        LOCKS.take()
    }
}
