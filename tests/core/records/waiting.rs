//! Waiting in line for a key whose state is a record.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use tollgate::algorithm::{Algorithm, Gcra, SlidingLog};
use tollgate::future::AcquireRate;
use tollgate::policy::AlgorithmName;
use tollgate::{Allowed, Enforcer, Limit, Policy, Retry, VirtualClock, WaitError, all};

use crate::records::{at, each_algorithm, left, limiter, nanos, quota};

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A waiter, and how often it was woken.
struct Caller {
    future: Pin<Box<AcquireRate>>,
    bell: Arc<Bell>,
}

impl Caller {
    /// Has begun to wait.
    fn new(future: AcquireRate) -> Caller {
        let mut caller = Caller { future: Box::pin(future), bell: Arc::default() };
        assert!(caller.poll().is_none(), "it need not wait");
        caller
    }

    fn poll(&mut self) -> Option<Result<Allowed, WaitError>> {
        let waker = Waker::from(self.bell.clone());
        match self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    fn is_woken(&self) -> bool {
        self.bell.0.load(Ordering::Relaxed) > 0
    }
}

fn now<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[test]
fn first_come_first_served_when_time_gives_back() {
    each_algorithm!(2, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let limiter = limiter(algorithm.clone(), &time);
        limiter.check_n(&1, 2).unwrap();
        let mut callers: Vec<_> =
            (0..4).map(|_| Caller::new(limiter.acquire(&1, 1, nanos(10_000)))).collect();
        assert!(limiter.check(&1).is_err(), "nobody barges");
        let mut served = Vec::new();
        while served.len() < 4 {
            time.advance(nanos(10));
            assert!(time.now() < at(5_000), "nobody is served");
            for (number, caller) in callers.iter_mut().enumerate() {
                if caller.is_woken() && !served.contains(&number) {
                    caller.poll().unwrap().unwrap();
                    served.push(number);
                }
            }
        }
        assert_eq!(served, [0, 1, 2, 3]);
    });
}

#[test]
fn a_turn_comes_at_the_very_moment() {
    each_algorithm!(2, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let limiter = limiter(algorithm.clone(), &time);
        limiter.check_n(&1, 2).unwrap();
        let wait = limiter.peek(&1).unwrap_err().retry().after().unwrap();
        let too_short = now(limiter.acquire(&1, 1, wait - nanos(1)));
        assert!(matches!(too_short, Some(Err(WaitError::Denied(_)))), "it cannot end in time");
        let never = now(limiter.acquire(&1, 3, nanos(1_000_000)));
        let Some(Err(WaitError::Denied(denied))) = never else { panic!("{never:?}") };
        assert_eq!(denied.retry(), Retry::Never);
        let mut caller = Caller::new(limiter.acquire(&1, 1, wait));
        time.advance(wait - nanos(1));
        assert!(!caller.is_woken());
        time.advance(nanos(1));
        assert!(caller.is_woken());
        caller.poll().unwrap().unwrap();
    });
}

#[test]
fn a_head_that_leaves_makes_way() {
    each_algorithm!(3, |algorithm| {
        if algorithm.counts_denied() {
            // There each try of the head keeps it waiting.
            continue_with(&algorithm);
        } else {
            let time = VirtualClock::starting_at(at(1_000));
            let limiter = limiter(algorithm, &time);
            limiter.check_n(&1, 2).unwrap();
            let head = Caller::new(limiter.acquire(&1, 2, nanos(10_000)));
            let mut next = Caller::new(limiter.acquire(&1, 1, nanos(10_000)));
            assert!(!next.is_woken());
            drop(head);
            assert!(next.is_woken());
            next.poll().unwrap().unwrap();
            assert_eq!(left(&limiter, 1), 0);
        }
    });
}

fn continue_with<A: Algorithm>(algorithm: &A) {
    assert!(algorithm.counts_denied());
}

