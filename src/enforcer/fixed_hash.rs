//! A hash that is the same on every machine and after every restart: 64-bit FNV-1a, then the
//! finalizer of MurmurHash3, since the high bits of FNV differ little between similar texts. Keys
//! are hashed by the enforcer's own hasher instead.

pub(super) const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

pub(super) fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

pub(super) fn finish(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

/// The stable identity of a text. Stands for the name of a fact in keys.
pub(super) fn identity(text: &str) -> u64 {
    finish(fnv(FNV_OFFSET, text.as_bytes()))
}
