//! State that does not fit a word: for each key a record, decided on under a short lock.
//!
//! The same shape as `cells`: run a step on the state of a key, look at it for a transaction, hold
//! it. `shard` is one lock and what stands under it; `look` is what a transaction sees.
//!
//! # What is weaker than in the cells
//!
//! - A decision takes the lock of its key's shard, of which there are 64, and a map that grows is
//!   hashed anew under it. Forgetting is as bounded: a newcomer looks at two others, and when all is
//!   full at two of each of four other shards and at two more.
//! - So at `max_keys` a newcomer may find no room though some key has become idle; and who waits
//!   in line where newcomers are denied is not told when one does.
//! - Behind a line of waiting callers a stated wait is the least that those ahead make possible.
//! - A change of quota visits every record, each shard's under its lock.

mod answer;
mod keep;
mod look;
mod mutants;
mod room;
mod shard;

use crate::algorithm::Algorithm;
use crate::cells::{Charge, Overflow, Queued, Seat};
use crate::decision::{Allowed, Denied, Retry, Standing};
use crate::quota::Quota;
use crate::sync::{AtomicBool, AtomicU64, Backoff, CachePadded, Mutex, Ordering, mutant};
use crate::tagged::{self, SHARDS};
use crate::time::{Clock, Timestamp};

use answer::behind;
pub(crate) use keep::Keep;
pub(crate) use look::Look;
use room::Room;
use shard::{Place, Shard};

/// Other shards that a newcomer looks at when all is full.
const LOOKED_ELSEWHERE: usize = 4;

pub(crate) struct Records<A: Keep> {
    shards: Box<[CachePadded<Mutex<Shard<A>>>]>,
    room: Room,
    overflow: Overflow,
    overflows: AtomicU64,
    /// The shard that is next to be looked at by newcomers of others, when all is full.
    elsewhere: AtomicU64,
    queued: Queued,
    /// Held while the quota changes, so that changes come one at a time.
    changes: Mutex<()>,
    /// Whether it does: then no transaction looks, so that none sees keys under two quotas.
    is_changing: AtomicBool,
}

/// Records of any algorithm.
pub(crate) trait Recorded: Send + Sync {
    /// Decides `ask` for the key behind `ahead` units of its line, and charges what is allowed; says
    /// what `settle` needs to know.
    fn take(
        &self,
        tag: u64,
        ahead: u64,
        ask: Ask,
        now: Timestamp,
    ) -> Result<(Charge, Allowed), Denied>;
    /// What `take` would say, charging nothing.
    fn peek(&self, tag: u64, ahead: u64, cost: u64, now: Timestamp) -> Result<Allowed, Denied>;
    /// Makes a charge what it should have been.
    fn settle(&self, charge: &Charge, cost: u64, clock: &Clock);
    /// Makes the key as if never seen.
    fn reset(&self, tag: u64);
    /// Makes every key as if never seen.
    fn reset_all(&self);
    /// Keys that are not idle at `now`. Looks at every record.
    fn len(&self, now: Timestamp) -> usize;
    /// Bytes allocated. Looks at every record.
    fn memory(&self) -> usize;
    fn overflows(&self) -> u64;
    fn count_overflow(&self);
    fn quota(&self) -> Quota;
    fn set_quota(&self, quota: Quota, now: Timestamp);
    fn queued(&self) -> &Queued;

    /// What `take` would say, with what a transaction must know. Waits while the key is held.
    fn look(&self, tag: u64, ahead: u64, cost: u64, now: Timestamp) -> Look;
    /// Gives a key that was not there a record, as if never seen, and looks at it. Not that of a
    /// key that is `taken` by the same transaction, and idle as yet.
    fn seat(&self, tag: u64, cost: u64, now: Timestamp, taken: &dyn Fn(u64) -> bool) -> Look;
    /// Whether the answer is still the one that would be given.
    fn stands(&self, tag: u64, look: &Look) -> bool;
    /// Holds the key, if nothing came between. Then `release` must follow.
    fn hold(&self, tag: u64, look: &Look) -> bool;
    /// Lets go of a key that is held: charged with `cost`, or as it was if that is 0.
    fn release(&self, tag: u64, look: &Look, cost: u64, now: Timestamp);
    /// Charges what was denied, if the algorithm counts that.
    fn count_denied(&self, tag: u64, cost: u64, now: Timestamp);
}

