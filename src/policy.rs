//! A policy: an ordered set of limits and what each counts by, as plain data.
//!
//! Built in code or read from a file, and checked in one place: [`Policy::check`].

mod check;
#[cfg(feature = "policy")]
mod file;
mod problem;
mod words;

use std::collections::HashSet;
use std::fmt;

use crate::cells::Overflow;
use crate::quota::Quota;

pub use problem::{PolicyError, Problem};
pub(crate) use problem::{did_you_mean, nearest};
pub use words::LimitInWords;

/// The most different facts that a policy may name.
pub const MAX_FACTS: usize = 64;

/// An ordered set of limits: narrowest first, the one that all requests share last.
///
/// ```
/// use tollgate::{Limit, Missing, Policy, Quota};
///
/// let policy = Policy::new()
///     .limit(Limit::new("user", Quota::per_second(50)).key(["view", "user|project"]))
///     .limit(Limit::new("org", Quota::per_second(1000)).key(["org"]).missing(Missing::Skip))
///     .limit(Limit::new("all", Quota::per_second(5000)));
/// assert!(policy.check().is_ok());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    pub(crate) facts: Option<Vec<String>>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) overrides: Vec<Override>,
}

/// A named quota and what it counts by.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    pub(crate) name: String,
    pub(crate) key: Vec<Part>,
    pub(crate) quota: Quota,
    pub(crate) when: Vec<Condition>,
    pub(crate) missing: Missing,
    pub(crate) mode: Mode,
    pub(crate) rollout: Option<Rollout>,
    pub(crate) cost: Option<String>,
    pub(crate) max_keys: usize,
    pub(crate) overflow: Overflow,
}

/// Other numbers for some keys of a limit. The first whose conditions all match counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    pub(crate) limit: String,
    pub(crate) matches: Vec<Condition>,
    pub(crate) change: Change,
}

/// What an override changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    Nothing,
    Exempt,
    Quota { quota: Quota },
    Burst { burst: u64 },
}

/// A part of a key: the first of these facts that the request has. `user|project` is one part.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) facts: Vec<String>,
}

/// A fact and the patterns of which its value must match one. `*` is any run of characters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    pub(crate) fact: String,
    pub(crate) patterns: Vec<String>,
}

/// What to do with a request that lacks a fact of a limit's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// Requests without the fact count together; the other parts still separate.
    #[default]
    Marker,
    /// The limit does not apply.
    Skip,
    /// The request is refused.
    Refuse,
}

/// What a limit does with its decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A denial refuses the request.
    #[default]
    Enforce,
    /// A denial is counted and changes nothing. What agrees is charged if the request is admitted.
    Shadow,
    /// The limit is not there, and counts nothing.
    Off,
}

/// The part of all requests to which a limit applies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rollout {
    pub(crate) share: Share,
    /// The facts whose values decide. Empty: those of the limit's key.
    pub(crate) by: Vec<String>,
}

/// A share between nothing and all, as the hashes below a threshold.
///
/// ```
/// use tollgate::Share;
/// assert_eq!("12.5%".parse::<Share>()?.to_string(), "12.5%");
/// # Ok::<(), tollgate::ShareError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Of a percentage's 10^9 parts, how many: 100 % is 10^11.
    billionths: u64,
}

/// Text that is no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareError;

const HUNDRED_PERCENT: u64 = 100_000_000_000;

impl Share {
    /// `percent` of all; more than 100 counts as 100.
    pub const fn percent(percent: u64) -> Share {
        let percent = if percent > 100 { 100 } else { percent };
        Share { billionths: percent * 1_000_000_000 }
    }

    /// Whether a request whose hash is this is in the share: iff `hash < floor(p * 2^64 / 100)`.
    pub(crate) fn includes(self, hash: u64) -> bool {
        let threshold = (u128::from(self.billionths) << 64) / u128::from(HUNDRED_PERCENT);
        u128::from(hash) < threshold
    }
}

impl std::str::FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Share, ShareError> {
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let number = text.trim().strip_suffix('%').ok_or(ShareError)?.trim_end();
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || part.is_empty() || part.len() > 9 || !digits(whole) || !digits(part)
        {
            return Err(ShareError);
        }
        let parse = |text: &str| text.parse::<u64>().map_err(|_| ShareError);
        let billionths = parse(whole)?
            .checked_mul(1_000_000_000)
            .and_then(|whole| whole.checked_add(parse(&format!("{part:0<9}")).ok()?))
            .filter(|billionths| *billionths <= HUNDRED_PERCENT)
            .ok_or(ShareError)?;
        Ok(Share { billionths })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.billionths / 1_000_000_000, self.billionths % 1_000_000_000);
        let part = format!(".{part:09}");
        write!(f, "{whole}{}%", part.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl fmt::Display for ShareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share is a percentage from 0% to 100%, with up to 9 decimals: \"25%\"")
    }
}

impl std::error::Error for ShareError {}

impl Policy {
    /// A policy without limits: it admits everything.
    pub fn new() -> Policy {
        Policy::default()
    }

    /// Declares the facts there are. Then a limit that names any other is an error.
    #[must_use]
    pub fn facts<T: Into<String>>(mut self, facts: impl IntoIterator<Item = T>) -> Policy {
        self.facts = Some(facts.into_iter().map(Into::into).collect());
        self
    }

