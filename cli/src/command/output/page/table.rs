//! The table of all contenders, with the best figures marked.

use std::fmt::Write;

use crate::compare::Report;

use super::figures;
use super::markup::Outside;
use super::standing::{Standing, fewest_keys};

/// A column: the value (less is better), and its text.
struct Column {
    head: String,
    value: fn(&Standing) -> Option<f64>,
    cell: fn(&Standing) -> Option<String>,
}

pub(super) fn section(html: &mut String, report: &Report, standings: &[Standing]) {
    html.push_str(r#"<section id="figures"><h2>The figures</h2>"#);
    let columns = columns(report);
    html.push_str(concat!(
        r#"<div class="wide" role="region" tabindex="0" aria-label="The figures">"#,
        r#"<table class="figures"><caption><span>The worst over all scenarios; the best of a column is marked.</span></caption>"#,
        r#"<thead><tr><th scope="col">Contender</th>"#
    ));
    for column in &columns {
        let _ = write!(html, r#"<th scope="col">{}</th>"#, column.head);
    }
    html.push_str(r#"<th scope="col">known mistakes shown</th></tr></thead>"#);
    let best: Vec<f64> = columns
        .iter()
        .map(|column| {
            standings
                .iter()
                .filter(|standing| standing.is_whole() || standing.over().is_none())
                .filter_map(column.value)
                .fold(f64::INFINITY, f64::min)
        })
        .collect();
    for (heading, peers) in [("Algorithms", false), ("Peers", true)] {
        let group: Vec<&Standing> =
            standings.iter().filter(|standing| standing.is_peer() == peers).collect();
        if group.is_empty() {
            continue;
        }
        let _ = write!(
            html,
            r#"<tbody class="{}"><tr><th scope="rowgroup" colspan="{}">{heading}</th></tr>"#,
            if peers { "peers" } else { "ours" },
            columns.len() + 2
        );
        for standing in group {
            row(html, standing, &columns, &best);
        }
        html.push_str("</tbody>");
    }
    html.push_str("</table></div>");
    if report.speed.is_none() {
        html.push_str(r#"<p class="left-out">Speed and memory were not measured.</p>"#);
    }
    for left_out in &report.left_out {
        let _ = write!(
            html,
            r#"<p class="left-out">{} took no part: {}.</p>"#,
            Outside(&left_out.name),
            Outside(&left_out.why)
        );
    }
    footnotes(html, standings);
    html.push_str("</section>");
}

fn columns(report: &Report) -> Vec<Column> {
    let mut columns = vec![
        Column {
            head: "most over the quota".to_owned(),
            value: |standing| standing.over(),
            cell: |standing| {
                let (scenario, over) = standing.worst?;
                let at = if over > 0.0 {
                    format!(" <small>{}</small>", Outside(&scenario.name))
                } else {
                    String::new()
                };
                Some(format!("{}{at}", figures::over(over)))
            },
        },
        Column {
            head: "on average".to_owned(),
            value: |standing| standing.mean_over(),
            cell: |standing| standing.mean_over().map(figures::over),
        },
        Column {
            head: "denied wrongly".to_owned(),
            value: |standing| standing.over().map(|_| standing.wrongful_share()),
            cell: |standing| {
                standing.over().map(|_| figures::share(standing.wrongful, standing.requests))
            },
        },
        Column {
            head: "stated waits".to_owned(),
            value: |standing| standing.waits_exactly().then_some(0.0),
            cell: |standing| standing.waits.as_ref().map(figures::waits),
        },
    ];
    if let Some(keys) = fewest_keys(report) {
        let with = format!("<small>{} keys</small>", figures::tick(keys as f64));
        columns.extend([
            Column {
                head: format!("allowed {with}"),
                value: |standing| standing.allowed_ns(),
                cell: |standing| standing.allowed_ns().map(figures::nanos),
            },
            Column {
                head: format!("denied {with}"),
                value: |standing| standing.denied_ns(),
                cell: |standing| standing.denied_ns().map(figures::nanos),
            },
            Column {
                head: format!("a key takes {with}"),
                value: |standing| standing.bytes(),
                cell: |standing| standing.bytes().map(figures::bytes),
            },
        ]);
    }
    columns
}

fn row(html: &mut String, standing: &Standing, columns: &[Column], best: &[f64]) {
    let clock = standing.speed.is_some_and(|row| row.reads_clock);
    let _ = write!(
        html,
        r#"<tr><th scope="row">{}{}{}</th>"#,
        Outside(standing.name()),
        if standing.unable.is_empty() { "" } else { "†" },
        if clock { "*" } else { "" },
    );
    for (column, best) in columns.iter().zip(best) {
        let can_be = standing.is_whole() || standing.over().is_none();
        let is_best = can_be && (column.value)(standing).is_some_and(|value| value <= *best);
        let cell = (column.cell)(standing).unwrap_or_else(|| "–".to_owned());
        let _ = if is_best {
            write!(html, r#"<td class="is-best">{cell}<span class="unseen"> (best)</span></td>"#)
        } else {
            write!(html, "<td>{cell}</td>")
        };
    }
    let mistakes = if standing.about.mistakes.is_empty() {
        "–".to_owned()
    } else if standing.mistakes.is_empty() {
        "none".to_owned()
    } else {
        let links: Vec<String> = standing
            .mistakes
            .iter()
            .map(|row| format!(r##"<a href="#mistake-{row}">{row}</a>"##))
            .collect();
        links.join(", ")
    };
    let _ = write!(html, "<td>{mistakes}</td></tr>");
}

fn footnotes(html: &mut String, standings: &[Standing]) {
    if standings.iter().any(|standing| !standing.unable.is_empty()) {
        html.push_str("<p>† Took part in some scenarios only: its figures are of those, and none counts as best.</p>");
    }
    if standings.iter().any(|standing| standing.speed.is_some_and(|row| row.reads_clock)) {
        html.push_str("<p>* Reading its own clock is part of its time.</p>");
    }
    if standings.iter().any(|standing| !standing.about.takes_time) {
        html.push_str("<p>– Cannot be told the time, so only its speed is measured; or there was nothing to measure.</p>");
    }
}
