//! What limits and their enforcer keep through all reloads: modes and counts.

use crate::policy::Mode;
use crate::sync::{Arc, AtomicBool, AtomicU8, AtomicU64, Mutex, Ordering, Weak};

use super::counter::Counter;
use super::limit_state::{LimitState, Past};

/// What an enforcer counts besides its limits.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) admitted: Counter,
    pub(crate) reloads: AtomicU64,
    pub(crate) failed_reloads: AtomicU64,
}

/// What a limit keeps through all reloads, those included that have none of its name.
#[derive(Default)]
pub(crate) struct LimitCounters {
    /// Also seen by who waits under a policy of before.
    mode: AtomicU8,
    pub(crate) checked: Counter,
    pub(crate) refused: Counter,
    pub(crate) shadow_refused: Counter,
    /// Requests that took slots, and that gave them back.
    pub(crate) acquired: Counter,
    pub(crate) returned: Counter,
    /// Whether it is a concurrency limit, or was.
    pub(crate) had_slots: AtomicBool,
    /// Waits in its lines that ended in a refusal.
    pub(crate) timeouts: AtomicU64,
    /// Accounts that began without the keys of a limit or an override that was there.
    pub(crate) fresh_starts: AtomicU64,
    /// What accounts had counted that are gone.
    pub(crate) past: Arc<Past>,
    /// Accounts that a reload replaced or dropped. They are there as long as somebody waits or holds
    /// there.
    pub(super) replaced: Mutex<Vec<Weak<LimitState>>>,
}

impl LimitCounters {
    /// Visits the accounts that a reload replaced or dropped and that are still there.
    pub(crate) fn each_replaced(&self, mut visit: impl FnMut(&LimitState)) {
        let replaced: Vec<_> = self.replaced.lock().iter().filter_map(Weak::upgrade).collect();
        replaced.iter().for_each(|state| visit(state));
    }

    #[inline]
    pub(crate) fn mode(&self) -> Mode {
        // Relaxed: each decision uses one mode, and nothing else goes with it.
        from_u8(self.mode.load(Ordering::Relaxed))
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        // Relaxed: as in `mode`.
        self.mode.store(to_u8(mode), Ordering::Relaxed);
    }
}

fn to_u8(mode: Mode) -> u8 {
    match mode {
        Mode::Enforce => 0,
        Mode::Shadow => 1,
        Mode::Off => 2,
    }
}

fn from_u8(mode: u8) -> Mode {
    match mode {
        0 => Mode::Enforce,
        1 => Mode::Shadow,
        _ => Mode::Off,
    }
}
