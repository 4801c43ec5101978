//! Counts the bytes that are allocated.

use stats_alloc::INSTRUMENTED_SYSTEM;

/// The bytes allocated now by the whole process; its global allocator is in `bin/tollgate.rs`.
pub(crate) fn bytes() -> usize {
    let stats = INSTRUMENTED_SYSTEM.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}
