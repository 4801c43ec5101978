//! Waiting, with wakers, executors and threads that misbehave: no waiter is stranded, none is woken
//! in vain, and the counts stay right.
//!
//! Safe code cannot test that a waker is cloned with no lock held: it cannot make a waker that runs
//! code in `clone`.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use tollgate::{
    Allowed, Clock, ConcurrencyLimiter, Denied, KeyedConcurrencyLimiter, Lease, Quota, RateLimiter,
    Retry, Timestamp, VirtualClock, WaitError,
};

const NANO: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(10);

type Waiting<T = Lease> = Pin<Box<dyn Future<Output = Result<T, WaitError>> + Send>>;

/// A waker that counts its wake-ups, and runs the given action.
#[derive(Default)]
struct Hook {
    woken: AtomicUsize,
    on_wake: Option<Box<dyn Fn() + Send + Sync>>,
    on_drop: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Hook {
    fn new() -> Arc<Hook> {
        Arc::default()
    }

    fn on_wake(run: impl Fn() + Send + Sync + 'static) -> Arc<Hook> {
        Arc::new(Hook { woken: AtomicUsize::new(0), on_wake: Some(Box::new(run)), on_drop: None })
    }

    fn on_drop(run: impl Fn() + Send + Sync + 'static) -> Arc<Hook> {
        Arc::new(Hook { woken: AtomicUsize::new(0), on_wake: None, on_drop: Some(Box::new(run)) })
    }

    fn woken(&self) -> usize {
        self.woken.load(Ordering::SeqCst)
    }
}

impl Wake for Hook {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::SeqCst);
        self.on_wake.iter().for_each(|run| run());
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.on_drop.iter().for_each(|run| run());
    }
}

fn poll<T>(waiting: &mut Waiting<T>, hook: &Arc<Hook>) -> Poll<Result<T, WaitError>> {
    waiting.as_mut().poll(&mut Context::from_waker(&Waker::from(hook.clone())))
}

fn look<T>(waiting: &mut Waiting<T>) -> Poll<Result<T, WaitError>> {
    waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// The answer, which must be there.
#[track_caller]
fn answer<T>(waiting: &mut Waiting<T>) -> Result<T, WaitError> {
    match look(waiting) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("still waits"),
    }
}

fn slots(cap: u32, time: &VirtualClock) -> ConcurrencyLimiter {
    ConcurrencyLimiter::builder(cap).lease(LEASE).max_waiters(20_000).clock(time.clock()).build()
}

/// Waits in line, and has `hook` woken.
fn wait_with(slots: &ConcurrencyLimiter, weight: u32, hook: &Arc<Hook>) -> Waiting {
    let mut waiting: Waiting = Box::pin(slots.acquire_n(weight, 1000 * LEASE));
    assert!(poll(&mut waiting, hook).is_pending());
    waiting
}

fn wait(slots: &ConcurrencyLimiter) -> (Waiting, Arc<Hook>) {
    let hook = Hook::new();
    (wait_with(slots, 1, &hook), hook)
}

#[track_caller]
fn stands(slots: &ConcurrencyLimiter, in_use: u32, waiting: usize) {
    let usage = slots.usage();
    assert_eq!((usage.in_use, usage.waiting), (in_use, waiting));
}

fn rate(time: &VirtualClock) -> RateLimiter {
    RateLimiter::builder(Quota::per_second(1)).clock(time.clock()).build()
}

fn turn(limiter: &RateLimiter, cost: u64, hook: &Arc<Hook>) -> Waiting<Allowed> {
    let mut waiting: Waiting<Allowed> = Box::pin(limiter.acquire("k", cost, 1000 * SECOND));
    assert!(poll(&mut waiting, hook).is_pending());
    waiting
}

#[test]
fn a_cancelled_head_wakes_the_next() {
    let time = VirtualClock::new();
    let slots = slots(2, &time);
    let _lease = slots.try_acquire().unwrap();
    let head = wait_with(&slots, 2, &Hook::new());
    let (mut second, second_hook) = wait(&slots);
    let (mut third, third_hook) = wait(&slots);
    drop(head);
    assert_eq!((second_hook.woken(), third_hook.woken()), (1, 0));
    let lease = answer(&mut second).unwrap();
    assert_eq!(lease.remaining(), LEASE);
    assert!(look(&mut third).is_pending());
    stands(&slots, 2, 1);
}

