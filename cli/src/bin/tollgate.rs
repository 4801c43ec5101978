//! The command `tollgate`.

use std::process::ExitCode;

/// Counts bytes, for `compare`.
#[cfg(feature = "peers")]
#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    tollgate_cli::main()
}
