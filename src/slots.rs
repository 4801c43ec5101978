//! The slots of one concurrency limit: how many are taken, and by which leases.
//!
//! The *head* is one word. Taking and giving back is one compare-and-swap of it, without a lock:
//!
//! ```text
//! 63    62    61     60 ..... 24  23 ........ 0
//! shut  hold  queue  cycle        units in use
//! ```
//!
//! | bit | meaning |
//! |---|---|
//! | shut | one thread works under the lock, and `in use` is its own; all others go to the lock |
//! | hold | a transaction has decided to take and may yet let go: who takes waits, who gives back does not |
//! | queue | callers wait in line: who did not wait gets nothing |
//! | cycle | rises with each shutting that changed what is held or the cap, so that a swap across one fails |
//!
//! Each lease has a *record* (see `records`) that says when it ends. Nobody looks at those while
//! there is room. Who finds none shuts the slots, takes back what is over, and only then is
//! refused: so a slot is free again at exactly the end of its lease, and no thread is needed for
//! it. What must not be split (reset, resize, renew, looking at all) happens while shut, too.
//!
//! A taker claims its record, swaps the head, then makes the record live; a giver swaps the head,
//! then frees the record. Whoever has shut the slots waits for those in between, which is a few
//! instructions of theirs: claimed records are waited for, and a live record that is no longer
//! counted shows as a sum above the head's.

mod records;
mod shut;
mod transaction;

use std::time::Duration;

use crate::decision::{Allowed, Denied, Retry, Standing};
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering, mutant};
use crate::time::Timestamp;

use records::Records;

pub(crate) use records::{Claim, Held};
pub(crate) use transaction::Look;

/// The most that a limit can hold, and a lease weigh.
pub const MAX_SLOTS: u32 = (1 << 24) - 1;

const SHUT: u64 = 1 << 63;
const HOLD: u64 = 1 << 62;
const QUEUE: u64 = 1 << 61;
const FLAGS: u64 = SHUT | HOLD | QUEUE;
const CYCLE: u64 = 1 << 24;
const IN_USE: u64 = CYCLE - 1;

/// In this order: what each call touches stands together, with the first records.
#[repr(C)]
pub(crate) struct Slots {
    hot: Hot,
    records: Records,
    /// Held while shut.
    shut: Mutex<()>,
    expired: AtomicU64,
    late: AtomicU64,
    /// How many of `expired` somebody was told of.
    told: AtomicU64,
}

struct Hot {
    head: AtomicU64,
    /// Changes only while shut.
    cap: AtomicU32,
    /// Where a free record probably is.
    hint: AtomicU32,
    /// How long a lease is, in nanoseconds; `u64::MAX` without end.
    lease: AtomicU64,
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

/// What a giver learns.
pub(crate) struct Back {
    /// Somebody waits in line.
    pub(crate) queued: bool,
}

fn in_use(head: u64) -> u32 {
    (head & IN_USE) as u32
}

fn nanos(lease: Option<Duration>) -> u64 {
    lease.map_or(u64::MAX, |lease| u64::try_from(lease.as_nanos()).unwrap_or(u64::MAX))
}

/// Whether a lease is over that ends at `end`; at the end of time none does.
#[inline]
fn is_over(end: u64, now: Timestamp) -> bool {
    end <= now.as_nanos() && end < u64::MAX
}

impl Slots {
    pub(crate) fn new(cap: u32, lease: Option<Duration>) -> Slots {
        let hot = Hot {
            head: AtomicU64::new(0),
            cap: AtomicU32::new(cap.min(MAX_SLOTS)),
            hint: AtomicU32::new(0),
            lease: AtomicU64::new(nanos(lease)),
        };
        Slots {
            hot,
            records: Records::new(),
            shut: Mutex::new(()),
            expired: AtomicU64::new(0),
            late: AtomicU64::new(0),
            told: AtomicU64::new(0),
        }
    }

    /// Makes of idle slots new ones, if nothing of them is left to come.
    pub(crate) fn begin_anew(&mut self, cap: u32, lease: Option<Duration>) -> bool {
        if self.load() & (FLAGS | IN_USE) != 0 {
            return false;
        }
        // Relaxed: nobody else has them.
        self.hot.cap.store(cap.min(MAX_SLOTS), Ordering::Relaxed);
        self.set_lease(lease);
        self.expired.store(0, Ordering::Relaxed);
        self.late.store(0, Ordering::Relaxed);
        self.told.store(0, Ordering::Relaxed);
        true
    }

