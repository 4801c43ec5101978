//! A quota for each user, on virtual time: `cargo run --example quickstart`.

use std::time::Duration;

use tollgate::{Quota, RateLimiter, Retry, VirtualClock};

fn main() {
    // Two a second, and up to five at once. On `Clock::monotonic`, the default, time passes by
    // itself; this example moves a virtual clock, so that it prints the same every time.
    let time = VirtualClock::new();
    let limiter = RateLimiter::builder(Quota::per_second(2).burst(5)).clock(time.clock()).build();

    for request in 1..=7 {
        match limiter.check("user:42") {
            Ok(allowed) => println!("request {request}: go, {} more", allowed.remaining()),
            Err(denied) => println!("request {request}: {}", denied.retry()),
        }
    }

    // A wait is exact: a nanosecond earlier the unit is not there yet.
    let Err(denied) = limiter.check("user:42") else { return };
    if let Retry::After(wait) = denied.retry() {
        time.advance(wait - Duration::from_nanos(1));
        println!("a nanosecond before: {}", said(limiter.check("user:42").is_ok()));
        time.advance(Duration::from_nanos(1));
        println!("at {wait:?}: {}", said(limiter.check("user:42").is_ok()));
    }

    // If the cost is known only after the work: charge an estimate, then settle.
    if let Ok(reservation) = limiter.reserve("user:7", 5) {
        reservation.settle(1);
    }
    if let Ok(allowed) = limiter.peek_n("user:7", 0) {
        println!("user:7 has {} of {} left", allowed.remaining(), allowed.burst());
    }
}

fn said(allowed: bool) -> &'static str {
    if allowed { "go" } else { "wait" }
}
