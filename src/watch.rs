//! [`PolicyWatcher`]: an enforcer that follows its policy file.
//!
//! It looks at what the file holds, again and again, and asks nobody to be told: so it does not
//! matter how the file is replaced, or whether its file system tells of changes.

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

/// Keeps an [`Enforcer`] at what a policy file says.
///
/// Each [look](Self::look) reads the file, by its path anew: edited in place, renamed over, or behind
/// a symbolic link that was turned (as Kubernetes does with a `ConfigMap`), it is seen. What differs
/// from what was taken before is taken when **two looks in a row saw the same bytes**. A file that
/// is half written is a policy too, perhaps one without the limits at its end, and would be valid:
/// so who writes it in place must be done within the time between two looks. A rename over it is
/// safe at any pace.
///
/// If the file is missing, unreadable, empty, above 4 MiB or wrong, the policy in force stays. That
/// too is told at the second look, and once, not at every look until it is mended.
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
/// To let a thread look, every few seconds: [`spawn`](Self::spawn).
///
/// ```no_run
/// # use std::sync::Arc;
/// # use tollgate::{Enforcer, Policy};
/// # use tollgate::watch::PolicyWatcher;
/// # let enforcer = Arc::new(Enforcer::builder(Policy::new()).build()?);
/// // Kept as long as it is to look: dropping it ends the thread.
/// let _watching = PolicyWatcher::new("limits.toml", &enforcer)
///     .spawn(std::time::Duration::from_secs(5))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The first file that it sees is taken whatever the enforcer was built with, so that no change
/// between the two is lost; keys and what they owe are kept, as [`Enforcer::reload`] says. Of
/// policies that come from elsewhere it does not know: what is in force for it is what it took last.
///
/// The enforcer is not kept alive by who watches it.
#[derive(Debug)]
pub struct PolicyWatcher<S = RandomState> {
    path: PathBuf,
    enforcer: Weak<Enforcer<S>>,
    in_force: Option<Contents>,
    /// What was reported and is not in force.
    reported: Option<Result<Contents, Unread>>,
    /// What the last look saw, if nothing is decided about it.
    unsettled: Option<Result<Contents, Unread>>,
    record: Arc<WatchCounts>,
}

/// What a look at the policy file led to.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// The file is as it was when it was last taken or reported.
    Unchanged,
    /// It is not: if the next look sees the same, it is taken or reported.
    Unsettled,
    /// Its policy is in force now.
    Reloaded(Reload),
    /// It cannot be taken; the policy in force stays.
    Failed(Arc<WatchError>),
    /// The enforcer is there no more, and no look will find it again.
    Gone,
}

/// What a watcher did, for those who ask from elsewhere.
#[derive(Debug, Default)]
struct WatchCounts {
    reloads: AtomicU64,
    failures: AtomicU64,
    error: Mutex<Option<Arc<WatchError>>>,
}

impl<S> PolicyWatcher<S> {
    /// Watches the file at `path` for this enforcer. Nothing is read before the first look.
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

    /// How often the file could not be taken, each time it was reported.
    pub fn failures(&self) -> u64 {
        self.record.failures()
    }

    /// What is wrong with the file, as far as it is known: None once it is taken, or again what is
    /// in force.
    pub fn last_error(&self) -> Option<Arc<WatchError>> {
        self.record.last_error()
    }
}

impl<S: BuildHasher> PolicyWatcher<S> {
    /// Reads the file, and takes its policy if that is another one and no longer being written.
    ///
    /// For callers with a timer of their own; what is said of two looks holds for what lies between
    /// them.
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
                // What was read was checked: `reload` itself has found nothing.
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
    // Relaxed throughout: counts order nothing.
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
