//! The number of bytes allocated by the process, for the memory column of a comparison.
//! The allocator that counts them is set in `bin/tollgate.rs`.

use stats_alloc::INSTRUMENTED_SYSTEM;

/// The bytes allocated now. The count covers the whole process, whose allocator `bin/tollgate.rs`
/// sets.
pub(crate) fn bytes() -> usize {
    let stats = INSTRUMENTED_SYSTEM.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}
