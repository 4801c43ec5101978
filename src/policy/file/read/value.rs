//! Reads values of one type, and reports values of another: words from a list, strings, lists of
//! names and whole numbers.

use toml::de::DeValue;

use super::{Reader, TomlValue};
use crate::policy::problem::{PolicyPlace, Shown, did_you_mean};

impl Reader<'_> {
    /// A value that must be one of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &str,
        value: &TomlValue<'_>,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let words = || choices.iter().map(|(word, _)| *word);
        let example = format!("{key} = \"{}\"", words().next().unwrap_or_default());
        let text = self.string(key, value, &example)?;
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*choice);
        }
        let quoted: Vec<String> = words().map(|word| format!("`{word}`")).collect();
        let what = format!("`{key}` is {}, not `{}`", quoted.join(" or "), Shown(text));
        let lower = text.to_lowercase();
        let hint = self.guess(&lower, words()).map(did_you_mean);
        self.report(value.span(), what, hint);
        None
    }

    pub(super) fn string<'v>(
        &mut self,
        key: &str,
        value: &'v TomlValue<'_>,
        example: &str,
    ) -> Option<&'v str> {
        if let DeValue::String(text) = value.get_ref() {
            return Some(text);
        }
        self.mistyped(key, value, "a string", example);
        None
    }

    /// A list of names. Notes the position of each under the place that `at` gives.
    pub(super) fn names(
        &mut self,
        key: &str,
        value: &TomlValue<'_>,
        example: &str,
        at: impl Fn(usize) -> PolicyPlace,
    ) -> Option<Vec<String>> {
        let DeValue::Array(items) = value.get_ref() else {
            let hint = match value.get_ref() {
                DeValue::String(text) => format!("{key} = [\"{}\"]", Shown(text)),
                _ => example.to_owned(),
            };
            self.mistyped(key, value, "a list of facts", &hint);
            return None;
        };
        let mut names = Vec::new();
        for item in items.iter() {
            if let DeValue::String(name) = item.get_ref() {
                self.spans.insert(at(names.len()), item.span());
                names.push(name.to_string());
            } else {
                let what = format!("a fact is a string, not {}", given(item.get_ref()));
                self.report(item.span(), what, Some(format!("write `{example}`")));
            }
        }
        Some(names)
    }

    pub(super) fn whole(&mut self, key: &str, value: &TomlValue<'_>, range: &str) -> Option<u64> {
        let number = match value.get_ref() {
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let whole = number.and_then(|number| u64::try_from(number).ok());
        if whole.is_none() {
            let given = given(value.get_ref());
            let what = format!("`{key}` is a whole number {range}, not {given}");
            self.report(value.span(), what, None);
        }
        whole
    }

    pub(super) fn mistyped(
        &mut self,
        key: &str,
        value: &TomlValue<'_>,
        expected: &str,
        example: &str,
    ) {
        let what = format!("`{key}` is {expected}, not {}", given(value.get_ref()));
        self.report(value.span(), what, Some(format!("write `{example}`")));
    }
}

/// Describes a value for a message.
pub(super) fn given(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string \"{}\"", Shown(text)),
        DeValue::Integer(number) => format!("the number {}", Shown(&number.to_string())),
        DeValue::Float(number) => format!("the number {}", Shown(number.as_str())),
        DeValue::Boolean(value) => format!("{value}"),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
