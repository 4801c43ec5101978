//! Loom models of concurrency limits: slots, leases and the wait line. As in `models.rs`,
//! `models.sh` seeds a bug with which each must fail.
//!
//! A limit has two records from the start, so a third lease allocates more.
#![cfg(tollgate_loom)]

#[macro_use]
mod race;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tollgate::{
    ConcurrencyLimiter, Denied, KeyedConcurrencyLimiter, Lease, Retry, Timestamp, VirtualClock,
    WaitError,
};

use race::{explore, race};

const NANO: Duration = Duration::from_nanos(1);
/// The length of leases that end.
const LEASE: Duration = Duration::from_nanos(10);
/// Longer than any model.
const LONG: Duration = Duration::from_nanos(1000);

type Limiter = Arc<ConcurrencyLimiter>;

/// These models are small enough for up to three preemptions of a thread.
fn model(threads: usize, body: impl Fn(usize) + Copy + Sync + Send + 'static) {
    explore(threads, Some(if threads > 2 { 1 } else { 3 }), body);
}

/// `cap` slots, held until they are given back.
fn slots(cap: u32) -> Limiter {
    Arc::new(ConcurrencyLimiter::builder(cap).clock(VirtualClock::new().clock()).build())
}

/// `cap` slots, each for ten nanoseconds.
fn leased(cap: u32, time: &VirtualClock) -> Limiter {
    Arc::new(ConcurrencyLimiter::builder(cap).lease(LEASE).clock(time.clock()).build())
}

/// A thread that gives back `lease`.
fn give_back<T: 'static>(lease: Lease) -> Box<dyn FnOnce() -> Option<T>> {
    Box::new(move || {
        drop(lease);
        None
    })
}

/// A waiter that the model polls itself.
struct Waiting {
    future: Pin<Box<dyn Future<Output = Result<Lease, WaitError>>>>,
    woken: Arc<Woken>,
    /// How often it had been woken when it was last polled.
    seen: u64,
}

#[derive(Default)]
struct Woken(AtomicU64);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Waiting {
    fn new(limiter: &Limiter, weight: u32) -> Waiting {
        let future = Box::pin(limiter.acquire_n(weight, LONG));
        Waiting { future, woken: Arc::default(), seen: 0 }
    }

    /// A waiter in the line.
    fn in_line(limiter: &Limiter, weight: u32) -> Waiting {
        let mut waiting = Waiting::new(limiter, weight);
        assert!(waiting.poll().is_none());
        waiting
    }

    fn poll(&mut self) -> Option<Result<Lease, WaitError>> {
        self.seen = self.woken.0.load(Ordering::SeqCst);
        let waker = Waker::from(self.woken.clone());
        match self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    /// Its answer, after it was woken.
    fn answer(mut self) -> Result<Lease, WaitError> {
        assert!(self.woken.0.load(Ordering::SeqCst) > self.seen, "nobody woke who waits");
        self.poll().expect("a waiter is stranded")
    }
}

/// A thread that leaves the line.
fn leave<T: 'static>(waiting: Waiting) -> Box<dyn FnOnce() -> Option<T>> {
    Box::new(move || {
        drop(waiting);
        None
    })
}

/// A thread that begins to wait, with the answer of its first poll.
fn join(mut waiting: Waiting) -> Box<dyn FnOnce() -> Option<Joined>> {
    Box::new(move || {
        let answer = waiting.poll();
        Some((waiting, answer))
    })
}

type Joined = (Waiting, Option<Result<Lease, WaitError>>);

/// The answer of the waiter, from its first poll or after a wake-up.
fn answer([_, joined]: [Option<Joined>; 2]) -> Result<Lease, WaitError> {
    let (waiting, answer) = joined.unwrap();
    answer.unwrap_or_else(|| waiting.answer())
}

#[test]
fn two_race_for_the_last_slot() {
    model(2, |first| {
        let slots = slots(1);
        let twice = thread!(slots; {
            drop(slots.try_acquire());
            slots.try_acquire().ok()
        });
        let once = thread!(slots; slots.try_acquire().ok());
        let [a, b]: [Option<Lease>; 2] = race(first, [twice, once]);
        assert!(a.is_some() != b.is_some(), "not one of the two got the slot");
    });
}

