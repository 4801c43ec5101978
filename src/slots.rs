//! The slots of one concurrency limit: how many are free, and the leases that hold the others.
//!
//! The *head* is one word. Taking and giving back is one compare-and-swap of it, without a lock:
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
//!
//! Each lease has a *record* (see `records`) that says when it ends. A taker claims its record, swaps
//! the head, then makes the record live. A giver marks its record as *leaving*, swaps the head, then
//! frees the record. A thread that has shut the slots waits for records that are claimed or leaving,
//! which is a few instructions of their owners: then it has head and records to itself.
//!
//! A caller that finds no room must know whether a lease is over: then its slot is free. The *first
//! end* is kept beside the head, so that a refusal is a few loads. Each lease that ends sooner, and
//! each that goes and was the first, makes it unknown before it swaps the head. The next refusal then
//! shuts the slots and finds it again (see `ends`), in amortized O(log n). So a slot is free again at
//! exactly the end of its lease, and no thread is needed for it.

mod ends;
mod records;
mod shut;
mod transaction;

use std::time::Duration;

use crate::decision::{Denied, Retry, Standing};
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering, mutant};
use crate::time::{Clock, Timestamp};

use ends::Ends;
use records::Records;

pub(crate) use records::{Claim, Held};
pub(crate) use transaction::Look;

/// The most that a limit can hold, and a lease weigh.
pub const MAX_SLOTS: u32 = (1 << 24) - 1;

const SHUT: u64 = 1 << 63;
const HOLD: u64 = 1 << 62;
const QUEUE: u64 = 1 << 61;
const FLAGS: u64 = SHUT | HOLD | QUEUE;
const CYCLE: u64 = 1 << 25;
const ROOM: u64 = CYCLE - 1;
/// Added to the room in its field, so that the room can be below 0.
const NO_ROOM: u64 = 1 << 24;

/// An end that is not known: the slots must be shut to find it. No lease ends sooner.
const UNKNOWN: u64 = 0;
/// The end of a lease that has none.
const NEVER: u64 = u64::MAX;

/// In this order: what each call touches stands together, with the first records.
#[repr(C)]
pub(crate) struct Slots {
    hot: Hot,
    records: Records,
    /// Held while shut.
    shut: Mutex<Ends>,
    expired: AtomicU64,
    late: AtomicU64,
    /// How many of `expired` somebody was told of.
    told: AtomicU64,
}

struct Hot {
    head: AtomicU64,
    /// When the first lease ends; `UNKNOWN`, or `NEVER` if none does.
    first: AtomicU64,
    /// The record of that lease.
    first_at: AtomicU32,
    /// How long a lease is, in nanoseconds; `u64::MAX` without end.
    lease: AtomicU64,
    /// Changes only while shut.
    cap: AtomicU32,
}

/// How slots stood at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    pub(crate) cap: u32,
    /// By leases that are not over.
    pub(crate) in_use: u32,
    /// By leases that are over, and that nobody needed to take back yet.
    pub(crate) overdue: u32,
    /// Leases that ran out, those of `overdue` included.
    pub(crate) expired: u64,
    /// Leases given back too late, or after a reset.
    pub(crate) late: u64,
}

/// Whether `units` can be taken by a swap of `head`: there is room, and none of the flags `stops` is set.
#[inline]
fn has_room(head: u64, units: u32, stops: u64) -> bool {
    let stops = if mutant("take_through_hold") { stops & !HOLD } else { stops };
    let stops = if mutant("barge") { stops & !QUEUE } else { stops };
    head & stops == 0 && head & ROOM >= NO_ROOM + u64::from(units)
}

/// Whether `units` can be taken of what has become of `head` by others who only took and gave back. In
/// another cycle a claim may end before what is now the first end.
#[inline]
fn still_has_room(head: u64, seen: u64, units: u32, stops: u64) -> bool {
    let is_same_cycle = (seen ^ head) & !(FLAGS | ROOM) == 0 || mutant("cycle_unasked");
    is_same_cycle && has_room(seen, units, stops)
}

/// How many are taken, of `cap`.
fn in_use(head: u64, cap: u32) -> u32 {
    // Never more than there can be.
    (NO_ROOM + u64::from(cap)).saturating_sub(head & ROOM) as u32
}