#[test]
fn a_head_whose_time_is_over_lets_the_next_go_at_that_moment() {
    let time = VirtualClock::new();
    let slots = slots(2, &time);
    let _lease = slots.try_acquire().unwrap();
    let mut head: Waiting = Box::pin(slots.acquire_n(2, SECOND));
    assert!(look(&mut head).is_pending());
    let (mut second, hook) = wait(&slots);
    time.advance(SECOND);
    assert!(matches!(answer(&mut head), Err(WaitError::Denied(_))));
    assert_eq!(hook.woken(), 1);
    assert_eq!(answer(&mut second).unwrap().remaining(), LEASE);
}

#[test]
fn a_turn_granted_to_a_waiter_that_is_never_polled_passes_on_at_the_end_of_its_lease() {
    let time = VirtualClock::new();
    let slots = slots(1, &time);
    let lease = slots.try_acquire().unwrap();
    let (mut first, first_hook) = wait(&slots);
    let (mut second, second_hook) = wait(&slots);
    time.advance(3 * SECOND);
    drop(lease);
    assert_eq!((first_hook.woken(), second_hook.woken()), (1, 0));
    time.advance(LEASE - NANO);
    assert_eq!(second_hook.woken(), 0);
    time.advance(NANO);
    assert_eq!(second_hook.woken(), 1);
    time.advance(SECOND);
    assert_eq!(answer(&mut second).unwrap().remaining(), LEASE - SECOND);
    // The late giver finds its lease over, and its give-back harms no other holder.
    let (mut third, _) = (Box::pin(slots.acquire(SECOND)) as Waiting, ());
    let third = answer(&mut third).unwrap();
    let late = answer(&mut first).unwrap();
    assert!(!late.is_live() && late.renew().is_err());
    drop(late);
    assert!(third.is_live());
    let usage = slots.usage();
    assert_eq!((usage.in_use, usage.expired, usage.late), (1, 1, 1));
}

#[test]
fn a_turn_granted_and_dropped_unpolled_is_given_back() {
    let time = VirtualClock::new();
    let slots = slots(1, &time);
    let lease = slots.try_acquire().unwrap();
    let (first, first_hook) = wait(&slots);
    let (mut second, second_hook) = wait(&slots);
    drop(lease);
    assert_eq!((first_hook.woken(), second_hook.woken()), (1, 0));
    drop(first);
    assert_eq!(second_hook.woken(), 1);
    drop(answer(&mut second).unwrap());
    stands(&slots, 0, 0);

    // Of a rate too: it was charged, and is whole again.
    let limiter = rate(&time);
    limiter.check("k").unwrap();
    let hooks = [Hook::new(), Hook::new()];
    let first = turn(&limiter, 1, &hooks[0]);
    let mut second = turn(&limiter, 1, &hooks[1]);
    time.advance(SECOND);
    assert_eq!((hooks[0].woken(), hooks[1].woken()), (1, 0));
    drop(first);
    assert_eq!(hooks[1].woken(), 1);
    answer(&mut second).unwrap();
    assert_eq!(limiter.check("k").unwrap_err().retry(), Retry::After(SECOND));
}

#[test]
fn polled_after_it_was_ready_it_has_nothing_more_to_say() {
    let time = VirtualClock::new();
    let slots = slots(1, &time);
    let mut waiting: Waiting = Box::pin(slots.acquire(SECOND));
    let lease = answer(&mut waiting).unwrap();
    assert!(look(&mut waiting).is_pending());
    let (mut second, hook) = wait(&slots);
    drop(lease);
    let lease = answer(&mut second).unwrap();
    assert!(look(&mut waiting).is_pending() && look(&mut second).is_pending());
    drop((waiting, second));
    assert!(lease.is_live());
    stands(&slots, 1, 0);
    assert_eq!(hook.woken(), 1);
}

#[test]
fn the_latest_waker_is_woken_and_moving_the_future_harms_nothing() {
    let time = VirtualClock::new();
    let slots = slots(1, &time);
    let lease = slots.try_acquire().unwrap();
    let old = Hook::new();
    let mut waiting = wait_with(&slots, 1, &old);
    let new = Hook::new();
    let theirs = new.clone();
    let mut waiting = thread::spawn(move || {
        assert!(poll(&mut waiting, &theirs).is_pending());
        waiting
    })
    .join()
    .unwrap();
    stands(&slots, 1, 1);
    drop(lease);
    assert_eq!((old.woken(), new.woken()), (0, 1));
    assert_eq!(Arc::strong_count(&old), 1, "the old waker is kept");
    assert!(answer(&mut waiting).is_ok());
}

