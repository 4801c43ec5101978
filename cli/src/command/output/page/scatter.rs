//! Plots speed against memory, once for each number of keys.

use std::fmt::Write;

use crate::compare::{Report, SpeedRow};

use super::markup::{Outside, Text};
use super::plot::{Anchor, Area, Plot, Px, Scale, fit, log_ticks};
use super::standing::Standing;
use super::{badge, figures, kind};
use crate::text::count;

const WIDTH: f64 = 360.0;
const AREA: Area = Area { left: 42.0, right: 212.0, top: 22.0, bottom: 316.0 };
/// Space below the area for the axis.
const AXIS: f64 = 44.0;
/// Where the names begin, and the distance between their lines.
const NAMES: f64 = 228.0;
const LINE: f64 = 15.0;
const RADIUS: f64 = 4.0;

pub(super) fn section(html: &mut String, report: &Report, standings: &[Standing]) {
    html.push_str(r#"<section id="cost"><h2>Speed against memory</h2>"#);
    let Some(speed) = report.speed.as_ref().filter(|speed| !speed.rows.is_empty()) else {
        html.push_str("<p class=\"left-out\">Speed and memory were not measured.</p></section>");
        return;
    };
    html.push_str(concat!(
        "<p>Nanoseconds a decision against bytes a key, both on logarithmic scales: low and left ",
        r#"is good.</p><p class="legend"><span class="key key-allowed">allowed</span>"#,
        r#"<span class="key key-denied">denied</span></p><div class="plots large">"#
    ));
    let mut keys: Vec<u64> = speed.rows.iter().map(|row| row.keys).collect();
    keys.sort_unstable();
    keys.dedup();
    let rows: Vec<(&Standing, &SpeedRow)> = standings
        .iter()
        .flat_map(|standing| speed.rows.iter().map(move |row| (standing, row)))
        .filter(|(standing, row)| row.contender == standing.name())
        .collect();
    let points: Vec<Point> =
        rows.iter().filter_map(|(standing, row)| Point::of(standing, row)).collect();
    let mut outside = Vec::new();
    for (index, keys) in keys.iter().enumerate() {
        let points: Vec<&Point> = points.iter().filter(|point| point.row.keys == *keys).collect();
        if !points.is_empty() {
            let _ = write!(
                html,
                "<figure><figcaption><b>{} keys</b></figcaption>{}</figure>",
                count(*keys),
                plot(&format!("cost-{index}"), *keys, &points, &Axes::of(&points))
            );
        }
        for (standing, row) in rows.iter().filter(|(_, row)| row.keys == *keys) {
            if Point::of(standing, row).is_none() {
                outside.push(format!("{} with {} keys", Outside(standing.name()), count(*keys)));
            }
        }
    }
    html.push_str("</div>");
    if !outside.is_empty() {
        let _ = write!(
            html,
            r#"<p class="left-out">Not in the plots, since its time or its bytes could not be measured: {}.</p>"#,
            outside.join("; ")
        );
    }
    table(html, &keys, &rows, standings);
    html.push_str("</section>");
}

/// A contender with a position in the plot.
struct Point<'a> {
    standing: &'a Standing<'a>,
    row: &'a SpeedRow,
    bytes: f64,
}

