//! Reads what a limit or an override applies to: `when`, `match` and `rollout`. Facts and patterns
//! are checked later, by `Policy::check`.

use toml::de::{DeInteger, DeValue};

use super::value::given;
use super::{Reader, TomlValue, entries};
use crate::policy::limit::Rollout;
use crate::policy::problem::{Field, PolicyPlace, Shown};
use crate::policy::{Condition, Share, ShareError};

const ROLLOUT: &[&str] = &["share", "by"];

impl Reader<'_> {
    pub(super) fn conditions(
        &mut self,
        key: &str,
        value: &TomlValue<'_>,
        at: impl Fn(Field) -> PolicyPlace,
    ) -> Vec<Condition> {
        self.spans.insert(at(Field::Conditions), value.span());
        let example = format!("{key} = {{ user = \"1017\" }}");
        let DeValue::Table(table) = value.get_ref() else {
            self.mistyped(key, value, "a table of facts and patterns", &example);
            self.skip(at(Field::Conditions));
            return Vec::new();
        };
        let mut conditions = Vec::new();
        for (nth, (fact, fact_at, value)) in entries(table).into_iter().enumerate() {
            self.spans.insert(at(Field::Condition(nth)), fact_at);
            let items = match value.get_ref() {
                DeValue::Array(items) => items.iter().collect(),
                _ => vec![value],
            };
            let mut patterns = Vec::new();
            for item in items {
                let pattern = match item.get_ref() {
                    DeValue::String(text) => Some(text.to_string()),
                    DeValue::Integer(number) => decimal(number),
                    _ => None,
                };
                match pattern {
                    Some(pattern) => {
                        self.spans.insert(at(Field::Pattern(nth, patterns.len())), item.span());
                        patterns.push(pattern);
                    }
                    None => {
                        let given = given(item.get_ref());
                        let fact = Shown(fact);
                        let what = format!("a pattern for `{fact}` is a string, not {given}");
                        let hint = "write one pattern, or several in one list".to_owned();
                        self.report(item.span(), what, Some(hint));
                        self.skip(at(Field::Condition(nth)));
                    }
                }
            }
            conditions.push(Condition { fact: fact.to_owned(), patterns });
        }
        conditions
    }

    pub(super) fn rollout(&mut self, index: usize, value: &TomlValue<'_>) -> Option<Rollout> {
        let at = |field| PolicyPlace::Limit(index, field);
        let example = "rollout = { share = \"25%\", by = [\"org\"] }";
        let DeValue::Table(table) = value.get_ref() else {
            self.mistyped("rollout", value, "a table", example);
            return None;
        };
        let mut share = None;
        let mut by = Vec::new();
        let mut seen = Vec::new();
        for (key, key_at, value) in entries(table) {
            seen.push(key);
            match key {
                "share" => share = self.share(value),
                "by" => {
                    let before = self.found.len();
                    let names = self.names(key, value, "by = [\"org\"]", |nth| at(Field::By(nth)));
                    by = names.unwrap_or_default();
                    if self.found.len() > before {
                        self.skip(at(Field::Rollout));
                    }
                }
                _ => {
                    let meant = self.unknown("a rollout", key, key_at, ROLLOUT);
                    if meant == Some("by") {
                        self.skip(at(Field::Rollout));
                    }
                    seen.extend(meant);
                }
            }
        }
        if !seen.contains(&"share") && !self.gaps.in_section(value.span().start) {
            let hint = format!("write `{example}`");
            self.report(value.span(), "the rollout has no share".to_owned(), Some(hint));
        }
        // Any share passes the checks, and the policy is not used after a problem.
        Some(Rollout { share: share.unwrap_or(Share::percent(100)), by })
    }

    fn share(&mut self, value: &TomlValue<'_>) -> Option<Share> {
        let example = match value.get_ref() {
            DeValue::Integer(number) => format!("share = \"{}%\"", Shown(number.as_str())),
            DeValue::Float(number) => format!("share = \"{}%\"", Shown(number.as_str())),
            _ => "share = \"25%\"".to_owned(),
        };
        let text = self.string("share", value, &example)?;
        match text.parse() {
            Ok(share) => Some(share),
            Err(error) => {
                let error: ShareError = error;
                let what = format!("`{}` is no share: {error}", Shown(text));
                self.report(value.span(), what, None);
                None
            }
        }
    }
}

/// A whole number in any radix as decimal text.
fn decimal(number: &DeInteger<'_>) -> Option<String> {
    i128::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
}