#[test]
fn a_waker_that_panics_keeps_nobody_else_asleep() {
    let time = VirtualClock::new();
    let slots = slots(3, &time);
    let leases: Vec<_> = (0..3).map(|_| slots.try_acquire().unwrap()).collect();
    let panics = || Hook::on_wake(|| resume_unwind(Box::new("in a waker")));
    let hooks = [panics(), Hook::new(), panics(), Hook::new()];
    let mut line: Vec<_> = hooks.iter().map(|hook| wait_with(&slots, 1, hook)).collect();
    // The panic reaches the caller of `reset`, after all waiters are awake.
    let caught = catch_unwind(AssertUnwindSafe(|| slots.reset()));
    assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "in a waker");
    let woken: Vec<_> = hooks.iter().map(|hook| hook.woken()).collect();
    assert_eq!(woken, [1, 1, 1, 0]);
    stands(&slots, 3, 1);
    let granted: Vec<_> =
        line.drain(..3).map(|mut waiting| answer(&mut waiting).unwrap()).collect();
    assert!(granted.iter().all(Lease::is_live));
    drop(leases);
    stands(&slots, 3, 1);
    drop(granted);
    assert_eq!(hooks[3].woken(), 1);
    assert!(answer(&mut line[0]).is_ok());
    stands(&slots, 0, 0);

    // The time goes on, too.
    let _lease = slots.try_acquire_n(3).unwrap();
    let first = wait_with(&slots, 3, &panics());
    let mut second = wait_with(&slots, 3, &hooks[1]);
    let caught = catch_unwind(AssertUnwindSafe(|| time.advance(2 * LEASE)));
    assert!(caught.is_err());
    drop(first);
    assert_eq!(hooks[1].woken(), 2);
    let held = answer(&mut second).unwrap();

    // Nor does one that panics while its thread unwinds abort the process.
    let hook = panics();
    let mut third = wait_with(&slots, 3, &hook);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let _held = held;
        resume_unwind(Box::new("while holding"));
    }));
    assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "while holding");
    assert_eq!(hook.woken(), 1);
    assert!(answer(&mut third).is_ok());
}

/// A limiter that a waker can reach, and drop.
type Shared = Arc<Mutex<Option<Arc<ConcurrencyLimiter>>>>;

#[test]
fn a_waker_that_calls_the_limiter_deadlocks_nothing() {
    type Call = fn(&ConcurrencyLimiter, &Mutex<Vec<Lease>>, &Mutex<Vec<Waiting>>);
    let calls: [(&str, Call); 7] = [
        ("try_acquire", |slots, leases, _| leases.lock().unwrap().extend(slots.try_acquire().ok())),
        ("drops a lease", |_, leases, _| {
            let lease = leases.lock().unwrap().pop();
            drop(lease);
        }),
        ("acquire", |slots, _, line| {
            let waiting = wait(slots).0;
            line.lock().unwrap().push(waiting);
        }),
        ("cancels the next", |_, _, line| {
            let waiting = line.lock().unwrap().pop();
            drop(waiting);
        }),
        ("usage", |slots, _, _| {
            assert!(slots.usage().in_use > 0 && !format!("{slots:?}").is_empty());
        }),
        ("resize", |slots, _, _| slots.resize(2)),
        ("reset", |slots, _, _| slots.reset()),
    ];
    for in_drop in [false, true] {
        for (name, call) in calls {
            let time = VirtualClock::new();
            let slots = Arc::new(slots(2, &time));
            let leases: Arc<Mutex<Vec<Lease>>> = Arc::default();
            let line: Arc<Mutex<Vec<Waiting>>> = Arc::default();
            let run = {
                let (slots, leases, line) = (Arc::downgrade(&slots), leases.clone(), line.clone());
                move || call(&slots.upgrade().unwrap(), &leases, &line)
            };
            let hook = if in_drop { Hook::on_drop(run) } else { Hook::on_wake(run) };
            let mine = slots.try_acquire().unwrap();
            leases.lock().unwrap().push(slots.try_acquire().unwrap());
            let mut first = wait_with(&slots, 1, &hook);
            // Only the line has it now.
            drop(hook);
            let (second, second_hook) = wait(&slots);
            line.lock().unwrap().push(second);
            let (mut third, third_hook) = wait(&slots);
            drop(mine);
            let first = answer(&mut first).unwrap();
            let freed = ["drops a lease", "reset"].contains(&name);
            let gone = name == "cancels the next";
            assert_eq!(second_hook.woken(), usize::from(freed), "{name} in drop {in_drop}");
            assert_eq!(third_hook.woken(), usize::from(name == "reset"), "{name}");
            assert_eq!(first.is_live(), name != "reset", "{name}");
            let waiting = 2 + usize::from(name == "acquire")
                - usize::from(freed)
                - usize::from(gone)
                - usize::from(name == "reset");
            stands(&slots, 2, waiting);
            // All remaining waiters get their turn.
            drop(first);
            let rest = std::mem::take(&mut *leases.lock().unwrap());
            drop(rest);
            let rest = std::mem::take(&mut *line.lock().unwrap());
            drop(rest);
            drop(answer(&mut third).unwrap());
            stands(&slots, 0, 0);
        }
    }
}