/// What is asked of a key.
#[derive(Clone, Copy)]
pub(crate) enum Ask {
    /// So much, or nothing.
    All(u64),
    /// As much as is there, of at most so much.
    UpTo(u64),
}

impl<A: Keep> Records<A> {
    pub(crate) fn new(algorithm: A, max_keys: usize, overflow: Overflow) -> Records<A> {
        let shard = || CachePadded(Mutex::new(Shard::new(algorithm.clone())));
        Records {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            room: Room::new(max_keys),
            overflow,
            overflows: AtomicU64::new(0),
            elsewhere: AtomicU64::new(0),
            queued: Queued::default(),
            changes: Mutex::new(()),
            is_changing: AtomicBool::new(false),
        }
    }

    fn shard(&self, tag: u64) -> &Mutex<Shard<A>> {
        &self.shards[tagged::shard(tag)]
    }

    /// Runs `step` under the lock of the key's shard until it says something: it does not while
    /// the key is held.
    fn run<R>(&self, tag: u64, mut step: impl FnMut(&mut Shard<A>) -> Option<R>) -> R {
        let mut backoff = Backoff::default();
        loop {
            if let Some(result) = step(&mut self.shard(tag).lock()) {
                return result;
            }
            backoff.wait();
        }
    }

    /// Forgets idle keys of other shards, while one is locked; whether that made room. Their locks
    /// are only tried.
    fn look_elsewhere(&self, now: Timestamp, taken: &dyn Fn(u64) -> bool) -> bool {
        for _ in 0..LOOKED_ELSEWHERE {
            // Relaxed: any shard will do.
            let next = self.elsewhere.fetch_add(1, Ordering::Relaxed) as usize % SHARDS;
            if let Some(mut shard) = self.shards[next].try_lock() {
                shard.forget_idle(now, &self.room, taken);
            }
        }
        !self.room.is_full()
    }

    /// Where a newcomer is counted: with a record of its own, in the pool, or not at all. `None`:
    /// the pool is held.
    fn admit(
        &self,
        shard: &mut Shard<A>,
        tag: u64,
        now: Timestamp,
        taken: &dyn Fn(u64) -> bool,
    ) -> Option<Place> {
        if shard.seat(tag, now, &self.room, taken)
            || self.look_elsewhere(now, taken) && shard.seat(tag, now, &self.room, taken)
        {
            return Some(Place::Own);
        }
        if self.overflow == Overflow::Pool {
            shard.open_pool();
            let is_free = shard.record(tag, Place::Pool).is_none_or(|pool| !pool.is_held());
            return is_free.then_some(Place::Pool);
        }
        Some(Place::New)
    }
}

impl<A: Algorithm> Records<A> {
    /// The answer to a key for which there is no room, of what a newcomer would get.
    fn without_room(&self, answer: Result<Allowed, Denied>) -> Result<Allowed, Denied> {
        match answer {
            Ok(Allowed(standing)) if self.overflow == Overflow::Deny => {
                let standing = Standing { burst: standing.burst, ..Standing::NONE };
                Err(Denied { standing, retry: Retry::Unknown { at_latest: None } })
            }
            answer => answer,
        }
    }

    /// What the key would get for `cost` after `ahead` units were had by others.
    fn answer(
        shard: &mut Shard<A>,
        tag: u64,
        place: Place,
        ahead: u64,
        cost: u64,
        now: Timestamp,
    ) -> Result<Allowed, Denied> {
        shard.ask(tag, place, now, |algorithm, state, now| {
            behind(algorithm, state, ahead, cost, now)
        })
    }

    fn look_in(
        &self,
        shard: &mut Shard<A>,
        tag: u64,
        place: Place,
        ahead: u64,
        cost: u64,
        now: Timestamp,
    ) -> Option<Look> {
        // Relaxed: if the change has been in this shard, the shard's lock makes it visible; if not,
        // what is seen here is another version when it has.
        if self.is_changing.load(Ordering::Relaxed) && !mutant("mixed_quotas") {
            return None;
        }
        let answer = Self::answer(shard, tag, place, ahead, cost, now);
        let denied = answer.is_err_and(|denied| denied.retry != Retry::Never);
        Some(Look {
            place,
            is_counted: true,
            is_overflow: match place {
                Place::Own => false,
                Place::Pool => true,
                Place::New => denied && shard.is_pooled(tag, now),
            },
            version: shard.version(tag, place),
            at: shard.charged_at(tag, place, now),
            generation: shard.generation,
            answer,
        })
    }
}

