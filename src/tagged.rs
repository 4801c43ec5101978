//! [`TagMap`], a map by key hash (`tag` in the code), and the shard of a key hash. The map uses a
//! key hash as its own hash.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub(crate) type TagMap<T> = HashMap<u64, T, BuildHasherDefault<Tagged>>;

/// The number of shards of a map, so that callers seldom contend for one lock. A power of two.
#[cfg(not(tollgate_loom))]
pub(crate) const SHARDS: usize = 64;
#[cfg(tollgate_loom)]
pub(crate) const SHARDS: usize = 2;

/// The shard of a key hash, from its middle bits, since the map in the shard uses the lowest and
/// the highest bits.
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