#[test]
fn a_waker_may_drop_the_limiter() {
    for in_drop in [false, true] {
        let time = VirtualClock::new();
        let slots = Arc::new(slots(1, &time));
        let shared: Shared = Arc::new(Mutex::new(Some(slots.clone())));
        let run = {
            let shared = shared.clone();
            move || {
                let slots = shared.lock().unwrap().take();
                drop(slots);
            }
        };
        let hook = if in_drop { Hook::on_drop(run) } else { Hook::on_wake(run) };
        let lease = slots.try_acquire().unwrap();
        let mut first = wait_with(&slots, 1, &hook);
        let (mut second, second_hook) = wait(&slots);
        drop((hook, slots));
        drop(lease);
        assert!(shared.lock().unwrap().is_none());
        assert!(answer(&mut first).unwrap().is_live());
        assert_eq!(second_hook.woken(), 1);
        assert!(matches!(answer(&mut second), Err(WaitError::Gone)));
    }
}

#[test]
fn a_waker_that_calls_a_rate_deadlocks_nothing() {
    let time = VirtualClock::new();
    let limiter = Arc::new(rate(&time));
    limiter.check("k").unwrap();
    let theirs = limiter.clone();
    let line: Arc<Mutex<Vec<Waiting<Allowed>>>> = Arc::default();
    let their_line = line.clone();
    let hook = Hook::on_wake(move || {
        assert!(theirs.check("k").is_err());
        theirs.reserve("other", 1).unwrap().cancel();
        their_line.lock().unwrap().push(turn(&theirs, 1, &Hook::new()));
        theirs.set_quota(Quota::per_second(2).burst(1));
        theirs.reset("other");
    });
    let mut first = turn(&limiter, 1, &hook);
    let mut second = turn(&limiter, 1, &Hook::new());
    time.advance(SECOND);
    answer(&mut first).unwrap();
    assert!(look(&mut second).is_pending());
    time.advance(SECOND / 2);
    answer(&mut second).unwrap();
    time.advance(SECOND / 2);
    answer(&mut line.lock().unwrap()[0]).unwrap();
}

