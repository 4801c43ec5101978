//! Deciding allocates nothing for keys that are there, whatever the answer.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tollgate::{Quota, RateLimiter, Timestamp, VirtualClock, all};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations, reallocations included, while `work` runs. The counts are of the whole process,
/// so this file has one test.
fn allocations(work: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    work();
    let change = region.change();
    change.allocations + change.reallocations
}

const KEYS: u64 = 1_000;

#[test]
fn deciding_on_a_key_that_is_there_allocates_nothing() {
    assert_ne!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 0, "it counts");

    let time = VirtualClock::starting_at(Timestamp::from_secs(1_700_000_000));
    let limiter = |quota| RateLimiter::builder(quota).clock(time.clock()).max_keys(4_096).build();
    let (roomy, tight) = (limiter(Quota::per_hour(1_000)), limiter(Quota::per_hour(1)));
    let texts: Vec<String> =
        (0..KEYS).map(|key| format!("org-7:/api/v1/items:POST:user:{key:010}")).collect();
    assert!(texts.iter().all(|text| text.len() == 40));
    let mut answers = Vec::with_capacity(texts.len());
    for limiter in [&roomy, &tight] {
        for (key, text) in (0..KEYS).zip(&texts) {
            assert!(limiter.check(&key).is_ok() && limiter.check(text.as_str()).is_ok());
        }
    }

    let allocated = allocations(|| {
        for (key, text) in (0..KEYS).zip(&texts) {
            let text = text.as_str();
            assert!(roomy.check(&key).is_ok() && roomy.check(text).is_ok());
            assert!(roomy.check_n(&key, 2).is_ok() && roomy.check_n(text, 2).is_ok());
            assert!(roomy.peek(&key).is_ok() && roomy.peek(text).is_ok());
            assert!(tight.check(&key).is_err() && tight.check(text).is_err());
            assert!(tight.check_n(&key, 2).is_err() && tight.check_n(text, 2).is_err());
            assert!(tight.peek(&key).is_err() && tight.peek(text).is_err());
            assert!(all((roomy.key(&key), roomy.key(text))).admit(1).is_ok());
            assert!(all((roomy.key(&key), roomy.key(text), tight.key(&key))).admit(1).is_err());
            if let Ok(reservation) = roomy.reserve(text, 3) {
                reservation.settle(1);
            }
        }
        roomy.check_many(&texts, &mut answers);
    });
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(allocated, 0);
}
