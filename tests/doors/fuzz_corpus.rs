//! Every fuzz target over its corpus, and over what is near it, without the tools of fuzzing.

use std::path::Path;

#[cfg(feature = "http")]
#[path = "../../fuzz/targets/addresses.rs"]
mod addresses;
#[path = "../../fuzz/targets/against_oracle.rs"]
mod against_oracle;
#[cfg(feature = "http")]
#[path = "../../fuzz/targets/headers.rs"]
mod headers;
#[cfg(feature = "replay")]
#[path = "../../fuzz/targets/log_line.rs"]
mod log_line;
#[cfg(feature = "policy")]
#[path = "../../fuzz/targets/policy_file.rs"]
mod policy_file;

/// Runs `target` over each file of its corpus, cut short at some places, and with bytes changed.
fn replay(name: &str, target: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let files = std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{corpus:?}: {error}"));
    let mut seeds = 0;
    for file in files {
        let mut data = std::fs::read(file.unwrap().path()).unwrap();
        seeds += 1;
        target(&data);
        for nth in 0..data.len().min(64) {
            let at = nth * data.len() / data.len().min(64);
            target(&data[..at]);
            let kept = data[at];
            data[at] = kept.wrapping_mul(31).wrapping_add(nth as u8 | 1);
            target(&data);
            data[at] = kept;
        }
    }
    assert!(seeds >= 5, "{name} has {seeds} seeds");
}

#[cfg(feature = "policy")]
#[test]
fn policy_file() {
    replay("policy_file", policy_file::run);
}

#[test]
fn against_oracle() {
    replay("against_oracle", against_oracle::run);
}

#[cfg(feature = "replay")]
#[test]
fn log_line() {
    replay("log_line", log_line::run);
}

#[cfg(feature = "http")]
#[test]
fn addresses() {
    replay("addresses", addresses::run);
}

#[cfg(feature = "http")]
#[test]
fn headers() {
    replay("headers", headers::run);
}
