//! From TOML's tree to plain data, value by value, noting where each stands.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::super::problem::{Field, Place, Shown, did_you_mean, nearest};
use super::super::{
    Change, Condition, Limit, Missing, Mode, Override, Part, Policy, Rollout, Share,
};
use super::Found;
use super::syntax::Gaps;
use crate::cells::Overflow;
use crate::quota::{Quota, QuotaError};

type Value<'t> = Spanned<DeValue<'t>>;

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
];
const OVERRIDE: &[&str] = &["limit", "match", "rate", "burst", "exempt"];
const ROLLOUT: &[&str] = &["share", "by"];

/// Keys of concurrency limits and of waiting, which only later versions offer.
const LATER: &[&str] = &["concurrent", "lease", "wait", "max_waiters", "weight"];
const LATER_ALGORITHMS: &[&str] = &["fixed-window", "sliding-window", "sliding-log"];

/// Names that people give a key by.
const ALIASES: &[(&str, &str)] = &[
    ("quota", "rate"),
    ("limits", "limit"),
    ("overrides", "override"),
    ("by", "key"),
    ("match", "when"),
    ("when", "match"),
    ("capacity", "max_keys"),
];

/// In place of a rate that could not be read.
const STAND_IN: Quota = Quota::per_second(1);

/// Problems that get a guess at what was meant.
const MOST_GUESSES: usize = 100;

pub(super) struct Reader<'t> {
    text: &'t str,
    gaps: &'t Gaps,
    pub(super) policy: Policy,
    /// Where in the text each place of the policy stands.
    pub(super) spans: HashMap<Place, Range<usize>>,
    /// Places of which the text says something that was no good, or may have.
    pub(super) unread: HashSet<Place>,
    pub(super) found: Vec<Found>,
}

