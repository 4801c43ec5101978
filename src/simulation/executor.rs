//! The tasks of a simulation, and the queue of those that were woken.

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

/// Nothing of a task's (poll, drop, waker) is called while one of its cells is borrowed.
pub(super) struct Executor {
    time: VirtualClock,
    random: RefCell<Pcg64>,
    /// By number, which is the order of spawning. The one being polled is not among them.
    tasks: RefCell<BTreeMap<u64, Spawned>>,
    spawned: Cell<u64>,
    /// The task that is being polled, until it is aborted meanwhile.
    polled: Cell<Option<u64>>,
    ready: Arc<Ready>,
}

struct Spawned {
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Waker,
}

/// Who is to be polled, in the order of waking. Any thread may wake.
#[derive(Default)]
struct Ready(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    woken: VecDeque<Arc<Wakeup>>,
    /// The simulation is gone: nobody will be polled.
    closed: bool,
}

/// What the wakers of one task share.
struct Wakeup {
    task: u64,
    /// Whether it is in the queue. Read and written under the queue's lock, so relaxed.
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

    /// Puts a task at the end of the queue. Returns its number.
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

    /// Drops a task that is not done; one that is being polled once it has been.
    pub(super) fn abort(&self, task: u64) {
        if self.polled.get() == Some(task) {
            self.polled.set(None);
        }
        let aborted = self.tasks.borrow_mut().remove(&task);
        if let Some(aborted) = aborted {
            aborted.end();
        }
    }

    /// Runs what happens until `end`, included; time stands where the last of it did. Returns how
    /// many tasks are not done.
    pub(super) fn run_until(&self, end: Timestamp) -> usize {
        let _simulated = Simulated::enter();
        self.run_ready();
        while let Some(at) = self.time.next_alarm().filter(|at| *at <= end) {
            self.jump_to(at);
            self.run_ready();
        }
        self.tasks.borrow().len()
    }

    /// Polls who is ready and who becomes so by that, in order.
    fn run_ready(&self) {
        while let Some(task) = self.ready.next() {
            let found = self.tasks.borrow_mut().remove(&task);
            // Not there: it is done, and woken late.
            let Some(mut polled) = found else { continue };
            self.polled.set(Some(task));
            // If this panics the task is gone, and nothing else has happened.
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

    /// Moves time to `at` and wakes who waits until then.
    pub(super) fn jump_to(&self, at: Timestamp) {
        self.time.advance(at.since(self.time.now()));
    }

    /// Drops all tasks. None can be spawned or woken from now on.
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
    /// Drops the future, as a part of the simulation.
    fn end(self) {
        let _simulated = Simulated::enter();
        drop(self);
    }
}

impl Ready {
    /// Takes the first that was woken. It can be woken again from now on.
    fn next(&self) -> Option<u64> {
        let mut queue = self.0.lock();
        let wakeup = queue.woken.pop_front()?;
        wakeup.queued.store(false, Ordering::Relaxed);
        Some(wakeup.task)
    }
}
