//! Keys that callers wait in line for, and how many units they wait for.
//!
//! The lines are somebody else's: here it is only known that whoever does not wait comes after
//! them.

use std::collections::HashMap;

use crate::sync::{AtomicU64, CachePadded, Mutex, Ordering, fence};

#[derive(Default)]
pub(crate) struct Queued {
    /// For each group of keys, by the six bits that their tags begin with, whether one is waited
    /// for: so that a line before one key slows few others.
    groups: CachePadded<AtomicU64>,
    waited: Mutex<WaitedUnits>,
}

struct WaitedUnits {
    units: HashMap<u64, u64>,
    /// Keys in `units`, by group.
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
    /// Whether any key is waited for.
    pub(crate) fn any(&self) -> bool {
        // Relaxed: as in `may_be`.
        self.groups.load(Ordering::Relaxed) != 0
    }

    /// Whether the key may be waited for.
    #[inline(always)]
    pub(crate) fn may_be(&self, tag: u64) -> bool {
        // Relaxed: whoever began to wait before this call did so before it for the caller too, and
        // against one who begins meanwhile either order is right.
        self.groups.load(Ordering::Relaxed) & 1 << group(tag) != 0
    }

    /// Units that are waited for of `tag`.
    pub(crate) fn ahead(&self, tag: u64) -> u64 {
        if self.may_be(tag) { self.waited.lock().units.get(&tag).copied().unwrap_or(0) } else { 0 }
    }

    /// Notes how many units are waited for of `tag`, and says to `mark`, under the lock, whether any
    /// are of any key.
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
        // Relaxed: as in `may_be`. The fence: whoever brings news and does not see this is seen by
        // whoever looks at the key after it.
        let groups = if *keys > 0 { others | bit } else { others };
        self.groups.store(groups, Ordering::Relaxed);
        mark(groups != 0);
        fence(Ordering::SeqCst);
    }
}