/// How long until a lease is over that ends at `end`, if it has an end.
#[inline]
fn at_latest(end: u64, now: Timestamp) -> Option<Duration> {
    (end < NEVER).then(|| Timestamp::from_nanos(end).since(now))
}

fn nanos(lease: Option<Duration>) -> u64 {
    lease.map_or(NEVER, |lease| u64::try_from(lease.as_nanos()).unwrap_or(NEVER))
}

/// Whether a lease is over that ends at `end`; at the end of time none does.
#[inline]
fn is_over(end: u64, now: Timestamp) -> bool {
    end <= now.as_nanos() && end < NEVER
}

impl Slots {
    pub(crate) fn new(cap: u32, lease: Option<Duration>) -> Slots {
        let cap = cap.min(MAX_SLOTS);
        let hot = Hot {
            head: AtomicU64::new(NO_ROOM + u64::from(cap)),
            first: AtomicU64::new(UNKNOWN),
            first_at: AtomicU32::new(u32::MAX),
            lease: AtomicU64::new(nanos(lease)),
            cap: AtomicU32::new(cap),
        };
        Slots {
            hot,
            records: Records::new(),
            shut: Mutex::default(),
            expired: AtomicU64::new(0),
            late: AtomicU64::new(0),
            told: AtomicU64::new(0),
        }
    }

    /// Makes of idle slots new ones, if nothing of them is left to come.
    pub(crate) fn begin_anew(&mut self, cap: u32, lease: Option<Duration>) -> bool {
        let head = self.load();
        if head & FLAGS != 0 || in_use(head, self.cap()) > 0 {
            return false;
        }
        self.resize(cap);
        self.set_lease(lease);
        // Relaxed: nobody else has them.
        self.expired.store(0, Ordering::Relaxed);
        self.late.store(0, Ordering::Relaxed);
        self.told.store(0, Ordering::Relaxed);
        true
    }

    /// Takes `units` for a caller who does not wait, if there is room and nothing is in the way, or refuses
    /// them if nothing needs to be found out. `clock` is read only if a lease has an end.
    #[inline(always)]
    pub(crate) fn try_at_once(&self, units: u32, clock: &Clock) -> Option<Result<Held, Denied>> {
        let lease = self.lease();
        let now = (lease < NEVER).then(|| clock.now());
        let end = now.map_or(NEVER, |now| now.as_nanos().saturating_add(lease));
        match self.take_at_once(units, end, FLAGS) {
            Some(held) => Some(Ok(held)),
            None => self.refuse_at_once(units, now, FLAGS).map(Err),
        }
    }

    /// Takes `units` from `now` on. `turn`: for the head of the line, whom no line stops.
    #[inline]
    pub(crate) fn take(&self, units: u32, now: Timestamp, turn: bool) -> Result<Held, Denied> {
        let stops = if turn { FLAGS & !QUEUE } else { FLAGS };
        if let Some(held) = self.take_at_once(units, self.end(now), stops) {
            return Ok(held);
        }
        // A full cap refuses whether or not others wait, so the queue flag does not stop this.
        match self.refuse_at_once(units, Some(now), FLAGS & !QUEUE) {
            Some(denied) => Err(denied),
            None => self.shut_for(turn).take(units, now),
        }
    }

    /// Takes `units` until `end`, unless there is no room or one of the flags `stops` is set.
    #[inline(always)]
    fn take_at_once(&self, units: u32, end: u64, stops: u64) -> Option<Held> {
        let head = self.load();
        if !has_room(head, units, stops) {
            return None;
        }
        let claim = self.claim_until(units, end)?;
        if mutant("add_then_count") {
            return self.add_then_count(claim, units);
        }
        self.swap_room(head, units, stops).then(|| claim.live())
    }

    /// Takes `units` of the room of `head`, or of what has become of it by others who took and gave back
    /// meanwhile. The claim is made already.
    #[inline(always)]
    fn swap_room(&self, mut head: u64, units: u32, stops: u64) -> bool {
        loop {
            match self.swap(head, head - u64::from(units)) {
                Ok(_) => return true,
                Err(seen) if still_has_room(head, seen, units, stops) => {
                    self.records.spread();
                    head = seen;
                }
                Err(_) => return false,
            }
        }
    }

