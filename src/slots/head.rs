//! The head: one word that says how many slots are free, and what is in the way. Taking and giving back
//! is one compare-and-swap of it, without a lock:
//!
//! ```text
//! 63    62    61     60 ..... 25  24 ............ 0
//! shut  hold  queue  cycle        room + 2^24
//! ```
//!
//! | bits | meaning |
//! |---|---|
//! | shut | one thread works under the lock; all others go to the lock |
//! | hold | a transaction has decided to take and may yet let go: a taker waits, a giver does not |
//! | queue | callers wait in line: a caller who did not wait gets nothing |
//! | cycle | rises with each shutting that ended leases, changed the cap or found the first end |
//! | room | how many can be taken; below 0 after the cap was lowered, and of limits in shadow |

use crate::sync::mutant;

pub(super) const SHUT: u64 = 1 << 63;
pub(super) const HOLD: u64 = 1 << 62;
pub(super) const QUEUE: u64 = 1 << 61;
pub(super) const FLAGS: u64 = SHUT | HOLD | QUEUE;
pub(super) const CYCLE: u64 = 1 << 25;
pub(super) const ROOM: u64 = CYCLE - 1;
/// Added to the room in its field, so that the room can be below 0.
pub(super) const NO_ROOM: u64 = 1 << 24;

/// Whether `units` can be taken by a swap of `head`: there is room, and none of the flags `stops` is set.
#[inline]
pub(super) fn has_room(head: u64, units: u32, stops: u64) -> bool {
    let stops = if mutant("take_through_hold") { stops & !HOLD } else { stops };
    let stops = if mutant("barge") { stops & !QUEUE } else { stops };
    head & stops == 0 && head & ROOM >= NO_ROOM + u64::from(units)
}

/// Whether `units` can be taken of what has become of `head` by others who only took and gave back. In
/// another cycle a claim may end before what is now the first end.
#[inline]
pub(super) fn still_has_room(head: u64, seen: u64, units: u32, stops: u64) -> bool {
    let is_same_cycle = (seen ^ head) & !(FLAGS | ROOM) == 0 || mutant("cycle_unasked");
    is_same_cycle && has_room(seen, units, stops)
}

/// How many are taken, of `cap`.
pub(super) fn in_use(head: u64, cap: u32) -> u32 {
    // Never more than there can be.
    (NO_ROOM + u64::from(cap)).saturating_sub(head & ROOM) as u32
}

/// The room that a head says.
pub(super) fn room(head: u64) -> i64 {
    (head & ROOM) as i64 - NO_ROOM as i64
}
