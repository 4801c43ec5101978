//! Keys that callers wait in line for, and how many units they wait for.
//!
//! The lines are somebody else's: here it is only known that whoever does not wait comes after
//! them.

use std::collections::HashMap;

use crate::sync::{AtomicU64, Mutex, Ordering, fence};

#[derive(Default)]
pub(super) struct Queued {
    /// How many keys.
    keys: AtomicU64,
    units: Mutex<HashMap<u64, u64>>,
}

impl Queued {
    /// Whether any key is waited for.
    #[inline(always)]
    pub(super) fn any(&self) -> bool {
        // Relaxed: whoever began to wait before this call did so before it for the caller too, and
        // against one who begins meanwhile either order is right.
        self.keys.load(Ordering::Relaxed) > 0
    }

    /// Units that are waited for of `tag`.
    pub(super) fn ahead(&self, tag: u64) -> u64 {
        if self.any() { self.units.lock().get(&tag).copied().unwrap_or(0) } else { 0 }
    }

    pub(super) fn set(&self, tag: u64, units: u64) {
        let mut of = self.units.lock();
        if units == 0 {
            of.remove(&tag);
        } else {
            of.insert(tag, units);
        }
        // Relaxed: as in `any`. The fence: whoever brings news and does not see this is seen by
        // whoever looks at the key after it.
        self.keys.store(of.len() as u64, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
}
