//! The slots of one concurrency limit: the number of free slots, and a record for each lease that
//! holds slots. The line of waiters is in `queue`, the table of keys in `concurrency_limiter`.
//!
//! A taker claims a *record*, swaps the head, then makes the record live. A giver marks its record
//! as *leaving*, swaps the head, then frees the record. A thread with exclusive access waits for
//! records that are claimed or leaving, which lasts a few instructions of their owners. Then no
//! other thread takes or gives back.
//!
//! A caller that finds no room must know whether a lease is over, because its slots are free then.
//! The *first end*, at which the first lease is over, is kept beside the head, so that a refusal is
//! a few loads. A taker whose lease ends sooner, and a giver whose lease was the first to end, make
//! the first end unknown before they swap the head. The next refusal then gets exclusive access and
//! finds it again (see `ends`), in amortized O(log n). So a slot is free again at exactly the end of
//! its lease, without a background thread.

mod ends;
mod exclusive;
mod head;
mod rare;
mod record;
mod records;
mod seldom;
mod snapshot;
mod terms;

use crate::decision::{Denied, Retry, Standing};
use crate::sync::{Arc, AtomicU32, AtomicU64, Ordering};
use crate::time::{Clock, Timestamp};

use head::{FLAGS, NO_ROOM, QUEUE, ROOM, SHUT, has_room, still_has_room};
use record::{NEVER, UNKNOWN, at_latest, is_over};
use records::LeaseRecords;

pub(crate) use record::{Claim, Held};
pub(crate) use snapshot::SlotSnapshot;
pub(crate) use terms::Terms;

/// The maximum number of slots of a limit, and the maximum weight of a lease.
pub const MAX_SLOTS: u32 = (1 << 24) - 1;

/// The order of the fields keeps what each call touches on as few cache lines as possible.
#[repr(C)]
pub(crate) struct Slots {
    head: AtomicU64,
    /// Changes only under exclusive access.
    cap: AtomicU32,
    terms: Arc<Terms>,
    records: LeaseRecords,
}

impl Slots {
    pub(crate) fn new(cap: u32, terms: Arc<Terms>) -> Slots {
        let cap = cap.min(MAX_SLOTS);
        let head = AtomicU64::new(NO_ROOM + u64::from(cap));
        Slots { head, cap: AtomicU32::new(cap), terms, records: LeaseRecords::new() }
    }

    /// If no flag is set, takes `units` if there is room, or refuses one slot if all are taken and
    /// certainly no lease is over. Otherwise returns `None`. Reads `clock` only if leases have an
    /// end.
    #[inline(always)]
    pub(crate) fn try_fast(&self, units: u32, clock: &Clock) -> Option<Result<Held, Denied>> {
        let lease = self.terms.lease();
        let now = (lease < NEVER).then(|| clock.now());
        let end = now.map_or(NEVER, |now| now.as_nanos().saturating_add(lease));
        match self.take_fast(units, end, FLAGS) {
            Some(held) => Some(Ok(held)),
            None => self.refuse_fast(units, now, FLAGS).map(Err),
        }
    }

    /// Takes `units` from `now` on. `turn`: the caller is the head of the line, which the queue
    /// flag does not stop.
    #[inline]
    pub(crate) fn take(&self, units: u32, now: Timestamp, turn: bool) -> Result<Held, Denied> {
        let stops = if turn { FLAGS & !QUEUE } else { FLAGS };
        if let Some(held) = self.take_fast(units, self.terms.end(now), stops) {
            return Ok(held);
        }
        // A full limit refuses whether or not callers wait, so the queue flag does not stop this.
        match self.refuse_fast(units, Some(now), FLAGS & !QUEUE) {
            Some(denied) => Err(denied),
            None => self.exclusive_for(turn).take(units, now),
        }
    }

    /// Takes `units` until `end`, unless there is no room or one of the flags in `stops` is set.
    #[inline(always)]
    fn take_fast(&self, units: u32, end: u64, stops: u64) -> Option<Held> {
        let head = self.load();
        if !has_room(head, units, stops) {
            return None;
        }
        let claim = self.claim_until(units, end)?;
        self.swap_room(head, units, stops).then(|| claim.live())
    }

    /// Takes `units` of the room of `head`. Retries if other threads only took and gave back
    /// meanwhile. The caller has already claimed a record.
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

    /// Refuses one slot if all are taken and certainly no lease is over. Without `now` that is
    /// certain only if no lease has an end. Returns `None` otherwise, or if one of the flags in
    /// `stops` is set.
    #[inline(always)]
    fn refuse_fast(&self, units: u32, now: Option<Timestamp>, stops: u64) -> Option<Denied> {
        let (first, cap) = self.first_if_full(self.load(), units, now, stops)?;
        let at_latest = now.and_then(|now| at_latest(first, now));
        let standing = Slots::standing(cap, cap, self.terms.lease());
        Some(Denied { standing, retry: Retry::Unknown { at_latest } })
    }

    /// The first end and the cap, if all slots were taken at the moment of `head` and no lease was
    /// over. `now` and `stops` as in `refuse_fast`.
    #[inline(always)]
    fn first_if_full(
        &self,
        head: u64,
        units: u32,
        now: Option<Timestamp>,
        stops: u64,
    ) -> Option<(u64, u32)> {
        // Acquire: pairs with the Release in `Exclusive::publish`. The head is read again after
        // this load. If the head is unchanged, this was the first end when it was read, because
        // another first end is published only in another cycle.
        let first = self.first_end();
        // Acquire: likewise, pairs with the Release in `resize`.
        let cap = self.cap.load(Ordering::Acquire);
        let is_full = head & (stops | ROOM) == NO_ROOM && units == 1 && cap > 0;
        let is_ahead = match now {
            Some(now) => first > now.as_nanos() && first != UNKNOWN,
            None => first == NEVER,
        };
        (is_full && is_ahead && self.load() == head).then_some((first, cap))
    }

