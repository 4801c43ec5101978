//! Concurrency limits: leases, waiting, what comes back by itself.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use tollgate::{ConcurrencyLimiter, Lease, Retry, Timestamp, VirtualClock, WaitError};

const SECOND: Duration = Duration::from_secs(1);

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_slot_is_free_again_at_exactly_the_end_of_its_lease() {
    let time = VirtualClock::new();
    let slots = ConcurrencyLimiter::builder(1).lease(10 * SECOND).clock(time.clock()).build();
    let first = slots.try_acquire().unwrap();
    time.advance(10 * SECOND - Duration::from_nanos(1));
    let denied = slots.try_acquire().unwrap_err();
    assert_eq!(denied.retry(), Retry::Unknown { at_latest: Some(Duration::from_nanos(1)) });
    assert!(first.is_live());
    time.advance(Duration::from_nanos(1));
    assert!(!first.is_live());
    let second = slots.try_acquire().unwrap();
    drop(first);
    let usage = slots.usage();
    assert_eq!((usage.in_use, usage.expired, usage.late), (1, 1, 1));
    assert!(second.is_live());
}

#[test]
fn a_waiter_gets_the_slot_at_the_end_of_the_lease_before() {
    let time = VirtualClock::new();
    let slots = ConcurrencyLimiter::builder(1).lease(10 * SECOND).clock(time.clock()).build();
    let _first = slots.try_acquire().unwrap();
    let mut waiting = pin!(slots.acquire(60 * SECOND));
    assert!(poll(waiting.as_mut()).is_pending());
    assert_eq!(slots.usage().waiting, 1);
    time.advance(11 * SECOND);
    let Poll::Ready(Ok(lease)) = poll(waiting.as_mut()) else { panic!("not ready") };
    // The lease began when the slot came free, not when its waiter was polled.
    assert_eq!(lease.remaining(), 9 * SECOND);
}

#[test]
fn a_thread_waits_for_a_give_back() {
    let slots = Arc::new(ConcurrencyLimiter::builder(1).lease(300 * SECOND).build());
    let lease: Lease = slots.try_acquire().unwrap();
    let waiter = {
        let slots = slots.clone();
        std::thread::spawn(move || slots.acquire_blocking(60 * SECOND).map(|lease| lease.weight()))
    };
    while slots.usage().waiting == 0 {
        std::thread::yield_now();
    }
    drop(lease);
    assert_eq!(waiter.join().unwrap(), Ok(1));
}

#[test]
fn dropping_the_limiter_wakes_who_waits() {
    let time = VirtualClock::new();
    let slots = ConcurrencyLimiter::builder(1).clock(time.clock()).build();
    let _lease = slots.try_acquire().unwrap();
    let mut waiting = pin!(slots.acquire(60 * SECOND));
    assert!(poll(waiting.as_mut()).is_pending());
    drop(slots);
    assert!(matches!(poll(waiting.as_mut()), Poll::Ready(Err(WaitError::Gone))));
}

#[test]
fn callers_of_a_rate_wait_their_turn() {
    use tollgate::{Quota, RateLimiter};
    let time = VirtualClock::new();
    let quota = Quota::per_second(1);
    let limiter = RateLimiter::builder(quota).clock(time.clock()).build();
    limiter.check("k").unwrap();
    let mut first = pin!(limiter.acquire("k", 1, 10 * SECOND));
    let mut second = pin!(limiter.acquire("k", 1, 10 * SECOND));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    // A plain check comes after both.
    assert_eq!(limiter.check("k").unwrap_err().retry(), Retry::After(3 * SECOND));
    assert!(limiter.check("other").is_ok());
    let mut third = pin!(limiter.acquire("k", 1, 2 * SECOND));
    assert!(matches!(poll(third.as_mut()), Poll::Ready(Err(WaitError::Denied(denied)))
        if denied.retry() == Retry::After(3 * SECOND)));
    time.advance(SECOND);
    assert!(poll(first.as_mut()).is_ready());
    assert!(poll(second.as_mut()).is_pending());
    time.advance(SECOND);
    assert!(poll(second.as_mut()).is_ready());
    assert_eq!(limiter.check("k").unwrap_err().retry(), Retry::After(SECOND));
}

#[test]
fn a_reset_keeps_count_of_leases_that_ran_out() {
    let time = VirtualClock::new();
    let slots = ConcurrencyLimiter::builder(2).lease(10 * SECOND).clock(time.clock()).build();
    let over = slots.try_acquire().unwrap();
    time.advance(5 * SECOND);
    let reset = slots.try_acquire().unwrap();
    time.advance(5 * SECOND);
    assert_eq!((slots.usage().overdue, slots.usage().expired), (1, 1));
    slots.reset();
    drop((over, reset));
    let usage = slots.usage();
    assert_eq!((usage.in_use, usage.overdue, usage.expired, usage.late), (0, 0, 1, 2));
}

#[test]
fn at_the_end_of_time_there_are_no_more_slots_than_before() {
    for lease in [None, Some(SECOND)] {
        let time = VirtualClock::starting_at(Timestamp::MAX);
        let slots = ConcurrencyLimiter::builder(1).clock(time.clock());
        let slots = lease.map_or(slots.clone(), |lease| slots.lease(lease)).build();
        let held = slots.try_acquire().unwrap();
        assert!(held.is_live());
        assert!(slots.try_acquire().is_err(), "{lease:?}");
        assert_eq!(slots.usage().in_use, 1);
        assert!(held.renew().is_ok());
        drop(held);
        let usage = slots.usage();
        assert_eq!((usage.in_use, usage.expired, usage.late), (0, 0, 0));
    }
}

