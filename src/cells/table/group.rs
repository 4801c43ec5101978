//! A group of lines under one lock: where a key's slot is looked for, and which one a newcomer takes.

use crate::sync::{AtomicBool, AtomicU8, AtomicU64, Mutex, MutexGuard, Ordering};

use crate::cells::word::{self, IN_TRANSIT, NEVER_USED};

use super::line::{Cell, LINE, SLOTS, SlotLine, SlotOfLine, cell, count_lock, count_touch, seek};

/// A slot that no key has is taken before one of an idle key if it is in so many lines.
const NEAR_UNUSED: usize = 8;

/// What the owner of the words knows of them.
pub(crate) trait Meaning {
    /// The tick until which the key needs the slot: its bucket is full then. `u64::MAX`: always. `None`:
    /// the word was written under numbers that the caller does not know.
    fn needed_until(&self, word: u64, tag: u64) -> Option<u64>;
    /// The tick that is now: a slot that is needed until before it has an idle key.
    fn now(&self) -> u64;
    /// The stamp of a tick, in nanoseconds.
    fn stamp(&self, tick: u64) -> u64;
}

/// What became of a claim.
pub(crate) enum ClaimedSlot<'a> {
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

pub(super) struct Segment {
    /// Lines, from the first multiple of a line's size on.
    words: Box<[AtomicU64]>,
    start: usize,
    /// Apart, since a key that stands in its first lines is found without them.
    rest: Box<Rest>,
}

/// What a segment has besides its lines.
struct Rest {
    groups: Box<[Group]>,
    /// For each line, how far the keys that it names may stand from it. Written under the lock.
    reach: Box<[AtomicU8]>,
}

/// What is known of a group besides its lines.
pub(super) struct Group {
    /// Held to claim, move or look for the absence of keys.
    lock: Mutex<()>,
    pub(super) born: AtomicBool,
    /// The latest stamp, in nanoseconds, at which a forgotten key's bucket was full. Written under
    /// the lock.
    pub(super) forgotten: AtomicU64,
    /// How many of its slots no key has. Written under the lock.
    pub(super) unused: AtomicU64,
}

/// A slot that a claim may take.
struct Free<'a> {
    /// How many lines behind the one that the newcomer's tag names.
    distance: usize,
    line: &'a SlotLine,
    slot: usize,
    word: u64,
    /// Since which tick its key is idle. `None`: no key has it.
    since: Option<u64>,
}

/// A group's place in its segment.
pub(super) struct GroupPlace<'a> {
    segment: &'a Segment,
    pub(super) group: &'a Group,
    /// Index of its first line.
    first: usize,
    lines: usize,
}

impl<'a> GroupPlace<'a> {
    #[inline(always)]
    pub(super) fn new(segment: &'a Segment, index: usize, lines: usize) -> Option<Self> {
        Some(GroupPlace {
            segment,
            group: segment.rest.groups.get(index)?,
            first: index * lines,
            lines,
        })
    }

