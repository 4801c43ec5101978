//! What is wrong with a policy, where, and what was probably meant.

use std::fmt;

/// All that is wrong with a policy.
///
/// Prints as one block a problem, ready for a terminal. To name the file, print each of
/// [`problems`](Self::problems) after `file:`, which gives the usual `file:line:column: what`.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyError {
    pub(crate) problems: Vec<Problem>,
}

/// One thing that is wrong with a policy.
///
/// Prints as position and message; if the policy was read from a file, followed by the line and
/// a mark under it; then the hint.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub(crate) place: PolicyPlace,
    pub(crate) what: String,
    pub(crate) hint: Option<String>,
    /// Where in the file it was read from.
    pub(crate) spot: Option<FilePosition>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FilePosition {
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// The line, or what surrounds the place in a long one.
    pub(crate) excerpt: String,
    /// Characters of the excerpt before the mark, and below it.
    pub(crate) mark: (usize, usize),
}

/// Where in a policy a problem is. Numbers count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PolicyPlace {
    Policy,
    /// All of the declared facts.
    Facts,
    /// One of the declared facts.
    Fact(usize),
    Limit(usize, Field),
    Override(usize, Field),
}

/// A part of a limit or of an override.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Field {
    Whole,
    /// A limit's own name, or the one an override is for.
    Name,
    Key,
    /// A fact of a part of the key.
    KeyFact(usize, usize),
    Rate,
    Burst,
    /// All of `when` or `match`.
    Conditions,
    Condition(usize),
    /// One pattern of a condition.
    Pattern(usize, usize),
    Rollout,
    By(usize),
    Cost,
    Algorithm,
    MaxKeys,
    Overflow,
    CarryOver,
    Concurrent,
    Lease,
    Weight,
    Wait,
    MaxWaiters,
    /// What an override changes.
    Change,
}

impl fmt::Display for PolicyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (thing, index, field) = match *self {
            PolicyPlace::Policy => return f.write_str("policy"),
            PolicyPlace::Facts => return f.write_str("facts"),
            PolicyPlace::Fact(index) => return write!(f, "fact {}", index + 1),
            PolicyPlace::Limit(index, field) => ("limit", index, field),
            PolicyPlace::Override(index, field) => ("override", index, field),
        };
        write!(f, "{thing} {}", index + 1)?;
        match field {
            Field::Whole | Field::Change => Ok(()),
            Field::Name if thing == "override" => f.write_str(", limit"),
            Field::Conditions | Field::Condition(_) | Field::Pattern(..) if thing == "override" => {
                f.write_str(", match")
            }
            _ => write!(f, ", {}", field.key()),
        }
    }
}

impl Field {
    /// The key of a limit that it is, or is part of.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Field::Whole | Field::Change => "limit",
            Field::Name => "name",
            Field::Key | Field::KeyFact(..) => "key",
            Field::Rate => "rate",
            Field::Burst => "burst",
            Field::Conditions | Field::Condition(_) | Field::Pattern(..) => "when",
            Field::Rollout | Field::By(_) => "rollout",
            Field::Cost => "cost",
            Field::Algorithm => "algorithm",
            Field::MaxKeys => "max_keys",
            Field::Overflow => "overflow",
            Field::CarryOver => "carry_over",
            Field::Concurrent => "concurrent",
            Field::Lease => "lease",
            Field::Weight => "weight",
            Field::Wait => "wait",
            Field::MaxWaiters => "max_waiters",
        }
    }
}

impl PolicyError {
    /// The problems, in the order of the policy or of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl Problem {
    /// Line in the file it was read from, from 1.
    pub fn line(&self) -> Option<usize> {
        self.spot.as_ref().map(|spot| spot.line)
    }

    /// Column in that line, in characters from 1.
    pub fn column(&self) -> Option<usize> {
        self.spot.as_ref().map(|spot| spot.column)
    }

    /// What is wrong.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { place, what, hint, spot } = self;
        let Some(FilePosition { line, column, excerpt, mark: (before, below) }) = spot else {
            write!(f, "{place}: {what}")?;
            return hint.iter().try_for_each(|hint| write!(f, "; {hint}"));
        };
        let gutter = line.to_string().len();
        writeln!(f, "{line}:{column}: {what}")?;
        writeln!(f, "{:gutter$} |", "")?;
        writeln!(f, "{line} | {excerpt}")?;
        write!(f, "{:gutter$} | {:before$}{:^<below$}", "", "", "")?;
        hint.iter().try_for_each(|hint| write!(f, "\n{:gutter$} = hint: {hint}", ""))
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                // Blocks of several lines are told apart by an empty one.
                f.write_str(if problem.spot.is_some() { "\n\n" } else { "\n" })?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}

/// Text of the user's as part of a message: short, in one line, without control characters.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

const SHOWN_CHARS: usize = 60;

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        for c in chars.by_ref().take(SHOWN_CHARS) {
            if c.is_control() { write!(f, "{}", c.escape_debug())? } else { write!(f, "{c}")? }
        }
        f.write_str(if chars.next().is_some() { "…" } else { "" })
    }
}

/// The candidates looked at, and their characters: bounds for the time a guess takes.
const MOST_CANDIDATES: usize = 1000;
const LONGEST_CANDIDATE: usize = 60;

/// Which of `candidates` was probably meant by `given`.
pub(crate) fn nearest<'a>(
    given: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if given.len() > LONGEST_CANDIDATE {
        return None;
    }
    candidates
        .into_iter()
        .take(MOST_CANDIDATES)
        .filter(|candidate| candidate.len() <= LONGEST_CANDIDATE)
        .map(|candidate| (strsim::damerau_levenshtein(given, candidate), candidate))
        .filter(|(distance, candidate)| {
            let letters = given.chars().count().max(candidate.chars().count());
            *distance < letters && *distance <= letters.max(3) / 3
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The question that goes with [`nearest`].
pub(crate) fn did_you_mean(meant: &str) -> String {
    format!("did you mean `{}`?", Shown(meant))
}
