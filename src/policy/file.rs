//! [`Policy::from_toml`]: reads a policy file, and reports every problem with its line and column.
//!
//! `syntax` leaves out what is not TOML, and `read` makes a [`Policy`] with stand-ins for values
//! that it cannot read. The checks of [`Policy::check`] then run on it and skip what could not be
//! read.

mod read;
mod syntax;

use std::ops::Range;

use super::problem::{Field, FilePosition, PolicyError, PolicyPlace, Problem, Shown};
use super::{Policy, check};
use read::Reader;

/// The size of the largest policy file, in bytes.
const MAX_BYTES: usize = 16 << 20;

/// How many problems of one file are reported.
const MAX_PROBLEMS: usize = 1000;

/// How many characters of a line are shown, and how many of them at most are before the marked
/// place.
const EXCERPT_CHARS: usize = 100;
const EXCERPT_BEFORE: usize = 60;

/// A problem, with its byte range in the file.
struct FileProblem {
    span: Range<usize>,
    what: String,
    hint: Option<String>,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// ```
    /// use tollgate::Policy;
    ///
    /// let policy = Policy::from_toml(r#"
    ///     [[limit]]                         # narrowest first
    ///     name  = "user"
    ///     key   = ["method", "user|ip"]
    ///     rate  = "50/s"
    ///     burst = 100
    ///     when  = { method = ["POST", "PUT"], path = "/api/*" }
    ///
    ///     [[limit]]                         # the one that all requests share last
    ///     name = "all"
    ///     rate = "5000/s"
    ///
    ///     [[override]]
    ///     limit = "user"
    ///     match = { user = "1017" }
    ///     rate  = "500/s"
    /// "#)?;
    /// assert_eq!(policy.limits().len(), 2);
    ///
    /// let error = Policy::from_toml("[[limit]]\nname = \"user\"\nrats = \"50/s\"").unwrap_err();
    /// assert_eq!(error.to_string(), "\
    /// 3:1: a limit has no key `rats`
    ///   |
    /// 3 | rats = \"50/s\"
    ///   | ^^^^
    ///   = hint: did you mean `rate`?");
    /// # Ok::<(), tollgate::PolicyError>(())
    /// ```
    ///
    /// # The file
    ///
    /// | key | value | default |
    /// |---|---|---|
    /// | `facts` | list of the facts that exist; a limit that names any other fact is then an error | any fact |
    /// | `[[limit]]` | a limit; any number, narrowest first | none: everything is admitted |
    /// | `[[override]]` | changes the amount of a limit for some of its keys; the first that matches counts | none |
    ///
    /// A `[[limit]]` limits either a rate or concurrency. Its keys:
    ///
    /// | key | value | default |
    /// |---|---|---|
    /// | `name` | the name in refusals; unique | required |
    /// | `rate` | `"count/period"`, optionally with a burst: `"50/s"`, `"100/10s burst 20"`; periods are in `ns us ms s m h d` | this or `concurrent` is required |
    /// | `concurrent` | slots: how many admitted requests may be in progress, from 0, which refuses everything, to 16777215 | |
    /// | `key` | list of facts to count by; for `"a\|b"`, the first of them that the request has counts, and values of `a` and `b` are different keys | `[]`: all requests count together |
    /// | `when` | `{ fact = "pattern" }` or `{ fact = ["pattern", "pattern"] }`: the limit applies if each fact matches one of its patterns; `*` is any run of characters, including `/`; an integer counts as its decimal text | `{}`: every request |
    /// | `missing` | for requests without a fact of the key: `"marker"` (they count together), `"skip"` (the limit does not apply), `"refuse"` | `"marker"` |
    /// | `mode` | `"enforce"`, `"shadow"` (decides and counts, refuses nothing), `"off"` | `"enforce"` |
    /// | `rollout` | `{ share = "25%", by = ["fact"] }`: the limit applies to that share of the values of `by` | all; `by`: the key |
    /// | `wait` | a duration, as in `"60s"`: how long a request may wait for its turn; the units are those of periods | `"0s"`: it does not wait |
    /// | `max_waiters` | with `wait`: how many callers may wait for one key, from 1 | 1000 |
    ///
    /// Only with `rate`:
    ///
    /// | key | value | default |
    /// |---|---|---|
    /// | `burst` | units that can be admitted at one instant; 0 refuses everything | the count of `rate` |
    /// | `cost` | the fact that gives the cost of a request; 1 if it is missing, refused if it is not a whole number | the cost given by the call |
    /// | `algorithm` | how the limit decides: `"gcra"`, `"leaky-bucket"`, `"fixed-window"`, `"fixed-window-from-first-hit"`, `"fixed-window-shifted-per-key"`, `"fixed-window-counting-denied"`, `"sliding-window"`, `"sliding-granules"`, `"sliding-granules-strict"`, `"sliding-log"`; the sliding ones have no burst: [`AlgorithmName`](crate::policy::AlgorithmName) | `"gcra"` |
    /// | `max_keys` | how many keys can be in debt at once, from 1 | 1048576 |
    /// | `overflow` | for keys beyond that: `"pool"` (they share a few cells), `"deny"`, `"allow"` | `"pool"` |
    /// | `carry_over` | what keys owe after a reload changes the quota: `"debt"` (the same number of units), `"reset"` (nothing: every key starts anew) | `"debt"` |
    ///
    /// Only with `concurrent`:
    ///
    /// | key | value | default |
    /// |---|---|---|
    /// | `lease` | a duration, as in `"300s"`: a slot that is not given back in that time is free again | slots must be given back |
    /// | `weight` | how many slots a request takes, from 1 to the cap | 1 |
    ///
    /// An `[[override]]` needs `rate`, `burst`, `concurrent` or `exempt`. Its keys:
    ///
    /// | key | value | default |
    /// |---|---|---|
    /// | `limit` | the name of the limit | required |
    /// | `match` | the keys it is for, written as in `when`; only facts of the limit's key | required |
    /// | `rate` | another rate | the limit's |
    /// | `burst` | another burst | with `rate` its count, otherwise the limit's |
    /// | `concurrent` | another number of slots; only if the limit has `concurrent`, as `rate` and `burst` only if it has `rate` | the limit's |
    /// | `exempt` | `true`: the limit does not apply to these keys | `false` |
    ///
    /// # Errors
    /// All problems of the file, in the order of the text, each with its line and column and, where
    /// there is a guess, what was probably meant. Of more than 1000 problems, the first 1000. A
    /// file above 16 MiB is refused.
    pub fn from_toml(text: &str) -> Result<Policy, PolicyError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.len() > MAX_BYTES {
            let what = format!("the file has {} bytes; at most {MAX_BYTES} are read", text.len());
            let found = FileProblem { span: 0..0, what, hint: None };
            return Err(PolicyError { problems: place(text, vec![found]) });
        }
        let mut found = Vec::new();
        let mended = syntax::mend(text, &mut found);
        let (tree, errors) = toml::de::DeTable::parse_recoverable(&mended.text);
        found.extend(errors.iter().map(|error| syntax::explain(error, text, 0)));

