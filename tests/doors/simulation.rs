//! The executor on virtual time: order, time, ends of tasks, and what users do inside it.

use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rand::{Rng, RngExt};
use tollgate::pacer::Pacer;
use tollgate::simulation::{Aborted, Handle, Simulation, Task};
use tollgate::{InSimulation, Quota, RateLimiter, Retry, Timestamp};

const SECOND: Duration = Duration::from_secs(1);

fn secs(n: u64) -> Timestamp {
    Timestamp::from_secs(n)
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Trace(Rc<RefCell<Vec<String>>>);

impl Trace {
    fn say(&self, what: impl ToString) {
        self.0.borrow_mut().push(what.to_string());
    }
    fn all(&self) -> String {
        self.0.borrow().join(" ")
    }
}

/// Calls `what` when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Lets all that are ready go first.
async fn yield_now() {
    let mut polled = false;
    poll_fn(|cx| {
        if polled {
            return Poll::Ready(());
        }
        polled = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Gives away its waker and ends when polled again.
async fn wait_for_wake(waker: Arc<Mutex<Option<Waker>>>) {
    let mut polled = false;
    poll_fn(|cx| {
        if polled {
            return Poll::Ready(());
        }
        polled = true;
        *waker.lock().unwrap() = Some(cx.waker().clone());
        Poll::Pending
    })
    .await;
}

/// 100 tasks that sleep, draw, spawn and ask a limiter.
fn workload(seed: u64) -> String {
    let mut simulation = Simulation::new(seed);
    let limiter = RateLimiter::builder(Quota::per_second(20)).clock(simulation.clock()).build();
    let limiter = Rc::new(limiter);
    let trace = Rc::new(RefCell::new(String::new()));
    for task in 0..100 {
        let (handle, limiter, trace) = (simulation.handle(), limiter.clone(), trace.clone());
        simulation.spawn(async move {
            for round in 0..5 {
                let pause = handle.random().random_range(0..1_000);
                handle.sleep(Duration::from_millis(pause)).await;
                if let Err(denied) = limiter.check("all") {
                    let Retry::After(wait) = denied.retry() else { unreachable!() };
                    handle.sleep(wait).await;
                }
                let draw = handle.random().next_u32();
                let now = handle.now().as_nanos();
                writeln!(trace.borrow_mut(), "{now} {task}.{round} {draw}").unwrap();
            }
            let (sleeper, trace) = (handle.clone(), trace.clone());
            handle.spawn(async move {
                let pause = sleeper.random().next_u32();
                sleeper.sleep(Duration::from_nanos(pause.into())).await;
                writeln!(trace.borrow_mut(), "{:?} child of {task}", sleeper.now()).unwrap();
            });
        });
    }
    assert_eq!(simulation.run(), 0);
    trace.take()
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    let trace = workload(7);
    assert_eq!(trace.lines().count(), 600);
    assert_eq!(trace, workload(7));
    assert_ne!(trace, workload(8));
}

#[test]
fn the_random_numbers_are_those_of_every_platform_and_version() {
    let simulation = Simulation::new(42);
    let mut random = simulation.handle().random();
    // Another handle goes on in the same sequence.
    let drawn = [random.next_u64(), simulation.random().next_u64(), random.next_u64()];
    // Worked out apart from this library.
    assert_eq!(drawn, [0x39fc_b970_a300_1809, 0x3d36_1897_2c55_d911, 0xc2c5_fa78_9a8b_6a2d]);
    let mut bytes = [0; 5];
    random.fill_bytes(&mut bytes);
    assert_eq!((bytes, random.next_u32()), ([236, 96, 150, 226, 241], 0x3d5f_753c));
}

#[test]
fn tasks_run_in_the_order_in_which_they_were_woken() {
    let mut simulation = Simulation::new(0);
    let trace = Trace::default();
    let wakers: Vec<_> = (0..3).map(|_| Arc::default()).collect();
    for (n, waker) in wakers.iter().cloned().enumerate() {
        let trace = trace.clone();
        simulation.spawn(async move {
            trace.say(n);
            wait_for_wake(waker).await;
            trace.say(n);
        });
    }
    assert_eq!(simulation.run(), 3);
    for n in [2, 0, 1, 2, 0] {
        wakers[n].lock().unwrap().as_ref().unwrap().wake_by_ref();
    }
    assert_eq!(simulation.run(), 0);
    assert_eq!(trace.all(), "0 1 2 2 0 1");
}

#[test]
fn at_one_instant_those_who_slept_first_run_first() {
    let mut simulation = Simulation::new(0);
    let trace = Trace::default();
    // All end at 10 s; they begin to sleep at 3, 1, 2 and 1 s.
    for (name, start) in [("a", 3), ("b", 1), ("c", 2), ("d", 1)] {
        let (handle, trace) = (simulation.handle(), trace.clone());
        simulation.spawn(async move {
            handle.sleep(start * SECOND).await;
            handle.sleep((10 - start) * SECOND).await;
            trace.say(name);
            yield_now().await;
            trace.say(name);
        });
    }
    simulation.run();
    assert_eq!(trace.all(), "b d c a b d c a");
    assert_eq!(simulation.now(), secs(10));
}

#[test]
fn who_wakes_itself_lets_the_others_go_first() {
    let mut simulation = Simulation::new(0);
    let trace = Trace::default();
    for name in ["a", "b"] {
        let trace = trace.clone();
        simulation.spawn(async move {
            for _ in 0..3 {
                trace.say(name);
                yield_now().await;
            }
        });
    }
    assert_eq!(simulation.run(), 0);
    assert_eq!(trace.all(), "a b a b a b");
}

#[test]
fn time_jumps_to_each_moment_that_something_waits_for_and_to_no_other() {
    let mut simulation = Simulation::new(0);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let waits = [3, 1, 3_600_000_000_000, 0, 2, 315_360_000_000_000_000];
    for wait in waits {
        let (handle, seen) = (simulation.handle(), seen.clone());
        simulation.spawn(async move {
            handle.sleep(Duration::from_nanos(wait)).await;
            seen.borrow_mut().push((wait, handle.now().as_nanos()));
        });
    }
    assert_eq!(simulation.run(), 0);
    let mut expected: Vec<_> = waits.into_iter().map(|wait| (wait, wait)).collect();
    expected.sort_unstable();
    assert_eq!(*seen.borrow(), expected);
}

#[test]
fn a_moment_in_the_past_is_now() {
    let mut simulation = Simulation::new(0);
    simulation.run_until(secs(5));
    let clock = simulation.clock();
    let task = simulation.spawn(async move {
        clock.sleep_until(secs(1)).unwrap().await;
        clock.now()
    });
    assert_eq!(simulation.run_until(secs(2)), 0, "what happens now is run");
    assert_eq!(task.output(), Some(secs(5)));
    assert_eq!(simulation.now(), secs(5));
}

#[test]
fn nobody_waits_for_the_end_of_time() {
    let mut simulation = Simulation::new(0);
    let sleep = simulation.sleep(Duration::MAX);
    simulation.spawn(sleep);
    simulation.spawn(simulation.sleep(SECOND));
    assert_eq!(simulation.run(), 1);
    assert_eq!(simulation.now(), secs(1));
    assert_eq!(simulation.run_until(Timestamp::MAX), 0);
}

#[test]
fn an_endless_workload_runs_until_a_moment_included() {
    let mut simulation = Simulation::new(0);
    let beats = Rc::new(Cell::new(0));
    let (handle, count) = (simulation.handle(), beats.clone());
    simulation.spawn(async move {
        loop {
            handle.sleep(SECOND).await;
            count.set(count.get() + 1);
        }
    });
    assert_eq!(simulation.run_until(secs(10)), 1);
    assert_eq!((beats.get(), simulation.now()), (10, secs(10)));
    simulation.run_for(Duration::from_millis(2_500));
    assert_eq!((beats.get(), simulation.now()), (12, secs(12) + SECOND / 2));
    simulation.run_for(Duration::from_millis(499));
    assert_eq!(beats.get(), 12);
    simulation.run_for(Duration::from_millis(1));
    assert_eq!(beats.get(), 13);
}

#[test]
fn a_task_gives_its_output_to_who_awaits_it() {
    let mut simulation = Simulation::new(0);
    let handle = simulation.handle();
    let outer = simulation.spawn(async move {
        let sleeper = handle.clone();
        let inner = handle.spawn(async move {
            sleeper.sleep(SECOND).await;
            "slept"
        });
        assert!(!inner.is_finished());
        (inner.await, handle.now())
    });
    assert!(!outer.is_finished());
    assert_eq!(simulation.run(), 0);
    assert!(outer.is_finished());
    assert_eq!(outer.output(), Some((Ok("slept"), secs(1))));
}

#[test]
fn a_dropped_task_goes_on() {
    let mut simulation = Simulation::new(0);
    let done = Rc::new(Cell::new(false));
    let (handle, is_done) = (simulation.handle(), done.clone());
    drop(simulation.spawn(async move {
        handle.sleep(SECOND).await;
        is_done.set(true);
    }));
    simulation.run();
    assert!(done.get());
}

#[test]
fn an_aborted_task_is_dropped_at_once_and_its_alarm_with_it() {
    let mut simulation = Simulation::new(0);
    let trace = Trace::default();
    let (handle, says) = (simulation.handle(), trace.clone());
    let sleeper = Rc::new(simulation.spawn(async move {
        let _guard = OnDrop(|| says.say("dropped"));
        handle.sleep(3_600 * SECOND).await;
        says.say("slept");
    }));
    let (handle, says, victim) = (simulation.handle(), trace.clone(), sleeper.clone());
    simulation.spawn(async move {
        handle.sleep(SECOND).await;
        victim.abort();
        says.say("aborted");
        victim.abort();
    });
    assert_eq!(simulation.run(), 0);
    assert_eq!(trace.all(), "dropped aborted");
    assert_eq!(simulation.now(), secs(1));
    assert!(sleeper.is_finished());
    assert_eq!(Rc::into_inner(sleeper).unwrap().output(), None);
}

#[test]
fn a_task_aborted_before_it_ran_never_runs() {
    let mut simulation = Simulation::new(0);
    let task: Task<()> = simulation.spawn(async { unreachable!() });
    task.abort();
    let told = simulation.spawn(task);
    assert_eq!(simulation.run(), 0);
    assert_eq!(told.output(), Some(Err(Aborted)));
}

#[test]
fn an_abort_wakes_who_awaits_the_task() {
    let mut simulation = Simulation::new(0);
    let waker = Arc::new(CountWakes::default());
    let foreign = Waker::from(waker.clone());
    let mut never = simulation.spawn(pending::<()>());
    simulation.run();
    let mut cx = Context::from_waker(&foreign);
    assert!(pin!(&mut never).poll(&mut cx).is_pending());
    never.abort();
    assert_eq!(waker.count(), 1);
    assert_eq!(pin!(&mut never).poll(&mut cx), Poll::Ready(Err(Aborted)));
}

#[test]
fn aborting_what_is_done_keeps_its_output() {
    let mut simulation = Simulation::new(0);
    let task = simulation.spawn(async { 5 });
    simulation.run();
    task.abort();
    assert_eq!(task.output(), Some(5));
}

#[test]
fn a_task_that_aborts_itself_ends_when_it_waits_next() {
    let mut simulation = Simulation::new(0);
    let trace = Trace::default();
    let me = Rc::new(RefCell::new(None::<Task<()>>));
    let (handle, says, myself) = (simulation.handle(), trace.clone(), me.clone());
    let task = simulation.spawn(async move {
        let _guard = OnDrop(|| says.say("dropped"));
        myself.borrow().as_ref().unwrap().abort();
        says.say("goes on");
        handle.sleep(SECOND).await;
        says.say("slept");
    });
    *me.borrow_mut() = Some(task);
    assert_eq!(simulation.run(), 0);
    assert_eq!(trace.all(), "goes on dropped");
    assert_eq!(simulation.now(), secs(0));
    // One that does not wait again is done.
    let myself = me.clone();
    let task = simulation.spawn(async move {
        myself.borrow().as_ref().unwrap().abort();
    });
    *me.borrow_mut() = Some(task);
    assert_eq!(simulation.run(), 0);
    assert_eq!(me.take().unwrap().output(), Some(()));
}

#[test]
fn a_panic_goes_through_run_and_ends_only_its_task() {
    let mut simulation = Simulation::new(0);
    let trace = Trace::default();
    let handle = simulation.handle();
    let broken: Task<()> = simulation.spawn(async move {
        handle.sleep(SECOND).await;
        panic!("as expected");
    });
    let (handle, says) = (simulation.handle(), trace.clone());
    simulation.spawn(async move {
        handle.sleep(SECOND).await;
        says.say("other");
    });
    let waits = simulation.spawn(broken);
    let panic = catch_unwind(AssertUnwindSafe(|| simulation.run())).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"as expected"));
    assert_eq!((simulation.now(), trace.all()), (secs(1), String::new()));
    // This thread is no longer in a simulation.
    assert_eq!(block(&Simulation::new(0)), Ok(Some(vec![1])));

    assert_eq!(simulation.run(), 0);
    assert_eq!(trace.all(), "other");
    assert_eq!(waits.output(), Some(Err(Aborted)));
}

#[test]
fn a_waker_may_be_woken_by_another_thread() {
    let mut simulation = Simulation::new(0);
    let waker = Arc::new(Mutex::new(None));
    let task = simulation.spawn(wait_for_wake(waker.clone()));
    assert_eq!(simulation.run(), 1);
    let waker: Waker = waker.lock().unwrap().take().unwrap();
    std::thread::spawn(move || waker.wake()).join().unwrap();
    assert_eq!(simulation.run(), 0);
    assert!(task.is_finished());
}

#[test]
fn a_waker_outlives_its_task_and_the_simulation() {
    let mut simulation = Simulation::new(0);
    let waker = Arc::new(Mutex::new(None));
    simulation.spawn(wait_for_wake(waker.clone()));
    simulation.run();
    let waker: Waker = waker.lock().unwrap().take().unwrap();
    waker.wake_by_ref();
    assert_eq!(simulation.run(), 0);
    let polled = Rc::new(Cell::new(0));
    let count = polled.clone();
    simulation.spawn(poll_fn(move |_| {
        count.set(count.get() + 1);
        Poll::<()>::Pending
    }));
    for _ in 0..3 {
        waker.wake_by_ref();
        simulation.run();
    }
    assert_eq!(polled.get(), 1, "a dead task's waker woke another");
    drop(simulation);
    waker.wake_by_ref();
    waker.wake();
}

#[test]
fn dropping_the_simulation_drops_its_tasks_in_order() {
    let trace = Trace::default();
    let mut simulation = Simulation::new(0);
    let handle = simulation.handle();
    let mut tasks = Vec::new();
    for n in 0..20 {
        let (says, handle) = (trace.clone(), handle.clone());
        tasks.push(simulation.spawn(async move {
            let _guard = OnDrop(|| {
                says.say(n);
                assert!(block_in(&handle).is_err(), "a drop is a part of the simulation");
                // Too late: dropped at once.
                let says = says.clone();
                let late = OnDrop(move || says.say("late"));
                let task = handle.spawn(async move { drop(late) });
                assert!(task.is_finished());
            });
            handle.sleep(SECOND).await;
        }));
    }
    simulation.run_until(secs(0));
    drop(simulation);
    let order: Vec<_> = (0..20).map(|n| format!("{n} late")).collect();
    assert_eq!(trace.all(), order.join(" "));
    assert!(tasks.iter().all(Task::is_finished));
    assert_eq!(handle.now(), secs(0));
    assert_eq!(handle.spawn(async { 1 }).output(), None);
    assert_eq!(Rc::strong_count(&trace.0), 1, "the tasks were dropped, handles in them or not");
}

#[test]
fn a_task_may_abort_another_while_the_simulation_is_dropped() {
    let trace = Trace::default();
    let mut simulation = Simulation::new(0);
    let other = Rc::new(RefCell::new(None::<Task<()>>));
    let (says, victim) = (trace.clone(), other.clone());
    simulation.spawn(async move {
        let _guard = OnDrop(|| {
            victim.borrow().as_ref().unwrap().abort();
            says.say("first");
        });
        pending::<()>().await;
    });
    let says = trace.clone();
    *other.borrow_mut() = Some(simulation.spawn(async move {
        let _guard = OnDrop(|| says.say("second"));
        pending::<()>().await;
    }));
    assert_eq!(simulation.run(), 2);
    drop(simulation);
    assert_eq!(trace.all(), "second first");
}

#[test]
fn a_task_may_spawn_and_abort_while_it_is_dropped() {
    let mut simulation = Simulation::new(0);
    let trace = Trace::default();
    let says = trace.clone();
    let never = Rc::new(simulation.spawn(async move {
        let _guard = OnDrop(|| says.say("other dropped"));
        pending::<()>().await;
    }));
    let (handle, says) = (simulation.handle(), trace.clone());
    let dropped = simulation.spawn(async move {
        let _guard = OnDrop(|| {
            never.abort();
            let says = says.clone();
            handle.spawn(async move { says.say("spawned") });
        });
        pending::<()>().await;
    });
    assert_eq!(simulation.run(), 2);
    dropped.abort();
    assert_eq!(trace.all(), "other dropped");
    assert_eq!(simulation.run(), 0);
    assert_eq!(trace.all(), "other dropped spawned");
}

#[derive(Default)]
struct CountWakes(Mutex<usize>);

impl CountWakes {
    fn count(&self) -> usize {
        *self.0.lock().unwrap()
    }
}

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() += 1;
    }
}

