//! Maps whose keys are tags: hashes already, and so their own.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub(crate) type TagMap<T> = HashMap<u64, T, BuildHasherDefault<Tagged>>;

/// How many shards a map is in, so that callers seldom meet on one lock. A power of two.
#[cfg(not(tollgate_loom))]
pub(crate) const SHARDS: usize = 64;
#[cfg(tollgate_loom)]
pub(crate) const SHARDS: usize = 2;

/// The shard of a tag: by bits of the middle, since the map in the shard uses the lowest and the
/// highest.
pub(crate) fn shard(tag: u64) -> usize {
    (tag >> 32) as usize % SHARDS
}

#[derive(Default)]
pub(crate) struct Tagged(u64);

impl Hasher for Tagged {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, tag: u64) {
        self.0 = tag;
    }
}
