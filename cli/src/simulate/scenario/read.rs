//! Builds a scenario from its text; `fields` reads the tables, `clients` and `stages` their parts.

use std::path::Path;
use std::time::Duration;

use tollgate::Timestamp;
use toml::de::DeTable;

use super::fields::{Fields, Problems};
use super::kinds::{CHANGED, MOMENT, SEED, TEXT, TIME, WHOLE};
use super::stages::{Change, stages};
use super::{Scenario, clients, policy};
use crate::simulate::ScenarioError;

/// Parses `text` as the scenario `name`. A relative path of a policy is taken from `folder`.
pub(super) fn scenario(name: &str, text: &str, folder: &Path) -> Result<Scenario, ScenarioError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut problems = Problems::of(text);
    let tree = match DeTable::parse(text) {
        Ok(tree) => tree,
        Err(error) => {
            let what = format!("this is no TOML: {}", error.message());
            problems.report(error.span().unwrap_or_default(), what, None);
            return Err(wrong(&problems.blocks(name)));
        }
    };
    let mut top = Fields::new("a scenario", 0..0, tree.get_ref());
    let seed = top.get("seed", &SEED, &mut problems);
    let duration = top.need("duration", &TIME, &mut problems);
    let backend_limit = backend(&mut top, &mut problems);
    let end = duration.unwrap_or(Duration::MAX);
    let clients = clients::clients(&mut top, end, &mut problems);
    let changes = changes(&mut top, end, &mut problems);

    let mut blocks = Vec::new();
    let policy = match policy::source(name, text, folder, &mut top, &mut problems) {
        Ok(policy) => policy,
        Err(more) => {
            blocks = more;
            None
        }
    };
    top.finish(&mut problems);
    let (stages, policy_path) = match policy {
        Some(policy) => (stages(&policy.text, changes, &mut problems), policy.path),
        None => (Vec::new(), None),
    };
    blocks.extend(problems.blocks(name));
    match duration {
        Some(duration) if blocks.is_empty() => Ok(Scenario {
            name: name.to_owned(),
            seed: seed.unwrap_or(1),
            duration,
            backend_limit,
            clients,
            stages,
            policy_path,
        }),
        _ => Err(wrong(&blocks)),
    }
}

fn wrong(blocks: &[String]) -> ScenarioError {
    let things = match blocks.len() {
        1 => "1 thing is".to_owned(),
        many => format!("{many} things are"),
    };
    let lines: Vec<String> = blocks.iter().map(|block| format!("  {block}")).collect();
    ScenarioError::new(format!("{things} wrong with the scenario\n{}", lines.join("\n")))
}

fn backend(top: &mut Fields<'_, '_>, problems: &mut Problems<'_>) -> Option<u64> {
    let value = top.value("backend")?;
    let mut fields = Fields::of_table("the back end", value, problems)?;
    let limit = fields.need("limit", &WHOLE, problems);
    fields.finish(problems);
    limit
}

fn changes(
    top: &mut Fields<'_, '_>,
    duration: Duration,
    problems: &mut Problems<'_>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for mut fields in top.tables("change", "a change", problems) {
        let before = problems.len();
        let at = fields.need("at", &MOMENT, problems);
        let limit = fields.need("limit", &TEXT, problems);
        if at.is_some_and(|at| at >= duration) {
            let what = "this change comes after the scenario".to_owned();
            problems.report(fields.span("at"), what, None);
        }
        let mut set = Vec::new();
        for key in ["mode", "concurrent", "rate", "burst", "share"] {
            set.extend(fields.get(key, &CHANGED, problems).map(|value| (key, value)));
        }
        if set.is_empty() && problems.len() == before {
            let hint = "give `mode`, `concurrent`, `rate`, `burst` or `share`".to_owned();
            problems.report(
                fields.at.clone(),
                "this change changes nothing".to_owned(),
                Some(hint),
            );
        }
        let (span, limit_span) = (fields.at.clone(), fields.span("limit"));
        fields.finish(problems);
        if let (Some(at), Some(limit)) = (at, limit) {
            let at = Timestamp::ZERO + at;
            changes.push(Change { at, limit, span, limit_span, set });
        }
    }
    changes
}