    /// Adds a limit after those there are.
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Policy {
        self.limits.push(limit);
        self
    }

    /// Adds an override after those there are.
    #[must_use]
    pub fn with_override(mut self, change: Override) -> Policy {
        self.overrides.push(change);
        self
    }

    /// The limits, in order.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// All that is wrong with it.
    pub fn check(&self) -> Result<(), PolicyError> {
        let problems = check::problems(self, &HashSet::new());
        if problems.is_empty() { Ok(()) } else { Err(PolicyError { problems }) }
    }

    /// The facts it names, each once.
    pub(crate) fn named_facts(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for limit in &self.limits {
            names.extend(limit.named_facts());
        }
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Limit {
    /// A limit for all requests, counting them as one. See the other methods for the rest.
    pub fn new(name: impl Into<String>, quota: Quota) -> Limit {
        Limit {
            name: name.into(),
            key: Vec::new(),
            quota,
            when: Vec::new(),
            missing: Missing::default(),
            mode: Mode::default(),
            rollout: None,
            cost: None,
            max_keys: 1 << 20,
            overflow: Overflow::default(),
        }
    }

    /// What it counts by: names of facts. `a|b` is one part: the first of them that is there.
    #[must_use]
    pub fn key<'a>(mut self, parts: impl IntoIterator<Item = &'a str>) -> Limit {
        self.key = parts.into_iter().map(Part::new).collect();
        self
    }

    /// It applies only where `fact` matches one of `patterns`, besides other conditions. In a
    /// pattern `*` is any run of characters, `/` included.
    #[must_use]
    pub fn when<'a>(mut self, fact: &str, patterns: impl IntoIterator<Item = &'a str>) -> Limit {
        self.when.push(Condition::new(fact, patterns));
        self
    }

    /// What to do with a request that lacks a fact of the key. Default: [`Missing::Marker`].
    #[must_use]
    pub fn missing(mut self, missing: Missing) -> Limit {
        self.missing = missing;
        self
    }

    /// What to do with its decision. Default: [`Mode::Enforce`].
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Limit {
        self.mode = mode;
        self
    }

    /// It applies to this share of requests, chosen by the values of the facts `by`, or of the
    /// key if that is empty. Outside the share, and without those facts, the limit is not there.
    #[must_use]
    pub fn rollout<'a>(mut self, share: Share, by: impl IntoIterator<Item = &'a str>) -> Limit {
        let by = by.into_iter().map(str::to_owned).collect();
        self.rollout = Some(Rollout { share, by });
        self
    }

    /// The fact that says what a request costs. Without it a request costs 1; if it is no whole
    /// number the request is refused. Default: the cost of the call.
    #[must_use]
    pub fn cost(mut self, fact: impl Into<String>) -> Limit {
        self.cost = Some(fact.into());
        self
    }

    /// How many keys can be in debt at once. Default: 1,048,576.
    #[must_use]
    pub fn max_keys(mut self, max_keys: usize) -> Limit {
        self.max_keys = max_keys;
        self
    }

    /// What happens to a key beyond that. Default: [`Overflow::Pool`].
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Limit {
        self.overflow = overflow;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its quota, where no override says otherwise.
    pub fn quota(&self) -> Quota {
        self.quota
    }

    fn named_facts(&self) -> impl Iterator<Item = &str> {
        let key = self.key.iter().flat_map(|part| &part.facts);
        let when = self.when.iter().map(|condition| &condition.fact);
        let by = self.rollout.iter().flat_map(|rollout| &rollout.by);
        key.chain(when).chain(by).chain(&self.cost).map(String::as_str)
    }
}

impl Override {
    /// An override of `limit`. It needs a condition and a change.
    pub fn new(limit: impl Into<String>) -> Override {
        Override { limit: limit.into(), matches: Vec::new(), change: Change::Nothing }
    }

    /// For keys whose `fact` matches one of `patterns`, besides other conditions.
    #[must_use]
    pub fn when<'a>(mut self, fact: &str, patterns: impl IntoIterator<Item = &'a str>) -> Self {
        self.matches.push(Condition::new(fact, patterns));
        self
    }

    /// These keys have another quota.
    #[must_use]
    pub fn quota(self, quota: Quota) -> Override {
        Override { change: Change::Quota { quota }, ..self }
    }

    /// These keys have the limit's rate with another burst. A burst of 0 refuses every request.
    #[must_use]
    pub fn burst(self, burst: u64) -> Override {
        Override { change: Change::Burst { burst }, ..self }
    }

    /// For these keys the limit is not there.
    #[must_use]
    pub fn exempt(self) -> Override {
        Override { change: Change::Exempt, ..self }
    }
}

impl Part {
    pub(crate) fn new(text: &str) -> Part {
        Part { facts: text.split('|').map(str::to_owned).collect() }
    }
}

impl Condition {
    pub(crate) fn new<'a>(fact: &str, patterns: impl IntoIterator<Item = &'a str>) -> Condition {
        let patterns = patterns.into_iter().map(str::to_owned).collect();
        Condition { fact: fact.to_owned(), patterns }
    }
}
