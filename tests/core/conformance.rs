//! What every limiter is held to: timelines of other systems, and one table of moments and random
//! histories that each algorithm answers alike wherever its states are kept.

mod buckets;
mod histories;
mod in_records;
mod moments;
#[cfg(feature = "compat")]
mod sentry;
mod sets;
mod slots;

use serde_json::Value;

/// Timelines of the seven kinds of limiters of `compat`.
const SENTRY: &str = include_str!("data/sentry.json");

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no whole number"))
}
