//! Bar charts, one bar per contender: one chart of the whole, and one for each scenario.

use std::fmt::Write;

use crate::compare::{Report, Scenario, Score};

use super::kind;
use super::markup::{Outside, Text, and};
use super::plot::{Anchor, Area, Plot, Px, Scale, fit, ticks};
use super::standing::{self, Standing};

const WIDTH: f64 = 360.0;
const LABELS: f64 = 144.0;
/// Space for the number after the longest bar.
const NUMBERS: f64 = 76.0;
const TOP: f64 = 6.0;
const ROW: f64 = 19.0;
const BAR: f64 = 12.0;
/// Between Tollgate's algorithms and peers.
const GAP: f64 = 9.0;
const AXIS: f64 = 20.0;
/// The least length of a bar, so that zero is visible too.
const LEAST: f64 = 1.5;

/// A bar chart.
pub(super) struct Measure {
    pub(super) id: &'static str,
    pub(super) heading: &'static str,
    pub(super) about: &'static str,
    /// The sentence about the scenarios in which all bars would be empty.
    pub(super) nothing: &'static str,
    /// The title of the chart of the whole.
    pub(super) whole: &'static str,
    pub(super) overall: fn(&Standing) -> Option<Value>,
    pub(super) at: fn(&Scenario, &Score) -> Value,
    /// The share that a contender promises to keep to.
    pub(super) stated: fn(&Report, &Scenario, &Standing) -> Option<f64>,
}

/// One bar.
pub(super) struct Value {
    /// Its length.
    pub(super) share: f64,
    /// The text at its end.
    pub(super) number: String,
    /// The full description.
    pub(super) numbers: String,
}

struct Row<'a> {
    standing: &'a Standing<'a>,
    value: Value,
    stated: Option<f64>,
}

pub(super) fn section(
    html: &mut String,
    report: &Report,
    standings: &[Standing],
    measure: &Measure,
) {
    let _ = write!(
        html,
        r#"<section id="{}"><h2>{}</h2><p>{}</p>"#,
        measure.id, measure.heading, measure.about
    );
    let overall = standings.iter().filter_map(|standing| {
        Some(Row { standing, value: (measure.overall)(standing)?, stated: None })
    });
    let mut plots: Vec<(&str, Vec<Row>)> = vec![(measure.whole, overall.collect())];
    plots.extend(report.scenarios.iter().map(|scenario| {
        let row = |standing| row(report, scenario, standing, measure);
        (scenario.name.as_str(), standings.iter().filter_map(row).collect())
    }));
    plots.retain(|(_, rows)| !rows.is_empty());
    if plots.is_empty() {
        html.push_str("<p class=\"left-out\">Nobody took part in anything.</p></section>");
        return;
    }
    let (plots, nothing): (Vec<_>, Vec<_>) =
        plots.into_iter().enumerate().partition(|(index, (_, rows))| {
            *index == 0 || rows.iter().any(|row| row.value.share > 0.0)
        });
    let shares = plots.iter().flat_map(|(_, (_, rows))| rows);
    let longest =
        shares.map(|row| row.value.share.max(row.stated.unwrap_or(0.0))).fold(0.01, f64::max);
    html.push_str(r#"<div class="plots">"#);
    for (index, (name, rows)) in &plots {
        let id = format!("{}-{index}", measure.id);
        let title = format!("{}: {name}", measure.heading);
        let _ = write!(
            html,
            r#"<figure><figcaption><b>{}</b></figcaption>{}</figure>"#,
            Outside(name),
            plot(&id, &title, rows, longest)
        );
    }
    html.push_str("</div>");
    let nothing: Vec<String> =
        nothing.iter().map(|(_, (name, _))| Outside(name).to_string()).collect();
    if !nothing.is_empty() {
        let _ =
            write!(html, r#"<p class="left-out">{} in: {}.</p>"#, measure.nothing, and(&nothing));
    }
    html.push_str("</section>");
}

fn row<'a>(
    report: &Report,
    scenario: &Scenario,
    standing: &'a Standing<'a>,
    measure: &Measure,
) -> Option<Row<'a>> {
    let score = standing::score(scenario, standing.about).filter(|score| score.unable.is_none())?;
    let stated = (measure.stated)(report, scenario, standing);
    Some(Row { standing, value: (measure.at)(scenario, score), stated })
}

fn plot(id: &str, title: &str, rows: &[Row], longest: f64) -> String {
    let tops = tops(rows);
    let bottom = tops.last().map_or(TOP, |top| top + ROW);
    let area = Area { left: LABELS, right: WIDTH - 2.0, top: TOP, bottom };
    let mut plot = Plot::new((WIDTH, bottom + AXIS), area);
    let scale = Scale::linear((0.0, longest), (LABELS, WIDTH - NUMBERS));
    for tick in ticks(longest, 3) {
        let x = scale.at(tick);
        plot.line("grid", (x, TOP), (x, bottom));
        let text = format!("{}\u{a0}%", super::figures::tick(tick * 100.0));
        plot.text("tick", Anchor::Middle, (x, bottom + 15.0), &text);
    }
    let mut all = Vec::new();
    for (Row { standing, value, stated }, top) in rows.iter().zip(&tops) {
        let end = scale.at(value.share).max(LABELS + LEAST);
        let numbers = format!("{}: {}", standing.name(), value.numbers);
        let middle = top + ROW / 2.0 + 4.0;
        let name = fit(standing.name(), LABELS - 8.0);
        plot.text("label", Anchor::End, (LABELS - 6.0, middle), &name);
        plot.add(format_args!(
            r#"<rect class="mark-bar {}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>"#,
            kind(standing.about.origin),
            Px(LABELS),
            Px(top + (ROW - BAR) / 2.0),
            Px(end - LABELS),
            Px(BAR),
            Text(&numbers)
        ));
        let mut number_from = end;
        if let Some(stated) = stated {
            let x = scale.at(*stated);
            plot.line("stated", (x, top + 1.5), (x, top + ROW - 1.5));
            // The number does not overlap the tick.
            if (end - 2.0..end + 44.0).contains(&x) {
                number_from = x;
            }
        }
        plot.text("number", Anchor::Start, (number_from + 5.0, middle), &value.number);
        all.push(numbers);
    }
    plot.finish(id, "bars", title, &format!("{}.", all.join(". ")))
}

/// Where each row begins.
fn tops(rows: &[Row]) -> Vec<f64> {
    let mut top = TOP;
    let mut before: Option<bool> = None;
    let mut place = |row: &Row| {
        let peer = row.standing.is_peer();
        if before.replace(peer).is_some_and(|before| before != peer) {
            top += GAP;
        }
        top += ROW;
        top - ROW
    };
    rows.iter().map(&mut place).collect()
}