thread_local!(static HANDLE: RefCell<Option<(Handle, Trace)>> = const { RefCell::new(None) });

/// A waker that goes back into the simulation whenever it is called.
struct Reenters;

impl Reenters {
    fn spawn(what: &'static str) {
        HANDLE.with_borrow(|handle| {
            let Some((handle, trace)) = handle else { return };
            let trace = trace.clone();
            handle.spawn(async move { trace.say(what) });
        });
    }
}

impl Wake for Reenters {
    fn wake(self: Arc<Self>) {
        Reenters::spawn("woken");
    }
}

impl Drop for Reenters {
    fn drop(&mut self) {
        Reenters::spawn("dropped");
    }
}

#[test]
fn a_foreign_waker_may_reenter() {
    let mut simulation = Simulation::new(0);
    let trace = Trace::default();
    HANDLE.set(Some((simulation.handle(), trace.clone())));
    let handle = simulation.handle();
    let mut task = simulation.spawn(async move { handle.sleep(SECOND).await });
    let mut sleep = pin!(simulation.sleep(SECOND));
    for _ in 0..2 {
        // The second waker replaces the first, which is dropped.
        let waker = Waker::from(Arc::new(Reenters));
        let mut cx = Context::from_waker(&waker);
        assert!(pin!(&mut task).poll(&mut cx).is_pending());
        assert!(sleep.as_mut().poll(&mut cx).is_pending());
    }
    assert_eq!(simulation.run(), 0);
    assert_eq!(trace.all(), "dropped woken woken dropped");
    HANDLE.set(None);
}

