//! How many units callers use in their busiest windows.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::grouped::Grouped;

/// The lengths of the windows.
pub const WINDOWS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(3600),
];

/// The units that each caller uses in its busiest window of this length (half-open, beginning
/// anywhere), as percentiles over all callers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Window {
    /// The length.
    #[serde(rename = "length_s", serialize_with = "whole_seconds")]
    pub length: Duration,
    /// Half of the callers never use more.
    pub p50: u64,
    /// Nine of ten never use more.
    pub p90: u64,
    /// 99 of 100 never use more.
    pub p99: u64,
    /// No caller ever uses more.
    pub max: u64,
    /// The caller that uses the most; among equals the one that came first.
    pub peak: String,
}

/// The windows of a fact's callers, if there are any callers.
pub(super) fn of(grouped: &Grouped<'_>) -> Vec<Window> {
    let names = grouped.column.names();
    let window = |length: Duration| {
        let busiest: Vec<u64> =
            (0..grouped.callers()).map(|caller| busiest(grouped, caller, length)).collect();
        let max = busiest.iter().copied().max()?;
        let peak = busiest.iter().position(|units| *units == max)?;
        let mut sorted = busiest;
        sorted.sort_unstable();
        let rank = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100);
            sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        };
        let (p50, p90, p99) = (rank(50), rank(90), rank(99));
        Some(Window { length, p50, p90, p99, max, peak: names.get(peak)?.to_string() })
    };
    WINDOWS.into_iter().filter_map(window).collect()
}

/// The most units that a caller uses within less than `length`.
fn busiest(grouped: &Grouped<'_>, caller: usize, length: Duration) -> u64 {
    let (mut most, mut sum) = (0_u64, 0_u128);
    let mut inside = grouped.of(caller);
    for (at, cost) in grouped.of(caller) {
        sum += u128::from(cost);
        let mut rest = inside.clone();
        while let Some((_, left)) = rest.next().filter(|(left, _)| at.since(*left) >= length) {
            sum -= u128::from(left);
            inside = rest.clone();
        }
        most = most.max(u64::try_from(sum).unwrap_or(u64::MAX));
    }
    most
}

fn whole_seconds<S: Serializer>(length: &Duration, to: S) -> Result<S::Ok, S::Error> {
    length.as_secs().serialize(to)
}