    /// Takes `units` from `now` on. `turn`: for the head of the line, whom no line stops.
    #[inline]
    pub(crate) fn take(
        &self,
        units: u32,
        now: Timestamp,
        turn: bool,
    ) -> Result<(Held, Allowed), Denied> {
        match self.take_at_once(units, now) {
            Some(taken) => Ok(taken),
            None => self.shut_for(turn).take(units, now),
        }
    }

    /// `take`, unless there is no room or something is in the way.
    #[inline(always)]
    pub(crate) fn take_at_once(&self, units: u32, now: Timestamp) -> Option<(Held, Allowed)> {
        let mut head = self.load();
        if !self.has_room(head, units) {
            return None;
        }
        let claim = self.claim(units, now)?;
        loop {
            if mutant("add_then_count") {
                return self.add_then_count(claim, units);
            }
            // Before the swap, which fails if the cap changed meanwhile.
            let allowed = self.allowed(in_use(head) + units);
            match self.swap(head, head + u64::from(units)) {
                Ok(_) => return Some((claim.live(), allowed)),
                Err(seen) if self.has_room(seen, units) => head = seen,
                Err(_) => return None,
            }
        }
    }

    /// Takes `units` whether or not there is room, and whoever waits: for limits that only count.
    /// `None` if so many cannot be counted.
    pub(crate) fn take_anyway(&self, units: u32, now: Timestamp) -> Option<Held> {
        let mut shut = self.shut();
        if shut.in_use.saturating_add(units) > MAX_SLOTS {
            shut.reap(now);
        }
        let in_use = shut.in_use.checked_add(units).filter(|units| *units <= MAX_SLOTS)?;
        let claim = self.claim(units, now)?;
        shut.in_use = in_use;
        Some(claim.live())
    }

    /// Gives back what is held; if its lease is over, only counts that.
    #[inline]
    pub(crate) fn give_back(&self, held: &Held, now: Timestamp) -> Back {
        let Some(record) = self.records.get(held.index) else { return Back { queued: false } };
        let mut head = self.load();
        loop {
            if head & SHUT != 0 {
                return self.give_back_shut(held, now);
            }
            // Acquire: the end is read before the word. If that is still this lease's, so was the
            // end.
            let end = record.end.load(Ordering::Acquire);
            if !record.is_live(held) && !mutant("expiry_frees_stranger") {
                return self.give_back_late(head);
            }
            if is_over(end, now) {
                return self.give_back_shut(held, now);
            }
            // A reset between the load and the swap has changed the cycle.
            match self.swap(head, head - u64::from(held.units)) {
                Ok(_) => break,
                Err(seen) => head = seen,
            }
        }
        record.free(held.serial);
        // Seldom written: who comes next reads it.
        if self.hot.hint.load(Ordering::Relaxed) != held.index {
            self.hot.hint.store(held.index, Ordering::Relaxed);
        }
        Back { queued: head & QUEUE != 0 }
    }

    #[cold]
    #[inline(never)]
    fn give_back_shut(&self, held: &Held, now: Timestamp) -> Back {
        let mut shut = self.shut();
        let queued = shut.queued && !mutant("queue_forgotten");
        match self.records.get(held.index).filter(|record| record.is_live(held)) {
            None => {
                self.give_back_late(0);
            }
            Some(record) if is_over(record.end.load(Ordering::Relaxed), now) => {
                shut.reap(now);
                self.give_back_late(0);
            }
            Some(record) => {
                shut.in_use = shut.in_use.saturating_sub(held.units);
                record.free(held.serial);
            }
        }
        Back { queued }
    }

    #[cold]
    fn give_back_late(&self, head: u64) -> Back {
        // Relaxed: a count.
        self.late.fetch_add(1, Ordering::Relaxed);
        Back { queued: head & QUEUE != 0 }
    }

