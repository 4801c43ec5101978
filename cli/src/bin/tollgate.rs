//! The binary `tollgate`: runs [`tollgate_cli::main`] under a global allocator that counts bytes.

use std::process::ExitCode;

/// Counts allocated bytes, so that `tollgate compare` can measure memory.
#[cfg(feature = "peers")]
#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    tollgate_cli::main()
}