impl<A: Algorithm> Recorded for Records<A> {
    fn take(
        &self,
        tag: u64,
        ahead: u64,
        ask: Ask,
        now: Timestamp,
    ) -> Result<(Charge, Allowed), Denied> {
        if mutant("decide_then_charge") {
            return self.decide_then_charge(tag, ask, now);
        }
        self.run(tag, |shard| {
            let mut place = shard.place(tag)?;
            let units = |shard: &mut Shard<A>, place| match ask {
                Ask::All(cost) => cost,
                Ask::UpTo(most) if ahead > 0 => most.min(1),
                // Nothing left is denied as one unit is.
                Ask::UpTo(most) => Self::answer(shard, tag, place, 0, 0, now)
                    .map_or(0, |left| left.remaining().min(most))
                    .max(most.min(1)),
            };
            let mut cost = units(shard, place);
            let mut answer = Self::answer(shard, tag, place, ahead, cost, now);
            let is_written =
                cost > 0 && ahead == 0 && (answer.is_ok() || shard.algorithm.counts_denied());
            if !is_written {
                let pooled = place == Place::New && shard.is_pooled(tag, now);
                if pooled && answer.is_err_and(|denied| denied.retry != Retry::Never) {
                    self.count_overflow();
                }
                // Of nothing, which may be settled upwards.
                let charge = Charge::apart(tag, 0, now, Seat::Own);
                return Some(answer.map(|allowed| (charge, allowed)));
            }
            if place == Place::New {
                place = self.admit(shard, tag, now, &|_| false)?;
                if place != Place::Own {
                    self.count_overflow();
                }
                if place == Place::Pool {
                    cost = units(shard, place);
                    answer = Self::answer(shard, tag, place, 0, cost, now);
                }
            }
            let seat = match place {
                Place::Own => Seat::Own,
                Place::Pool => Seat::Pool,
                Place::New => {
                    let charge = Charge::apart(tag, cost, now, Seat::Uncounted);
                    return Some(self.without_room(answer).map(|allowed| (charge, allowed)));
                }
            };
            let (at, generation) = (shard.charged_at(tag, place, now), shard.generation);
            if answer.is_ok() || shard.algorithm.counts_denied() {
                shard.write(tag, place, now, |algorithm, state, now| {
                    algorithm.charge(state, cost, now);
                });
            }
            Some(answer.map(|allowed| (Charge { tag, cost, at, seat, generation }, allowed)))
        })
    }

    fn peek(&self, tag: u64, ahead: u64, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        self.run(tag, |shard| {
            let place = shard.place(tag)?;
            Some(Self::answer(shard, tag, place, ahead, cost, now))
        })
    }

    fn settle(&self, charge: &Charge, cost: u64, clock: &Clock) {
        let mut place = match charge.seat {
            Seat::Own => Place::Own,
            Seat::Pool => Place::Pool,
            Seat::Uncounted => return,
        };
        if cost == charge.cost {
            return;
        }
        let tag = charge.tag;
        self.run(tag, |shard| {
            match shard.record(tag, place) {
                Some(record) if record.is_held() => return None,
                Some(_) => {}
                // Forgotten: what it may get back time has given.
                None if cost <= charge.cost => return Some(()),
                None => {
                    place = self.admit(shard, tag, clock.latest(), &|_| false)?;
                    if place != Place::Own {
                        self.count_overflow();
                    }
                }
            }
            // Read under the lock: before it, it would give back too much once others charged, and
            // gave back, at a later time.
            let now = clock.latest();
            let given = shard.given_back(charge.generation, charge.at, now);
            let cost = cost.saturating_add(given).min(charge.cost.max(cost));
            let at = charge.at + shard.algorithm.ahead(tag);
            shard.write(tag, place, now, |algorithm, state, now| {
                algorithm.settle(state, charge.cost, at, cost, now);
            });
            Some(())
        });
    }

    fn reset(&self, tag: u64) {
        self.run(tag, |shard| {
            let place = shard.place(tag)?;
            shard.write(tag, place, Timestamp::ZERO, |_, state, _| *state = A::State::default());
            Some(())
        });
    }

    fn reset_all(&self) {
        for shard in &self.shards {
            let mut backoff = Backoff::default();
            while !shard.lock().write_all(|_, _, state| *state = A::State::default()) {
                backoff.wait();
            }
        }
    }