    #[inline(always)]
    pub(super) fn line(&self, index: usize) -> Option<&'a SlotLine> {
        self.segment.line(self.first + index)
    }

    pub(super) fn home(&self, spread: u64) -> usize {
        home(spread, self.lines)
    }

    pub(super) fn reach(&self, index: usize) -> &'a AtomicU8 {
        &self.segment.rest.reach[self.first + index]
    }

    /// Where the key stands, `from` so many lines behind its own on.
    #[inline(always)]
    pub(super) fn find(&self, tag: u64, spread: u64, from: usize) -> Option<SlotOfLine<'a>> {
        let home = self.home(spread);
        // Relaxed: a caller that must be certain holds the lock under which it was written.
        let reach = self.reach(home).load(Ordering::Relaxed).into();
        (from..=reach).find_map(|at| seek(self.line(wrap(home + at, self.lines))?, tag))
    }

    /// Lowers the reach of `home` by a line, if none of its keys stands in the last one: a key is then
    /// found, or known to be absent, by fewer lines. The group's lock is held.
    #[inline]
    pub(super) fn shrink_reach(&self, home: usize) {
        // Relaxed: written under this lock, as tags are.
        let reach = self.reach(home);
        let far = reach.load(Ordering::Relaxed);
        if far == 0 {
            return;
        }
        let Some(line) = self.line(wrap(home + usize::from(far), self.lines)) else { return };
        let is_valid = line[..SLOTS].iter().any(|tag| {
            count_touch();
            let tag = tag.load(Ordering::Relaxed);
            tag != 0 && self.home(word::spread(tag)) == home
        });
        if !is_valid {
            // A key that comes later raises it again. A thread that knows of that key reads no less.
            reach.store(far - 1, Ordering::Relaxed);
        }
    }

    /// Takes a slot for `tag` in the nearest line that has one, of `lines` from its own: one that no
    /// key has, or if it `may_forget` that of the key idle longest. The group's lock is held.
    #[inline]
    pub(super) fn take(
        &self,
        tag: u64,
        spread: u64,
        start: u64,
        lines: usize,
        may_forget: bool,
        meaning: &impl Meaning,
    ) -> ClaimedSlot<'a> {
        let home = self.home(spread);
        self.shrink_reach(home);
        // First: else the keys of a crowded line would forget each other in turn.
        let near = if may_forget { lines.min(NEAR_UNUSED) } else { lines };
        // Relaxed: written under this lock.
        let any_unused = self.group.unused.load(Ordering::Relaxed) > 0;
        let unused = if any_unused { self.unused(home, near) } else { None };
        let free = match unused {
            Some(free) => Ok(free),
            None if may_forget => self.idle(home, lines, meaning),
            None => Err(ClaimedSlot::Full { until: u64::MAX }),
        };
        let Free { distance, line, slot, word, since } = match free {
            Ok(free) => free,
            Err(none) => return none,
        };
        let Cell { tag_at, word: word_at, .. } = cell(line, slot, tag);
        // Relaxed: everybody who sees the mark waits; what follows is published below.
        let marked =
            word_at.compare_exchange(word, IN_TRANSIT, Ordering::Relaxed, Ordering::Relaxed);
        if marked.is_err() {
            // Its key came back. The caller looks at the line again.
            return ClaimedSlot::Stale;
        }
        // Relaxed, but for one store: what is written under this lock is read and written here.
        match since.map(|tick| meaning.stamp(tick)) {
            Some(since) if since > self.group.forgotten.load(Ordering::Relaxed) => {
                // Release: a caller who decides on this stamp may find the slot gone.
                self.group.forgotten.store(since, Ordering::Release);
            }
            Some(_) => {}
            None => {
                let unused = self.group.unused.load(Ordering::Relaxed);
                self.group.unused.store(unused.saturating_sub(1), Ordering::Relaxed);
            }
        }
        let reach = self.reach(home);
        if usize::from(reach.load(Ordering::Relaxed)) < distance {
            reach.store(distance as u8, Ordering::Relaxed);
        }
        // Release: a thread that sees the tag sees that the old word is gone.
        tag_at.store(tag, Ordering::Release);
        // Release: a thread that sees the word sees its tag.
        word_at.store(start, Ordering::Release);
        ClaimedSlot::Made(Cell { tag_at, word: word_at, tag })
    }

    /// The nearest slot that no key has, of `lines` from `home`.
    fn unused(&self, home: usize, lines: usize) -> Option<Free<'a>> {
        (0..lines).find_map(|distance| {
            let line = self.line(wrap(home + distance, self.lines))?;
            let slot = (0..SLOTS).find(|slot| {
                count_touch();
                // Relaxed: tags change only under this lock.
                line[*slot].load(Ordering::Relaxed) == 0
            })?;
            // Relaxed: nobody else writes the word of a slot that no key has.
            let word = line[SLOTS + slot].load(Ordering::Relaxed);
            Some(Free { distance, line, slot, word, since: None })
        })
    }

    /// A slot that no key has, or else that of the key idle longest, in the nearest line that has such,
    /// of `lines` from `home`.
    fn idle(
        &self,
        home: usize,
        lines: usize,
        meaning: &impl Meaning,
    ) -> Result<Free<'a>, ClaimedSlot<'a>> {
        let mut needed_until = u64::MAX;
        for distance in 0..lines {
            let Some(line) = self.line(wrap(home + distance, self.lines)) else { break };
            let mut least = (u64::MAX, 0, NEVER_USED);
            for slot in 0..SLOTS {
                count_touch();
                // Relaxed: tags change only under this lock.
                let tag = line[slot].load(Ordering::Relaxed);
                // Acquire: see `Cell::load`. The swap in `take` makes sure of the word.
                let word = line[SLOTS + slot].load(Ordering::Acquire);
                if tag == 0 {
                    return Ok(Free { distance, line, slot, word, since: None });
                }
                let until = meaning.needed_until(word, tag).ok_or(ClaimedSlot::Stale)?;
                if until < least.0 {
                    least = (until, slot, word);
                }
            }
            let (until, slot, word) = least;
            if until < meaning.now() {
                return Ok(Free { distance, line, slot, word, since: Some(until) });
            }
            needed_until = needed_until.min(until);
        }
        Err(ClaimedSlot::Full {
            until: match needed_until {
                u64::MAX => u64::MAX,
                tick => meaning.stamp(tick.saturating_add(1)),
            },
        })
    }
}

