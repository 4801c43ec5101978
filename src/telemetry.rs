//! Events as they happen: log events (feature `tracing`), and the times of waits for a metrics
//! recorder (feature `metrics`). Without the features, these functions do nothing, at no cost.
//!
//! Subscribers and recorders are foreign code, so no function here is called under a lock or a
//! hold. Counters are not here: `metrics` reads them on request.

#[cfg_attr(feature = "tracing", path = "telemetry/logs.rs")]
#[cfg_attr(not(feature = "tracing"), path = "telemetry/no_logs.rs")]
mod logs;
#[cfg_attr(feature = "metrics", path = "telemetry/waits.rs")]
#[cfg_attr(not(feature = "metrics"), path = "telemetry/no_waits.rs")]
mod waits;

pub(crate) use logs::*;
pub(crate) use waits::*;

/// Whether to log the `nth` of many events: at powers of two, and each 1,024th.
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