    /// Begins the lease anew at `now`, if it is not over. It never ends sooner than before: whoever
    /// waits for its end would not hear of it.
    pub(crate) fn renew(&self, held: &Held, now: Timestamp) -> bool {
        let shut = (!mutant("renew_open")).then(|| self.shut());
        let live = self.records.get(held.index).filter(|record| record.is_live(held));
        let renewed = match live {
            Some(record) if !is_over(record.end.load(Ordering::Relaxed), now) => {
                // Release, for `give_back`: with the new end comes all that led to it.
                record.end.fetch_max(self.end(now), Ordering::Release);
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
            // Acquire: as in `give_back`.
            let end = record.end.load(Ordering::Acquire);
            let live = record.is_live(held);
            let unmoved = (self.load() ^ head) & !(FLAGS | IN_USE) == 0;
            if unmoved || mutant("end_unconfirmed") {
                return live.then(|| Timestamp::from_nanos(end));
            }
        }
    }

    /// Changes how many there are. What is held stays held.
    pub(crate) fn resize(&self, cap: u32) {
        let mut shut = (!mutant("resize_open")).then(|| self.shut());
        if let Some(shut) = &mut shut {
            shut.is_changed = true;
        }
        // Relaxed: published by what follows.
        self.hot.cap.store(cap.min(MAX_SLOTS), Ordering::Relaxed);
        drop(shut);
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
            self.records.each_live(|record, live| record.free(live.serial));
        }
        shut.in_use = 0;
        shut.is_changed = true;
    }

    pub(crate) fn count(&self, now: Timestamp) -> Count {
        let mut shut = self.shut();
        shut.settle();
        let (mut overdue, mut leases) = (0, 0);
        self.records.each_live(|_, live| {
            if is_over(live.end, now) {
                overdue += live.units;
                leases += 1;
            }
        });
        Count {
            cap: self.cap(),
            in_use: shut.in_use.saturating_sub(overdue),
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
        self.records.memory()
    }

    #[inline]
    pub(crate) fn cap(&self) -> u32 {
        self.hot.cap.load(Ordering::Relaxed)
    }

    /// Whether somebody waits in line.
    pub(crate) fn is_queued(&self) -> bool {
        self.load() & QUEUE != 0
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

    /// Whether `units` can be taken by a swap of `head`. The cap is read after it: if it changed
    /// since, so did the cycle. The head of a line takes while the slots are shut.
    #[inline]
    fn has_room(&self, head: u64, units: u32) -> bool {
        let busy = if mutant("take_through_hold") { SHUT } else { SHUT | HOLD };
        head & busy == 0
            && (head & QUEUE == 0 || mutant("barge"))
            && in_use(head).saturating_add(units) <= self.cap()
    }

    /// A record for what may be taken. While it is a claim its owner must wait for nobody.
    #[inline]
    pub(crate) fn claim(&self, units: u32, now: Timestamp) -> Option<Claim<'_>> {
        let hint = self.hot.hint.load(Ordering::Relaxed);
        let claim = self.records.claim(hint, units, self.end(now))?;
        if claim.index != hint {
            self.hot.hint.store(claim.index.wrapping_add(1), Ordering::Relaxed);
        }
        Some(claim)
    }

    #[inline]
    fn end(&self, now: Timestamp) -> u64 {
        now.as_nanos().saturating_add(self.hot.lease.load(Ordering::Relaxed))
    }

    #[inline]
    fn standing(&self, in_use: u32) -> Standing {
        let cap = self.cap();
        let reset = if in_use == 0 { 0 } else { self.hot.lease.load(Ordering::Relaxed) };
        Standing {
            capacity: cap.into(),
            room: cap.saturating_sub(in_use).into(),
            reset,
            ..Standing::NONE
        }
    }

    #[inline]
    fn allowed(&self, in_use: u32) -> Allowed {
        Allowed(self.standing(in_use))
    }

    fn never(&self, in_use: u32) -> Denied {
        Denied { standing: self.standing(in_use), retry: Retry::Never }
    }

    /// The bug of counting first and looking then: two that race for the last slot both lose.
    fn add_then_count(&self, claim: Claim<'_>, units: u32) -> Option<(Held, Allowed)> {
        let head = self.hot.head.fetch_add(units.into(), Ordering::AcqRel);
        if in_use(head) + units > self.cap() {
            self.hot.head.fetch_add(u64::from(units).wrapping_neg(), Ordering::AcqRel);
            return None;
        }
        Some((claim.live(), self.allowed(in_use(head) + units)))
    }
}