/// Two slots are already held, so that the race allocates the records.
#[test]
fn two_take_at_once() {
    explore(2, Some(2), |first| {
        let slots = slots(4);
        let held = [(); 2].map(|()| slots.try_acquire().unwrap());
        let take = || thread!(slots; slots.try_acquire().unwrap());
        drop(race(first, [take(), take()]));
        let more = slots.try_acquire_n(2);
        assert!(more.is_ok(), "a slot is lost");
        assert!(slots.try_acquire().is_err(), "a slot too many");
        drop((held, more));
        assert!(slots.try_acquire_n(4).is_ok(), "a slot is lost");
    });
}

#[test]
fn a_lease_runs_out_as_it_is_given_back() {
    model(2, |first| {
        let time = VirtualClock::new();
        let slots = leased(1, &time);
        let lease = slots.try_acquire().unwrap();
        let late = give_back(lease);
        let taker = thread!(slots, time; {
            time.advance(LEASE);
            Some(slots.try_acquire().expect("a slot is held beyond its lease"))
        });
        let [_, taken]: [Option<Lease>; 2] = race(first, [late, taker]);
        assert!(slots.try_acquire().is_err(), "a stranger's slot was freed");
        assert!(taken.is_some_and(|lease| lease.is_live()), "a stranger's lease was ended");
        let usage = slots.usage();
        assert_eq!(usage.expired, usage.late, "given back late and in time");
    });
}

/// The clock stands still, so only the reset distinguishes the two leases.
#[test]
fn a_reset_meets_a_give_back() {
    model(2, |first| {
        let slots = slots(1);
        let lease = slots.try_acquire().unwrap();
        let giver = give_back(lease);
        let taker = thread!(slots; {
            slots.reset();
            Some(slots.try_acquire().expect("a slot is held through a reset"))
        });
        let [_, taken]: [Option<Lease>; 2] = race(first, [giver, taker]);
        assert!(slots.try_acquire().is_err(), "a stranger's slot was freed");
        drop(taken);
        assert!(slots.try_acquire().is_ok(), "a slot is lost");
    });
}

#[test]
fn a_reset_ends_all_leases_at_one_moment() {
    for swapped in [false, true] {
        let body = move |first| {
            let slots = slots(2);
            let mut leases = [(); 2].map(|()| slots.try_acquire().unwrap());
            if swapped {
                leases.reverse();
            }
            let reset = thread!(slots; { slots.reset(); [false; 2] });
            let reader: Box<dyn FnOnce() -> _> =
                Box::new(move || leases.each_ref().map(Lease::is_live));
            let [_, [earlier, later]] = race(first, [reset, reader]);
            assert!(earlier || !later, "half of a reset was seen");
        };
        model(2, body);
    }
}

/// One slot is in use before and after, while the cap falls to one. Both records exist before.
#[test]
fn a_cap_is_lowered_under_a_taker() {
    model(2, |first| {
        let slots = slots(2);
        let [lease, other] = [(); 2].map(|()| slots.try_acquire().unwrap());
        drop(other);
        let taker = thread!(slots; slots.try_acquire().ok());
        let lower = slots.clone();
        let lower: Box<dyn FnOnce() -> _> = Box::new(move || {
            lower.resize(1);
            drop(lease);
            lower.try_acquire().ok()
        });
        let [a, b] = race(first, [taker, lower]);
        assert!(a.is_none() || b.is_none(), "more are held than there are");
        assert!(a.is_some() || b.is_some(), "not one of the two got the slot");
    });
}

/// A lease whose record the giver has marked as leaving is not taken back a second time.
#[test]
fn leases_that_are_over_are_taken_back_as_one_is_given_back() {
    model(2, |first| {
        let time = VirtualClock::new();
        let slots = leased(2, &time);
        let lease = slots.try_acquire().unwrap();
        time.advance(5 * NANO);
        let _held = slots.try_acquire().unwrap();
        let giver = give_back(lease);
        let taker = thread!(slots, time; {
            time.advance(5 * NANO);
            slots.try_acquire_n(2).err()
        });
        let [_, denied]: [Option<Denied>; 2] = race(first, [giver, taker]);
        let retry = denied.expect("more are held than there are").retry();
        assert_eq!(retry, Retry::Unknown { at_latest: Some(5 * NANO) });
    });
}

/// Renewed at five nanoseconds the lease ends at fifteen; otherwise it ends at ten and another
/// caller gets the slot.
#[test]
fn a_lease_is_renewed_as_it_runs_out() {
    model(2, |first| {
        let time = VirtualClock::new();
        let slots = leased(1, &time);
        let lease = slots.try_acquire().unwrap();
        time.advance(5 * NANO);
        let renew: Box<dyn FnOnce() -> _> = Box::new(move || {
            let renewed = lease.renew().is_ok();
            (renewed, Some(lease))
        });
        let taker = thread!(slots, time; {
            time.advance(5 * NANO);
            let taken = slots.try_acquire().ok();
            (taken.is_some(), taken)
        });
        let [(renewed, _old), (taken, _new)] = race(first, [renew, taker]);
        assert!(renewed != taken, "not one of the two has the slot");
    });
}

