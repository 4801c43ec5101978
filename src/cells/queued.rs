//! Which keys callers wait in line for, and for how many units.
//!
//! The lines themselves are in `rate_limiter/lines.rs` and `queue/`. Decisions only need to know
//! that callers outside a line come after its waiters.

use std::collections::HashMap;

use crate::sync::{AtomicU64, CachePadded, Mutex, Ordering, fence};

#[derive(Default)]
pub(crate) struct Queued {
    /// One bit for each group of keys (by the top six bits of the key hash): whether callers wait
    /// for a key of the group. A line for one key thus slows few others.
    groups: CachePadded<AtomicU64>,
    waited: Mutex<WaitedUnits>,
}

struct WaitedUnits {
    units: HashMap<u64, u64>,
    /// How many keys of each group are in `units`.
    keys: [u32; 64],
}

impl Default for WaitedUnits {
    fn default() -> Self {
        WaitedUnits { units: HashMap::new(), keys: [0; 64] }
    }
}

fn group(tag: u64) -> usize {
    (tag >> 58) as usize
}

impl Queued {
    /// Whether callers wait for any key.
    pub(crate) fn any(&self) -> bool {
        // Relaxed: as in `may_be`.
        self.groups.load(Ordering::Relaxed) != 0
    }

    /// Whether callers may wait for the key.
    #[inline(always)]
    pub(crate) fn may_be(&self, tag: u64) -> bool {
        // Relaxed: a waiter that began to wait before this call happened before it, so its bit is
        // seen. If the two are concurrent, either order is correct.
        self.groups.load(Ordering::Relaxed) & 1 << group(tag) != 0
    }

    /// How many units callers wait for in the line of `tag`.
    pub(crate) fn ahead(&self, tag: u64) -> u64 {
        if self.may_be(tag) { self.waited.lock().units.get(&tag).copied().unwrap_or(0) } else { 0 }
    }

    /// Sets how many units callers wait for in the line of `tag`, and tells `mark`, under the lock,
    /// whether callers wait for any key.
    pub(crate) fn set(&self, tag: u64, units: u64, mark: impl FnOnce(bool)) {
        let mut waited = self.waited.lock();
        let waited = &mut *waited;
        let before =
            if units == 0 { waited.units.remove(&tag) } else { waited.units.insert(tag, units) };
        let keys = &mut waited.keys[group(tag)];
        match (before, units) {
            (None, 0) | (Some(_), 1..) => return,
            (None, 1..) => *keys += 1,
            (Some(_), 0) => *keys -= 1,
        }
        let bit = 1 << group(tag);
        let others = self.groups.load(Ordering::Relaxed) & !bit;
        // Relaxed: as in `may_be`. The fence below pairs with `news` in `rate_limiter/lines.rs`:
        // either the thread that changed a key sees this store, or the waiter, which looks at the
        // key afterwards, sees the change.
        let groups = if *keys > 0 { others | bit } else { others };
        self.groups.store(groups, Ordering::Relaxed);
        mark(groups != 0);
        fence(Ordering::SeqCst);
    }
}