        let mut reader = Reader::new(&mended.text, &mended.gaps, found);
        reader.file(tree.get_ref());
        let Reader { policy, spans, unread, mut found, .. } = reader;
        found.extend(check::problems(&policy, &unread).into_iter().map(|problem| {
            let mut place = problem.place;
            let span = loop {
                match spans.get(&place) {
                    Some(span) => break span.clone(),
                    None if place == PolicyPlace::Policy => break 0..0,
                    None => place = around(place),
                }
            };
            FileProblem { span, what: problem.what, hint: problem.hint }
        }));
        if found.is_empty() {
            return Ok(policy);
        }
        Err(PolicyError { problems: place(text, found) })
    }
}

/// The next larger place that contains this one.
fn around(place: PolicyPlace) -> PolicyPlace {
    let widen = |field| match field {
        Field::KeyFact(..) => Some(Field::Key),
        Field::Condition(_) => Some(Field::Conditions),
        Field::Pattern(condition, _) => Some(Field::Condition(condition)),
        Field::By(_) => Some(Field::Rollout),
        Field::Whole => None,
        _ => Some(Field::Whole),
    };
    match place {
        PolicyPlace::Limit(index, field) => {
            widen(field).map_or(PolicyPlace::Policy, |field| PolicyPlace::Limit(index, field))
        }
        PolicyPlace::Override(index, field) => {
            widen(field).map_or(PolicyPlace::Policy, |field| PolicyPlace::Override(index, field))
        }
        PolicyPlace::Fact(_) => PolicyPlace::Facts,
        PolicyPlace::Policy | PolicyPlace::Facts => PolicyPlace::Policy,
    }
}

/// Sorts problems by their position in the text, and adds line, column and excerpt.
fn place(text: &str, mut found: Vec<FileProblem>) -> Vec<Problem> {
    found.sort_by_key(|found| found.span.start);
    if found.len() > MAX_PROBLEMS {
        found.truncate(MAX_PROBLEMS + 1);
        if let Some(last) = found.last_mut() {
            last.what = "more problems follow from here on".to_owned();
            last.hint = None;
        }
    }
    let mut cursor = Cursor { text, at: 0, line: 1, line_start: 0, column: 1 };
    let problem = |found: FileProblem| {
        let spot = Some(cursor.spot(&found.span));
        Problem { place: PolicyPlace::Policy, what: found.what, hint: found.hint, spot }
    };
    found.into_iter().map(problem).collect()
}

/// Walks through the text once and counts lines and columns.
struct Cursor<'t> {
    text: &'t str,
    at: usize,
    line: usize,
    line_start: usize,
    column: usize,
}

impl Cursor<'_> {
    /// The position of a span. It must not begin before the span of an earlier call.
    fn spot(&mut self, span: &Range<usize>) -> FilePosition {
        let ahead = self.text.get(self.at..).unwrap_or_default();
        let passed = ahead.char_indices().take_while(|(at, _)| self.at + at < span.start);
        let mut end = self.at;
        for (at, c) in passed {
            end = self.at + at + c.len_utf8();
            self.column += 1;
            if c == '\n' {
                self.line += 1;
                self.line_start = end;
                self.column = 1;
            }
        }
        self.at = end;

        // Looks only at the part of the line that is shown: many problems in one long line would
        // otherwise take quadratic time.
        let before = (self.column - 1).min(EXCERPT_BEFORE);
        let line_before = self.text.get(self.line_start..self.at).unwrap_or_default();
        let from_here = self.text.get(self.at..).unwrap_or_default();
        let room = EXCERPT_CHARS - before;
        let near = from_here.char_indices().nth(room).map_or(from_here, |(at, _)| &from_here[..at]);
        let here = near.split(['\n', '\r']).next().unwrap_or_default();
        let meant = here.char_indices().take_while(|(at, _)| *at < span.len()).count();

        let mut shown: Vec<char> = here.chars().rev().collect();
        shown.extend(line_before.chars().rev().take(before));
        let mut excerpt = String::new();
        let cut = before < self.column - 1;
        excerpt.extend(cut.then_some('…'));
        excerpt.extend(shown.into_iter().rev().map(printable));
        if here.len() == near.len() && near.len() < from_here.len() {
            excerpt.push('…');
        }
        let mark = (before + usize::from(cut), meant.max(1));
        FilePosition { line: self.line, column: self.column, excerpt, mark }
    }
}

/// Replaces a character that does not take up exactly one column.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}
