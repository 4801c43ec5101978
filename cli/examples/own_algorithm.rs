//! Compares an algorithm of your own with the others: `cargo run --package tollgate-cli --example
//! own_algorithm`.

use std::time::Duration;

use tollgate::algorithm::Algorithm;
use tollgate::{Allowed, Denied, Quota, RateLimiter, Retry, Timestamp};
use tollgate_cli::compare::{Comparison, Entry, algorithms};

/// After an allowed request, the key is denied until the time of that request's units has passed: a
/// burst is one request, however many units it asks for.
#[derive(Clone)]
struct Spaced(Quota);

impl Spaced {
    fn gap(&self, cost: u64) -> Duration {
        let nanos = self.0.period().as_nanos() * u128::from(cost);
        Duration::from_nanos(nanos.div_ceil(u128::from(self.0.count())) as u64)
    }
}

impl Algorithm for Spaced {
    /// When the next request is allowed.
    type State = Timestamp;

    fn quota(&self) -> Quota {
        self.0
    }

    fn set_quota(&mut self, quota: Quota) {
        self.0 = quota;
    }

    fn decide(&self, next: &Timestamp, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        let (count, wait) = (self.0.count(), next.since(now));
        let left = if wait.is_zero() { count } else { 0 };
        match cost {
            0 => Ok(Allowed::new(count, left, wait)),
            _ if cost > count => Err(Denied::new(count, left, wait, Retry::Never)),
            _ if wait.is_zero() => Ok(Allowed::new(count, 0, self.gap(cost))),
            _ => Err(Denied::new(count, 0, wait, Retry::After(wait))),
        }
    }

    fn charge(&self, next: &mut Timestamp, cost: u64, now: Timestamp) {
        if cost > 0 {
            *next = now + self.gap(cost);
        }
    }

    fn idle_at(&self, next: &Timestamp) -> Timestamp {
        *next
    }

    /// One request of the whole count, and what comes in the time after it.
    fn bound(&self, within: Duration) -> u64 {
        let count = u128::from(self.0.count());
        let more = within.as_nanos().saturating_mul(count) / self.0.period().as_nanos();
        u64::try_from(count.saturating_add(more)).unwrap_or(u64::MAX)
    }
}

fn main() {
    // It limits as any other algorithm does …
    let limiter = RateLimiter::with_algorithm(Spaced(Quota::per_minute(100)));
    assert!(limiter.check("user:42").is_ok() && limiter.check("user:42").is_err());

    // … and is in the same table.
    let mut entries = algorithms();
    entries.push(Entry::new("spaced", Spaced));
    let report = Comparison::new(Quota::per_minute(100), 1).run(&entries);
    println!("{:16} {:>14} {:>14}", "", "worst excess", "wrongly denied");
    for contender in &report.contenders {
        let scores = report.scenarios.iter().filter(|scenario| scenario.count == report.count);
        let scores: Vec<_> = scores.flat_map(|scenario| &scenario.scores).collect();
        let scores = || scores.iter().filter(|score| score.contender == contender.name);
        let excess = scores().map(|score| score.excess).max().unwrap_or(0);
        let wrongful: u64 = scores().map(|score| score.wrongful).sum();
        println!("{:16} {excess:>14} {wrongful:>14}", contender.name);
    }
}