#[test]
fn threads_and_tasks_wait_in_one_line() {
    let time = VirtualClock::new();
    let slots = Arc::new(slots(1, &time));
    let mut lease = Some(slots.try_acquire().unwrap());
    let (granted, of_threads) = mpsc::channel();
    let mut tasks = Vec::new();
    let mut threads = Vec::new();
    for number in 0..10 {
        if number % 2 == 0 {
            tasks.push(wait(&slots));
        } else {
            let (slots, granted) = (slots.clone(), granted.clone());
            threads.push(thread::spawn(move || {
                let lease = slots.acquire_blocking(1000 * LEASE);
                granted.send((number, lease)).unwrap();
            }));
        }
        while slots.usage().waiting <= number {
            thread::yield_now();
        }
    }
    for number in 0..10 {
        assert!(of_threads.try_recv().is_err(), "a thread went before its turn");
        // Half of them by a give-back, half by the end of a lease.
        let old = lease.take();
        if number % 4 < 2 {
            drop(old);
        } else {
            std::mem::forget(old);
            time.advance(LEASE);
        }
        lease = Some(if number % 2 == 0 {
            let woken: Vec<_> = tasks.iter().map(|(_, hook)| hook.woken()).collect();
            assert_eq!(woken.iter().sum::<usize>(), number / 2 + 1, "{woken:?}");
            answer(&mut tasks[number / 2].0).unwrap()
        } else {
            let (who, lease) = of_threads.recv().unwrap();
            assert_eq!(who, number);
            lease.unwrap()
        });
        assert_eq!(lease.as_ref().unwrap().remaining(), LEASE);
        stands(&slots, 1, 9 - number);
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn ten_thousand_wait_and_one_more_is_turned_away() {
    const WAITERS: usize = 10_000;
    let time = VirtualClock::new();
    let builder = ConcurrencyLimiter::builder(1).max_waiters(WAITERS).clock(time.clock());
    let slots = builder.build();
    let mut lease = slots.try_acquire().unwrap();
    let mut line: Vec<_> = (0..WAITERS).map(|_| wait(&slots)).collect();
    let mut late: Waiting = Box::pin(slots.acquire(LEASE));
    let denied = answer(&mut late).unwrap_err();
    let WaitError::Denied(denied) = denied else { panic!("{denied:?}") };
    assert_eq!(denied.retry(), Retry::Unknown { at_latest: None });
    assert!(slots.acquire_blocking(LEASE).is_err());
    stands(&slots, 1, WAITERS);
    let woken =
        |line: &[(Waiting, Arc<Hook>)]| line.iter().map(|(_, hook)| hook.woken()).sum::<usize>();
    for number in 0..WAITERS {
        drop(lease);
        let (waiting, hook) = &mut line[number];
        assert_eq!(hook.woken(), 1);
        lease = answer(waiting).unwrap();
        if number % 1000 == 0 {
            assert_eq!(woken(&line), number + 1, "others were woken, too");
        }
    }
    assert_eq!(woken(&line), WAITERS);
    drop(lease);
    stands(&slots, 0, 0);
}

#[test]
fn nobody_waits_in_a_line_of_no_length() {
    let time = VirtualClock::new();
    let slots = ConcurrencyLimiter::builder(1).max_waiters(0).clock(time.clock()).build();
    let lease = slots.acquire_blocking(LEASE).unwrap();
    assert!(matches!(slots.acquire_blocking(LEASE), Err(WaitError::Denied(_))));
    drop(lease);
    assert!(slots.try_acquire().is_ok());
    let builder = RateLimiter::builder(Quota::per_second(1)).max_waiters(1).clock(time.clock());
    let limiter = builder.build();
    limiter.check("k").unwrap();
    let _first = turn(&limiter, 1, &Hook::new());
    let full = limiter.acquire_blocking("k", 1, LEASE).unwrap_err();
    assert!(
        matches!(full, WaitError::Denied(denied) if denied.retry() == Retry::After(2 * SECOND))
    );
    limiter.check("other").unwrap();
    assert!(
        look(&mut (Box::pin(limiter.acquire("other", 1, LEASE)) as Waiting<Allowed>)).is_pending()
    );
}

#[test]
fn a_jump_past_many_leases_wakes_as_many_as_there_are_slots_in_order() {
    let order: Arc<Mutex<Vec<usize>>> = Arc::default();
    for jumps in [false, true] {
        let time = VirtualClock::new();
        let slots = slots(3, &time);
        let _held: Vec<_> = (0..3).map(|_| slots.try_acquire().unwrap()).collect();
        let line: Vec<_> = (0..10)
            .map(|number| {
                let order = order.clone();
                let hook = Hook::on_wake(move || order.lock().unwrap().push(number));
                wait_with(&slots, 1, &hook)
            })
            .collect();
        let woken = || std::mem::take(&mut *order.lock().unwrap());
        if jumps {
            time.set(Timestamp::ZERO + 100 * LEASE);
            assert_eq!(woken(), [0, 1, 2]);
            stands(&slots, 3, 7);
        } else {
            time.advance(LEASE - NANO);
            assert!(woken().is_empty());
            time.advance(NANO);
            assert_eq!(woken(), [0, 1, 2]);
            // Nobody polls: each turn passes on, on the way.
            time.advance(100 * LEASE);
            assert_eq!(woken(), [3, 4, 5, 6, 7, 8, 9]);
            stands(&slots, 0, 0);
            assert_eq!(slots.usage().expired, 13);
        }
        drop(line);
    }
}

#[test]
fn a_jump_past_all_deadlines_wakes_each_once() {
    let time = VirtualClock::new();
    let slots = slots(1, &time);
    let _lease = slots.try_acquire().unwrap();
    let mut line: Vec<_> = (0..100).map(|_| wait(&slots)).collect();
    time.set(Timestamp::MAX - SECOND);
    assert!(line.iter().all(|(_, hook)| hook.woken() == 1));
    assert!(line.iter_mut().all(|(waiting, _)| answer(waiting).is_err()));
    stands(&slots, 0, 0);
}

#[test]
fn a_limiter_that_is_dropped_sends_everybody_away() {
    let time = VirtualClock::new();
    let one = slots(1, &time);
    let keyed: KeyedConcurrencyLimiter<str> =
        ConcurrencyLimiter::builder(1).clock(time.clock()).build_keyed();
    let limiter = rate(&time);
    let (lease, of_key) = (one.try_acquire().unwrap(), keyed.try_acquire("k").unwrap());
    limiter.check("k").unwrap();
    let hooks = [Hook::new(), Hook::new(), Hook::new()];
    let mut of_one = wait_with(&one, 1, &hooks[0]);
    let mut of_keyed: Waiting = Box::pin(keyed.acquire("k", LEASE));
    assert!(poll(&mut of_keyed, &hooks[1]).is_pending());
    let mut of_rate = turn(&limiter, 1, &hooks[2]);
    let mut unpolled: Waiting = Box::pin(one.acquire(LEASE));
    drop((one, keyed, limiter));
    assert!(hooks.iter().all(|hook| hook.woken() == 1));
    assert!(matches!(answer(&mut of_one), Err(WaitError::Gone)));
    assert!(matches!(answer(&mut of_keyed), Err(WaitError::Gone)));
    assert!(matches!(answer(&mut of_rate), Err(WaitError::Gone)));
    assert!(matches!(answer(&mut unpolled), Err(WaitError::Gone)));
    let gone: WaitError = WaitError::Gone;
    assert_eq!(gone.to_string(), "the limiter was dropped while this call waited");
    assert!(lease.is_live() && of_key.is_live());
    drop((lease, of_key));
}

#[test]
fn a_thread_that_waits_is_sent_away_when_the_limiter_is_dropped() {
    let time = VirtualClock::new();
    let clock = time.clock();
    let shared: Shared = Arc::new(Mutex::new(None));
    let slots = slots(1, &time);
    let _lease = slots.try_acquire().unwrap();
    // A thread cannot wait on what it does not hold: the future is what outlives the limiter.
    let mut waiting: Waiting = Box::pin(slots.acquire(LEASE));
    assert!(look(&mut waiting).is_pending());
    *shared.lock().unwrap() = Some(Arc::new(slots));
    let (parked, is_parked) = mpsc::channel();
    let thread = thread::spawn(move || {
        struct Unpark(thread::Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            if let Poll::Ready(answer) = waiting.as_mut().poll(&mut Context::from_waker(&waker)) {
                return answer.map(drop);
            }
            parked.send(()).unwrap();
            thread::park();
        }
    });
    is_parked.recv().unwrap();
    drop(shared.lock().unwrap().take());
    assert_eq!(thread.join().unwrap(), Err(WaitError::Gone));
    assert_eq!(clock.now(), Timestamp::ZERO);
}

#[test]
fn a_clock_without_a_timer_names_the_choices() {
    let slots = ConcurrencyLimiter::new(1);
    // Also when it would not have to wait.
    let error = answer(&mut (Box::pin(slots.acquire(LEASE)) as Waiting)).unwrap_err();
    assert_eq!(error, WaitError::NoTimer);
    for choice in ["Clock::tokio()", "virtual clock", "with_timer", "acquire_blocking"] {
        assert!(error.to_string().contains(choice), "{error}");
    }
    let limiter = RateLimiter::new(Quota::per_second(1));
    let mut waiting: Waiting<Allowed> = Box::pin(limiter.acquire("k", 1, LEASE));
    assert_eq!(answer(&mut waiting).unwrap_err(), WaitError::NoTimer);
    assert!(limiter.is_empty());
    assert!(Clock::monotonic().sleep(LEASE).is_err());
    assert_eq!(slots.acquire_blocking(LEASE).map(|lease| lease.weight()), Ok(1));
}

/// A hand-made executor: polls the woken tasks, and rings timers that are due.
mod executor {
    use super::*;

    #[derive(Default)]
    pub(super) struct Timers {
        set: Mutex<Vec<(Timestamp, Waker)>>,
        asked: AtomicUsize,
    }

    impl Timers {
        /// A timer of which every second one ends early.
        pub(super) fn clock(timers: &Arc<Timers>) -> Clock {
            let theirs = timers.clone();
            let clock = Clock::monotonic();
            Clock::monotonic().with_timer(move |at| {
                let (timers, clock) = (theirs.clone(), clock.clone());
                let is_early = timers.asked.fetch_add(1, Ordering::SeqCst) % 2 == 1;
                std::future::poll_fn(move |cx| {
                    if is_early || clock.now() >= at {
                        return Poll::Ready(());
                    }
                    timers.set.lock().unwrap().push((at, cx.waker().clone()));
                    Poll::Pending
                })
            })
        }

        pub(super) fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }

        fn ring(&self, now: Timestamp) {
            let mut due = Vec::new();
            self.set.lock().unwrap().retain(|(at, waker)| {
                let is_due = *at <= now;
                due.extend(is_due.then(|| waker.clone()));
                !is_due
            });
            due.into_iter().for_each(Waker::wake);
        }

        pub(super) fn run<T>(&self, clock: &Clock, task: impl Future<Output = T>) -> T {
            let mut task = std::pin::pin!(task);
            let hook = Hook::new();
            let waker = Waker::from(hook.clone());
            let mut polled = 0;
            loop {
                let woken = hook.woken();
                if let Poll::Ready(done) = task.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return done;
                }
                polled += 1;
                assert!(polled < 100, "polled again and again");
                while hook.woken() == woken {
                    self.ring(clock.now());
                    thread::yield_now();
                }
            }
        }
    }
}

