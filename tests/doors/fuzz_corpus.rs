//! Every fuzz target over its corpus, and over what is near it, without the tools of fuzzing.

#[cfg(feature = "http")]
#[path = "../../fuzz/targets/addresses.rs"]
mod addresses;
#[path = "../../fuzz/targets/against_oracle.rs"]
mod against_oracle;
#[cfg(feature = "http")]
#[path = "../../fuzz/targets/headers.rs"]
mod headers;
#[path = "../../fuzz/targets/over_corpus.rs"]
mod over_corpus;
#[cfg(feature = "policy")]
#[path = "../../fuzz/targets/policy_file.rs"]
mod policy_file;

#[cfg(feature = "policy")]
#[test]
fn policy_file() {
    over_corpus::replay("policy_file", policy_file::run);
}

#[test]
fn against_oracle() {
    over_corpus::replay("against_oracle", against_oracle::run);
}

#[cfg(feature = "http")]
#[test]
fn addresses() {
    over_corpus::replay("addresses", addresses::run);
}

#[cfg(feature = "http")]
#[test]
fn headers() {
    over_corpus::replay("headers", headers::run);
}
