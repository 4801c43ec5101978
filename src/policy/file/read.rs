//! Reads a policy from the tree that the TOML parser made, value by value, and notes the position
//! of each. The modules below read the parts of a limit and an override; `Policy::check` checks the
//! result.

mod applies;
mod change;
mod limit;
mod rate;
mod slots;
mod value;
mod what;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::FileProblem;
use super::syntax::Gaps;
use crate::policy::Policy;
use crate::policy::problem::{PolicyPlace, Shown, did_you_mean, nearest};
use value::given;

type TomlValue<'t> = Spanned<DeValue<'t>>;

const TOP: &[&str] = &["facts", "limit", "override"];
const LIMIT: &[&str] = &[
    "name",
    "key",
    "rate",
    "burst",
    "when",
    "missing",
    "mode",
    "rollout",
    "cost",
    "algorithm",
    "max_keys",
    "overflow",
    "carry_over",
    "concurrent",
    "lease",
    "weight",
    "wait",
    "max_waiters",
];
const OVERRIDE: &[&str] = &["limit", "match", "rate", "burst", "concurrent", "exempt"];

/// Names often written in place of a key, and the key that is meant.
const ALIASES: &[(&str, &str)] = &[
    ("quota", "rate"),
    ("limits", "limit"),
    ("overrides", "override"),
    ("by", "key"),
    ("match", "when"),
    ("when", "match"),
    ("capacity", "max_keys"),
    ("cap", "concurrent"),
    ("slots", "concurrent"),
    ("ttl", "lease"),
    ("timeout", "wait"),
];

/// How many problems may be found before no more guesses are made.
const MOST_GUESSES: usize = 100;

pub(super) struct Reader<'t> {
    text: &'t str,
    gaps: &'t Gaps,
    pub(super) policy: Policy,
    /// The position in the text of each place of the policy.
    pub(super) spans: HashMap<PolicyPlace, Range<usize>>,
    /// Places whose text is unusable, or may be. The checks skip them.
    pub(super) unread: HashSet<PolicyPlace>,
    pub(super) found: Vec<FileProblem>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str, gaps: &'t Gaps, found: Vec<FileProblem>) -> Reader<'t> {
        let (policy, spans, unread) = (Policy::new(), HashMap::new(), HashSet::new());
        Reader { text, gaps, policy, spans, unread, found }
    }

    pub(super) fn file(&mut self, tree: &DeTable<'_>) {
        if self.gaps.sections {
            self.unread.insert(PolicyPlace::Policy);
        }
        for (key, at, value) in entries(tree) {
            match key {
                "facts" => self.facts(value),
                "limit" => self.sections(key, value, Self::limit),
                "override" => self.sections(key, value, Self::change),
                _ => {
                    let meant = self.unknown("a policy", key, at, TOP);
                    if meant == Some("limit") {
                        self.unread.insert(PolicyPlace::Policy);
                    }
                }
            }
        }
    }

    fn facts(&mut self, value: &TomlValue<'_>) {
        let before = self.found.len();
        self.policy.facts =
            self.names("facts", value, "facts = [\"ip\", \"user\"]", PolicyPlace::Fact);
        self.spans.insert(PolicyPlace::Facts, value.span());
        if self.found.len() > before {
            self.skip(PolicyPlace::Facts);
        }
    }

    fn sections(
        &mut self,
        key: &str,
        value: &TomlValue<'_>,
        mut read: impl FnMut(&mut Self, Range<usize>, &DeTable<'_>),
    ) {
        let hint = format!("write `[[{key}]]`, in double brackets, above each");
        match value.get_ref() {
            DeValue::Array(items) => {
                for item in items.iter() {
                    match item.get_ref() {
                        DeValue::Table(table) => read(self, item.span(), table),
                        other => {
                            let what = format!("each `{key}` is a table, not {}", given(other));
                            self.report(item.span(), what, Some(hint.clone()));
                            self.unread.insert(PolicyPlace::Policy);
                        }
                    }
                }
            }
            DeValue::Table(table) => {
                self.report(value.span(), format!("`{key}` is a list of tables"), Some(hint));
                // The parser has reported each further header of this name as a duplicate. It is
                // the same mistake, so drop those reports.
                let text = self.text;
                self.found.retain(|found| {
                    let duplicate = found.what == format!("`{key}` is there twice");
                    let before = text.get(..found.span.start).unwrap_or_default();
                    !(duplicate && before.trim_end_matches([' ', '\t']).ends_with('['))
                });
                self.unread.insert(PolicyPlace::Policy);
                // A table that only a dotted key implies has the span of the key, and is not a
                // section.
                if text.get(value.span()).is_some_and(|header| header.starts_with(['[', '{'])) {
                    read(self, value.span(), table);
                }
            }
            other => {
                let what = format!("`{key}` is a list of tables, not {}", given(other));
                self.report(value.span(), what, Some(hint));
                self.unread.insert(PolicyPlace::Policy);
            }
        }
    }

    /// Reports a key that `of` does not have, and returns the key that was probably meant.
    fn unknown(
        &mut self,
        of: &str,
        key: &str,
        at: Range<usize>,
        known: &[&'static str],
    ) -> Option<&'static str> {
        let alias = ALIASES.iter().find(|(alias, real)| *alias == key && known.contains(real));
        let meant = match alias {
            Some((_, meant)) => Some(*meant),
            None => self.guess(&key.to_lowercase().replace('-', "_"), known.iter().copied()),
        };
        let known = known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        let hint = meant.map_or_else(|| format!("it has {known}"), did_you_mean);
        self.report(at, format!("{of} has no key `{}`", Shown(key)), Some(hint));
        meant
    }

    fn guess<'a>(&self, given: &str, among: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        if self.found.len() < MOST_GUESSES { nearest(given, among) } else { None }
    }

    fn report(&mut self, span: Range<usize>, what: String, hint: Option<String>) {
        self.found.push(FileProblem { span, what, hint });
    }

    fn skip(&mut self, place: PolicyPlace) {
        self.unread.insert(place);
    }
}

/// The entries of a table in the order of the text.
fn entries<'v, 't>(table: &'v DeTable<'t>) -> Vec<(&'v str, Range<usize>, &'v TomlValue<'t>)> {
    let mut entries: Vec<_> =
        table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
    entries.sort_by_key(|(_, at, _)| at.start);
    entries
}
