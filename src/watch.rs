//! [`PolicyWatcher`]: makes an enforcer follow its policy file.
//!
//! It reads the file again and again instead of asking for notifications, so it does not matter how
//! the file is replaced, or whether its file system reports changes. `file` reads the file,
//! `handle` is the thread that polls it, and `error` says why a file was not taken.

mod error;
mod file;
mod handle;

use std::hash::BuildHasher;
use std::path::PathBuf;

use crate::enforcer::{Enforcer, Reload};
use crate::policy::Policy;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, RandomState, Weak};

use error::Why;
use file::{Contents, Unread};

pub use error::WatchError;
pub use handle::WatchHandle;

/// Keeps the policy of an [`Enforcer`] equal to a policy file.
///
/// Each [look](Self::look) opens the path anew, so it sees a file that was edited in place,
/// replaced by a rename, or is behind a symbolic link that was changed (as Kubernetes does with a
/// `ConfigMap`). New content is taken when **two looks in a row read the same bytes**. A
/// half-written file may be a valid policy that lacks the limits at its end, so an in-place write
/// must finish within the time between two looks. A rename over the file is safe at any time.
///
/// If the file is missing, unreadable, empty, above 4 MiB or invalid, the policy in force stays.
/// That is also reported at the second look, once, and not at every look until the file is
/// repaired.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("policy.toml");
/// use std::sync::Arc;
/// use tollgate::{Enforcer, Policy};
/// use tollgate::watch::{PolicyWatcher, WatchEvent};
///
/// std::fs::write(&path, "[[limit]]\nname = 'all'\nrate = '1/h'")?;
/// let policy = Policy::from_toml(&std::fs::read_to_string(&path)?)?;
/// let enforcer = Arc::new(Enforcer::builder(policy).build()?);
///
/// let mut watcher = PolicyWatcher::new(&path, &enforcer);
/// assert!(matches!(watcher.look(), WatchEvent::Unsettled));
/// assert!(matches!(watcher.look(), WatchEvent::Reloaded(reload) if reload.kept == 1));
/// assert!(matches!(watcher.look(), WatchEvent::Unchanged));
///
/// std::fs::write(&path, "[[limit]]\nname = 'all'\nrate = 'fast'")?;
/// assert!(matches!(watcher.look(), WatchEvent::Unsettled));
/// let WatchEvent::Failed(error) = watcher.look() else { panic!() };
/// assert!(error.to_string().contains("policy.toml:3:8: "), "{error}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`spawn`](Self::spawn) starts a thread that looks every few seconds.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use tollgate::{Enforcer, Policy};
/// # use tollgate::watch::PolicyWatcher;
/// # let enforcer = Arc::new(Enforcer::builder(Policy::new()).build()?);
/// // Keep the handle: dropping it ends the thread.
/// let _watching = PolicyWatcher::new("limits.toml", &enforcer)
///     .spawn(std::time::Duration::from_secs(5))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The watcher always takes the first file that it sees, so that no change since the enforcer was
/// built is lost; keys keep what they owe, as described at [`Enforcer::reload`]. The
/// watcher does not notice policies from other sources: it compares the file with what it took
/// last.
///
/// A watcher does not keep its enforcer alive.
#[derive(Debug)]
pub struct PolicyWatcher<S = RandomState> {
    path: PathBuf,
    enforcer: Weak<Enforcer<S>>,
    in_force: Option<Contents>,
    /// The last reported content or error that is not in force.
    reported: Option<Result<Contents, Unread>>,
    /// What the last look saw, if it is neither taken nor reported yet.
    unsettled: Option<Result<Contents, Unread>>,
    record: Arc<WatchCounts>,
}

/// The result of a look at the policy file.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// The file is unchanged since it was last taken or reported.
    Unchanged,
    /// The file has changed: if the next look sees the same, the watcher takes or reports it.
    Unsettled,
    /// The file's policy is in force now.
    Reloaded(Reload),
    /// The file cannot be taken; the policy in force stays.
    Failed(Arc<WatchError>),
    /// The enforcer was dropped, so all further looks are useless.
    Gone,
}

/// The watcher's counts, shared with handles.
#[derive(Debug, Default)]
struct WatchCounts {
    reloads: AtomicU64,
    failures: AtomicU64,
    error: Mutex<Option<Arc<WatchError>>>,
}

impl<S> PolicyWatcher<S> {
    /// Watches the file at `path` for this enforcer. Reads nothing before the first look.
    pub fn new(path: impl Into<PathBuf>, enforcer: &Arc<Enforcer<S>>) -> PolicyWatcher<S> {
        PolicyWatcher {
            path: path.into(),
            enforcer: Arc::downgrade(enforcer),
            in_force: None,
            reported: None,
            unsettled: None,
            record: Arc::default(),
        }
    }

    /// How often a policy was taken.
    pub fn reloads(&self) -> u64 {
        self.record.reloads()
    }

    /// How often a failure to take the file was reported.
    pub fn failures(&self) -> u64 {
        self.record.failures()
    }

    /// What is wrong with the file, if known: `None` once the file is taken, or again has the
    /// content that is in force.
    pub fn last_error(&self) -> Option<Arc<WatchError>> {
        self.record.last_error()
    }
}

impl<S: BuildHasher> PolicyWatcher<S> {
    /// Reads the file, and takes its policy if the content is new and the same as at the previous
    /// look.
    ///
    /// For callers with a timer of their own, whose interval is then the time between two looks.
    pub fn look(&mut self) -> WatchEvent {
        let Some(enforcer) = self.enforcer.upgrade() else { return WatchEvent::Gone };
        let seen = file::read(&self.path);
        let before = self.unsettled.take();
        if seen.as_ref().is_ok_and(|seen| self.in_force.as_ref() == Some(seen)) {
            self.reported = None;
            self.record.is_right();
            return WatchEvent::Unchanged;
        }
        if self.reported.as_ref() == Some(&seen) {
            return WatchEvent::Unchanged;
        }
        if before.as_ref() != Some(&seen) {
            self.unsettled = Some(seen);
            return WatchEvent::Unsettled;
        }
        match take(&enforcer, &seen) {
            Ok(reload) => {
                self.reported = None;
                self.in_force = seen.ok();
                self.record.count_reload();
                WatchEvent::Reloaded(reload)
            }
            Err(why) => {
                let error = Arc::new(WatchError::new(&self.path, why));
                // `from_toml` checks the policy too, so a failure is not one that `reload` has
                // counted.
                enforcer.reload_failed(&error);
                self.reported = Some(seen);
                self.record.count_failure(error.clone());
                WatchEvent::Failed(error)
            }
        }
    }
}

fn take<S: BuildHasher>(
    enforcer: &Enforcer<S>,
    seen: &Result<Contents, Unread>,
) -> Result<Reload, Why> {
    let text = seen.as_ref().map_err(Unread::clone).and_then(|contents| file::text(contents));
    let policy = Policy::from_toml(text.map_err(Why::Unread)?).map_err(Why::Policy)?;
    enforcer.reload(policy).map_err(Why::Policy)
}

impl WatchCounts {
    // Relaxed in all methods: pairs only with other accesses of the same counter; no other data is
    // ordered by the counts.
    fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Relaxed)
    }

    fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn last_error(&self) -> Option<Arc<WatchError>> {
        self.error.lock().clone()
    }

    fn is_right(&self) {
        *self.error.lock() = None;
    }

    fn count_reload(&self) {
        self.is_right();
        self.reloads.fetch_add(1, Ordering::Relaxed);
    }

    fn count_failure(&self, error: Arc<WatchError>) {
        *self.error.lock() = Some(error);
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}
