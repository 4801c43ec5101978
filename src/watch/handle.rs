//! [`WatchHandle`]: the thread that looks at the policy file.
//!
//! A look itself is in `watch`; this file starts, times and stops them.

use std::hash::BuildHasher;
use std::io;
use std::time::Duration;

use crate::sync::{Arc, AtomicBool, JoinHandle, Ordering, Signal, ThreadBuilder, current_thread};
use crate::time::Clock;

use super::{PolicyWatcher, WatchCounts, WatchError, WatchEvent};

/// The thread's name in a debugger; Linux keeps 15 bytes.
const THREAD_NAME: &str = "tollgate-watch";

/// The shortest time between two looks.
const LEAST_PAUSE: Duration = Duration::from_millis(1);

/// A thread that looks at a policy file: [`PolicyWatcher::spawn`].
///
/// The thread ends when the enforcer is gone, or when this handle is dropped. The drop waits for a
/// look in progress, so that no policy is taken afterwards.
#[must_use = "when it is dropped nobody looks any more"]
#[derive(Debug)]
pub struct WatchHandle {
    record: Arc<WatchCounts>,
    halt: Arc<Halt>,
    /// `None` once the thread is joined.
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Halt {
    is_asked: AtomicBool,
    asked: Signal,
}

impl<S: BuildHasher + Send + Sync + 'static> PolicyWatcher<S> {
    /// Starts a thread that looks immediately and then every `every`, at most once a millisecond. A
    /// change takes effect after one to two times `every`.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn spawn(self, every: Duration) -> io::Result<WatchHandle> {
        let (record, halt) = (self.record.clone(), Arc::<Halt>::default());
        let path = self.path.display().to_string();
        let until = halt.clone();
        let thread = ThreadBuilder::new()
            .name(THREAD_NAME.to_owned())
            .spawn(move || self.look_until(&until, every.max(LEAST_PAUSE)))
            .map_err(|error| {
                let what = "no thread could be started to watch";
                io::Error::new(error.kind(), format!("{what} {path}: {error}"))
            })?;
        Ok(WatchHandle { record, halt, thread: Some(thread) })
    }

    fn look_until(mut self, halt: &Halt, every: Duration) {
        let clock = Clock::monotonic();
        while !halt.is_asked() && !matches!(self.look(), WatchEvent::Gone) {
            halt.rest(&clock, every);
        }
    }
}

impl WatchHandle {
    /// How often a policy was taken.
    pub fn reloads(&self) -> u64 {
        self.record.reloads()
    }

    /// How often a failure to take the file was reported.
    pub fn failures(&self) -> u64 {
        self.record.failures()
    }

    /// What is wrong with the file, as [`PolicyWatcher::last_error`].
    pub fn last_error(&self) -> Option<Arc<WatchError>> {
        self.record.last_error()
    }

    /// Whether the thread has ended, because the enforcer is gone.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for WatchHandle {
    fn drop(&mut self) {
        self.halt.ask();
        // A look that drops the last reference to the enforcer may drop this handle too, on the
        // thread itself.
        let other = |thread: &JoinHandle<()>| thread.thread().id() != current_thread().id();
        if let Some(thread) = self.thread.take().filter(other) {
            let _ = thread.join();
        }
    }
}

impl Halt {
    // Relaxed: pairs with the load in `is_asked`; the signal's lock, taken in `set` and `wait`,
    // orders them.
    fn ask(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
        self.asked.set();
    }

    fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed)
    }

    /// Waits for `pause`, or until asked to halt. Never shorter, since a file must stay the same
    /// for this time before it is taken.
    fn rest(&self, clock: &Clock, pause: Duration) {
        let until = clock.now() + pause;
        loop {
            let left = until.since(clock.now());
            if left.is_zero() || self.is_asked() {
                return;
            }
            self.asked.wait(Some(left));
        }
    }
}

impl std::fmt::Debug for Halt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Halt").field("is_asked", &self.is_asked()).finish_non_exhaustive()
    }
}