impl<'a> Point<'a> {
    fn of(standing: &'a Standing<'a>, row: &'a SpeedRow) -> Option<Point<'a>> {
        let bytes = row.bytes_per_key.filter(|bytes| *bytes > 0.0)?;
        row.allowed_ns.or(row.denied_ns)?;
        Some(Point { standing, row, bytes })
    }

    fn nanos(&self) -> impl Iterator<Item = f64> {
        [self.row.allowed_ns, self.row.denied_ns].into_iter().flatten()
    }
}

/// The range of each axis.
struct Axes {
    bytes: (f64, f64),
    nanos: (f64, f64),
}

impl Axes {
    fn of(points: &[&Point]) -> Axes {
        let ends = |values: &mut dyn Iterator<Item = f64>| {
            let (from, to) = values
                .fold((f64::MAX, 0.0f64), |(from, to), value| (from.min(value), to.max(value)));
            (from.max(0.1) / 1.6, to.max(0.1) * 1.6)
        };
        Axes {
            bytes: ends(&mut points.iter().map(|point| point.bytes)),
            nanos: ends(&mut points.iter().flat_map(|point| point.nanos())),
        }
    }
}

fn plot(id: &str, keys: u64, points: &[&Point], axes: &Axes) -> String {
    let bottom = AREA.bottom.max(AREA.top + points.len() as f64 * LINE);
    let x = Scale::log(axes.bytes, (AREA.left, AREA.right));
    let y = Scale::log(axes.nanos, (bottom, AREA.top));
    let mut plot = Plot::new((WIDTH, bottom + AXIS), Area { bottom, ..AREA });
    for tick in log_ticks(axes.bytes.0, axes.bytes.1, 5) {
        plot.line("grid", (x.at(tick), AREA.top), (x.at(tick), bottom));
        plot.text("tick", Anchor::Middle, (x.at(tick), bottom + 15.0), &figures::tick(tick));
    }
    for tick in log_ticks(axes.nanos.0, axes.nanos.1, 12) {
        plot.line("grid", (AREA.left, y.at(tick)), (AREA.right, y.at(tick)));
        plot.text("tick", Anchor::End, (AREA.left - 5.0, y.at(tick) + 4.0), &figures::tick(tick));
    }
    let middle = (AREA.left + AREA.right) / 2.0;
    plot.text("axis", Anchor::Middle, (middle, bottom + AXIS - 8.0), "bytes a key");
    plot.text("axis", Anchor::Start, (2.0, 12.0), "ns a decision");

    let mut by_height: Vec<(f64, &Point)> =
        points.iter().filter_map(|point| Some((y.at(point.nanos().next()?), *point))).collect();
    by_height.sort_by(|one, other| one.0.total_cmp(&other.0));
    let heights: Vec<f64> = by_height.iter().map(|(height, _)| *height).collect();
    let mut all = Vec::new();
    for ((height, point), place) in by_height.iter().zip(spread(&heights, bottom)) {
        let at = x.at(point.bytes);
        plot.line("leader", (at, *height), (NAMES - 4.0, place));
        let name = fit(point.standing.name(), WIDTH - NAMES);
        plot.text("label", Anchor::Start, (NAMES, place + 4.0), &name);
        if let (Some(allowed), Some(denied)) = (point.row.allowed_ns, point.row.denied_ns) {
            plot.line("pair", (at, y.at(allowed)), (at, y.at(denied)));
        }
        let name = point.standing.name();
        let bytes = figures::bytes(point.bytes);
        for (way, nanos) in [("allowed", point.row.allowed_ns), ("denied", point.row.denied_ns)] {
            let Some(nanos) = nanos else { continue };
            let numbers = format!(
                "{name}: {} {way}, {bytes} a key, {} keys",
                figures::nanos(nanos),
                count(keys)
            );
            plot.add(format_args!(
                r#"<circle class="mark-point {way} {}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>"#,
                kind(point.standing.about.origin),
                Px(at),
                Px(y.at(nanos)),
                Px(RADIUS),
                Text(&numbers)
            ));
            all.push(numbers);
        }
    }
    let title = format!("Nanoseconds a decision against bytes a key, {} keys", count(keys));
    plot.finish(id, "scatter", &title, &format!("{}.", all.join(". ")))
}

/// Positions of names beside points of these ascending heights: close to them, a line apart.
fn spread(heights: &[f64], bottom: f64) -> Vec<f64> {
    let mut places: Vec<f64> = Vec::with_capacity(heights.len());
    let mut least = AREA.top;
    for height in heights {
        places.push(height.max(least));
        least = height.max(least) + LINE;
    }
    // Names that run out at the bottom are pushed back up.
    let mut most = bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(most);
        most = *place - LINE;
    }
    places
}

fn table(html: &mut String, keys: &[u64], rows: &[(&Standing, &SpeedRow)], standings: &[Standing]) {
    html.push_str(concat!(
        r#"<div class="wide" role="region" tabindex="0" aria-label="Speed and memory, in numbers">"#,
        r#"<table><caption><span>Nanoseconds a decision (allowed / denied) and bytes a key</span></caption>"#,
        r#"<thead><tr><th scope="col">Keys</th>"#
    ));
    for keys in keys {
        let _ = write!(html, r#"<th scope="col">{}</th>"#, count(*keys));
    }
    html.push_str("</tr></thead><tbody>");
    let nanos = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), figures::nanos);
    let mut clocks = false;
    for standing in standings {
        let of: Vec<&SpeedRow> = rows
            .iter()
            .filter(|(other, _)| other.name() == standing.name())
            .map(|(_, row)| *row)
            .collect();
        if of.is_empty() {
            continue;
        }
        let clock = of.iter().any(|row| row.reads_clock);
        clocks |= clock;
        let _ = write!(
            html,
            r#"<tr><th scope="row">{}{}{}</th>"#,
            Outside(standing.name()),
            if clock { "*" } else { "" },
            badge(standing.about.origin)
        );
        for keys in keys {
            let cell = of.iter().find(|row| row.keys == *keys).map_or_else(
                || "–".to_owned(),
                |row| {
                    let bytes = row.bytes_per_key.map_or_else(|| "–".to_owned(), figures::bytes);
                    format!("{} / {}, {bytes}", nanos(row.allowed_ns), nanos(row.denied_ns))
                },
            );
            let _ = write!(html, "<td>{cell}</td>");
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
    if clocks {
        html.push_str("<p>* Reading its own clock is part of its time.</p>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_lie_on_each_other() {
        let apart = |places: &[f64]| places.windows(2).all(|two| two[1] - two[0] >= LINE - 1e-9);
        for heights in [vec![100.0; 9], vec![310.0; 18], vec![22.0, 23.0, 200.0, 316.0], vec![]] {
            let places = spread(&heights, AREA.bottom);
            assert!(apart(&places), "{places:?}");
            assert!(
                places.iter().all(|place| (AREA.top..=AREA.bottom).contains(place)),
                "{places:?}"
            );
        }
    }
}
