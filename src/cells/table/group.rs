//! A group of lines under one lock: where a key's slot is searched, and which slot a new key takes.
//! How groups split and grow is in `table`; the cells of a line are in `line`.

use crate::sync::{AtomicBool, AtomicU8, AtomicU64, Mutex, MutexGuard, Ordering};

use crate::cells::word::{self, IN_TRANSIT, NEVER_USED};

use super::line::{Cell, LINE, SLOTS, SlotLine, SlotOfLine, cell, count_lock, count_touch, seek};

/// Within this many lines an unused slot is taken before the slot of an idle key.
const NEAR_UNUSED: usize = 8;

/// What a word means, which the caller of the table knows.
pub(crate) trait Meaning {
    /// The tick until which the key needs the slot, when its bucket is full. `u64::MAX`: always.
    /// `None`: the word was written under parameters that the caller does not know.
    fn needed_until(&self, word: u64, tag: u64) -> Option<u64>;
    /// The current tick. A slot needed until an earlier tick has an idle key.
    fn now(&self) -> u64;
    /// The stamp of a tick, in nanoseconds.
    fn stamp(&self, tick: u64) -> u64;
}

/// The result of a claim.
pub(crate) enum ClaimedSlot<'a> {
    /// The key got a slot, with the requested word.
    Made(Cell<'a>),
    /// The key already had a slot.
    Present(Cell<'a>),
    /// The key has no slot, and none was wanted.
    None,
    /// The claim is based on a state that has changed.
    Stale,
    /// No slot is free before the stamp `until`.
    Full { until: u64 },
}

pub(super) struct Segment {
    /// Lines, from the first multiple of a line's size on.
    words: Box<[AtomicU64]>,
    start: usize,
    /// Boxed separately, since a key in its first lines is found without it.
    rest: Box<Rest>,
}

/// What a segment holds besides its lines.
struct Rest {
    groups: Box<[Group]>,
    /// For each line, how many lines behind it its keys may be. Written under the lock.
    reach: Box<[AtomicU8]>,
}

/// What a group has besides its lines.
pub(super) struct Group {
    /// Held to claim or move keys, or to prove that one is absent.
    lock: Mutex<()>,
    pub(super) born: AtomicBool,
    /// The latest stamp, in nanoseconds, at which a forgotten key's bucket was full. Written under
    /// the lock.
    pub(super) forgotten: AtomicU64,
    /// How many slots have no key. Written under the lock.
    pub(super) unused: AtomicU64,
}

/// A slot that a claim may take.
struct Free<'a> {
    /// How many lines behind the home line of the new key.
    distance: usize,
    line: &'a SlotLine,
    slot: usize,
    word: u64,
    /// The tick since which the key in it is idle. `None`: the slot has no key.
    since: Option<u64>,
}

/// A group and its lines within a segment.
pub(super) struct GroupPlace<'a> {
    segment: &'a Segment,
    pub(super) group: &'a Group,
    /// Index of the group's first line.
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

    /// The slot of the key, searched from the line `from` lines behind its home line.
    #[inline(always)]
    pub(super) fn find(&self, tag: u64, spread: u64, from: usize) -> Option<SlotOfLine<'a>> {
        let home = self.home(spread);
        // Relaxed: a caller that must be certain holds the lock under which it was written.
        let reach = self.reach(home).load(Ordering::Relaxed).into();
        (from..=reach).find_map(|at| seek(self.line(wrap(home + at, self.lines))?, tag))
    }

    /// Lowers the reach of `home` by a line if none of its keys is in the farthest line, so that a
    /// search ends sooner. The caller holds the group's lock.
    #[inline]
    pub(super) fn shrink_reach(&self, home: usize) {
        // Relaxed: written under this lock, as key hashes are.
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
            // A key that comes later raises it again. A thread that knows of that key reads no
            // smaller value.
            reach.store(far - 1, Ordering::Relaxed);
        }
    }

    /// Takes a slot for `tag` in the nearest of `lines` lines that has one, from its home line on:
    /// a slot without a key or, if `may_forget`, the slot of the key idle longest. The caller holds
    /// the group's lock.
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
        // Unused slots first: otherwise the keys of a crowded line would keep evicting each other.
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
        // Relaxed: every thread that sees the mark waits, and the Release stores below publish the
        // rest.
        let marked =
            word_at.compare_exchange(word, IN_TRANSIT, Ordering::Relaxed, Ordering::Relaxed);
        if marked.is_err() {
            // The key in the slot was charged meanwhile. The caller tries again.
            return ClaimedSlot::Stale;
        }
        // Relaxed, except for one store: only holders of this lock read and write these.
        match since.map(|tick| meaning.stamp(tick)) {
            Some(since) if since > self.group.forgotten.load(Ordering::Relaxed) => {
                // Release: pairs with the Acquire in `Table::forgotten`: a caller that decides on
                // this stamp sees that the forgotten key's slot is gone.
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
        // Release: pairs with `Cell::load`: a thread that sees the key hash sees that the old word
        // is gone.
        tag_at.store(tag, Ordering::Release);
        // Release: pairs with `Cell::load`: a thread that sees the word sees its key hash.
        word_at.store(start, Ordering::Release);
        ClaimedSlot::Made(Cell { tag_at, word: word_at, tag })
    }

    /// The nearest slot without a key, within `lines` lines from `home`.
    fn unused(&self, home: usize, lines: usize) -> Option<Free<'a>> {
        (0..lines).find_map(|distance| {
            let line = self.line(wrap(home + distance, self.lines))?;
            let slot = (0..SLOTS).find(|slot| {
                count_touch();
                // Relaxed: key hashes change only under this lock.
                line[*slot].load(Ordering::Relaxed) == 0
            })?;
            // Relaxed: no other thread writes the word of a slot without a key.
            let word = line[SLOTS + slot].load(Ordering::Relaxed);
            Some(Free { distance, line, slot, word, since: None })
        })
    }

    /// A slot without a key, or else the slot of the key idle longest, in the nearest of `lines`
    /// lines from `home` that has one.
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
                // Relaxed: key hashes change only under this lock.
                let tag = line[slot].load(Ordering::Relaxed);
                // Acquire: see `Cell::load`. The compare-and-swap in `take` validates the word.
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
        // Zeroed memory, which the system provides page by page as it is touched, made atomic in
        // place. One line more, to begin at a multiple of a line's size. Collected into a vector:
        // if a box collects, the compiler writes each word onto itself and so touches every page.
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

/// The line of its group that a key hash names.
#[inline(always)]
pub(super) fn home(spread: u64, lines: usize) -> usize {
    (((spread >> 32) * lines as u64) >> 32) as usize
}

/// `index` in a ring of `lines`. `index` is below `2 * lines`.
#[inline]
pub(super) fn wrap(index: usize, lines: usize) -> usize {
    if index < lines { index } else { index - lines }
}