/// Such a timer exists over real clocks alone: a millisecond of real time must pass, and nothing
/// depends on how much more does.
#[test]
fn a_timer_of_ones_own_ends_waits_under_any_executor() {
    let timers: Arc<executor::Timers> = Arc::default();
    let clock = executor::Timers::clock(&timers);
    assert_eq!(format!("{clock:?}"), "Clock::with_timer");
    let slots = ConcurrencyLimiter::builder(1).clock(clock.clone()).build();
    let lease = slots.try_acquire().unwrap();
    // Its slot never comes back: the deadline ends the wait, not a nanosecond early.
    let begun = clock.now();
    let within = Duration::from_micros(100);
    let error = timers.run(&clock, slots.acquire(within)).unwrap_err();
    assert!(matches!(error, WaitError::Denied(_)), "{error:?}");
    assert!(clock.now() >= begun + within);
    assert!(timers.asked() >= 1);
    // A slot that comes back does.
    let mut waiting: Waiting = Box::pin(slots.acquire(LEASE));
    let hook = Hook::new();
    assert!(poll(&mut waiting, &hook).is_pending());
    let woken = hook.woken();
    drop(lease);
    assert_eq!(hook.woken(), woken + 1);
    assert!(timers.run(&clock, waiting).is_ok());
    // And so does a turn that comes with time alone.
    let quota = Quota::new(1, Duration::from_micros(200)).unwrap();
    let limiter = RateLimiter::builder(quota).clock(clock.clone()).build();
    let begun = clock.now();
    for _ in 0..5 {
        timers.run(&clock, limiter.acquire("k", 1, LEASE)).unwrap();
    }
    assert!(clock.now() >= begun + 4 * Duration::from_micros(200));
    timers.run(&clock, clock.sleep(within).unwrap());
}

