//! The busiest windows of callers: how many units each takes within windows of several lengths.
//! The text form is in `command/output/suggestion.rs`.

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

/// The distribution over callers of the units in each caller's busiest window, wherever it begins.
/// A window is half-open: its units lie within less than its length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Window {
    /// The length of the windows.
    #[serde(rename = "length_s", serialize_with = "whole_seconds")]
    pub length: Duration,
    /// The units that half of the callers never exceed.
    pub p50: u64,
    /// The units that 90 % of the callers never exceed.
    pub p90: u64,
    /// The units that 99 % of the callers never exceed.
    pub p99: u64,
    /// The units that no caller exceeds.
    pub max: u64,
    /// The caller with the most units; if there are several, the first in the log.
    pub peak: String,
}

/// The windows of a fact's callers. Empty if there are no callers.
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

/// The most units that a caller takes within less than `length`.
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
