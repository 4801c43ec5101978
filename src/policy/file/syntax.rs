//! Finds the statements of a file that are not TOML and leaves them out, so that one mistake does
//! not hide the problems after it. What the remaining statements mean is read in `read`.

use std::borrow::Cow;
use std::ops::Range;

use toml::de::{DeTable, Error};

use super::FileProblem;

/// A document in which every statement is valid TOML.
pub(super) struct Mended<'t> {
    /// The text, with spaces in place of invalid statements. No byte offset changes.
    pub(super) text: Cow<'t, str>,
    pub(super) gaps: Gaps,
}

/// Where statements were left out.
#[derive(Default)]
pub(super) struct Gaps {
    /// Offsets at which left-out statements begin. `headers`: at which sections begin. Both are
    /// sorted.
    statements: Vec<usize>,
    headers: Vec<usize>,
    /// Whether a whole section may be missing.
    pub(super) sections: bool,
}

impl Gaps {
    /// Whether a statement was left out of the section whose header is at `header`.
    pub(super) fn in_section(&self, header: usize) -> bool {
        let next = self.headers.partition_point(|at| *at <= header);
        let end = self.headers.get(next).copied().unwrap_or(usize::MAX);
        let gap = self.statements.partition_point(|at| *at < header);
        self.statements.get(gap).is_some_and(|at| *at < end)
    }
}

/// Leaves out every statement of `text` that is not TOML, and reports the first mistake in each.
pub(super) fn mend<'t>(text: &'t str, found: &mut Vec<FileProblem>) -> Mended<'t> {
    if DeTable::parse(text).is_ok() {
        return Mended { text: Cow::Borrowed(text), gaps: Gaps::default() };
    }
    let mut gaps = Gaps::default();
    let mut sound = text.as_bytes().to_vec();
    let mut lost_section = false;
    for statement in statements(text) {
        let source = text.get(statement.clone()).unwrap_or_default();
        let begin = statement.start + (source.len() - source.trim_start().len());
        let is_header = source.trim_start().starts_with('[');
        let error = DeTable::parse(source).err();
        if is_header {
            lost_section = error.is_some();
            gaps.headers.push(begin);
        }
        if error.is_some() {
            gaps.sections |= is_header || gaps.headers.is_empty();
            gaps.statements.push(begin);
        }
        if let Some(error) = &error {
            found.push(explain(error, source, statement.start));
        }
        // After very many mistakes the rest is not read, since it would only take time.
        let too_many = found.len() > super::MAX_PROBLEMS;
        gaps.sections |= too_many;
        if too_many {
            sound.truncate(statement.start);
            break;
        }
        if error.is_some() || lost_section {
            let bytes = sound.get_mut(statement).unwrap_or_default();
            bytes.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        }
    }
    // Only whole statements are blanked, so this is valid UTF-8.
    let text = String::from_utf8(sound).unwrap_or_default();
    Mended { text: Cow::Owned(text), gaps }
}

/// Explains an error of the parser to the author of `source`, which begins at `offset` in the file.
pub(super) fn explain(error: &Error, source: &str, offset: usize) -> FileProblem {
    let span = error.span().unwrap_or_default();
    let given = source.get(span.clone()).unwrap_or_default();
    let found = |span: Range<usize>, what: String, hint: Option<String>| FileProblem {
        span: span.start + offset..span.end + offset,
        what,
        hint,
    };
    let message = error.message();
    if message == "duplicate key" {
        let what = format!("`{given}` is there twice");
        return found(span, what, Some("leave one of them out".to_owned()));
    }
    if message.starts_with("string values must be quoted") && !given.is_empty() {
        let what = format!("`{}` is neither a number nor in quotes", super::Shown(given));
        let quotable = given.chars().all(|c| !c.is_control() && !matches!(c, '"' | '\''));
        let hint = format!("write `\"{}\"`", super::Shown(given));
        return found(span, what, quotable.then_some(hint));
    }
    // Something is missing: mark the end of the text before it, not the line after.
    let before = source.get(..span.start).unwrap_or(source);
    let there = before.trim_end().len();
    let span = if given.is_empty() && before.get(there..).is_some_and(|gap| gap.contains('\n')) {
        there..there
    } else {
        span
    };
    if message.starts_with("string values must be quoted") {
        return found(span, "a value is missing".to_owned(), None);
    }
    found(span, format!("this is no TOML: {message}"), None)
}

/// Splits a document into statements. A statement is a header, or a key and its value, with the
/// blank space and comments before it.
///
/// A statement ends with its line unless a bracket or a string is open. It also ends where an open
/// bracket is followed by a line that can only be another statement.
fn statements(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let rest = |at: usize| bytes.get(at..).unwrap_or_default();
    let mut statements = Vec::new();
    let mut open = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(&byte) = bytes.get(at) {
        at += match byte {
            b'#' => line(rest(at)).len(),
            b'"' | b'\'' => string(rest(at)),
            _ => 1,
        };
        match byte {
            b'[' | b'{' => open.push(byte),
            b']' | b'}' => {
                open.pop();
            }
            b'\n' => {
                let next = line(rest(at));
                let ends = match open.last() {
                    None => true,
                    Some(b'[') => is_header(next) || is_key(next),
                    Some(_) => is_header(next),
                };
                if ends {
                    open.clear();
                    statements.push(start..at);
                    start = at;
                }
            }
            _ => {}
        }
    }
    if start < at {
        statements.push(start..at);
    }
    statements
}

fn line(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b'\n').next().unwrap_or_default()
}

/// The length of the string at the start of `text`. A string that is not closed ends with its line,
/// or with the text if it may have several lines.
fn string(text: &[u8]) -> usize {
    let Some(&quote) = text.first() else { return 0 };
    let triple = [quote; 3];
    let long = text.starts_with(&triple);
    let mut at = if long { 3 } else { 1 };
    while let Some(&byte) = text.get(at) {
        let here = text.get(at..).unwrap_or_default();
        if byte == b'\\' && quote == b'"' && !here.starts_with(b"\\\n") {
            at += 2;
        } else if long && here.starts_with(&triple) {
            return at + 3;
        } else if !long && byte == quote {
            return at + 1;
        } else if !long && byte == b'\n' {
            return at;
        } else {
            at += 1;
        }
    }
    text.len()
}

/// Whether a line is `[name]` or `[[name]]`.
fn is_header(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let Some(inner) = line.strip_prefix(b"[[").or_else(|| line.strip_prefix(b"[")) else {
        return false;
    };
    let name = bare(inner);
    let after = inner.get(name..).unwrap_or_default();
    let starts = inner.first().is_some_and(u8::is_ascii_alphabetic);
    starts && matches!(after, b"]" | b"]]")
}

/// Whether a line begins with `key =`.
fn is_key(line: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    let key = bare(line);
    key > 0 && line.get(key..).unwrap_or_default().trim_ascii_start().starts_with(b"=")
}

/// The length of the bare key at the start of `text`.
fn bare(text: &[u8]) -> usize {
    let is_bare = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
    text.iter().take_while(|byte| is_bare(byte)).count()
}
