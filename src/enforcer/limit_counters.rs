//! What limits and their enforcer keep across all reloads: modes and counts. What a limit keeps for
//! its keys is in `limit_state`.

use crate::policy::Mode;
use crate::sync::{Arc, AtomicBool, AtomicU8, AtomicU64, Mutex, Ordering, Weak};

use super::counter::Counter;
use super::limit_state::{LimitState, Past};

/// Counts of an enforcer that belong to no limit.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) admitted: Counter,
    pub(crate) reloads: AtomicU64,
    pub(crate) failed_reloads: AtomicU64,
}

/// What a limit keeps across all reloads, including reloads to policies without the limit.
#[derive(Default)]
pub(crate) struct LimitCounters {
    /// Shared with requests that still wait under an earlier policy.
    mode: AtomicU8,
    pub(crate) checked: Counter,
    pub(crate) refused: Counter,
    pub(crate) shadow_refused: Counter,
    /// Requests that took slots. `returned`: requests that gave them back.
    pub(crate) acquired: Counter,
    pub(crate) returned: Counter,
    /// Whether the limit is a concurrency limit, or was one before a reload.
    pub(crate) had_slots: AtomicBool,
    /// Waits in the limit's lines that ended in a refusal.
    pub(crate) timeouts: AtomicU64,
    /// How often a reload replaced a limit state by one without keys.
    pub(crate) fresh_starts: AtomicU64,
    /// Counts of limit states that are gone.
    pub(crate) past: Arc<Past>,
    /// Limit states that a reload replaced or dropped. One stays alive as long as a permit or a
    /// waiter of an earlier policy exists.
    pub(super) replaced: Mutex<Vec<Weak<LimitState>>>,
}

impl LimitCounters {
    /// Visits the limit states that a reload replaced or dropped and that are still alive.
    pub(crate) fn each_replaced(&self, mut visit: impl FnMut(&LimitState)) {
        let replaced: Vec<_> = self.replaced.lock().iter().filter_map(Weak::upgrade).collect();
        replaced.iter().for_each(|state| visit(state));
    }

    #[inline]
    pub(crate) fn mode(&self) -> Mode {
        // Relaxed: each decision uses one mode, and no other data is published with it.
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