/// A refusal must state the first end of the leases that are held.
fn is_refused_until_the_first_end(slots: &ConcurrencyLimiter, held: &[Option<Lease>]) {
    let first = held.iter().flatten().map(Lease::remaining).min().expect("somebody holds a slot");
    let denied = slots.try_acquire().expect_err("a slot too many");
    assert_eq!(
        denied.retry(),
        Retry::Unknown { at_latest: Some(first) },
        "another end than the first"
    );
}

/// Two leases of a limit of two: the first ends at ten nanoseconds, the second at fifteen. The time
/// is five, and a refusal has found the first end.
fn two_ends(time: &VirtualClock) -> (Limiter, Lease, Lease) {
    let slots = leased(2, time);
    let first = slots.try_acquire().unwrap();
    time.advance(5 * NANO);
    let second = slots.try_acquire().unwrap();
    assert!(slots.try_acquire().is_err());
    (slots, first, second)
}

#[test]
fn the_lease_that_ends_first_is_given_back_under_a_refusal() {
    model(2, |first| {
        let time = VirtualClock::new();
        let (slots, sooner, later) = two_ends(&time);
        let giver = slots.clone();
        let giver: Box<dyn FnOnce() -> _> = Box::new(move || {
            drop(sooner);
            giver.try_acquire().ok()
        });
        let refused = thread!(slots; slots.try_acquire().ok());
        let [a, b]: [Option<Lease>; 2] = race(first, [giver, refused]);
        is_refused_until_the_first_end(&slots, &[a, b, Some(later)]);
    });
}

#[test]
fn the_lease_that_ends_first_is_renewed_under_a_refusal() {
    model(2, |first| {
        let time = VirtualClock::new();
        let (slots, sooner, later) = two_ends(&time);
        let renew: Box<dyn FnOnce() -> _> = Box::new(move || {
            sooner.renew().unwrap();
            Some(sooner)
        });
        let refused = thread!(slots; slots.try_acquire().ok());
        let [renewed, _] = race(first, [renew, refused]);
        is_refused_until_the_first_end(&slots, &[renewed, Some(later)]);
    });
}

#[test]
fn all_leases_are_ended_under_a_refusal() {
    explore(2, Some(2), |first| {
        let time = VirtualClock::new();
        let (slots, _sooner, _later) = two_ends(&time);
        let reset = thread!(slots; {
            slots.reset();
            [slots.try_acquire().ok(), slots.try_acquire().ok()]
        });
        let taker = thread!(slots; [slots.try_acquire().ok(), None]);
        let held: Vec<_> = race(first, [reset, taker]).into_iter().flatten().collect();
        is_refused_until_the_first_end(&slots, &held);
    });
}

#[test]
fn leases_run_out_under_a_refusal() {
    model(2, |first| {
        let time = VirtualClock::new();
        let (slots, _sooner, later) = two_ends(&time);
        let mover = thread!(slots, time; {
            time.advance(5 * NANO);
            slots.try_acquire().ok()
        });
        let taker = thread!(slots; slots.try_acquire().ok());
        let [a, b]: [Option<Lease>; 2] = race(first, [mover, taker]);
        assert!(a.is_some() != b.is_some(), "not one of the two got the slot");
        is_refused_until_the_first_end(&slots, &[a, b, Some(later)]);
    });
}

/// A refusal that has nothing to change states the cap before or after the change.
#[test]
fn a_cap_is_raised_and_lowered_under_a_refusal() {
    model(2, |first| {
        let time = VirtualClock::new();
        let (slots, sooner, later) = two_ends(&time);
        let resize = thread!(slots; {
            slots.resize(3);
            slots.resize(2);
            None
        });
        let refused = thread!(slots; slots.try_acquire().ok());
        let [_, taken]: [Option<Lease>; 2] = race(first, [resize, refused]);
        drop(taken);
        let held = [Some(sooner), Some(later)];
        is_refused_until_the_first_end(&slots, &held);
        drop(held);
        assert!(slots.try_acquire_n(3).is_err(), "a slot too many");
        assert!(slots.try_acquire_n(2).is_ok(), "a slot is lost");
    });
}

