//! [`Executor`]: the tasks of a simulation, and the queue of woken tasks.
//!
//! Moves a virtual clock from alarm to alarm. Handles to single tasks are in `task`.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use rand_pcg::Pcg64;
use rand_pcg::rand_core::SeedableRng;

use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use crate::time::{Clock, Simulated, Sleep, Timestamp, VirtualClock};

/// No code of a task (poll, drop, waker) runs while one of these cells is borrowed.
pub(super) struct Executor {
    time: VirtualClock,
    random: RefCell<Pcg64>,
    /// By number, which is the order of spawning. Without the task that is being polled.
    tasks: RefCell<BTreeMap<u64, Spawned>>,
    spawned: Cell<u64>,
    /// The task that is being polled; `None` once it is aborted.
    polled: Cell<Option<u64>>,
    ready: Arc<Ready>,
}

struct Spawned {
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Waker,
}

/// The tasks to poll, in the order of waking. Any thread may wake a task.
#[derive(Default)]
struct Ready(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    woken: VecDeque<Arc<Wakeup>>,
    /// The simulation is gone, and no task will be polled.
    closed: bool,
}

/// The state that all wakers of one task share.
struct Wakeup {
    task: u64,
    /// Whether the task is in the queue. Relaxed: all accesses are under the queue's lock, which
    /// orders them.
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut queue = self.ready.0.lock();
        if !queue.closed && !self.queued.load(Ordering::Relaxed) {
            self.queued.store(true, Ordering::Relaxed);
            queue.woken.push_back(self.clone());
        }
    }
}

impl Executor {
    pub(super) fn new(seed: u64) -> Executor {
        Executor {
            time: VirtualClock::new(),
            random: RefCell::new(Pcg64::seed_from_u64(seed)),
            tasks: RefCell::default(),
            spawned: Cell::new(0),
            polled: Cell::new(None),
            ready: Arc::default(),
        }
    }

    pub(super) fn clock(&self) -> Clock {
        self.time.clock()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.time.now()
    }

    pub(super) fn sleep(&self, by: Duration) -> Sleep {
        self.time.sleep(by)
    }

    pub(super) fn random(&self) -> RefMut<'_, Pcg64> {
        self.random.borrow_mut()
    }

    /// Adds a task to the end of the queue. Returns its number.
    pub(super) fn spawn(&self, future: Pin<Box<dyn Future<Output = ()>>>) -> u64 {
        let task = self.spawned.get();
        self.spawned.set(task + 1);
        let ready = self.ready.clone();
        let waker = Waker::from(Arc::new(Wakeup { task, queued: AtomicBool::new(false), ready }));
        if !self.ready.0.lock().closed {
            waker.wake_by_ref();
            self.tasks.borrow_mut().insert(task, Spawned { future, waker });
        }
        task
    }

    /// Drops an unfinished task; a task that is being polled is dropped after the poll.
    pub(super) fn abort(&self, task: u64) {
        if self.polled.get() == Some(task) {
            self.polled.set(None);
        }
        let aborted = self.tasks.borrow_mut().remove(&task);
        if let Some(aborted) = aborted {
            aborted.end();
        }
    }

    /// Runs all events until `end`, inclusive, and leaves the time at the last of them. Returns the
    /// number of unfinished tasks.
    pub(super) fn run_until(&self, end: Timestamp) -> usize {
        let _simulated = Simulated::enter();
        self.run_ready();
        while let Some(at) = self.time.next_alarm().filter(|at| *at <= end) {
            self.jump_to(at);
            self.run_ready();
        }
        self.tasks.borrow().len()
    }

    /// Polls all ready tasks, and tasks that become ready meanwhile, in order.
    fn run_ready(&self) {
        while let Some(task) = self.ready.next() {
            let found = self.tasks.borrow_mut().remove(&task);
            // A task that is not there has finished and was woken late.
            let Some(mut polled) = found else { continue };
            self.polled.set(Some(task));
            // If the poll panics, the task is gone and the executor is otherwise unchanged.
            let pending =
                polled.future.as_mut().poll(&mut Context::from_waker(&polled.waker)).is_pending();
            if pending && self.polled.take().is_some() {
                self.tasks.borrow_mut().insert(task, polled);
            } else {
                self.polled.set(None);
                polled.end();
            }
        }
    }

    /// Moves the time to `at` and wakes the tasks that wait until then.
    pub(super) fn jump_to(&self, at: Timestamp) {
        self.time.advance(at.since(self.time.now()));
    }

    /// Drops all tasks. From now on no task can be spawned or woken.
    pub(super) fn close(&self) {
        let woken = {
            let mut queue = self.ready.0.lock();
            queue.closed = true;
            std::mem::take(&mut queue.woken)
        };
        drop(woken);
        loop {
            let first = self.tasks.borrow_mut().pop_first();
            let Some((_, task)) = first else { break };
            task.end();
        }
    }
}

impl Spawned {
    /// Drops the future, with this thread marked as simulated.
    fn end(self) {
        let _simulated = Simulated::enter();
        drop(self);
    }
}

impl Ready {
    /// Takes the first woken task, which can be woken again from now on.
    fn next(&self) -> Option<u64> {
        let mut queue = self.0.lock();
        let wakeup = queue.woken.pop_front()?;
        wakeup.queued.store(false, Ordering::Relaxed);
        Some(wakeup.task)
    }
}