/// A number of units and where it stands.
type Burst = (u64, Range<usize>);

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str, gaps: &'t Gaps, found: Vec<Found>) -> Reader<'t> {
        let (policy, spans, unread) = (Policy::new(), HashMap::new(), HashSet::new());
        Reader { text, gaps, policy, spans, unread, found }
    }

    pub(super) fn file(&mut self, tree: &DeTable<'_>) {
        if self.gaps.sections {
            self.unread.insert(Place::Policy);
        }
        for (key, at, value) in entries(tree) {
            match key {
                "facts" => self.facts(value),
                "limit" => self.sections(key, value, Self::limit),
                "override" => self.sections(key, value, Self::change),
                _ => {
                    let meant = self.unknown("a policy", key, at, TOP);
                    if meant == Some("limit") {
                        self.unread.insert(Place::Policy);
                    }
                }
            }
        }
    }

    fn facts(&mut self, value: &Value<'_>) {
        let before = self.found.len();
        self.policy.facts = self.names("facts", value, "facts = [\"ip\", \"user\"]", Place::Fact);
        self.spans.insert(Place::Facts, value.span());
        if self.found.len() > before {
            self.skip(Place::Facts);
        }
    }

    fn sections(
        &mut self,
        key: &str,
        value: &Value<'_>,
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
                            self.unread.insert(Place::Policy);
                        }
                    }
                }
            }
            DeValue::Table(table) => {
                self.report(value.span(), format!("`{key}` is a list of tables"), Some(hint));
                // Each further `[key]` or `[[key]]` is then a duplicate: one mistake.
                let text = self.text;
                self.found.retain(|found| {
                    let duplicate = found.what == format!("`{key}` is there twice");
                    let before = text.get(..found.span.start).unwrap_or_default();
                    !(duplicate && before.trim_end_matches([' ', '\t']).ends_with('['))
                });
                self.unread.insert(Place::Policy);
                // The span of a table that only a dotted name implies is that of the name.
                if text.get(value.span()).is_some_and(|header| header.starts_with(['[', '{'])) {
                    read(self, value.span(), table);
                }
            }
            other => {
                let what = format!("`{key}` is a list of tables, not {}", given(other));
                self.report(value.span(), what, Some(hint));
                self.unread.insert(Place::Policy);
            }
        }
    }

    fn limit(&mut self, header: Range<usize>, table: &DeTable<'_>) {
        let index = self.policy.limits.len();
        let at = |field| Place::Limit(index, field);
        self.spans.insert(at(Field::Whole), header.clone());
        let mut limit = Limit::new("", STAND_IN);
        // Keys that there are, or were meant, or may have been in what could not be read.
        let mut seen = Vec::new();
        let mut rate = None;
        let mut burst = None;
        for (key, key_at, value) in entries(table) {
            seen.push(key);
            match key {
                "name" => match self.string(key, value, "name = \"user\"") {
                    Some(name) => {
                        self.spans.insert(at(Field::Name), value.span());
                        limit.name = name.to_owned();
                    }
                    None => self.skip(at(Field::Name)),
                },
                "key" => {
                    let fact = |part| at(Field::KeyFact(part, 0));
                    let before = self.found.len();
                    let parts = self.names(key, value, "key = [\"user\"]", fact);
                    self.spans.insert(at(Field::Key), value.span());
                    limit.key = parts.iter().flatten().map(|part| Part::new(part)).collect();
                    if self.found.len() > before {
                        self.skip(at(Field::Key));
                    }
                    self.alternatives(index, &limit.key);
                }
                "rate" => rate = Some(value),
                "burst" => burst = Some((key_at, self.burst(value))),
                "when" => limit.when = self.conditions(key, value, at),
                "missing" => {
                    let choices = [
                        ("marker", Missing::Marker),
                        ("skip", Missing::Skip),
                        ("refuse", Missing::Refuse),
                    ];
                    limit.missing = self.choice(key, value, &choices).unwrap_or_default();
                }
                "mode" => {
                    let choices =
                        [("enforce", Mode::Enforce), ("shadow", Mode::Shadow), ("off", Mode::Off)];
                    limit.mode = self.choice(key, value, &choices).unwrap_or_default();
                }
                "rollout" => {
                    self.spans.insert(at(Field::Rollout), value.span());
                    limit.rollout = self.rollout(index, value);
                }
                "cost" => {
                    self.spans.insert(at(Field::Cost), value.span());
                    limit.cost = self.string(key, value, "cost = \"tokens\"").map(str::to_owned);
                }
                "algorithm" => self.algorithm(value),
                "max_keys" => {
                    self.spans.insert(at(Field::MaxKeys), value.span());
                    let keys = self.whole(key, value, "from 1");
                    // Beyond what the machine can address is as good as without bound.
                    limit.max_keys = keys
                        .map_or(limit.max_keys, |keys| usize::try_from(keys).unwrap_or(usize::MAX));
                }
                "overflow" => {
                    let choices = [
                        ("pool", Overflow::Pool),
                        ("deny", Overflow::Deny),
                        ("allow", Overflow::Allow),
                    ];
                    limit.overflow = self.choice(key, value, &choices).unwrap_or_default();
                }
                _ => seen.extend(self.unknown("a limit", key, key_at, LIMIT)),
            }
        }
        let partial = self.gaps.in_section(header.start);
        let capped = seen.iter().any(|key| LATER.contains(key));
        if !table.contains_key("name") {
            if !partial && !seen.contains(&"name") {
                let hint = "refusals name it: `name = \"user\"`".to_owned();
                self.report(header.clone(), "the limit has no name".to_owned(), Some(hint));
            }
            self.skip(at(Field::Name));
        }
        if !table.contains_key("key") && (partial || seen.contains(&"key")) {
            self.skip(at(Field::Key));
        }
        match rate.map(|rate| self.quota(rate, burst)) {
            Some(Some(quota)) => limit.quota = quota,
            Some(None) => self.skip(at(Field::Rate)),
            None => {
                if !partial && !capped && !seen.contains(&"rate") {
                    let hint = "give it one: `rate = \"50/s\"`".to_owned();
                    self.report(header, "the limit has no rate".to_owned(), Some(hint));
                }
                self.skip(at(Field::Rate));
            }
        }
        self.policy.limits.push(limit);
    }

    fn change(&mut self, header: Range<usize>, table: &DeTable<'_>) {
        let index = self.policy.overrides.len();
        let at = |field| Place::Override(index, field);
        self.spans.insert(at(Field::Whole), header.clone());
        let mut change = Override::new("");
        let mut seen = Vec::new();
        let mut rate = None;
        let mut burst = None;
        let mut exempt = None;
        for (key, key_at, value) in entries(table) {
            seen.push(key);
            match key {
                "limit" => match self.string(key, value, "limit = \"user\"") {
                    Some(name) => {
                        self.spans.insert(at(Field::Name), value.span());
                        change.limit = name.to_owned();
                    }
                    None => self.skip(at(Field::Name)),
                },
                "match" => change.matches = self.conditions(key, value, at),
                "rate" => rate = Some(value),
                "burst" => burst = Some((key_at, self.burst(value))),
                "exempt" => match value.get_ref() {
                    DeValue::Boolean(true) => exempt = Some(key_at),
                    DeValue::Boolean(false) => {}
                    other => {
                        let what = format!("`exempt` is true or false, not {}", given(other));
                        self.report(value.span(), what, None);
                        self.skip(at(Field::Change));
                    }
                },
                _ if LIMIT.contains(&key) && !(key == "when" || key == "key") => {
                    let what = format!("an override cannot change `{key}`");
                    let hint = "only `rate`, `burst` and `exempt`".to_owned();
                    self.report(key_at, what, Some(hint));
                    self.skip(at(Field::Change));
                }
                _ => seen.extend(self.unknown("an override", key, key_at, OVERRIDE)),
            }
        }
        let partial = self.gaps.in_section(header.start);
        if !table.contains_key("limit") {
            if !partial && !seen.contains(&"limit") {
                let hint = "say of which: `limit = \"user\"`".to_owned();
                self.report(header, "the override names no limit".to_owned(), Some(hint));
            }
            self.skip(at(Field::Name));
        }
        if !table.contains_key("match") && (partial || seen.contains(&"match")) {
            self.skip(at(Field::Conditions));
        }
        let meant = ["rate", "burst", "exempt"]
            .iter()
            .any(|key| seen.contains(key) && !table.contains_key(*key));
        if partial || meant || seen.iter().any(|key| LATER.contains(key)) {
            self.skip(at(Field::Change));
        }
        if let (Some(exempt), true) = (&exempt, rate.is_some() || burst.is_some()) {
            let what = "an exempt key has no rate and no burst".to_owned();
            let hint = "leave out `exempt`, or `rate` and `burst`".to_owned();
            self.report(exempt.clone(), what, Some(hint));
        }
        change.change = match (exempt, rate, burst) {
            (Some(_), ..) => Change::Exempt,
            (None, Some(rate), burst) => match self.quota(rate, burst) {
                Some(quota) => Change::Quota { quota },
                None => {
                    self.skip(at(Field::Change));
                    Change::Nothing
                }
            },
            (None, None, Some((_, Some((burst, span))))) => {
                self.spans.insert(at(Field::Burst), span);
                Change::Burst { burst }
            }
            (None, None, Some((_, None))) => {
                self.skip(at(Field::Change));
                Change::Nothing
            }
            (None, None, None) => Change::Nothing,
        };
        self.policy.overrides.push(change);
    }

    /// Rate and burst together; the burst with where its key stands, if there is one.
    fn quota(
        &mut self,
        rate: &Value<'_>,
        burst: Option<(Range<usize>, Option<Burst>)>,
    ) -> Option<Quota> {
        let text = match rate.get_ref() {
            DeValue::String(text) => text,
            other => {
                let example = match other {
                    DeValue::Integer(count) => {
                        format!("rate = \"{}/s\"", Shown(count.as_str()))
                    }
                    _ => "rate = \"50/s\"".to_owned(),
                };
                self.mistyped("rate", rate, "a string", &example);
                return None;
            }
        };
        let has_burst = text.split_whitespace().nth(1) == Some("burst");
        let mut whole = text.to_string();
        let mut burst_at = None;
        match burst {
            Some((key_at, _)) if has_burst => {
                let what = "the burst is given twice: here and in `rate`".to_owned();
                self.report(key_at, what, Some("leave one of them out".to_owned()));
            }
            Some((_, Some((burst, span)))) => {
                whole = format!("{text} burst {burst}");
                burst_at = Some(span);
            }
            Some((_, None)) | None => {}
        }
        // Only as a whole: a rate may need a burst below its count to be possible.
        let error = match whole.parse() {
            Ok(quota) => return Some(quota),
            Err(error) => error,
        };
        let about_burst = matches!(error, QuotaError::BurstTooLarge | QuotaError::TooSlow);
        match burst_at {
            Some(span) if about_burst => self.report(span, error.to_string(), None),
            _ => {
                let what = format!("`{}` is no rate: {error}", Shown(text));
                self.report(rate.span(), what, None);
            }
        }
        None
    }

    fn burst(&mut self, value: &Value<'_>) -> Option<Burst> {
        self.whole("burst", value, "from 0").map(|burst| (burst, value.span()))
    }

    fn conditions(
        &mut self,
        key: &str,
        value: &Value<'_>,
        at: impl Fn(Field) -> Place,
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

    fn rollout(&mut self, index: usize, value: &Value<'_>) -> Option<Rollout> {
        let at = |field| Place::Limit(index, field);
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
        // Any share will do for the checks; the policy is not used if there was a problem.
        Some(Rollout { share: share.unwrap_or(Share::percent(100)), by })
    }

    fn share(&mut self, value: &Value<'_>) -> Option<Share> {
        let example = match value.get_ref() {
            DeValue::Integer(number) => format!("share = \"{}%\"", Shown(number.as_str())),
            DeValue::Float(number) => format!("share = \"{}%\"", Shown(number.as_str())),
            _ => "share = \"25%\"".to_owned(),
        };
        let text = self.string("share", value, &example)?;
        match text.parse() {
            Ok(share) => Some(share),
            Err(error) => {
                let error: super::super::ShareError = error;
                let what = format!("`{}` is no share: {error}", Shown(text));
                self.report(value.span(), what, None);
                None
            }
        }
    }

    fn algorithm(&mut self, value: &Value<'_>) {
        match value.get_ref() {
            DeValue::String(name) if LATER_ALGORITHMS.contains(&name.as_ref()) => {
                let what = format!("this version decides with `gcra` only, not with `{name}`");
                self.report(value.span(), what, Some("leave `algorithm` out".to_owned()));
            }
            _ => {
                self.choice("algorithm", value, &[("gcra", ())]);
            }
        }
    }

    /// A value that is one of a few words.
    fn choice<T: Copy>(
        &mut self,
        key: &str,
        value: &Value<'_>,
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

    fn string<'v>(&mut self, key: &str, value: &'v Value<'_>, example: &str) -> Option<&'v str> {
        if let DeValue::String(text) = value.get_ref() {
            return Some(text);
        }
        self.mistyped(key, value, "a string", example);
        None
    }

    /// A list of names, each noted at its place.
    fn names(
        &mut self,
        key: &str,
        value: &Value<'_>,
        example: &str,
        at: impl Fn(usize) -> Place,
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

    /// Where each alternative of each key part stands, if the text shows them as they are.
    fn alternatives(&mut self, index: usize, parts: &[Part]) {
        for (nth, part) in parts.iter().enumerate() {
            let Some(span) = self.spans.get(&Place::Limit(index, Field::KeyFact(nth, 0))).cloned()
            else {
                continue;
            };
            let plain = self.text.get(span.start + 1..span.end.saturating_sub(1));
            let is_plain = plain.is_some_and(|text| text.split('|').eq(part.facts.iter()));
            let mut start = span.start + 1;
            for (which, fact) in part.facts.iter().enumerate() {
                let end = start + fact.len();
                // A single fact is marked with its quotes, and so is what is not plain.
                let at = if is_plain && part.facts.len() > 1 { start..end } else { span.clone() };
                self.spans.insert(Place::Limit(index, Field::KeyFact(nth, which)), at);
                start = end + 1;
            }
        }
    }

    fn whole(&mut self, key: &str, value: &Value<'_>, range: &str) -> Option<u64> {
        let number = match value.get_ref() {
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let whole = number.and_then(|number| u64::try_from(number).ok());
        if whole.is_none() {
            let given = given(value.get_ref());
            let what = format!("`{key}` is a whole number {range} to 2^64 - 1, not {given}");
            self.report(value.span(), what, None);
        }
        whole
    }

    fn mistyped(&mut self, key: &str, value: &Value<'_>, expected: &str, example: &str) {
        let what = format!("`{key}` is {expected}, not {}", given(value.get_ref()));
        self.report(value.span(), what, Some(format!("write `{example}`")));
    }

    /// Reports a key that `of` does not have, and gives the one that was probably meant.
    fn unknown(
        &mut self,
        of: &str,
        key: &str,
        at: Range<usize>,
        known: &[&'static str],
    ) -> Option<&'static str> {
        let capped =
            (known == LIMIT && LATER.contains(&key)) || (known == OVERRIDE && key == "concurrent");
        if capped {
            let what = format!("`{key}` is not offered yet: this version limits rates only");
            self.report(at, what, None);
            return None;
        }
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
        self.found.push(Found { span, what, hint });
    }

    fn skip(&mut self, place: Place) {
        self.unread.insert(place);
    }
}

/// A table's entries in the order of the text.
fn entries<'v, 't>(table: &'v DeTable<'t>) -> Vec<(&'v str, Range<usize>, &'v Value<'t>)> {
    let mut entries: Vec<_> =
        table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
    entries.sort_by_key(|(_, at, _)| at.start);
    entries
}

/// A whole number of any radix as decimal text.
fn decimal(number: &DeInteger<'_>) -> Option<String> {
    i128::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
}

/// What a value is, in words.
fn given(value: &DeValue<'_>) -> String {
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
