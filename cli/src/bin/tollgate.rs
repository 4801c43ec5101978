//! The command `tollgate`. This file only sets the allocator and calls `tollgate_cli::main`;
//! the command itself is in `command.rs`.

use std::process::ExitCode;

/// `compare` measures memory by the byte counts of this allocator.
#[cfg(feature = "peers")]
#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    tollgate_cli::main()
}