#[test]
fn a_thread_waits_on_a_virtual_clock_that_another_moves() {
    let time = VirtualClock::new();
    let slots = Arc::new(slots(1, &time));
    let lease = slots.try_acquire().unwrap();
    let wait_for = |within| {
        let theirs = slots.clone();
        let thread = thread::spawn(move || theirs.acquire_blocking(within));
        while slots.usage().waiting == 0 {
            thread::yield_now();
        }
        // It stands in line, and may not have set its alarm yet: this does.
        slots.resize(1);
        thread
    };
    let denied = wait_for(SECOND);
    time.advance(SECOND - NANO);
    assert_eq!(slots.usage().waiting, 1);
    time.advance(NANO);
    assert_eq!(slots.usage().waiting, 0);
    assert!(matches!(denied.join().unwrap(), Err(WaitError::Denied(_))));

    let granted = wait_for(100 * LEASE);
    // What is due on the way is decided then: the lease began at 10 s.
    time.advance(LEASE);
    assert_eq!(granted.join().unwrap().unwrap().remaining(), LEASE - SECOND);
    drop(lease);

    let limiter = Arc::new(rate(&time));
    limiter.check("k").unwrap();
    let theirs = limiter.clone();
    let thread = thread::spawn(move || theirs.acquire_blocking("k", 1, LEASE));
    // Seen waiting when a check would have to wait for two.
    while limiter.peek("k").unwrap_err().retry() != Retry::After(2 * SECOND) {
        thread::yield_now();
    }
    time.advance(SECOND);
    assert!(thread.join().unwrap().is_ok());
    // What cannot be in time is refused at once.
    let denied: Denied = match limiter.acquire_blocking("k", 1, SECOND - NANO) {
        Err(WaitError::Denied(denied)) => denied,
        other => panic!("{other:?}"),
    };
    assert_eq!(denied.retry(), Retry::After(SECOND));
}

#[test]
fn a_sleep_ends_though_the_clock_was_set_back_when_it_rang() {
    let time = VirtualClock::starting_at(Timestamp::from_secs(100));
    let mut sleep = std::pin::pin!(time.sleep(SECOND));
    let hook = Hook::new();
    let waker = Waker::from(hook.clone());
    let mut cx = Context::from_waker(&waker);
    assert!(sleep.as_mut().poll(&mut cx).is_pending());
    time.advance(SECOND);
    assert_eq!(hook.woken(), 1);
    time.set(Timestamp::from_secs(50));
    assert!(sleep.as_mut().poll(&mut cx).is_pending());
    time.advance(50 * SECOND);
    assert_eq!(hook.woken(), 1);
    time.advance(SECOND);
    assert_eq!(hook.woken(), 2);
    assert!(sleep.as_mut().poll(&mut cx).is_ready());
}