/// The lease of the slow taker ends sooner than leases that were taken before it. The refusal finds
/// the end of `later`, which is not given back.
#[test]
fn a_first_end_is_found_under_a_taker_that_read_the_clock_before() {
    explore(2, Some(2), |first| {
        let time = VirtualClock::starting_at(Timestamp::from_nanos(5));
        let slots = leased(2, &time);
        let [later, other] = [(); 2].map(|()| slots.try_acquire().ok());
        drop(other);
        time.set(Timestamp::ZERO);
        let slow = thread!(slots; slots.try_acquire().ok());
        let others = thread!(slots, time; {
            time.set(Timestamp::from_nanos(6));
            let second = slots.try_acquire().ok();
            drop(slots.try_acquire());
            drop(second);
            None
        });
        let [slow, _] = race(first, [slow, others]);
        let more = slots.try_acquire().ok();
        is_refused_until_the_first_end(&slots, &[later, slow, more]);
    });
}

/// A lease that ends at ten nanoseconds takes the record of one that would have ended at fifteen. A
/// lease in another record ends at twelve.
#[test]
fn a_record_is_taken_for_a_lease_that_ends_sooner_under_a_refusal() {
    model(2, |first| {
        let time = VirtualClock::starting_at(Timestamp::from_nanos(5));
        let slots = leased(3, &time);
        let [later, over] = [(); 2].map(|()| slots.try_acquire().ok());
        time.set(Timestamp::from_nanos(2));
        let sooner = slots.try_acquire().ok();
        // Finds the ends of all three.
        assert!(slots.try_acquire().is_err());
        drop(over);
        time.set(Timestamp::ZERO);
        let [a, b] = [(); 2].map(|()| thread!(slots; slots.try_acquire().ok()));
        let [a, b]: [Option<Lease>; 2] = race(first, [a, b]);
        assert!(a.is_some() != b.is_some(), "not one of the two got the slot");
        is_refused_until_the_first_end(&slots, &[later, sooner, a, b]);
    });
}

#[test]
fn a_slot_comes_back_as_somebody_joins_the_line() {
    model(2, |first| {
        let slots = slots(1);
        let lease = slots.try_acquire().unwrap();
        let joiner = join(Waiting::new(&slots, 1));
        let granted = answer(race(first, [give_back(lease), joiner]));
        assert!(slots.try_acquire().is_err(), "a slot too many");
        drop(granted.unwrap());
        assert!(slots.try_acquire().is_ok(), "a slot is lost");
    });
}

#[test]
fn time_moves_as_somebody_joins_the_line() {
    model(2, |first| {
        let time = VirtualClock::new();
        let slots = leased(1, &time);
        let _over = slots.try_acquire().unwrap();
        let joiner = join(Waiting::new(&slots, 1));
        let mover = thread!(time; { time.advance(LEASE); None });
        let granted = answer(race(first, [mover, joiner]));
        assert!(granted.is_ok_and(|lease| lease.is_live()));
    });
}

/// The head of the line needs both slots, the waiter behind it one.
#[test]
fn a_slot_comes_back_as_the_head_of_the_line_leaves() {
    model(2, |first| {
        let slots = slots(2);
        let lease = slots.try_acquire().unwrap();
        let _held = slots.try_acquire().unwrap();
        let head = Waiting::in_line(&slots, 2);
        let next = Waiting::in_line(&slots, 1);
        race(first, [give_back::<()>(lease), leave(head)]);
        drop(next.answer().unwrap());
        assert!(slots.try_acquire().is_ok(), "a slot is lost");
    });
}

#[test]
fn a_slot_is_granted_to_one_who_leaves() {
    model(2, |first| {
        let slots = slots(1);
        let lease = slots.try_acquire().unwrap();
        let head = Waiting::in_line(&slots, 1);
        let next = Waiting::in_line(&slots, 1);
        race(first, [give_back::<()>(lease), leave(head)]);
        drop(next.answer().unwrap());
        assert!(slots.try_acquire().is_ok(), "a slot is lost");
    });
}

/// A thread with exclusive access to the slots sends the giver to the lock.
#[test]
fn a_slot_that_is_waited_for_comes_back_while_shut() {
    model(2, |first| {
        let slots = slots(1);
        let lease = slots.try_acquire().unwrap();
        let waiting = Waiting::in_line(&slots, 1);
        let looks = thread!(slots; Some(slots.usage().in_use));
        let [_, in_use]: [Option<u32>; 2] = race(first, [give_back(lease), looks]);
        assert!(in_use.is_some_and(|in_use| in_use <= 1), "more are held than there are");
        drop(waiting.answer().unwrap());
        assert!(slots.try_acquire().is_ok(), "a slot is lost");
    });
}

