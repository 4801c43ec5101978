//! Rollout: which requests are in the share of a limit.
//!
//! A request is in a share of p percent iff its hash is below floor(p * 2^64 / 100): `fixed_hash`
//! of the limit's name, then of each value's length (8 bytes, little-endian) and bytes. So a share
//! is the same on all machines and after every restart, and raising it only adds requests.

use crate::policy::Share;

use super::facts::Facts;
use super::fixed_hash::{FNV_OFFSET, finish, fnv};
use super::key_facts::KeyFacts;

/// A limit's share, and the facts whose values choose.
pub(crate) struct CompiledRollout {
    pub(crate) share: Share,
    pub(crate) by: Box<[KeyFacts]>,
    /// The state of the hash after the limit's name.
    pub(crate) named: u64,
}

impl CompiledRollout {
    pub(crate) fn new(limit: &str, share: Share, by: Box<[KeyFacts]>) -> CompiledRollout {
        CompiledRollout { share, by, named: fnv(FNV_OFFSET, limit.as_bytes()) }
    }

    /// Whether the limit applies to this request. It does not if a fact that chooses is missing.
    pub(crate) fn includes(&self, facts: &Facts<'_>) -> bool {
        let mut hash = self.named;
        for part in &self.by {
            let Some((_, value)) = part.find(facts) else { return false };
            hash = with_value(hash, value);
        }
        self.share.includes(finish(hash))
    }
}

fn with_value(hash: u64, value: &[u8]) -> u64 {
    fnv(fnv(hash, &(value.len() as u64).to_le_bytes()), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(limit: &str, values: &[&str]) -> u64 {
        let named = fnv(FNV_OFFSET, limit.as_bytes());
        finish(values.iter().fold(named, |hash, value| with_value(hash, value.as_bytes())))
    }

    #[test]
    fn the_hash_is_fixed() {
        // Computed independently of this code, in Python, from the description above.
        assert_eq!(hash("user", &["42"]), VECTORS[0]);
        assert_eq!(hash("queries", &["7", "eu"]), VECTORS[1]);
        assert_eq!(hash("", &[]), VECTORS[2]);
    }

    const VECTORS: [u64; 3] = [0xcf09_19fa_ceea_0c62, 0xf2ff_e1e6_497b_da75, 0xefd0_1f60_ba99_2926];

    #[test]
    fn raising_the_share_only_adds_and_takes_as_many_as_it_says() {
        let included = |percent, org: u32| {
            Share::percent(percent).includes(hash("queries", &[&org.to_string()]))
        };
        for org in 0..1000 {
            assert!(!included(0, org) && included(100, org));
            assert!(!included(25, org) || included(50, org));
        }
        let quarter = (0..10_000).filter(|org| included(25, *org)).count();
        assert!((2_300..2_700).contains(&quarter), "{quarter}");
    }
}