impl Segment {
    pub(super) fn new(groups: usize, lines: usize) -> Segment {
        // Zeroed memory that the system gives page by page as it is touched, made atomic in place;
        // one line more, to begin at a multiple of a line's size. By way of a vector: where a box
        // collects, the compiler writes each word onto itself and so touches every page.
        let words = vec![NEVER_USED; (groups * lines + 1) * LINE];
        let words: Vec<AtomicU64> = words.into_iter().map(AtomicU64::new).collect();
        let reach: Vec<AtomicU8> = vec![0; groups * lines].into_iter().map(AtomicU8::new).collect();
        let line_bytes = LINE * 8;
        let start = (line_bytes - words.as_ptr().addr() % line_bytes) % line_bytes / 8;
        Segment {
            words: words.into_boxed_slice(),
            start,
            rest: Box::new(Rest {
                groups: (0..groups).map(|_| Group::new(lines)).collect(),
                reach: reach.into_boxed_slice(),
            }),
        }
    }

    #[inline(always)]
    pub(super) fn line(&self, index: usize) -> Option<&SlotLine> {
        let at = self.start + index * LINE;
        self.words.get(at..at + LINE)?.first_chunk()
    }

    pub(super) fn memory(&self) -> usize {
        let Rest { groups, reach } = &*self.rest;
        let rest = size_of::<Rest>() + size_of_val(&**groups) + size_of_val(&**reach);
        size_of_val(&*self.words) + rest
    }
}

impl Group {
    pub(super) fn new(lines: usize) -> Group {
        Group {
            lock: Mutex::new(()),
            born: AtomicBool::new(false),
            forgotten: AtomicU64::new(0),
            unused: AtomicU64::new((lines * SLOTS) as u64),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ()> {
        count_lock();
        self.lock.lock()
    }
}

/// The line of its group that a tag names.
#[inline(always)]
pub(super) fn home(spread: u64, lines: usize) -> usize {
    (((spread >> 32) * lines as u64) >> 32) as usize
}

/// `index` in a ring of `lines`. Indexes are below twice that.
#[inline]
pub(super) fn wrap(index: usize, lines: usize) -> usize {
    if index < lines { index } else { index - lines }
}
