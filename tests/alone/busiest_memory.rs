//! What the busiest keys cost.

use stats_alloc::Region;
use tollgate::Busiest;

use crate::ALLOCATOR;

/// One more than a power of two, so that tables have the most spare capacity.
const KEYS: usize = 1_025;
const BYTES_A_KEY: usize = 550;

#[test]
fn a_flood_of_fresh_keys_costs_what_the_kept_ones_cost() {
    alone!(a_flood_of_fresh_keys_costs_what_the_kept_ones_cost);
    let texts: Vec<String> = (0..50_000).map(|n| format!("{n:0>300}")).collect();
    let others: Vec<String> = (0..50_000).map(|n| format!("{n:x<300}")).collect();
    let region = Region::new(ALLOCATOR);
    let busiest = Busiest::new(KEYS);
    for text in &others {
        busiest.count("user", text);
    }
    let bytes = || region.change().bytes_allocated - region.change().bytes_deallocated;
    let full = bytes();
    assert!(full < KEYS * BYTES_A_KEY, "{} bytes a key", full / KEYS);
    texts.iter().for_each(|text| busiest.count("user", text));
    assert!(bytes() < KEYS * BYTES_A_KEY, "{} bytes a key", bytes() / KEYS);

    let there = busiest.top("user");
    let before = region.change().allocations + region.change().reallocations;
    for _ in 0..3 {
        there.iter().for_each(|busy| busiest.count("user", &busy.key));
    }
    let after = region.change().allocations + region.change().reallocations;
    assert_eq!(after, before, "a key that is there allocates");
}
