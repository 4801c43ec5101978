//! What the files that are shipped ask of the metrics.

use std::collections::BTreeSet;

use serde_json::Value;

use super::scrape::Scrape;

pub(crate) const DASHBOARD: &str = include_str!("../../../dashboards/tollgate.json");
pub(crate) const ALERTS: &str = include_str!("../../../dashboards/alerts.yml");
pub(crate) const DOCUMENTATION: &str = include_str!("../../../src/metrics.rs");
pub(crate) const CATALOGUE: &str = include_str!("../../../src/metrics/catalogue.rs");

/// The metrics that a text names.
pub(crate) fn names(text: &str, scraped: &Scrape) -> BTreeSet<String> {
    let samples = samples(text).into_iter();
    samples.map(|(sample, _)| scraped.metric(sample).to_owned()).collect()
}

/// Names of samples, and what follows each.
fn samples(text: &str) -> Vec<(&str, &str)> {
    let starts = text.match_indices("tollgate_").map(|(at, _)| &text[at..]);
    starts
        .map(|rest| {
            let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
            rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()))
        })
        .collect()
}

/// Each sample's name in an expression, with the labels and values it is asked for by.
pub(crate) fn matchers(expression: &str) -> Vec<(String, Vec<(String, String)>)> {
    let with_braces = |(sample, rest): (&str, &str)| {
        let inside = rest.strip_prefix('{')?.split('}').next()?;
        let pair = |pair: &str| {
            let (label, value) = pair.split_once('=').unwrap();
            let value = value.trim_start_matches('~').trim().trim_matches('"');
            (label.trim().to_owned(), value.to_owned())
        };
        Some((sample.to_owned(), inside.split(',').map(pair).collect()))
    };
    samples(expression).into_iter().filter_map(with_braces).collect()
}

/// The labels that are left after an aggregation, or matched on.
pub(crate) fn grouped(expression: &str) -> BTreeSet<String> {
    let lists = ["by (", "on ("].iter().flat_map(|word| expression.split(word).skip(1));
    let labels = lists.flat_map(|rest| rest.split(')').next().unwrap().split(','));
    labels.map(|label| label.trim().to_owned()).collect()
}

/// A panel of the dashboard.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) unit: String,
    /// Left, top, width, height.
    pub(crate) place: [u64; 4],
    /// Expressions with their legends.
    pub(crate) targets: Vec<(String, String)>,
}

pub(crate) fn panels() -> Vec<Panel> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let panel = |panel: &Value| Panel {
        title: text(&panel["title"]),
        description: text(&panel["description"]),
        unit: text(&panel["fieldConfig"]["defaults"]["unit"]),
        place: ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap()),
        targets: panel["targets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|target| (text(&target["expr"]), text(&target["legendFormat"])))
            .collect(),
    };
    panels.filter(|of| of["type"] != "row").map(panel).collect()
}
