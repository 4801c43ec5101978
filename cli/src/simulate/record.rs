//! The record of one run, written while the run goes on. `summary` makes the published numbers of
//! it.

use std::ops::Range;
use std::time::Duration;

use tollgate::Timestamp;

use super::scenario::Scenario;

/// A chart in text has at most this many columns, of `STEPS_A_COLUMN` steps of the time line each.
const COLUMNS: u64 = 60;
pub(crate) const STEPS_A_COLUMN: usize = 5;

/// Why a request was not admitted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Turned {
    /// This limit refused it without letting it wait.
    Refused(String),
    /// It waited for this limit until the limit's `wait` was over.
    TimedOut(String),
    /// Its client lost patience.
    GaveUp,
}

/// Requests by outcome.
#[derive(Clone, Default)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) admitted: u64,
    pub(crate) refused: u64,
    pub(crate) timed_out: u64,
    pub(crate) gave_up: u64,
    pub(crate) crashed: u64,
    pub(crate) backend_errors: u64,
}

/// Counts of one limit.
#[derive(Clone, Default)]
pub(crate) struct AtLimit {
    pub(crate) refused: u64,
    pub(crate) timed_out: u64,
    /// Slots in use at the end of each step.
    pub(crate) in_use: Vec<u64>,
}

/// The steps of the time line, which ends when clients no longer arrive.
#[derive(Clone, Copy)]
pub(crate) struct Steps {
    pub(crate) width: Duration,
    pub(crate) count: usize,
}

/// The record of one run.
pub(crate) struct Record {
    pub(crate) steps: Steps,
    pub(crate) phases: Vec<Range<Timestamp>>,
    pub(crate) backend_limit: Option<u64>,
    pub(crate) total: Counts,
    pub(crate) by_group: Vec<Counts>,
    pub(crate) by_phase: Vec<Counts>,
    pub(crate) limits: Vec<(String, AtLimit)>,
    /// How long each admitted request waited, in nanoseconds.
    pub(crate) waits: Vec<u64>,
    pub(crate) in_flight: Level,
    pub(crate) waiting: Level,
    pub(crate) skipped: Vec<u64>,
    pub(crate) backend_errors: Vec<u64>,
    /// When the last request was done.
    pub(crate) ended: Timestamp,
}

/// A number that goes up and down, with its peak: overall, in each step, in each phase.
#[derive(Default)]
pub(crate) struct Level {
    now: u64,
    pub(crate) peak: u64,
    pub(crate) by_step: Peaks,
    pub(crate) by_phase: Peaks,
}

/// The peak in each of consecutive spans of time.
#[derive(Default)]
pub(crate) struct Peaks {
    last: u64,
    peaks: Vec<u64>,
}

impl Steps {
    pub(crate) fn over(duration: Duration) -> Steps {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let column = round_widths().find(|width| nanos.div_ceil(*width) <= COLUMNS);
        let width = (column.unwrap_or(nanos) / STEPS_A_COLUMN as u64).max(1);
        Steps { width: Duration::from_nanos(width), count: nanos.div_ceil(width) as usize }
    }

    /// The index of the step at this moment. All time after the time line is one more step, since a
    /// request may last any multiple of the time line.
    fn at(self, at: Timestamp) -> usize {
        let width = u64::try_from(self.width.as_nanos()).unwrap_or(u64::MAX);
        usize::try_from(at.as_nanos() / width).map_or(self.count, |step| step.min(self.count))
    }

