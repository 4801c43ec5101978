//! The head: one word with the number of free slots and the flags that stop callers. Taking and
//! giving back is one compare-and-swap of the head, without a lock. This file only decodes the
//! word; `Slots` changes it. The bits:
//!
//! ```text
//! 63    62    61     60 ..... 25  24 ............ 0
//! shut  hold  queue  cycle        room + 2^24
//! ```
//!
//! | bits | meaning |
//! |---|---|
//! | shut | one thread has exclusive access under the lock; all others go to the lock |
//! | hold | a transaction is about to take and may still abort: takers wait, givers do not |
//! | queue | callers wait in line: a caller that does not queue gets nothing |
//! | cycle | rises when exclusive access ended leases, or changed the cap or the first end |
//! | room | free slots; below 0 after the cap was lowered, and for limits in shadow |

pub(super) const SHUT: u64 = 1 << 63;
pub(super) const HOLD: u64 = 1 << 62;
pub(super) const QUEUE: u64 = 1 << 61;
pub(super) const FLAGS: u64 = SHUT | HOLD | QUEUE;
pub(super) const CYCLE: u64 = 1 << 25;
pub(super) const ROOM: u64 = CYCLE - 1;
/// Added to the room in its field, so that the room can be below 0.
pub(super) const NO_ROOM: u64 = 1 << 24;

/// Whether a swap of `head` can take `units`: there is room, and none of the flags in `stops` is
/// set.
#[inline]
pub(super) fn has_room(head: u64, units: u32, stops: u64) -> bool {
    head & stops == 0 && head & ROOM >= NO_ROOM + u64::from(units)
}

/// Whether `units` can be taken after other threads, which only took and gave back, changed `head`
/// to `seen`. In another cycle, the claimed lease may end before the new first end.
#[inline]
pub(super) fn still_has_room(head: u64, seen: u64, units: u32, stops: u64) -> bool {
    let is_same_cycle = (seen ^ head) & !(FLAGS | ROOM) == 0;
    is_same_cycle && has_room(seen, units, stops)
}

/// The number of slots of `cap` that are taken.
pub(super) fn in_use(head: u64, cap: u32) -> u32 {
    // At most 2^24 + `cap`, so the cast does not truncate.
    (NO_ROOM + u64::from(cap)).saturating_sub(head & ROOM) as u32
}

/// The number of free slots in `head`; can be below 0.
pub(super) fn room(head: u64) -> i64 {
    (head & ROOM) as i64 - NO_ROOM as i64
}