    /// The refusal of one slot if all are taken and it is known that no lease is over. Without `now` that
    /// is known only if no lease has an end. `None` also if one of the flags `stops` is set.
    #[inline(always)]
    fn refuse_at_once(&self, units: u32, now: Option<Timestamp>, stops: u64) -> Option<Denied> {
        let (first, cap) = self.first_if_full(self.load(), units, now, stops)?;
        let at_latest = now.and_then(|now| at_latest(first, now));
        let standing = Slots::standing(cap, cap, self.lease());
        Some(Denied { standing, retry: Retry::Unknown { at_latest } })
    }

    /// When the first lease ends, and the cap, if all slots were taken at the moment of `head` and no lease
    /// was over: as of `refuse_at_once`.
    #[inline(always)]
    fn first_if_full(
        &self,
        head: u64,
        units: u32,
        now: Option<Timestamp>,
        stops: u64,
    ) -> Option<(u64, u32)> {
        // Acquire: that the head is still the same is read after it. The end was then the first at the
        // moment at which it was read: it only becomes another in another cycle.
        let first = self.hot.first.load(Ordering::Acquire);
        // Acquire: likewise.
        let cap = self.hot.cap.load(Ordering::Acquire);
        let is_full = head & (stops | ROOM) == NO_ROOM && units == 1 && cap > 0;
        let is_ahead = match now {
            Some(now) => first > now.as_nanos() && first != UNKNOWN,
            None => first == NEVER,
        };
        (is_full && is_ahead && self.load() == head).then_some((first, cap))
    }

    /// Takes `units` whether or not there is room, and whoever waits: for limits that only count.
    /// `None` if so many cannot be counted.
    pub(crate) fn take_anyway(&self, units: u32, now: Timestamp) -> Option<Held> {
        let mut shut = self.shut();
        if shut.in_use().saturating_add(units) > MAX_SLOTS {
            shut.reap(now);
        }
        if shut.in_use().saturating_add(units) > MAX_SLOTS {
            return None;
        }
        let claim = self.claim(units, now)?;
        shut.room -= i64::from(units);
        Some(claim.live())
    }

    /// Gives back what is held, and says whether somebody waits in line. If its lease is over by
    /// [`Clock::recent`], only counts that. `clock` is read only if the lease has an end.
    #[inline]
    pub(crate) fn give_back(&self, held: &Held, clock: &Clock) -> bool {
        let Some(record) = self.records.get(held.index) else { return false };
        let mut head = self.load();
        // Relaxed: if it is not this lease's any more, neither is the record.
        let end = record.end.load(Ordering::Relaxed);
        let is_over = end < NEVER && is_over(end, clock.recent());
        if head & SHUT != 0 || is_over || !record.leave(held) {
            return self.give_back_shut(held, clock);
        }
        loop {
            self.forget_first(held.index);
            match self.swap(head, head + u64::from(held.units)) {
                Ok(_) => break,
                Err(seen) if seen & SHUT == 0 => {
                    self.records.spread();
                    head = seen;
                }
                Err(_) => {
                    // The thread that has shut the slots waits until this record does not leave any more.
                    record.stay(held);
                    return self.give_back_shut(held, clock);
                }
            }
        }
        record.free(held.serial);
        self.records.set_hint(held.index);
        head & QUEUE != 0
    }

    #[cold]
    #[inline(never)]
    fn give_back_shut(&self, held: &Held, clock: &Clock) -> bool {
        let mut shut = self.shut();
        let live = self.records.get(held.index).filter(|record| record.is_live(held));
        if let Some(record) = live {
            // Relaxed: the lock is held.
            let end = record.end.load(Ordering::Relaxed);
            let now = if end < NEVER { clock.now() } else { Timestamp::ZERO };
            if is_over(end, now) {
                shut.reap(now);
            }
            if record.end_lease(held.serial) {
                self.forget_first(held.index);
                shut.room += i64::from(held.units);
                return shut.queued && !mutant("queue_forgotten");
            }
        }
        // Relaxed: a count.
        self.late.fetch_add(1, Ordering::Relaxed);
        shut.queued && !mutant("queue_forgotten")
    }

