//! The text report of a simulation, 80 columns wide: both runs side by side, then each over time.

use std::time::Duration;

use super::Screen;
use super::chart::{bars, line_of, tower};
use crate::simulate::Scenario;
use crate::simulate::record::{STEPS_A_COLUMN, Steps};
use crate::simulate::summary::{Report, Summary, Totals};
use crate::text::{Align, count, cut, duration, percent, table, wrap};

/// Characters of a line.
const LINE: usize = 80;

/// Characters beside a chart, for names and numbers.
const MARGIN: usize = 14;

/// Lines of the chart of requests in flight.
const HEIGHT: usize = 8;

const COLUMNS_A_MARK: usize = 12;

pub(crate) fn print(scenario: &Scenario, report: &Report, screen: &mut Screen) {
    title(scenario, report, screen);
    totals(scenario, report, screen);
    let peak = report.without.peak_in_flight.max(report.with.peak_in_flight);
    // A limit far above all bars would only make the bars small.
    let limit = scenario.backend_limit.filter(|limit| limit / 2 <= peak);
    let highest = peak.max(limit.unwrap_or(0));
    chart(scenario, "Without limits", &report.without, false, highest, screen);
    chart(scenario, "With limits", &report.with, true, highest, screen);
    phases(report, screen);
}

fn title(scenario: &Scenario, report: &Report, screen: &mut Screen) {
    let requests = count(report.with.counts.requests);
    let span = duration(scenario.duration, 2);
    let name = cut(&report.scenario, LINE / 2);
    let text = format!("{name}: {requests} requests in {span}, seed {}", report.seed);
    screen.line(&screen.dim(&text));
}

fn totals(scenario: &Scenario, report: &Report, screen: &mut Screen) {
    let both = [&report.without, &report.with];
    let mut rows = vec![["", "without limits", "with limits"].map(str::to_owned).to_vec()];
    let mut row = |name: &str, cell: &dyn Fn(&Summary) -> String| {
        rows.push([name.to_owned()].into_iter().chain(both.map(cell)).collect());
    };
    let number = |pick: fn(&Totals) -> u64| move |run: &Summary| count(pick(&run.counts));
    let any = |pick: fn(&Totals) -> u64| both.iter().any(|run| pick(&run.counts) > 0);

    row("peak in flight", &|run| count(run.peak_in_flight));
    if let Some(limit) = scenario.backend_limit {
        let name = format!("back-end errors (above {})", count(limit));
        row(&name, &number(|counts| counts.backend_errors));
    }
    row("admitted", &number(|counts| counts.admitted));
    row("skipped", &|run| percent(run.counts.skipped, run.counts.requests));
    row("  refused", &number(|counts| counts.refused));
    row("  timed out", &number(|counts| counts.timed_out));
    row("  gave up", &number(|counts| counts.gave_up));
    if any(|counts| counts.crashed) {
        row("crashed", &number(|counts| counts.crashed));
    }
    row("peak waiting", &|run| count(run.peak_waiting));
    row("wait p50", &|run| wait(run.wait_s.p50));
    row("wait p95", &|run| wait(run.wait_s.p95));
    row("wait p99", &|run| wait(run.wait_s.p99));
    row("wait max", &|run| wait(run.wait_s.max));

    screen.line("");
    let right = Align::Right;
    for (index, line) in table(&rows, &[Align::Left, right, right]).iter().enumerate() {
        screen.line(&format!("  {}", if index == 0 { screen.dim(line) } else { line.clone() }));
    }
    limits(report, screen);
}

/// The limits that turned requests away.
fn limits(report: &Report, screen: &mut Screen) {
    let turning = report.with.limits.0.iter();
    let turning = turning.filter(|(_, limit)| limit.refused + limit.timed_out > 0);
    let lines: Vec<String> = turning
        .map(|(name, limit)| {
            let (refused, timed_out) = (count(limit.refused), count(limit.timed_out));
            format!("{} refused {refused} and timed out {timed_out}", cut(name, 24))
        })
        .collect();
    if !lines.is_empty() {
        screen.line("");
        for line in wrap(&format!("Limits: {}.", lines.join("; ")), LINE - 2) {
            screen.line(&format!("  {line}"));
        }
    }
}

/// A wait in the most suitable units, `-` if no request was admitted.
fn wait(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return "-".to_owned() };
    let time = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    match seconds {
        ..1.0 => duration(time, 1),
        1.0..60.0 => format!("{seconds:.1}s"),
        _ => duration(time, 2),
    }
}