    /// Gives back what is held, and returns whether callers wait in line. A lease that is over by
    /// [`Clock::recent`] is only counted as late. Reads `clock` only if the lease has an end.
    #[inline]
    pub(crate) fn give_back(&self, held: &Held, clock: &Clock) -> bool {
        let Some(record) = self.records.get(held.index) else { return false };
        let mut head = self.load();
        // Relaxed: if this is the end of a later lease, the serial number of the record has changed
        // too, so `leave` and `is_live` fail.
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
                    // The thread with exclusive access waits until this record is no longer
                    // leaving.
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
        let mut exclusive = self.exclusive();
        let live = self.records.get(held.index).filter(|record| record.is_live(held));
        if let Some(record) = live {
            // Relaxed: only `renew` changes the end of a live lease, under the lock that is held
            // here.
            let end = record.end.load(Ordering::Relaxed);
            let now = if end < NEVER { clock.now() } else { Timestamp::ZERO };
            if is_over(end, now) {
                exclusive.reap(now);
            }
            if record.end_lease(held.serial) {
                self.forget_first(held.index);
                exclusive.room += i64::from(held.units);
                return exclusive.queued;
            }
        }
        // Relaxed: a counter that orders nothing else.
        exclusive.rare.late.fetch_add(1, Ordering::Relaxed);
        exclusive.queued
    }

    /// The first end; `UNKNOWN`, or `NEVER` if no lease has an end.
    #[inline]
    fn first_end(&self) -> u64 {
        // Acquire: pairs with the Release in `Exclusive::publish`. The caller reads the head or the
        // cap after this load.
        self.records.known_rare().map_or(UNKNOWN, |rare| rare.first.load(Ordering::Acquire))
    }

    /// Makes the first end unknown if it belongs to the record at `index`. Called before the swap
    /// of the head.
    #[inline(always)]
    fn forget_first(&self, index: u32) {
        // Relaxed: the head was loaded with Acquire, so these loads are at least as new as that
        // head. The swap of the head publishes the store, and fails if another first end was
        // written meanwhile.
        if let Some(rare) = self.records.known_rare() {
            if rare.first_at.load(Ordering::Relaxed) == index {
                rare.first.store(UNKNOWN, Ordering::Relaxed);
            }
        }
    }

    #[inline]
    pub(crate) fn terms(&self) -> &Arc<Terms> {
        &self.terms
    }

    #[inline]
    pub(crate) fn cap(&self) -> u32 {
        self.cap.load(Ordering::Relaxed)
    }

    /// Whether callers wait in line.
    pub(crate) fn is_queued(&self) -> bool {
        self.load() & QUEUE != 0
    }

    /// If all slots are taken, the end of a lease that begins at `now`.
    pub(crate) fn full_until(&self, now: Timestamp) -> Option<Timestamp> {
        let is_full = self.load() & ROOM <= NO_ROOM;
        is_full.then(|| Timestamp::from_nanos(self.terms.end(now)))
    }

    /// Sets or clears the flag that stops callers that do not queue.
    pub(crate) fn set_queued(&self, queued: bool) {
        // AcqRel: pairs with `swap`. The next check for room sees the slots that were given back
        // before this, and a thread that gives back after this sees the flag.
        if queued {
            self.head.fetch_or(QUEUE, Ordering::AcqRel);
        } else {
            self.head.fetch_and(!QUEUE, Ordering::AcqRel);
        }
    }

    #[inline]
    fn load(&self) -> u64 {
        // Acquire: pairs with `swap`. Sees the cap and the records as the last exclusive access
        // left them.
        self.head.load(Ordering::Acquire)
    }

    #[inline]
    fn swap(&self, old: u64, new: u64) -> Result<u64, u64> {
        // AcqRel: pairs with itself and with `load`. A taker sees what the giver of its slot did,
        // and a thread that gets exclusive access sees the claims of the leases that the head
        // counts. Acquire on failure: as in `load`.
        self.head.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
    }

    /// Claims a record for slots that may be taken. While the claim exists, its owner must not wait
    /// for another thread. The owner has loaded the head, and takes slots only if the cycle is
    /// unchanged.
    #[inline]
    pub(crate) fn claim(&self, units: u32, now: Timestamp) -> Option<Claim<'_>> {
        self.claim_until(units, self.terms.end(now))
    }

    // Always inline: a claim returned in memory is read in other widths than it was written, which
    // is slow.
    #[inline(always)]
    fn claim_until(&self, units: u32, end: u64) -> Option<Claim<'_>> {
        let claim = self.records.claim(units, end)?;
        // Relaxed: as in `forget_first`.
        if let Some(rare) = self.records.known_rare() {
            if end < rare.first.load(Ordering::Relaxed) {
                rare.first.store(UNKNOWN, Ordering::Relaxed);
            }
        }
        Some(claim)
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
        let standing = Slots::standing(in_use, self.cap(), self.terms.lease());
        Denied { standing, retry: Retry::Never }
    }
}