    /// Makes the first end unknown if it is that of the record, before the head is swapped.
    #[inline(always)]
    fn forget_first(&self, index: u32) {
        // Relaxed: the head was loaded with Acquire, so these are at least as new as that head. The swap
        // of the head publishes the store, and fails if another first end was written meanwhile.
        if self.hot.first_at.load(Ordering::Relaxed) == index && !mutant("first_end_kept") {
            self.hot.first.store(UNKNOWN, Ordering::Relaxed);
        }
    }

    /// Begins the lease anew at `now`, if it is not over. It never ends sooner than before: whoever
    /// waits for its end would not hear of it.
    pub(crate) fn renew(&self, held: &Held, now: Timestamp) -> bool {
        let shut = (!mutant("renew_open")).then(|| self.shut());
        let live = self.records.get(held.index).filter(|record| record.is_live(held));
        let renewed = match live {
            Some(record) if !is_over(record.end.load(Ordering::Relaxed), now) => {
                // Relaxed: a search for the first end reads it under the lock. Any other reader may see
                // either end.
                record.end.fetch_max(self.end(now), Ordering::Relaxed);
                if !mutant("renewed_first_kept") {
                    self.forget_first(held.index);
                }
                true
            }
            _ => false,
        };
        drop(shut);
        renewed
    }

    /// When the lease is over; `None` if it was taken back or reset.
    pub(crate) fn end_of(&self, held: &Held) -> Option<Timestamp> {
        let record = self.records.get(held.index)?;
        loop {
            let head = self.load();
            if head & SHUT != 0 && !mutant("end_unconfirmed") {
                // A reset ends all leases at once.
                drop(self.shut.lock());
                continue;
            }
            // Acquire: pairs with the fence in `Record::claim`. If this is the end of a later lease,
            // `is_live` says false. The head is read after it, too.
            let end = record.end.load(Ordering::Acquire);
            let live = record.is_live(held);
            let unmoved = (self.load() ^ head) & !(FLAGS | ROOM) == 0;
            if unmoved || mutant("end_unconfirmed") {
                return live.then(|| Timestamp::from_nanos(end));
            }
        }
    }

    /// Changes how many there are. What is held stays held.
    pub(crate) fn resize(&self, cap: u32) {
        let cap = cap.min(MAX_SLOTS);
        if mutant("resize_open") {
            let (head, before) = (self.load(), self.hot.cap.swap(cap, Ordering::Release));
            let more = i64::from(cap) - i64::from(before);
            self.hot.head.store(head.wrapping_add_signed(more), Ordering::Release);
            return;
        }
        let mut shut = self.shut();
        shut.room += i64::from(cap) - i64::from(self.cap());
        shut.is_changed = true;
        // Release: for `refuse_at_once`, which then sees that the slots are shut.
        self.hot.cap.store(cap, Ordering::Release);
    }

    /// Changes how long leases are that begin from now on.
    pub(crate) fn set_lease(&self, lease: Option<Duration>) {
        // Relaxed: nothing else goes with it.
        self.hot.lease.store(nanos(lease), Ordering::Relaxed);
    }

    /// Ends all leases. What is given back of them later changes nothing.
    pub(crate) fn reset(&self, now: Timestamp) {
        let mut shut = self.shut();
        shut.reap(now);
        if !mutant("reset_keeps_lease") {
            self.records.each_live(|record, live| record.end_lease(live.serial));
        }
        shut.room = self.cap().into();
        shut.is_changed = true;
        if !mutant("reset_first_kept") {
            // Relaxed: published as the slots are opened.
            self.hot.first.store(UNKNOWN, Ordering::Relaxed);
        }
    }

    pub(crate) fn count(&self, now: Timestamp) -> Count {
        let shut = self.shut();
        let (mut overdue, mut leases) = (0, 0);
        self.records.each_live(|_, live| {
            if is_over(live.end, now) {
                overdue += live.units;
                leases += 1;
            }
            true
        });
        Count {
            cap: self.cap(),
            in_use: shut.in_use().saturating_sub(overdue),
            overdue,
            expired: self.expired.load(Ordering::Relaxed) + leases,
            late: self.late.load(Ordering::Relaxed),
        }
    }

    /// Leases that ran out, and leases given back late, so far.
    pub(crate) fn past(&self) -> (u64, u64) {
        (self.expired.load(Ordering::Relaxed), self.late.load(Ordering::Relaxed))
    }

