//! [`Problem`] and [`PolicyError`]: what is wrong with a policy, where, and what was probably
//! meant. The problems are found in `check` and `file`.

use std::fmt;

/// All problems of a policy.
///
/// Displays one block for each problem, suitable for a terminal. To include the name of the file,
/// print each of the [`problems`](Self::problems) after `file:`, for the usual form
/// `file:line:column: what`.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyError {
    pub(crate) problems: Vec<Problem>,
}

/// One problem of a policy.
///
/// Displays the position and the message; then, if the policy was read from a file, the line with a
/// mark under it; then the hint.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub(crate) place: PolicyPlace,
    pub(crate) what: String,
    pub(crate) hint: Option<String>,
    /// The position in the file. `None`: the policy was not read from a file.
    pub(crate) spot: Option<FilePosition>,
}

/// A position in a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FilePosition {
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// The line, or the part of a long line around the position.
    pub(crate) excerpt: String,
    /// How many characters of the excerpt come before the mark, and how many are marked.
    pub(crate) mark: (usize, usize),
}

/// The place of a problem in a policy. Indexes start at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PolicyPlace {
    Policy,
    /// The list of declared facts.
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
    /// The name of a limit, or of the limit that an override is for.
    Name,
    Key,
    /// A fact in a part of the key: the index of the part, then of the fact.
    KeyFact(usize, usize),
    Rate,
    Burst,
    /// All of `when` or `match`.
    Conditions,
    Condition(usize),
    /// One pattern of a condition: the index of the condition, then of the pattern.
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
    /// The key in a policy file that has the field or contains it.
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
    /// The problems, in the order of the policy or the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl Problem {
    /// The line in the file, from 1. `None`: the policy was not read from a file.
    pub fn line(&self) -> Option<usize> {
        self.spot.as_ref().map(|spot| spot.line)
    }

    /// The column in that line, in characters, from 1. `None`: the policy was not read from a file.
    pub fn column(&self) -> Option<usize> {
        self.spot.as_ref().map(|spot| spot.column)
    }

    /// What is wrong.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// How to correct it.
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
                // Blocks of several lines are separated by an empty line.
                f.write_str(if problem.spot.is_some() { "\n\n" } else { "\n" })?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}

/// Text of the user in a message: shortened, on one line, without control characters.
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

/// How many candidates a guess compares, and how long they may be. Both bound the time of a guess.
const MOST_CANDIDATES: usize = 1000;
const LONGEST_CANDIDATE: usize = 60;

/// The candidate that was probably meant by `given`. `None`: no candidate is similar enough.
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

/// The hint for a name that [`nearest`] found.
pub(crate) fn did_you_mean(meant: &str) -> String {
    format!("did you mean `{}`?", Shown(meant))
}
