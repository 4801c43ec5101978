//! Tests of what is built around the core, each behind its feature: files, HTTP, metrics,
//! simulation.

mod access_log;
#[cfg(feature = "http")]
mod client_address;
#[cfg(feature = "policy")]
mod example_policy;
mod fuzz_corpus;
#[cfg(feature = "http")]
mod http_headers;
#[cfg(all(feature = "tokio", feature = "tower"))]
mod http_layer;
#[cfg(all(feature = "metrics", feature = "tokio"))]
mod metrics;
#[cfg(feature = "policy")]
mod policy_file;
#[cfg(feature = "policy")]
mod policy_page;
#[cfg(feature = "simulation")]
mod simulation;
#[cfg(feature = "watch")]
mod watch;
