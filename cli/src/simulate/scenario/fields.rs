//! Reads a table of TOML key by key, and reports what is wrong and where. It knows nothing of
//! scenarios.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(crate) type Value<'t> = Spanned<DeValue<'t>>;

/// An error shows at most this many characters of a line, at most `EXCERPT_BEFORE` of them before
/// the error.
const EXCERPT: usize = 100;
const EXCERPT_BEFORE: usize = 60;

/// The problems of a text.
pub(crate) struct Problems<'t> {
    text: &'t str,
    found: Vec<Problem>,
}

struct Problem {
    span: Range<usize>,
    what: String,
    hint: Option<String>,
}

/// The types that a value may have.
pub(crate) struct Kind<T> {
    pub(crate) is: &'static str,
    pub(crate) example: &'static str,
    pub(crate) read: fn(&DeValue<'_>) -> Option<T>,
}

/// A table, read key by key. Keys that are never read are reported as unknown.
pub(crate) struct Fields<'a, 't> {
    /// What the table describes, such as `a group of clients`.
    pub(crate) of: &'static str,
    pub(crate) at: Range<usize>,
    table: &'a DeTable<'t>,
    asked: Vec<&'static str>,
}

impl<'t> Problems<'t> {
    pub(crate) fn of(text: &'t str) -> Problems<'t> {
        Problems { text, found: Vec::new() }
    }

    pub(crate) fn report(&mut self, span: Range<usize>, what: String, hint: Option<String>) {
        self.found.push(Problem { span, what, hint });
    }

    /// The number of problems.
    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// Each problem as a block of lines, in the order of the text, after the file's name.
    pub(crate) fn blocks(mut self, name: &str) -> Vec<String> {
        self.found.sort_by_key(|problem| problem.span.start);
        let block = |problem: &Problem| format!("{name}:{}", Block { text: self.text, problem });
        self.found.iter().map(block).collect()
    }
}

/// A problem with its line, formatted like the problems of a policy.
struct Block<'a> {
    text: &'a str,
    problem: &'a Problem,
}

impl fmt::Display for Block<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Block { text, problem: Problem { span, what, hint } } = self;
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(line_start..).map_or(0, |head| head.chars().count()) + 1;
        let whole = text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or("");
        let cut = (column - 1).saturating_sub(EXCERPT_BEFORE);
        let shown: String = whole
            .chars()
            .skip(cut)
            .take(EXCERPT)
            .enumerate()
            .map(|(place, c)| match c {
                _ if place == 0 && cut > 0 => '…',
                c if c.is_control() => ' ',
                c => c,
            })
            .collect();
        let indent = column - 1 - cut;
        let meant = text.get(span.clone()).and_then(|meant| meant.lines().next()).unwrap_or("");
        let room = shown.chars().count().saturating_sub(indent).max(1);
        let marks = meant.chars().count().clamp(1, room);
        let gutter = line.to_string().len();
        writeln!(f, "{line}:{column}: {what}")?;
        writeln!(f, "{:gutter$} |", "")?;
        writeln!(f, "{line} | {shown}")?;
        write!(f, "{:gutter$} | {:indent$}{:^<marks$}", "", "", "")?;
        hint.iter().try_for_each(|hint| write!(f, "\n{:gutter$} = hint: {hint}", ""))
    }
}

impl<'a, 't> Fields<'a, 't> {
    pub(crate) fn new(of: &'static str, at: Range<usize>, table: &'a DeTable<'t>) -> Self {
        Fields { of, at, table, asked: Vec::new() }
    }

    /// The fields of a value that has to be a table.
    pub(crate) fn of_table(
        of: &'static str,
        value: &'a Value<'t>,
        problems: &mut Problems<'_>,
    ) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(table) => Some(Fields::new(of, value.span(), table)),
            other => {
                let what = format!("{of} is a table, not {}", given(other));
                problems.report(value.span(), what, None);
                None
            }
        }
    }

    /// A value as it is.
    pub(crate) fn value(&mut self, key: &'static str) -> Option<&'a Value<'t>> {
        self.asked.push(key);
        self.table.get(key)
    }

    /// An optional value of a kind.
    pub(crate) fn get<T>(
        &mut self,
        key: &'static str,
        kind: &Kind<T>,
        problems: &mut Problems<'_>,
    ) -> Option<T> {
        let value = self.value(key)?;
        let read = (kind.read)(value.get_ref());
        if read.is_none() {
            let what = format!("`{key}` is {}, not {}", kind.is, given(value.get_ref()));
            let hint = format!("as in `{key} = {}`", kind.example);
            problems.report(value.span(), what, Some(hint));
        }
        read
    }

    /// A required value of a kind.
    pub(crate) fn need<T>(
        &mut self,
        key: &'static str,
        kind: &Kind<T>,
        problems: &mut Problems<'_>,
    ) -> Option<T> {
        if self.table.get(key).is_none() {
            self.asked.push(key);
            self.lacks(key, kind.example, problems);
            return None;
        }
        self.get(key, kind, problems)
    }

    /// Reports that a key is missing.
    pub(crate) fn lacks(&self, key: &str, example: &str, problems: &mut Problems<'_>) {
        let what = format!("{} needs `{key}`", self.of);
        problems.report(self.at.clone(), what, Some(format!("as in `{key} = {example}`")));
    }

    /// The tables of a list `[[key]]`.
    pub(crate) fn tables(
        &mut self,
        key: &'static str,
        of: &'static str,
        problems: &mut Problems<'_>,
    ) -> Vec<Fields<'a, 't>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        match value.get_ref() {
            DeValue::Array(items) => {
                items.iter().filter_map(|item| Fields::of_table(of, item, problems)).collect()
            }
            other => {
                let what = format!("`{key}` is a list of tables, not {}", given(other));
                let hint = format!("write `[[{key}]]`, in double brackets, above each");
                problems.report(value.span(), what, Some(hint));
                Vec::new()
            }
        }
    }

    /// The span of a value, or of the whole table if the key is missing.
    pub(crate) fn span(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or(self.at.clone(), Spanned::span)
    }

    /// Reports the keys that were never read.
    pub(crate) fn finish(self, problems: &mut Problems<'_>) {
        for (key, _) in self.table.iter() {
            let name = key.get_ref().as_ref();
            if !self.asked.contains(&name) {
                let what = format!("{} has no key `{}`", self.of, crate::text::cut(name, 60));
                let hint = match crate::text::did_you_mean(name, self.asked.iter().copied()) {
                    Some(hint) => hint,
                    None => format!("it has {}", crate::text::listed(&self.asked)),
                };
                problems.report(key.span(), what, Some(hint));
            }
        }
    }
}

/// A value as text for errors.
pub(crate) fn given(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string \"{}\"", crate::text::cut(text, 60)),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
