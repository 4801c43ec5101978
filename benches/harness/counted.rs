//! A counting global allocator, for benches that measure memory. It slows down every allocation.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
pub(crate) static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes that are allocated now.
pub(crate) fn kept_bytes(since: &Region<'_, System>) -> f64 {
    let change = since.change();
    change.bytes_allocated as f64 - change.bytes_deallocated as f64
}
