//! Tests that must have a process to themselves: they count what the allocator gives, or set what a
//! process has once. Each is run in a process of its own, one at a time.

use std::alloc::System;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// The first line of a test: ends it here once it has passed in a process of its own.
macro_rules! alone {
    ($test:ident) => {
        if $crate::ran_elsewhere(concat!(module_path!(), "::", stringify!($test))) {
            return;
        }
    };
}

mod allocation;
#[cfg(all(feature = "metrics", feature = "policy", feature = "tokio", feature = "tower"))]
mod axum_example;
mod busiest_memory;
#[cfg(feature = "http")]
mod client_allocation;
#[cfg(feature = "tower")]
mod http_allocation;
#[cfg(all(feature = "tokio", feature = "tower"))]
mod http_soak;
#[cfg(feature = "tracing")]
mod logs;
#[cfg(all(feature = "metrics", feature = "tower"))]
mod readme_service;
#[cfg(feature = "simulation")]
mod simulation_memory;
mod waiting_cost;

/// Its counts are of the whole process.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Runs the named test of this binary in a process of its own, unless this is that process.
fn ran_elsewhere(test: &str) -> bool {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    const MARK: &str = "TOLLGATE_TEST_ALONE";

    if std::env::var_os(MARK).is_some() {
        harness_waits();
        return false;
    }
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, test) = test.split_once("::").unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(MARK, "");
    let ended = child.output().unwrap();
    drop(turn);
    let stdout = String::from_utf8_lossy(&ended.stdout);
    print!("{stdout}");
    eprint!("{}", String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success() && stdout.contains("1 passed"), "{test}: {}", ended.status);
    true
}

/// Returns when the main thread waits for the test: on its way there it allocates.
fn harness_waits() {
    let state = || {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    };
    // Only Linux reports it.
    while state().is_some_and(|state| state != 'S') {
        std::thread::yield_now();
    }
}