#[test]
fn a_lease_that_is_waited_for_runs_out_as_it_is_given_back() {
    model(2, |first| {
        let time = VirtualClock::new();
        let slots = leased(1, &time);
        let lease = slots.try_acquire().unwrap();
        let waiting = Waiting::in_line(&slots, 1);
        let mover = thread!(time; { time.advance(LEASE); None::<()> });
        race(first, [give_back(lease), mover]);
        let granted = waiting.answer().unwrap();
        // Granted at ten nanoseconds or later; or granted at zero, by a giver that read the clock
        // before, and then the lease is already over.
        let usage = slots.usage();
        assert_eq!(usage.in_use + usage.overdue, 1, "a stranger's slot was freed");
        let is_taken = slots.try_acquire().is_err();
        assert_eq!(is_taken, granted.is_live(), "a stranger's slot was freed");
    });
}

#[test]
fn three_wait_and_leave_and_give_back() {
    model(3, |first| {
        let slots = slots(1);
        let lease = slots.try_acquire().unwrap();
        let head = Waiting::in_line(&slots, 1);
        let joiner = join(Waiting::new(&slots, 1));
        let [_, _, joined] = race(first, [give_back(lease), leave(head), joiner]);
        drop(answer([None, joined]).unwrap());
        assert!(slots.try_acquire().is_ok(), "a slot is lost");
    });
}

#[test]
fn a_key_is_forgotten_as_it_is_asked() {
    model(2, |first| {
        let slots: Arc<KeyedConcurrencyLimiter<u64>> = Arc::new(
            ConcurrencyLimiter::builder(1).clock(VirtualClock::new().clock()).build_keyed(),
        );
        let lease = slots.try_acquire(&1).unwrap();
        let keyed = slots.clone();
        let taker: Box<dyn FnOnce() -> _> = Box::new(move || {
            drop(lease);
            Some(keyed.try_acquire(&1).expect("a slot is lost"))
        });
        let looks = thread!(slots; { slots.len(); None });
        let [_taken, _]: [Option<Lease>; 2] = race(first, [taker, looks]);
        assert!(slots.try_acquire(&1).is_err(), "a key was forgotten that is held");
    });
}

/// The waiter has its answer before the line says that it is empty.
#[test]
fn a_slot_is_free_once_nobody_waits() {
    model(2, |first| {
        let time = VirtualClock::new();
        let slots = leased(2, &time);
        let both = slots.try_acquire_n(2).unwrap();
        let mut waiting = Waiting::in_line(&slots, 1);
        let poller = slots.clone();
        let poller: Box<dyn FnOnce() -> _> = Box::new(move || {
            if let Some(Ok(lease)) = waiting.poll() {
                assert!(poller.try_acquire().is_ok(), "refused though nobody waits");
                return Some(lease);
            }
            None
        });
        drop(race(first, [give_back(both), poller]));
    });
}

#[test]
fn nobody_takes_what_somebody_waits_for() {
    model(2, |first| {
        let slots = slots(1);
        let lease = slots.try_acquire().unwrap();
        let waiting = Waiting::in_line(&slots, 1);
        let barge = thread!(slots; slots.try_acquire().ok());
        let [_, barged]: [Option<Lease>; 2] = race(first, [give_back(lease), barge]);
        assert!(barged.is_none(), "taken by one who did not wait");
        drop(waiting.answer().unwrap());
        assert!(slots.try_acquire().is_ok(), "a slot is lost");
    });
}

#[test]
fn a_thread_waits_for_a_slot() {
    model(2, |first| {
        let slots = slots(1);
        let lease = slots.try_acquire().unwrap();
        let waits = thread!(slots; slots.acquire_blocking(LONG).ok());
        let [_, granted]: [Option<Lease>; 2] = race(first, [give_back(lease), waits]);
        assert!(granted.is_some(), "a wait was refused");
        assert!(slots.try_acquire().is_err(), "a slot too many");
    });
}

#[test]
fn a_limiter_is_dropped_as_somebody_joins_the_line() {
    model(2, |first| {
        let slots = slots(1);
        let _lease = slots.try_acquire().unwrap();
        let joiner = join(Waiting::new(&slots, 1));
        let dropped: Box<dyn FnOnce() -> _> = Box::new(move || {
            drop(slots);
            None
        });
        let answer = answer(race(first, [dropped, joiner]));
        assert_eq!(answer.err(), Some(WaitError::Gone));
    });
}