    /// When this step ends.
    pub(crate) fn end(self, step: usize) -> Timestamp {
        let nanos = self.width.as_nanos().saturating_mul(step as u128 + 1);
        Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Widths that make round numbers on an axis, in nanoseconds, ascending.
fn round_widths() -> impl Iterator<Item = u64> {
    const SECOND: u64 = 1_000_000_000;
    const DAY: u64 = 86_400 * SECOND;
    let decades = |unit: u64, most: u32| {
        (0..most).flat_map(move |power| [1, 2, 5].map(|n| n * unit * 10_u64.pow(power)))
    };
    let sixtieths = |unit: u64| [1, 2, 5, 10, 15, 20, 30].map(|n| n * unit);
    decades(1, 9)
        .chain(sixtieths(SECOND))
        .chain(sixtieths(60 * SECOND))
        .chain([1, 2, 3, 6, 12].map(|n| n * 3600 * SECOND))
        .chain(decades(DAY, 5))
}

impl Record {
    pub(crate) fn of(scenario: &Scenario) -> Record {
        let steps = Steps::over(scenario.duration);
        let phases = scenario.spans();
        let names = scenario.stages.first().into_iter().flat_map(|stage| stage.policy.limits());
        let limits = names.map(|limit| (limit.name().to_owned(), AtLimit::default()));
        Record {
            steps,
            backend_limit: scenario.backend_limit,
            total: Counts::default(),
            by_group: vec![Counts::default(); scenario.clients.len()],
            by_phase: vec![Counts::default(); phases.len()],
            limits: limits.collect(),
            waits: Vec::new(),
            in_flight: Level::default(),
            waiting: Level::default(),
            skipped: vec![0; steps.count],
            backend_errors: vec![0; steps.count],
            ended: Timestamp::ZERO,
            phases,
        }
    }

    /// A request of this group arrives. All later counts of it go to the phase of its arrival.
    pub(crate) fn arrives(&mut self, group: u32, at: Timestamp) {
        self.count(group, at, |counts| counts.requests += 1);
    }

    /// The number of requests that wait goes up by one or down by one.
    pub(crate) fn waits(&mut self, more: bool, now: Timestamp) {
        let level = if more { self.waiting.now + 1 } else { self.waiting.now.saturating_sub(1) };
        self.waiting.set(level, self.steps.at(now), phase(&self.phases, now));
    }

    pub(crate) fn admitted(&mut self, group: u32, arrived: Timestamp, now: Timestamp) {
        self.count(group, arrived, |counts| counts.admitted += 1);
        self.waits.push(now.as_nanos().saturating_sub(arrived.as_nanos()));
    }

    pub(crate) fn turned(&mut self, group: u32, arrived: Timestamp, now: Timestamp, why: &Turned) {
        self.count(group, arrived, |counts| match why {
            Turned::Refused(_) => counts.refused += 1,
            Turned::TimedOut(_) => counts.timed_out += 1,
            Turned::GaveUp => counts.gave_up += 1,
        });
        match why {
            Turned::Refused(limit) => self.limit(limit).refused += 1,
            Turned::TimedOut(limit) => self.limit(limit).timed_out += 1,
            Turned::GaveUp => {}
        }
        let step = self.steps.at(now);
        self.skipped.get_mut(step).into_iter().for_each(|count| *count += 1);
        self.done(now);
    }

    /// An admitted request begins at the back end, which fails it if too many are running.
    pub(crate) fn begins(&mut self, group: u32, arrived: Timestamp, now: Timestamp) {
        let level = self.in_flight.now + 1;
        self.in_flight.set(level, self.steps.at(now), phase(&self.phases, now));
        if self.backend_limit.is_some_and(|limit| level > limit) {
            self.count(group, arrived, |counts| counts.backend_errors += 1);
            let step = self.steps.at(now);
            self.backend_errors.get_mut(step).into_iter().for_each(|count| *count += 1);
        }
    }

    /// The back end is done with a request.
    pub(crate) fn ends(&mut self, now: Timestamp) {
        let level = self.in_flight.now.saturating_sub(1);
        self.in_flight.set(level, self.steps.at(now), phase(&self.phases, now));
        self.done(now);
    }

    pub(crate) fn crashed(&mut self, group: u32, arrived: Timestamp) {
        self.count(group, arrived, |counts| counts.crashed += 1);
    }

    /// Records the slots of a limit in use at the end of a step.
    pub(crate) fn in_use(&mut self, limit: &str, slots: u64) {
        self.limit(limit).in_use.push(slots);
    }

    /// Fills the levels up to the last step and phase.
    pub(crate) fn close(&mut self) {
        for level in [&mut self.in_flight, &mut self.waiting] {
            level.by_step.fill(self.steps.count);
            level.by_phase.fill(self.phases.len());
        }
        self.waits.sort_unstable();
    }

    fn done(&mut self, now: Timestamp) {
        self.ended = self.ended.max(now);
    }

    fn count(&mut self, group: u32, arrived: Timestamp, count: impl Fn(&mut Counts)) {
        count(&mut self.total);
        self.by_group.get_mut(group as usize).into_iter().for_each(&count);
        self.by_phase.get_mut(phase(&self.phases, arrived)).into_iter().for_each(&count);
    }

    fn limit(&mut self, name: &str) -> &mut AtLimit {
        let place = self.limits.iter().position(|(limit, _)| limit == name);
        let place = place.unwrap_or_else(|| {
            self.limits.push((name.to_owned(), AtLimit::default()));
            self.limits.len() - 1
        });
        &mut self.limits[place].1
    }
}

/// The index of the phase at this moment; the last phase goes on after its end.
fn phase(phases: &[Range<Timestamp>], at: Timestamp) -> usize {
    phases.partition_point(|phase| phase.start <= at).saturating_sub(1)
}

impl Level {
    fn set(&mut self, level: u64, step: usize, phase: usize) {
        self.now = level;
        self.peak = self.peak.max(level);
        self.by_step.set(step, level);
        self.by_phase.set(phase, level);
    }
}

impl Peaks {
    fn set(&mut self, span: usize, level: u64) {
        self.fill(span + 1);
        // Time only goes on, so `span` is the last one.
        if let Some(peak) = self.peaks.get_mut(span) {
            *peak = level.max(*peak);
        }
        self.last = level;
    }

    /// Extends to `spans` spans; new ones have the last level.
    fn fill(&mut self, spans: usize) {
        if self.peaks.len() < spans {
            self.peaks.resize(spans, self.last);
        }
    }

    /// The peaks of the first `spans`.
    pub(crate) fn first(&self, spans: usize) -> &[u64] {
        self.peaks.get(..spans).unwrap_or(&self.peaks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_lasts_until_it_changes() {
        let mut peaks = Peaks::default();
        peaks.set(1, 3);
        peaks.set(1, 2);
        peaks.set(4, 1);
        peaks.set(4, 5);
        peaks.set(4, 0);
        peaks.fill(6);
        // A span begins at the level at which the previous one ended.
        assert_eq!(peaks.first(9), [0, 3, 2, 2, 5, 0]);
        assert_eq!(peaks.first(2), [0, 3]);
    }

    #[test]
    fn steps_are_round() {
        for (secs, width_millis, count) in [
            (600, 2_000, 300),
            (900, 3_000, 300),
            (60, 200, 300),
            (61, 400, 153),
            (86_400, 360_000, 240),
        ] {
            let steps = Steps::over(Duration::from_secs(secs));
            assert_eq!(steps.width, Duration::from_millis(width_millis), "{secs}");
            assert_eq!(steps.count, count, "{secs}");
        }
        assert_eq!(Steps::over(Duration::from_nanos(7)).count, 7);
        assert!(Steps::over(Duration::from_nanos(u64::MAX)).count <= 301);
    }
}
