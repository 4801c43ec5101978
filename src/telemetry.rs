//! What is told as it happens: to logs (feature `tracing`), and how long waits took to a metrics
//! recorder (feature `metrics`). Without the features nothing is told, at no cost.
//!
//! Whoever listens is foreign code: nothing here is called under a lock or a hold. Numbers that
//! only grow are not told here; they are read when somebody asks.

#[cfg_attr(feature = "tracing", path = "telemetry/logs.rs")]
#[cfg_attr(not(feature = "tracing"), path = "telemetry/no_logs.rs")]
mod logs;
#[cfg_attr(feature = "metrics", path = "telemetry/waits.rs")]
#[cfg_attr(not(feature = "metrics"), path = "telemetry/no_waits.rs")]
mod waits;

pub(crate) use logs::*;
pub(crate) use waits::*;

/// Whether the `nth` of many is told: of the first ones fewer and fewer, then each 1,024th.
#[cfg_attr(not(feature = "tracing"), allow(dead_code))]
fn is_sampled(nth: u64) -> bool {
    nth.is_power_of_two() || nth % 1024 == 0
}

#[cfg(test)]
mod tests {
    use super::is_sampled;

    #[test]
    fn the_first_is_told_and_then_ever_fewer() {
        let told: Vec<u64> = (1..=4096).filter(|nth| is_sampled(*nth)).collect();
        assert_eq!(told, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3072, 4096]);
    }
}