    /// Leases that ran out and of which nobody was told: from now on somebody was.
    pub(crate) fn tell_expired(&self) -> u64 {
        // Relaxed: counts. Of two who ask at once each is told of other ones.
        let expired = self.expired.load(Ordering::Relaxed);
        if self.told.load(Ordering::Relaxed) >= expired {
            return 0;
        }
        expired.saturating_sub(self.told.fetch_max(expired, Ordering::Relaxed))
    }

    /// Bytes allocated besides itself.
    pub(crate) fn memory(&self) -> usize {
        self.records.memory() + self.shut.lock().memory()
    }

    #[inline]
    pub(crate) fn cap(&self) -> u32 {
        self.hot.cap.load(Ordering::Relaxed)
    }

    /// Whether somebody waits in line.
    pub(crate) fn is_queued(&self) -> bool {
        self.load() & QUEUE != 0
    }

    /// If all are taken, when a lease is over that begins at `now`.
    pub(crate) fn full_until(&self, now: Timestamp) -> Option<Timestamp> {
        let is_full = self.load() & ROOM <= NO_ROOM;
        is_full.then(|| Timestamp::from_nanos(self.end(now)))
    }

    /// Says whether somebody waits in line, to those who do not.
    pub(crate) fn set_queued(&self, queued: bool) {
        // AcqRel: who gives back before this is seen by who then looks for room, and who gives
        // back after it sees the flag.
        if queued {
            self.hot.head.fetch_or(QUEUE, Ordering::AcqRel);
        } else {
            self.hot.head.fetch_and(!QUEUE, Ordering::AcqRel);
        }
    }

    #[inline]
    fn load(&self) -> u64 {
        // Acquire: sees the cap and the records as the last shutting left them.
        self.hot.head.load(Ordering::Acquire)
    }

    #[inline]
    fn swap(&self, old: u64, new: u64) -> Result<u64, u64> {
        // AcqRel: whoever takes a slot sees what its giver did, and whoever shuts the slots sees
        // the claims of those counted. Acquire on failure: as in `load`.
        self.hot.head.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
    }

    /// A record for what may be taken. While it is a claim its owner must wait for nobody. The owner
    /// has loaded the head, and takes only if its cycle is still the same.
    #[inline]
    pub(crate) fn claim(&self, units: u32, now: Timestamp) -> Option<Claim<'_>> {
        self.claim_until(units, self.end(now))
    }

    #[inline]
    fn claim_until(&self, units: u32, end: u64) -> Option<Claim<'_>> {
        let claim = self.records.claim(units, end)?;
        // Relaxed: as in `forget_first`.
        if end < self.hot.first.load(Ordering::Relaxed) && !mutant("sooner_end_unseen") {
            self.hot.first.store(UNKNOWN, Ordering::Relaxed);
        }
        Some(claim)
    }

    #[inline]
    fn end(&self, now: Timestamp) -> u64 {
        now.as_nanos().saturating_add(self.lease())
    }

    /// How long leases are that begin now.
    #[inline]
    fn lease(&self) -> u64 {
        // Relaxed: nothing else goes with it.
        self.hot.lease.load(Ordering::Relaxed)
    }

    #[inline]
    fn standing(in_use: u32, cap: u32, lease: u64) -> Standing {
        let reset = if in_use == 0 { 0 } else { lease };
        Standing {
            capacity: cap.into(),
            room: cap.saturating_sub(in_use).into(),
            reset,
            ..Standing::NONE
        }
    }

    fn never(&self, in_use: u32) -> Denied {
        let standing = Slots::standing(in_use, self.cap(), self.lease());
        Denied { standing, retry: Retry::Never }
    }

    /// The bug of counting first and looking then: two that race for the last slot both lose.
    fn add_then_count(&self, claim: Claim<'_>, units: u32) -> Option<Held> {
        let units = u64::from(units);
        let head = self.hot.head.fetch_add(units.wrapping_neg(), Ordering::AcqRel);
        if head & ROOM < NO_ROOM + units {
            self.hot.head.fetch_add(units, Ordering::AcqRel);
            return None;
        }
        Some(claim.live())
    }
}
