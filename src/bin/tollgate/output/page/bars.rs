//! Bars, one a contender, a plot for each scenario.

use std::fmt::Write;

use tollgate::compare::{Report, Scenario, Score};

use super::kind;
use super::markup::{Outside, Text};
use super::plot::{Anchor, Area, Plot, Px, Scale, fit, ticks};
use super::standing::{self, Standing};

const WIDTH: f64 = 360.0;
const LABELS: f64 = 128.0;
/// Room for the number after the longest bar.
const NUMBERS: f64 = 58.0;
const TOP: f64 = 6.0;
const ROW: f64 = 19.0;
const BAR: f64 = 12.0;
/// Between Tollgate's algorithms and peers.
const GAP: f64 = 9.0;
const AXIS: f64 = 20.0;
/// A bar of nothing is seen too.
const LEAST: f64 = 1.5;

/// What the bars show.
pub(super) struct Measure {
    pub(super) id: &'static str,
    pub(super) heading: &'static str,
    pub(super) about: &'static str,
    /// The share that a bar is long.
    pub(super) share: fn(&Scenario, &Score) -> f64,
    /// What stands at its end.
    pub(super) number: fn(&Scenario, &Score) -> String,
    /// All there is to say of it.
    pub(super) numbers: fn(&Scenario, &Score) -> String,
    /// The share that a contender says it keeps to.
    pub(super) stated: fn(&Report, &Scenario, &Standing) -> Option<f64>,
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
    let drawn: Vec<(usize, &Scenario, Vec<Row>)> = report
        .scenarios
        .iter()
        .enumerate()
        .map(|(index, scenario)| (index, scenario, rows(scenario, standings)))
        .filter(|(.., rows)| !rows.is_empty())
        .collect();
    if drawn.is_empty() {
        html.push_str("<p>Nobody took part in anything.</p></section>");
        return;
    }
    let shares = drawn.iter().flat_map(|(_, scenario, rows)| {
        rows.iter().flat_map(move |row| {
            [
                (measure.share)(scenario, row.score),
                (measure.stated)(report, scenario, row.standing).unwrap_or(0.0),
            ]
        })
    });
    let longest = shares.fold(0.01, f64::max);
    html.push_str(r#"<div class="plots">"#);
    for (index, scenario, rows) in &drawn {
        let id = format!("{}-{index}", measure.id);
        let _ = write!(
            html,
            r#"<figure><figcaption><b>{}</b></figcaption>{}</figure>"#,
            Outside(&scenario.name),
            plot(&id, report, scenario, rows, longest, measure)
        );
    }
    html.push_str("</div></section>");
}

struct Row<'a> {
    standing: &'a Standing<'a>,
    score: &'a Score,
    top: f64,
}

fn rows<'a>(scenario: &'a Scenario, standings: &'a [Standing<'a>]) -> Vec<Row<'a>> {
    let mut top = TOP;
    let mut rows: Vec<Row> = Vec::new();
    for standing in standings {
        let Some(score) = standing::score(scenario, standing.about) else { continue };
        if score.unable.is_some() {
            continue;
        }
        if rows.last().is_some_and(|before| before.standing.is_peer() != standing.is_peer()) {
            top += GAP;
        }
        rows.push(Row { standing, score, top });
        top += ROW;
    }
    rows
}

fn plot(
    id: &str,
    report: &Report,
    scenario: &Scenario,
    rows: &[Row],
    longest: f64,
    measure: &Measure,
) -> String {
    let bottom = rows.last().map_or(TOP, |row| row.top + ROW);
    let area = Area { left: LABELS, right: WIDTH - 2.0, top: TOP, bottom };
    let mut plot = Plot::new((WIDTH, bottom + AXIS), area);
    let scale = Scale::linear((0.0, longest), (LABELS, WIDTH - NUMBERS));
    for tick in ticks(longest, 3) {
        let x = scale.at(tick);
        plot.line("grid", (x, TOP), (x, bottom));
        let text = format!("{} %", super::figures::tick(tick * 100.0));
        plot.text("tick", Anchor::Middle, (x, bottom + 15.0), &text);
    }
    let mut all = Vec::new();
    for Row { standing, score, top } in rows {
        let end = scale.at((measure.share)(scenario, score)).max(LABELS + LEAST);
        let numbers = format!("{}: {}", standing.name(), (measure.numbers)(scenario, score));
        let middle = top + ROW / 2.0 + 4.0;
        plot.text(
            "label",
            Anchor::End,
            (LABELS - 6.0, middle),
            &fit(standing.name(), LABELS - 8.0),
        );
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
        if let Some(stated) = (measure.stated)(report, scenario, standing) {
            let x = scale.at(stated);
            plot.line("stated", (x, top + 1.5), (x, top + ROW - 1.5));
            // The number does not lie on the tick.
            if (end - 2.0..end + 44.0).contains(&x) {
                number_from = x;
            }
        }
        let number = (measure.number)(scenario, score);
        plot.text("number", Anchor::Start, (number_from + 5.0, middle), &number);
        all.push(numbers);
    }
    let title = format!("{}: {}", measure.heading, scenario.name);
    plot.finish(id, "bars", &title, &format!("{}.", all.join(". ")))
}
