//! The policies of a scenario in their order: the first one, and the result of each change.

use std::ops::Range;

use tollgate::{Policy, Timestamp};
use toml::{Table, Value};

use super::Stage;
use super::fields::Problems;
use crate::text::did_you_mean;

/// A change of one limit.
pub(super) struct Change {
    pub(super) at: Timestamp,
    pub(super) limit: String,
    /// Where in the text the change and the name of its limit are.
    pub(super) span: Range<usize>,
    pub(super) limit_span: Range<usize>,
    /// Keys of the limit with their new values; `share` is the share of the rollout.
    pub(super) set: Vec<(&'static str, Value)>,
}

/// The policies that follow one another. `text` is a policy without mistakes.
pub(super) fn stages(
    text: &str,
    mut changes: Vec<Change>,
    problems: &mut Problems<'_>,
) -> Vec<Stage> {
    let Ok(mut tree) = text.parse::<Table>() else { return Vec::new() };
    let mut stages: Vec<Stage> = stage(&tree, Timestamp::ZERO, String::new()).into_iter().collect();
    changes.sort_by_key(|change| change.at);
    for change in changes {
        let Some(limit) = limit(&mut tree, &change.limit) else {
            let names = limits(&tree).filter_map(name);
            let what = format!("the policy has no limit `{}`", crate::text::cut(&change.limit, 60));
            problems.report(change.limit_span, what, did_you_mean(&change.limit, names));
            continue;
        };
        for (key, value) in &change.set {
            set(limit, key, value);
        }
        match stage(&tree, change.at, in_words(&change)) {
            Ok(next) => match stages.last_mut() {
                Some(last) if last.at == next.at => {
                    let both = [last.what.as_str(), &next.what].map(str::trim).join("; ");
                    let what = both.trim_start_matches("; ").to_owned();
                    *last = Stage { what, ..next };
                }
                _ => stages.push(next),
            },
            Err(mistakes) => {
                for (what, hint) in mistakes {
                    problems.report(change.span.clone(), format!("after this change {what}"), hint);
                }
                // Later changes would only repeat the same mistake.
                return stages;
            }
        }
    }
    stages
}

type Mistake = (String, Option<String>);

fn stage(tree: &Table, at: Timestamp, what: String) -> Result<Stage, Vec<Mistake>> {
    let read = |tree: &Table| {
        Policy::from_toml(&tree.to_string()).map_err(|error| {
            let mistake = |problem: &tollgate::policy::Problem| {
                (problem.what().to_owned(), problem.hint().map(str::to_owned))
            };
            error.problems().iter().map(mistake).collect::<Vec<_>>()
        })
    };
    let policy = read(tree)?;
    let mut unlimited = tree.clone();
    for limit in limits_mut(&mut unlimited).filter(|limit| is_enforced(limit)) {
        limit.insert("mode".to_owned(), Value::from("off"));
    }
    let waits = limits(tree).filter(|limit| limit.contains_key("wait")).filter_map(name);
    Ok(Stage {
        at,
        what,
        policy,
        unlimited: read(&unlimited)?,
        cap: cap(tree),
        waits: waits.map(str::to_owned).collect(),
    })
}

/// The smallest cap that all requests share.
fn cap(tree: &Table) -> Option<u64> {
    let is_shared = |limit: &&Table| {
        limit.get("key").and_then(Value::as_array).is_none_or(|parts| parts.is_empty())
    };
    let cap = |limit: &Table| u64::try_from(limit.get("concurrent")?.as_integer()?).ok();
    limits(tree).filter(|limit| is_enforced(limit)).filter(is_shared).filter_map(cap).min()
}

fn is_enforced(limit: &Table) -> bool {
    limit.get("mode").and_then(Value::as_str).is_none_or(|mode| mode == "enforce")
}

fn limits(tree: &Table) -> impl Iterator<Item = &Table> {
    tree.get("limit").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table)
}

fn limits_mut(tree: &mut Table) -> impl Iterator<Item = &mut Table> {
    let limits = tree.get_mut("limit").and_then(Value::as_array_mut);
    limits.into_iter().flatten().filter_map(Value::as_table_mut)
}

fn limit<'t>(tree: &'t mut Table, wanted: &str) -> Option<&'t mut Table> {
    limits_mut(tree).find(|limit| name(limit) == Some(wanted))
}

fn name(limit: &Table) -> Option<&str> {
    limit.get("name").and_then(Value::as_str)
}

fn set(limit: &mut Table, key: &str, value: &Value) {
    if key != "share" {
        limit.insert(key.to_owned(), value.clone());
        return;
    }
    let rollout = limit.entry("rollout").or_insert_with(|| Value::Table(Table::new()));
    if let Some(rollout) = rollout.as_table_mut() {
        rollout.insert(key.to_owned(), value.clone());
    }
}

/// Formats a change: `queries: share 50%`.
fn in_words(change: &Change) -> String {
    let value = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let set: Vec<String> =
        change.set.iter().map(|(key, new)| format!("{key} {}", value(new))).collect();
    format!("{}: {}", change.limit, set.join(", "))
}
