//! The times that requests waited, as a histogram.
//!
//! Compiled with the feature `metrics`; otherwise `no_waits` takes its place.

use std::time::Duration;

/// A request waited for `time` in the line of `limit`, and was then admitted, or not.
pub(crate) fn waited(limit: &'static str, time: Duration, admitted: bool) {
    let outcome = if admitted { "admitted" } else { "refused" };
    metrics::histogram!("tollgate_wait_seconds", "limit" => limit, "outcome" => outcome)
        .record(time.as_secs_f64());
}