#[test]
fn whatever_frees_units_wakes_who_waits() {
    each_algorithm!(3, |algorithm| {
        for news in 0..4 {
            let time = VirtualClock::starting_at(at(1_000));
            let limiter = limiter(algorithm.clone(), &time);
            let reserved = limiter.reserve(&1, 3).unwrap();
            let mut caller = Caller::new(limiter.acquire(&1, 1, nanos(10_000)));
            match news {
                0 => reserved.settle(1),
                1 => limiter.reset(&1),
                2 => limiter.set_quota(quota(30)),
                _ => drop(limiter),
            }
            if news == 0 && algorithm.counts_denied() {
                // Its own tries were counted.
                continue;
            }
            assert!(caller.is_woken(), "{news}");
            let answer = caller.poll().unwrap();
            match news {
                3 => assert_eq!(answer, Err(WaitError::Gone)),
                _ => drop(answer.unwrap()),
            }
        }
    });
}

#[test]
fn a_turn_that_is_not_taken_is_given_back() {
    each_algorithm!(3, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let limiter = limiter(algorithm, &time);
        limiter.check_n(&1, 3).unwrap();
        let first = Caller::new(limiter.acquire(&1, 3, nanos(10_000)));
        limiter.reset(&1);
        assert!(first.is_woken());
        let mut second = Caller::new(limiter.acquire(&1, 3, nanos(10_000)));
        drop(first);
        time.advance(nanos(200));
        assert!(second.is_woken());
        second.poll().unwrap().unwrap();
    });
}

#[test]
fn a_thread_waits_for_its_turn() {
    each_algorithm!(2, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let limiter = limiter(algorithm, &time);
        limiter.check_n(&1, 2).unwrap();
        let served = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    limiter.acquire_blocking(&1, 1, nanos(1 << 40)).unwrap();
                    served.fetch_add(1, Ordering::Relaxed);
                });
            }
            while served.load(Ordering::Relaxed) < 4 {
                time.advance(nanos(10));
                thread::yield_now();
            }
        });
    });
}

#[test]
fn an_enforcer_waits_for_records_in_policy_order() {
    let time = VirtualClock::starting_at(at(1_000));
    let policy = Policy::new()
        .limit(
            Limit::new("user", quota(2))
                .key(["user"])
                .algorithm(AlgorithmName::SlidingLog)
                .wait(nanos(10_000)),
        )
        .limit(Limit::new("all", quota(3)).wait(nanos(10_000)))
        .limit(
            Limit::new("org", quota(4))
                .key(["org"])
                .algorithm(AlgorithmName::SlidingWindow)
                .wait(nanos(10_000)),
        );
    let enforcer = Enforcer::builder(policy).clock(time.clock()).build().unwrap();
    let facts = [("user", "1"), ("org", "7")];
    drop(enforcer.admit(&facts, 2).unwrap());
    let mut waiting = Box::pin(enforcer.admit_waiting(&facts, 2));
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    let mut cx = Context::from_waker(&waker);
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    time.advance(nanos(99));
    assert_eq!(bell.0.load(Ordering::Relaxed), 0);
    time.advance(nanos(1));
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    assert!(waiting.as_mut().poll(&mut cx).is_ready());
    assert_eq!(enforcer.admit(&facts, 1).unwrap_err().limit(), "user");
}

#[test]
fn a_grant_behind_a_line_is_denied_as_one_unit_is() {
    fn holds<A: Algorithm>(algorithm: A) {
        let time = VirtualClock::starting_at(at(10_000));
        let limiter = limiter(algorithm, &time);
        limiter.check_n(&1, 1).unwrap();
        // The waiter needs the whole burst, and only a part has come back.
        let _waits = Caller::new(limiter.acquire(&1, 6, nanos(1_000)));
        let retry = limiter.check(&1).unwrap_err().retry();
        let before = left(&limiter, 1);
        let set = all((limiter.key(&1), limiter.key(&2)));
        assert_eq!(set.grant_up_to(4).unwrap_err().retry(), retry);
        let denied = limiter.grant_up_to(&1, 4).err();
        assert_eq!(denied.map(|denied| denied.retry()), Some(retry));
        assert_eq!((left(&limiter, 1), left(&limiter, 2)), (before, 6));
    }
    holds(Gcra::new(quota(6)));
    holds(SlidingLog::new(quota(6)));
}
