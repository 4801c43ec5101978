//! The bytes that are allocated, counted.

use stats_alloc::INSTRUMENTED_SYSTEM;

/// Now, by the whole process, whose allocator it is: `bin/tollgate.rs`.
pub(crate) fn bytes() -> usize {
    let stats = INSTRUMENTED_SYSTEM.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}
