//! Finds the policy of a scenario: in a file of its own, or within the scenario.

use std::fs;
use std::path::{Path, PathBuf};

use tollgate::Policy;
use toml::de::DeTable;

use super::fields::{Fields, Problems};
use super::kinds::TEXT;

/// Keys of a scenario that belong to the policy.
const POLICY: [&str; 3] = ["facts", "limit", "override"];

/// A policy without mistakes.
pub(super) struct Source {
    pub(super) text: String,
    /// The policy file, if the policy is not in the scenario.
    pub(super) path: Option<PathBuf>,
}

/// Finds and parses the policy. Mistakes in the policy itself are returned as formatted lines.
pub(super) fn source(
    name: &str,
    text: &str,
    folder: &Path,
    top: &mut Fields<'_, '_>,
    problems: &mut Problems<'_>,
) -> Result<Option<Source>, Vec<String>> {
    let path = top.get("policy", &TEXT, problems);
    // Read all of the policy's keys, so that none is reported as unknown.
    let inline = POLICY.into_iter().filter(|key| top.value(key).is_some()).min();
    let (name, source) = match (path, inline) {
        (Some(_), Some(key)) => {
            let what = format!("the policy is in a file, and `{key}` is here too");
            let hint = "leave one of them out".to_owned();
            problems.report(top.span(key), what, Some(hint));
            return Ok(None);
        }
        (Some(path), None) => {
            let path = folder.join(path);
            let name = path.display().to_string();
            match fs::read_to_string(&path) {
                Ok(text) => (name, Source { text, path: Some(path) }),
                Err(error) => {
                    let what = format!("cannot read the policy {name}: {error}");
                    problems.report(top.span("policy"), what, None);
                    return Ok(None);
                }
            }
        }
        (None, Some(_)) => (name.to_owned(), Source { text: alone(text), path: None }),
        (None, None) => {
            // A path that is not a string was already reported.
            if top.value("policy").is_none() {
                let hint = "give `policy = \"FILE\"`, or `[[limit]]` here".to_owned();
                problems.report(0..0, "a scenario needs a policy".to_owned(), Some(hint));
            }
            return Ok(None);
        }
    };
    match Policy::from_toml(&source.text) {
        Ok(_) => Ok(Some(source)),
        Err(error) => {
            Err(error.problems().iter().map(|problem| format!("{name}:{problem}")).collect())
        }
    }
}

/// `text` with everything but the policy replaced by spaces, so that positions stay the same.
fn alone(text: &str) -> String {
    let Ok(tree) = DeTable::parse(text) else { return String::new() };
    let mut parts: Vec<(usize, bool)> = Vec::new();
    for (key, value) in tree.get_ref().iter() {
        let kept = POLICY.contains(&key.get_ref().as_ref());
        parts.push((line_start(text, key.span().start), kept));
        for item in value.get_ref().as_array().into_iter().flat_map(|items| items.iter()) {
            if item.get_ref().is_table() {
                parts.push((line_start(text, item.span().start), kept));
            }
        }
    }
    parts.sort_unstable();
    let mut kept = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let part = parts.partition_point(|(start, _)| *start <= at);
        let keep = part.checked_sub(1).and_then(|part| parts.get(part)).is_some_and(|part| part.1);
        match c {
            '\n' => kept.push('\n'),
            c if keep => kept.push(c),
            // Columns are counted in characters, so one space for each.
            _ => kept.push(' '),
        }
    }
    kept
}

fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1)
}
