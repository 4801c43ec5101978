//! The numbers of a simulation, for reports and programs. They are computed from `record`.

use serde::{Serialize, Serializer};
use tollgate::Timestamp;

use super::record::{Counts, Record};
use super::scenario::Scenario;

/// Both runs of a scenario, as [`Scenario::run`] returns them. Serialized it is the output of
/// `tollgate simulate --json`.
#[derive(Serialize)]
pub struct Report {
    pub(crate) scenario: String,
    pub(crate) seed: u64,
    pub(crate) duration_s: f64,
    pub(crate) backend_limit: Option<u64>,
    /// The width of a step of the time lines.
    pub(crate) step_s: f64,
    pub(crate) without: Summary,
    pub(crate) with: Summary,
}

/// One run. Times are in seconds.
#[derive(Serialize)]
pub(crate) struct Summary {
    #[serde(flatten)]
    pub(crate) counts: Totals,
    pub(crate) peak_in_flight: u64,
    pub(crate) peak_waiting: u64,
    /// How long the admitted requests waited.
    pub(crate) wait_s: Waits,
    /// When the last request was done.
    pub(crate) ended_s: f64,
    pub(crate) limits: Named<AtLimit>,
    pub(crate) clients: Named<Totals>,
    pub(crate) phases: Vec<Phase>,
    pub(crate) timeline: Timeline,
}

/// Requests by outcome.
#[derive(Clone, Serialize)]
pub(crate) struct Totals {
    pub(crate) requests: u64,
    pub(crate) admitted: u64,
    pub(crate) refused: u64,
    pub(crate) timed_out: u64,
    pub(crate) gave_up: u64,
    /// Not admitted, for any of these reasons.
    pub(crate) skipped: u64,
    pub(crate) skipped_share: f64,
    pub(crate) crashed: u64,
    pub(crate) backend_errors: u64,
}

/// Percentiles by nearest rank; `None` if no request was admitted.
#[derive(Serialize)]
pub(crate) struct Waits {
    pub(crate) p50: Option<f64>,
    pub(crate) p95: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) max: Option<f64>,
}

#[derive(Serialize)]
pub(crate) struct AtLimit {
    pub(crate) refused: u64,
    pub(crate) timed_out: u64,
}

/// The time from one change to the next. A request is counted in the phase of its arrival.
#[derive(Serialize)]
pub(crate) struct Phase {
    pub(crate) from_s: f64,
    pub(crate) to_s: f64,
    /// What had changed.
    pub(crate) change: String,
    #[serde(flatten)]
    pub(crate) counts: Totals,
    pub(crate) peak_in_flight: u64,
    pub(crate) peak_waiting: u64,
}

/// Per step: peaks of levels, counts of events, and slots in use at the end of the step.
#[derive(Serialize)]
pub(crate) struct Timeline {
    pub(crate) in_flight: Vec<u64>,
    pub(crate) waiting: Vec<u64>,
    pub(crate) skipped: Vec<u64>,
    pub(crate) backend_errors: Vec<u64>,
    pub(crate) in_use: Named<Vec<u64>>,
}

/// Values by name, in their order.
pub(crate) struct Named<T>(pub(crate) Vec<(String, T)>);

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Summary {
    pub(crate) fn of(scenario: &Scenario, mut record: Record) -> Summary {
        record.close();
        let steps = record.steps.count;
        let phase = |(index, (span, stage)): (usize, (&std::ops::Range<Timestamp>, &_))| {
            let stage: &super::scenario::Stage = stage;
            let peak = |level: &super::record::Level| {
                level.by_phase.first(index + 1).last().copied().unwrap_or(0)
            };
            Phase {
                from_s: seconds(span.start),
                to_s: seconds(span.end),
                change: stage.what.clone(),
                counts: Totals::of(record.by_phase.get(index).unwrap_or(&Counts::default())),
                peak_in_flight: peak(&record.in_flight),
                peak_waiting: peak(&record.waiting),
            }
        };
        let phases = record.phases.iter().zip(&scenario.stages).enumerate().map(phase).collect();
        let groups = scenario.clients.iter().zip(&record.by_group);
        let clients = groups.map(|(group, counts)| (group.name.clone(), Totals::of(counts)));
        let waits = &record.waits;
        Summary {
            counts: Totals::of(&record.total),
            peak_in_flight: record.in_flight.peak,
            peak_waiting: record.waiting.peak,
            wait_s: Waits {
                p50: percentile(waits, 50).map(nanos_to_seconds),
                p95: percentile(waits, 95).map(nanos_to_seconds),
                p99: percentile(waits, 99).map(nanos_to_seconds),
                max: waits.last().copied().map(nanos_to_seconds),
            },
            ended_s: seconds(record.ended),
            clients: Named(clients.collect()),
            phases,
            timeline: Timeline {
                in_flight: record.in_flight.by_step.first(steps).to_vec(),
                waiting: record.waiting.by_step.first(steps).to_vec(),
                skipped: record.skipped,
                backend_errors: record.backend_errors,
                in_use: Named(
                    record
                        .limits
                        .iter()
                        .filter(|(_, limit)| !limit.in_use.is_empty())
                        .map(|(name, limit)| (name.clone(), limit.in_use.clone()))
                        .collect(),
                ),
            },
            limits: Named(
                record
                    .limits
                    .into_iter()
                    .map(|(name, limit)| {
                        let (refused, timed_out) = (limit.refused, limit.timed_out);
                        (name, AtLimit { refused, timed_out })
                    })
                    .collect(),
            ),
        }
    }
}

impl Totals {
    fn of(counts: &Counts) -> Totals {
        let skipped = counts.refused + counts.timed_out + counts.gave_up;
        Totals {
            requests: counts.requests,
            admitted: counts.admitted,
            refused: counts.refused,
            timed_out: counts.timed_out,
            gave_up: counts.gave_up,
            skipped,
            skipped_share: skipped as f64 / counts.requests.max(1) as f64,
            crashed: counts.crashed,
            backend_errors: counts.backend_errors,
        }
    }
}

/// The smallest of the sorted values that at least `percent` of them do not exceed.
fn percentile(sorted: &[u64], percent: u64) -> Option<u64> {
    let rank = (sorted.len() as u64 * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)? as usize).copied()
}

pub(crate) fn seconds(at: Timestamp) -> f64 {
    nanos_to_seconds(at.as_nanos())
}

fn nanos_to_seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_what_a_naive_search_finds() {
        let naive = |values: &[u64], percent: u64| {
            let mut best = None;
            for candidate in values {
                let below = values.iter().filter(|value| *value <= candidate).count() as u64;
                if below * 100 >= percent * values.len() as u64 {
                    best = Some(best.map_or(*candidate, |best: u64| best.min(*candidate)));
                }
            }
            best
        };
        for length in 0..130_u64 {
            // Values with ties, in a scrambled order.
            let values: Vec<u64> = (0..length).map(|i| i * 7919 % 101 / 2).collect();
            let mut sorted = values.clone();
            sorted.sort_unstable();
            for percent in [1, 50, 95, 99, 100] {
                assert_eq!(percentile(&sorted, percent), naive(&values, percent), "{length}");
            }
        }
        assert_eq!(percentile(&[1, 2, 3, 4], 50), Some(2));
    }
}
