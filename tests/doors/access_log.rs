//! The example log is what its generator writes.

// Its `main` is of no use here.
#[allow(dead_code)]
#[path = "../../examples/generate_access_log.rs"]
mod generator;

#[test]
fn the_example_log_is_what_its_generator_writes() {
    let committed = include_str!("../../examples/access.log");
    assert!(
        committed == generator::access_log(),
        "run: cargo run --example generate_access_log > examples/access.log"
    );
}