    fn len(&self, now: Timestamp) -> usize {
        self.shards.iter().map(|shard| shard.lock().live(now)).sum()
    }

    fn memory(&self) -> usize {
        let records = self.shards.iter().map(|shard| shard.lock().memory());
        size_of::<Self>() + size_of_val(&*self.shards) + records.sum::<usize>()
    }

    fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }

    #[cold]
    fn count_overflow(&self) {
        // Relaxed: a count.
        self.overflows.fetch_add(1, Ordering::Relaxed);
    }

    fn quota(&self) -> Quota {
        self.shards.first().map_or(Quota::per_second(1), |shard| shard.lock().algorithm.quota())
    }

    fn set_quota(&self, quota: Quota, now: Timestamp) {
        let _one_at_a_time = self.changes.lock();
        let _changing = Changing::begin(&self.is_changing);
        for shard in &self.shards {
            let mut backoff = Backoff::default();
            loop {
                let mut shard = shard.lock();
                let mut algorithm = shard.algorithm.clone();
                algorithm.set_quota(quota);
                let reprice = |tag, before: &A, state: &mut A::State| {
                    algorithm.reprice(before, state, now + before.ahead(tag));
                };
                if shard.write_all(reprice) {
                    shard.change(algorithm);
                    break;
                }
                drop(shard);
                backoff.wait();
            }
        }
    }

    fn queued(&self) -> &Queued {
        &self.queued
    }

    fn look(&self, tag: u64, ahead: u64, cost: u64, now: Timestamp) -> Look {
        self.run(tag, |shard| {
            let place = shard.place(tag)?;
            self.look_in(shard, tag, place, ahead, cost, now)
        })
    }

    fn seat(&self, tag: u64, cost: u64, now: Timestamp, taken: &dyn Fn(u64) -> bool) -> Look {
        self.run(tag, |shard| {
            let place = match shard.place(tag)? {
                Place::New => self.admit(shard, tag, now, taken)?,
                Place::Own if mutant("two_cells") => self.admit(shard, tag, now, taken)?,
                place => place,
            };
            let look = self.look_in(shard, tag, place, 0, cost, now)?;
            Some(match place {
                Place::New => {
                    let answer = self.without_room(look.answer);
                    Look { is_counted: false, is_overflow: true, answer, ..look }
                }
                _ => look,
            })
        })
    }

    fn stands(&self, tag: u64, look: &Look) -> bool {
        if !look.is_counted() || mutant("answer_unconfirmed") {
            return true;
        }
        let mut shard = self.shard(tag).lock();
        if look.place == Place::New && shard.record(tag, Place::Own).is_some() {
            return false;
        }
        shard.version(tag, look.place) == look.version
    }

    fn hold(&self, tag: u64, look: &Look) -> bool {
        let mut shard = self.shard(tag).lock();
        match shard.record(tag, look.place) {
            Some(record) if record.version == look.version || mutant("hold_unasked") => {
                record.version |= 1;
                true
            }
            _ => false,
        }
    }

    fn release(&self, tag: u64, look: &Look, cost: u64, now: Timestamp) {
        let mut shard = self.shard(tag).lock();
        if cost > 0 {
            shard.write(tag, look.place, now, |algorithm, state, now| {
                algorithm.charge(state, cost, now);
            });
        } else if let Some(record) = shard.record(tag, look.place) {
            record.version = look.version;
        }
    }

    fn count_denied(&self, tag: u64, cost: u64, now: Timestamp) {
        self.run(tag, |shard| {
            // A line in the way denies, not the algorithm.
            if !shard.algorithm.counts_denied() || self.queued.ahead(tag) > 0 {
                return Some(());
            }
            let place = match shard.place(tag)? {
                Place::New => self.admit(shard, tag, now, &|_| false)?,
                place => place,
            };
            shard.write(tag, place, now, |algorithm, state, now| {
                algorithm.charge(state, cost, now);
            });
            Some(())
        });
    }
}

/// While it lives the quota changes. Unwinding included: an algorithm may panic.
struct Changing<'a>(&'a AtomicBool);

// Relaxed, twice: as in `look_in`. Whoever holds keys is waited for by who changes them.
impl<'a> Changing<'a> {
    fn begin(is_changing: &'a AtomicBool) -> Changing<'a> {
        is_changing.store(true, Ordering::Relaxed);
        Changing(is_changing)
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
