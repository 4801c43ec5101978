//! Draws a simulation as SVG: both runs over time, side by side on the same scales.

use std::io;

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;

use crate::command::exit::Failure;
use crate::simulate::Scenario;
use crate::simulate::summary::{Report, Summary, seconds};

const SIZE: (u32, u32) = (1200, 640);

/// The height of the title and the legend, and the share of the levels in the rest.
const HEAD: u32 = 64;
const LEVELS: f64 = 0.66;

const IN_FLIGHT: RGBColor = RGBColor(38, 102, 165);
const WAITING: RGBColor = RGBColor(228, 148, 40);
const SLOTS: RGBColor = RGBColor(110, 110, 110);
const CAP: RGBColor = RGBColor(20, 130, 75);
const BACKEND: RGBColor = RGBColor(190, 30, 45);
const ERRORS: RGBColor = RGBColor(235, 110, 95);
const SKIPPED: RGBColor = RGBColor(140, 85, 160);

/// The smallest end of an axis of counts, so that its marks are whole numbers.
const LEAST: f64 = 10.0;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Failed = DrawingAreaErrorKind<io::Error>;
type Points = Vec<(f64, f64)>;

/// One line: its name in the legend, its style, and its points.
struct Series {
    name: &'static str,
    color: RGBColor,
    look: Look,
    points: Points,
}

#[derive(Clone, Copy)]
enum Look {
    Line,
    /// Filled down to the axis.
    Area,
    /// For a bound that a level should stay below.
    Dashes,
}

