//! Tests that need no feature but a clock, an executor or a stream to wait with: rates, slots,
//! sets, lines, policies. Each module is one subject; `--test core queue::` runs one.

mod admission;
mod admission_model;
mod admission_threads;
mod algorithms;
mod answers;
mod architecture;
mod bound;
mod busiest;
#[cfg(feature = "compat")]
mod compat;
mod conformance;
mod differential;
#[cfg(feature = "compat")]
mod distinct;
mod enforcer;
mod extremes;
mod far_stamps;
mod flood;
mod forgetting;
mod leases;
mod moments;
mod named_cases;
mod oracle;
mod pacer;
mod pages;
mod paths;
mod peer_bugs;
mod public;
mod queue;
mod records;
mod replaced;
mod sets;
mod settling;
mod slots;
mod stepped;
mod threads;
#[cfg(feature = "tokio")]
mod turned_away;
#[cfg(feature = "tokio")]
mod unserved;
mod waits;
mod wakers;