/// What a blocking call says inside `simulation`.
fn block(simulation: &Simulation) -> Result<Option<Vec<i32>>, InSimulation> {
    block_in(&simulation.handle())
}

fn block_in(handle: &Handle) -> Result<Option<Vec<i32>>, InSimulation> {
    Pacer::new(1, SECOND).clock(handle.clock()).batches([1]).next_blocking()
}

#[test]
fn a_blocking_call_inside_is_an_error() {
    let mut simulation = Simulation::new(0);
    assert_eq!(block(&simulation), Ok(Some(vec![1])));
    let handle = simulation.handle();
    let task = simulation.spawn(async move {
        let before = block_in(&handle);
        handle.sleep(SECOND).await;
        (before, block_in(&handle))
    });
    simulation.run();
    assert_eq!(task.output(), Some((Err(InSimulation), Err(InSimulation))));
    assert_eq!(block(&simulation), Ok(Some(vec![1])));
    assert!(InSimulation.to_string().contains("await"));
}

#[test]
fn a_simulation_runs_inside_another() {
    let mut outer = Simulation::new(1);
    let handle = outer.handle();
    let task = outer.spawn(async move {
        handle.sleep(SECOND).await;
        let mut inner = Simulation::new(2);
        let sleeper = inner.handle();
        let slept = inner.spawn(async move {
            sleeper.sleep(3_600 * SECOND).await;
            sleeper.now()
        });
        assert_eq!(inner.run(), 0);
        assert_eq!(block_in(&handle), Err(InSimulation), "still in the outer one");
        drop(inner);
        assert_eq!(block_in(&handle), Err(InSimulation), "still in the outer one");
        handle.sleep(SECOND).await;
        (slept.output(), handle.now())
    });
    assert_eq!(outer.run(), 0);
    assert_eq!(task.output(), Some((Some(secs(3_600)), secs(2))));
    assert!(block(&outer).is_ok());
}

#[test]
fn a_run_says_how_many_wait_for_ever() {
    let mut simulation = Simulation::new(0);
    assert_eq!(simulation.run(), 0);
    for _ in 0..3 {
        simulation.spawn(pending::<()>());
    }
    simulation.spawn(simulation.sleep(SECOND));
    assert_eq!(simulation.run(), 3);
    assert_eq!(simulation.run(), 3);
}