/// The scales that both runs share.
struct Axes {
    /// Seconds of one unit of the axis, and its name.
    unit: (f64, &'static str),
    /// The ends of the axes: of time, of levels, of counts.
    time: f64,
    level: f64,
    count: f64,
}

impl Look {
    fn is_dashes(self) -> bool {
        matches!(self, Look::Dashes)
    }
}

pub(crate) fn draw(scenario: &Scenario, report: &Report) -> Result<String, Failure> {
    let mut picture = String::new();
    panels(&mut picture, scenario, report)
        .map_err(|error| Failure::Usage(format!("the picture cannot be drawn: {error}")))?;
    Ok(picture)
}

fn panels(picture: &mut String, scenario: &Scenario, report: &Report) -> Result<(), Failed> {
    let unit = match report.duration_s {
        ..300.0 => (1.0, "seconds"),
        ..18_000.0 => (60.0, "minutes"),
        _ => (3600.0, "hours"),
    };
    let runs = [("Without limits", &report.without, false), ("With limits", &report.with, true)];
    let mut panels = runs.map(|(name, run, limited)| {
        let levels = levels(scenario, report, run, limited, unit.0);
        (name, levels, counts(report, run, unit.0))
    });
    let highest = |series: &[Series], dashes: bool| {
        let series = series.iter().filter(|series| dashes || !series.look.is_dashes());
        let points = series.flat_map(|series| &series.points);
        points.map(|point| point.1).fold(LEAST, f64::max)
    };
    // A limit far above all levels would only make the levels small.
    let level = panels.iter().map(|(_, levels, _)| highest(levels, false)).fold(LEAST, f64::max);
    for series in panels.iter_mut().flat_map(|(_, levels, _)| levels) {
        series.points.retain(|point| point.1 <= 2.0 * level);
    }
    let axes = Axes {
        unit,
        time: report.duration_s / unit.0,
        level: panels.iter().map(|(_, levels, _)| highest(levels, true)).fold(LEAST, f64::max)
            * 1.05,
        count: panels.iter().map(|(.., counts)| highest(counts, true)).fold(LEAST, f64::max) * 1.05,
    };

    let root = SVGBackend::with_string(picture, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(HEAD);
    let title = format!("{}, seed {}", crate::text::cut(&report.scenario, 100), report.seed);
    head.draw(&Text::new(title, (16, 10), ("sans-serif", 18)))?;
    legend(&head, panels.iter().rev().flat_map(|(_, levels, counts)| levels.iter().chain(counts)))?;
    let halves = body.split_evenly((1, 2));
    for (half, (name, levels, counts)) in halves.iter().zip(&panels) {
        let height = f64::from(SIZE.1 - HEAD) * LEVELS;
        let (upper, lower) = half.split_vertically(height as u32);
        chart(&upper, name, "at once", levels, axes.level, &axes)?;
        let every = crate::text::duration(
            std::time::Duration::try_from_secs_f64(report.step_s).unwrap_or_default(),
            2,
        );
        chart(&lower, "", &format!("in each {every}"), counts, axes.count, &axes)?;
    }
    root.present()
}

/// The levels over time, with the lines that they should stay below.
fn levels(
    scenario: &Scenario,
    report: &Report,
    run: &Summary,
    limited: bool,
    unit: f64,
) -> Vec<Series> {
    let of = |steps: &[u64]| stairs(steps, report, unit);
    let in_flight = of(&run.timeline.in_flight);
    let mut series =
        vec![Series { name: "in flight", color: IN_FLIGHT, look: Look::Area, points: in_flight }];
    let waiting = of(&run.timeline.waiting);
    series.push(Series { name: "waiting", color: WAITING, look: Look::Line, points: waiting });
    if limited && run.counts.crashed > 0 {
        for (_, slots) in &run.timeline.in_use.0 {
            let points = of(slots);
            series.push(Series { name: "slots in use", color: SLOTS, look: Look::Line, points });
        }
    }
    if limited {
        let mut caps = Points::new();
        for (stage, span) in scenario.stages.iter().zip(scenario.spans()) {
            let height = stage.cap.map_or(f64::NAN, |cap| cap as f64);
            caps.extend([span.start, span.end].map(|at| (seconds(at) / unit, height)));
        }
        caps.retain(|(_, height)| height.is_finite());
        if !caps.is_empty() {
            series.push(Series { name: "cap", color: CAP, look: Look::Dashes, points: caps });
        }
    }
    if let Some(limit) = scenario.backend_limit {
        let points = [0.0, report.duration_s].map(|at| (at / unit, limit as f64)).to_vec();
        series.push(Series { name: "back-end limit", color: BACKEND, look: Look::Dashes, points });
    }
    series
}

/// The counts of events in each step.
fn counts(report: &Report, run: &Summary, unit: f64) -> Vec<Series> {
    let of = |steps: &[u64]| stairs(steps, report, unit);
    let errors = of(&run.timeline.backend_errors);
    let skipped = of(&run.timeline.skipped);
    vec![
        Series { name: "back-end errors", color: ERRORS, look: Look::Area, points: errors },
        Series { name: "skipped requests", color: SKIPPED, look: Look::Area, points: skipped },
    ]
}

/// A line that is level in each step.
fn stairs(steps: &[u64], report: &Report, unit: f64) -> Points {
    let at = |step: usize| (step as f64 * report.step_s).min(report.duration_s) / unit;
    let level = |(step, value): (usize, &u64)| [step, step + 1].map(|end| (at(end), *value as f64));
    steps.iter().enumerate().flat_map(level).collect()
}

/// The legend: each name once, in one row.
fn legend<'s>(head: &Area<'_>, series: impl Iterator<Item = &'s Series>) -> Result<(), Failed> {
    const CHARACTER: i32 = 8;
    let (mut x, y) = (16, 48);
    let mut seen = Vec::new();
    for Series { name, color, look, .. } in series {
        if !seen.contains(name) {
            seen.push(name);
            let line = [(x, y), (x + 24, y)];
            match look {
                Look::Dashes => head.draw(&dashes(line, *color))?,
                Look::Area | Look::Line => {
                    head.draw(&PathElement::new(line, color.stroke_width(3)))?;
                }
            }
            head.draw(&Text::new(*name, (x + 30, y - 7), ("sans-serif", 14)))?;
            x += 50 + CHARACTER * name.len() as i32;
        }
    }
    Ok(())
}

fn chart(
    area: &Area<'_>,
    name: &str,
    what: &str,
    series: &[Series],
    highest: f64,
    axes: &Axes,
) -> Result<(), Failed> {
    let mut chart = ChartBuilder::on(area)
        .caption(name, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..axes.time, 0.0..highest)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.1))
        .x_desc(if name.is_empty() { axes.unit.1 } else { "" })
        .y_desc(what)
        .x_label_formatter(&|at| rounded(*at))
        .y_label_formatter(&|value| rounded(*value))
        .draw()?;
    for Series { color, look, points, .. } in series {
        let line = points.iter().copied();
        match look {
            Look::Line => drop(chart.draw_series(LineSeries::new(line, color.stroke_width(2)))?),
            Look::Area => {
                let area = AreaSeries::new(line, 0.0, color.mix(0.35)).border_style(*color);
                chart.draw_series(area)?;
            }
            Look::Dashes => {
                chart.draw_series([dashes(points.clone(), *color)])?;
            }
        }
    }
    Ok(())
}

fn dashes<P, I: IntoIterator<Item = P>>(
    points: I,
    color: RGBColor,
) -> DashedPathElement<I::IntoIter, i32>
where
    I::IntoIter: Clone,
{
    DashedPathElement::new(points, 8, 5, color.stroke_width(2))
}

/// A number of an axis, without the digits that its binary form adds.
fn rounded(value: f64) -> String {
    ((value * 1e6).round() / 1e6).to_string()
}