#[cfg(feature = "tokio")]
mod under_tokio {
    use super::*;
    // Of paused time: it moves only when all tasks sleep.
    use tokio::time::Instant;

    /// Tokio's timer counts in milliseconds.
    const TICK: Duration = Duration::from_millis(1);

    fn slots(cap: u32) -> Arc<ConcurrencyLimiter> {
        let builder = ConcurrencyLimiter::builder(cap).lease(LEASE).clock(Clock::tokio());
        Arc::new(builder.build())
    }

    #[track_caller]
    fn is_at(begun: Instant, after: Duration) {
        let passed = begun.elapsed();
        assert!(passed >= after && passed < after + 10 * TICK, "{passed:?}, not {after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_wait_their_turn_in_paused_time() {
        let (slots, begun) = (slots(1), Instant::now());
        std::mem::forget(slots.try_acquire().unwrap());
        let mut tasks = Vec::new();
        for number in 1..=3 {
            let theirs = slots.clone();
            tasks.push(tokio::spawn(async move {
                std::mem::forget(theirs.acquire(10 * LEASE).await.unwrap());
                is_at(begun, number * LEASE);
            }));
            tokio::task::yield_now().await;
        }
        let late = slots.acquire(2 * LEASE).await.unwrap_err();
        assert!(matches!(late, WaitError::Denied(_)));
        is_at(begun, 2 * LEASE);
        for task in tasks {
            task.await.unwrap();
        }
        is_at(begun, 3 * LEASE);
        assert_eq!(slots.usage().waiting, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_head_keeps_the_time_when_the_first_is_cancelled() {
        let (slots, begun) = (slots(1), Instant::now());
        std::mem::forget(slots.try_acquire().unwrap());
        let theirs = slots.clone();
        let head = tokio::spawn(async move { theirs.acquire(10 * LEASE).await.map(drop) });
        tokio::task::yield_now().await;
        let theirs = slots.clone();
        let second = tokio::spawn(async move { theirs.acquire(10 * LEASE).await.map(drop) });
        tokio::task::yield_now().await;
        assert_eq!(slots.usage().waiting, 2);
        head.abort();
        second.await.unwrap().unwrap();
        is_at(begun, LEASE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_waited_for() {
        let builder = RateLimiter::builder(Quota::per_second(10).burst(1)).clock(Clock::tokio());
        let (limiter, begun) = (builder.build(), Instant::now());
        for number in 0..5 {
            limiter.acquire("k", 1, LEASE).await.unwrap();
            is_at(begun, number * SECOND / 10);
        }
        limiter.acquire("k", 1, SECOND / 20).await.unwrap_err();
        is_at(begun, 4 * SECOND / 10);
        tokio::time::timeout(SECOND / 20, limiter.acquire("k", 1, LEASE)).await.unwrap_err();
        // The waiter that left was not charged.
        limiter.acquire("k", 1, LEASE).await.unwrap();
        is_at(begun, 5 * SECOND / 10);
    }

    /// The panic of another's waker reaches a caller that only just came. It must not stay in line.
    #[tokio::test(start_paused = true)]
    async fn a_newcomer_that_unwinds_leaves_the_line() {
        let slots = slots(1);
        std::mem::forget(slots.try_acquire().unwrap());
        let panics = Arc::new(AtomicUsize::new(0));
        let theirs = panics.clone();
        let hook = Hook::on_wake(move || {
            if theirs.load(Ordering::SeqCst) > 0 {
                resume_unwind(Box::new("in a waker"));
            }
        });
        let mut head = wait_with(&slots, 1, &hook);
        // The head's timer rings, but it is not polled before the newcomer looks at the line.
        tokio::time::advance(LEASE + TICK).await;
        panics.store(1, Ordering::SeqCst);
        let mut newcomer: Waiting = Box::pin(slots.acquire(LEASE));
        let caught = catch_unwind(AssertUnwindSafe(|| look(&mut newcomer).is_pending()));
        assert!(caught.is_err());
        drop(newcomer);
        stands(&slots, 1, 0);
        assert!(answer(&mut head).is_ok());
    }

    #[test]
    fn outside_a_runtime_it_has_no_timer() {
        let slots = slots(1);
        let mut waiting: Waiting = Box::pin(slots.acquire(LEASE));
        assert_eq!(answer(&mut waiting).unwrap_err(), WaitError::NoTimer);
        assert!(slots.acquire_blocking(LEASE).is_ok());
    }
}
