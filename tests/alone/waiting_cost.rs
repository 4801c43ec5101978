//! What waiting costs: so many bytes a caller, and for each turn the same however long the line is.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use stats_alloc::{Region, Stats};
use tollgate::{ConcurrencyLimiter, Lease, VirtualClock, WaitError};

use crate::ALLOCATOR;

/// What is allocated while `work` runs.
fn measured<T>(work: impl FnOnce() -> T) -> (T, Stats) {
    let region = Region::new(ALLOCATOR);
    let done = work();
    (done, region.change())
}

fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Bytes for each of `waiters` callers, and the most allocations and frees that a turn took.
fn costs(waiters: usize) -> (usize, usize) {
    let time = VirtualClock::new();
    let slots = ConcurrencyLimiter::builder(1)
        .lease(Duration::from_secs(300))
        .max_waiters(waiters)
        .clock(time.clock())
        .build();
    let mut lease = slots.try_acquire().unwrap();
    let within = Duration::from_secs(60);
    let (mut line, grown) = measured(|| {
        let wait = |_| {
            let mut future = Box::pin(slots.acquire(within));
            assert!(poll(&mut future).is_pending());
            future
        };
        (0..waiters).map(wait).collect::<Vec<_>>()
    });
    let bytes = (grown.bytes_allocated - grown.bytes_deallocated) / waiters;
    let mut most = 0;
    for future in &mut line {
        let take = || -> Result<Lease, WaitError> {
            drop(lease);
            match poll(future) {
                Poll::Ready(answer) => answer,
                Poll::Pending => panic!("not its turn"),
            }
        };
        let (next, turn) = measured(take);
        lease = next.unwrap();
        most = most.max(turn.allocations + turn.reallocations + turn.deallocations);
    }
    drop(lease);
    // Nothing is left of the waiters, nor of the requests that were turned away.
    let ((), left) = measured(|| {
        let lease = slots.try_acquire().unwrap();
        let wait = |_| {
            let mut future = Box::pin(slots.acquire(within));
            assert!(poll(&mut future).is_pending());
            future
        };
        let mut again: Vec<_> = (0..waiters).map(wait).collect();
        assert!(poll(&mut Box::pin(slots.acquire(within))).is_ready());
        time.advance(within);
        assert!(again.iter_mut().all(|future| poll(future).is_ready()));
        drop((again, lease));
        assert_eq!(slots.usage().waiting, 0);
    });
    let left = left.bytes_allocated.saturating_sub(left.bytes_deallocated);
    assert!(left < 1_000, "{left} bytes are left of {waiters}");
    (bytes, most)
}

#[test]
fn a_waiter_costs_a_bounded_amount_and_a_turn_the_same_however_many_wait() {
    alone!(a_waiter_costs_a_bounded_amount_and_a_turn_the_same_however_many_wait);
    let (_, few) = costs(10);
    let (bytes, many) = costs(10_000);
    println!("{bytes} bytes a waiter; {few} allocations and frees a turn of 10, {many} of 10,000");
    assert!(bytes < 1_000, "{bytes} bytes a waiter");
    // The tree of waiters frees a node now and then, at each of its levels.
    assert!(many <= few + 16, "{few} for 10 waiters, {many} for 10,000");
}