/// One run over time.
fn chart(
    scenario: &Scenario,
    name: &str,
    run: &Summary,
    limited: bool,
    highest: u64,
    screen: &mut Screen,
) {
    let timeline = &run.timeline;
    let width = Steps::over(scenario.duration).width * STEPS_A_COLUMN as u32;
    let in_flight = by_column(&timeline.in_flight, peak);
    let columns = in_flight.len();
    let caps = if limited { caps(scenario, columns, width) } else { vec![None; columns] };

    screen.line("");
    let title = screen.bold(&format!("{name}: in flight"));
    let note = format!(", the most in each {}", duration(width, 2));
    screen.line(&format!("  {title}{}", screen.dim(&note)));
    let marks: Vec<Vec<u64>> = caps
        .iter()
        .map(|cap| cap.iter().copied().chain(scenario.backend_limit).collect())
        .collect();
    let last_cap = caps.iter().rev().flatten().next().copied();
    for (index, line) in tower(&in_flight, highest, HEIGHT, &marks).iter().enumerate() {
        let at = |value: &u64| line_of(*value, highest, HEIGHT) == Some(index);
        let label = match (scenario.backend_limit.filter(at), last_cap.filter(at)) {
            (Some(limit), _) => format!("back end {}", count(limit)),
            (None, Some(cap)) => format!("cap {}", count(cap)),
            (None, None) if index == 0 => count(highest),
            (None, None) => String::new(),
        };
        screen.line(&format!("{} {line}", screen.dim(&format!("{label:>MARGIN$}"))));
    }
    let mut row = |name: &str, values: &[u64]| {
        let most = values.iter().copied().max().unwrap_or(0);
        if most > 0 {
            let name = screen.dim(&format!("{:>MARGIN$}", cut(name, MARGIN)));
            let most_text = screen.dim(&count(most));
            screen.line(&format!("{name} {} {most_text}", bars(values, most, 1)));
        }
    };
    row("waiting", &by_column(&timeline.waiting, peak));
    row("skipped", &by_column(&timeline.skipped, sum));
    row("errors", &by_column(&timeline.backend_errors, sum));
    if limited && run.counts.crashed > 0 {
        for (limit, slots) in &timeline.in_use.0 {
            row(&format!("slots {limit}"), &by_column(slots, peak));
        }
    }
    axis(columns, width, screen);
}

/// The cap in force at the beginning of each column.
fn caps(scenario: &Scenario, columns: usize, width: Duration) -> Vec<Option<u64>> {
    let cap = |column: usize| {
        let at = width.as_nanos().saturating_mul(column as u128);
        let mut stages = scenario.stages.iter().rev();
        stages.find(|stage| u128::from(stage.at.as_nanos()) <= at).and_then(|stage| stage.cap)
    };
    (0..columns).map(cap).collect()
}

fn by_column(steps: &[u64], value: fn(&[u64]) -> u64) -> Vec<u64> {
    steps.chunks(STEPS_A_COLUMN).map(value).collect()
}

fn peak(steps: &[u64]) -> u64 {
    steps.iter().copied().max().unwrap_or(0)
}

fn sum(steps: &[u64]) -> u64 {
    steps.iter().sum()
}

/// Marks under a chart, with the times at which their columns begin.
fn axis(columns: usize, width: Duration, screen: &mut Screen) {
    let mut line = String::new();
    for column in (0..columns).step_by(COLUMNS_A_MARK) {
        let gap = column.saturating_sub(line.chars().count());
        line.extend(std::iter::repeat_n(' ', gap));
        line.push_str(&format!("╵{} ", duration(width.saturating_mul(column as u32), 2)));
    }
    screen.line(&screen.dim(&format!("{:MARGIN$} {line}", "")));
}

/// From change to change, with limits.
fn phases(report: &Report, screen: &mut Screen) {
    let phases = &report.with.phases;
    if phases.len() < 2 {
        return;
    }
    let heads = ["from", "change", "requests", "skipped", "errors", "peak in flight"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for phase in phases {
        let from = Duration::try_from_secs_f64(phase.from_s).unwrap_or_default();
        rows.push(vec![
            duration(from, 2),
            cut(&phase.change, 30),
            count(phase.counts.requests),
            percent(phase.counts.skipped, phase.counts.requests),
            count(phase.counts.backend_errors),
            count(phase.peak_in_flight),
        ]);
    }
    screen.line("");
    screen.line(&format!("  {}", screen.bold("With limits, from change to change")));
    let right = Align::Right;
    let align = [right, Align::Left, right, right, right, right];
    for (index, line) in table(&rows, &align).iter().enumerate() {
        screen.line(&format!("  {}", if index == 0 { screen.dim(line) } else { line.clone() }));
    }
}