#[test]
fn a_key_knows_nothing_of_an_idle_one_whose_place_it_took() {
    let time = VirtualClock::new();
    let builder = ConcurrencyLimiter::builder(2).lease(10 * SECOND).clock(time.clock());
    let slots = builder.build_keyed::<u64>();
    // One ends late, one early; then both keys are idle and there are others for their places.
    let late = slots.try_acquire(&0).unwrap();
    time.advance(10 * SECOND);
    drop(late);
    drop(slots.try_acquire(&0).unwrap());
    assert_eq!((slots.usage(&0).expired, slots.usage(&0).late), (1, 1));
    slots.resize(3);
    for key in 1..1_000 {
        let leases: Vec<Lease> = (0..3).map(|_| slots.try_acquire(&key).unwrap()).collect();
        assert!(slots.try_acquire(&key).is_err());
        let usage = slots.usage(&key);
        assert_eq!((usage.cap, usage.in_use, usage.expired, usage.late), (3, 3, 0, 0));
        assert!(leases.iter().all(|lease| lease.remaining() == 10 * SECOND));
    }
    assert!(slots.is_empty());
}

/// What is done to a limit of three slots.
#[derive(Clone, Copy, Debug)]
enum Step {
    Take {
        weight: u32,
    },
    /// Of those that are held, counted from the first.
    GiveBack(usize),
    Renew(usize),
    Forget(usize),
    /// Nanoseconds, forward or back.
    Move(i64),
    Resize(u32),
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (1..3_u32).prop_map(|weight| Step::Take { weight }),
        4 => (0..6_usize).prop_map(Step::GiveBack),
        2 => (0..6_usize).prop_map(Step::Renew),
        1 => (0..6_usize).prop_map(Step::Forget),
        4 => (-20..30_i64).prop_map(Step::Move),
        1 => (0..5_u32).prop_map(Step::Resize),
        1 => Just(Step::Reset),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    /// Against a list of what is held: whether there is room, and until when there is none at the latest.
    #[test]
    fn a_refusal_names_the_first_end_that_helps(steps in steps()) {
        const LEASE: u64 = 40;
        let time = VirtualClock::starting_at(Timestamp::from_nanos(1_000));
        let lease = Duration::from_nanos(LEASE);
        let slots = ConcurrencyLimiter::builder(3).lease(lease).clock(time.clock()).build();
        let (mut cap, mut now) = (3_u32, 1_000_u64);
        // The end of each lease, and the lease unless it was forgotten.
        let mut held: Vec<(u64, u32, Option<Lease>)> = Vec::new();
        for step in steps {
            let at = |index: usize, held: &Vec<_>| index % held.len().max(1);
            match step {
                Step::Take { weight } => {
                    let in_use = |held: &[(u64, u32, Option<Lease>)]| -> u32 {
                        held.iter().map(|(_, weight, _)| weight).sum()
                    };
                    if in_use(&held) + weight > cap && weight <= cap {
                        held.retain(|(end, ..)| *end > now);
                    }
                    let taken = slots.try_acquire_n(weight);
                    if weight > cap {
                        prop_assert_eq!(taken.unwrap_err().retry(), Retry::Never);
                    } else if in_use(&held) + weight <= cap {
                        held.push((now + LEASE, weight, Some(taken.unwrap())));
                    } else {
                        let mut ends: Vec<_> = held.iter().map(|(end, of, _)| (*end, *of)).collect();
                        ends.sort_unstable();
                        let mut left = in_use(&held);
                        let first = ends.iter().find(|(_, of)| {
                            left -= of;
                            left + weight <= cap
                        });
                        let at_latest = first.map(|(end, _)| Duration::from_nanos(end - now));
                        prop_assert_eq!(taken.unwrap_err().retry(), Retry::Unknown { at_latest });
                    }
                }
                Step::GiveBack(index) if !held.is_empty() => {
                    let (end, _, lease) = held.remove(at(index, &held));
                    if lease.is_none() {
                        held.push((end, 1, None));
                    } else if end <= now {
                        held.retain(|(end, ..)| *end > now);
                    }
                }
                Step::Renew(index) if !held.is_empty() => {
                    let place = at(index, &held);
                    let (end, _, lease) = &mut held[place];
                    if let Some(lease) = lease {
                        prop_assert_eq!(lease.renew().is_ok(), *end > now);
                        *end = if *end > now { now + LEASE } else { *end }.max(*end);
                    }
                }
                Step::Forget(index) if !held.is_empty() => {
                    let place = at(index, &held);
                    if held[place].1 == 1 {
                        std::mem::forget(held[place].2.take());
                    }
                }
                Step::Move(by) => {
                    now = now.saturating_add_signed(by);
                    time.set(Timestamp::from_nanos(now));
                }
                Step::Resize(to) => {
                    cap = to;
                    slots.resize(cap);
                }
                Step::Reset => {
                    held.clear();
                    slots.reset();
                }
                _ => {}
            }
        }
    }
}
