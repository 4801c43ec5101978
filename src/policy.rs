//! [`Policy`]: an ordered set of limits and overrides, as plain data.
//!
//! A policy is built in code or read from a file, and [`Policy::check`] checks both. The enforcer
//! compiles it before it decides.

mod algorithm_name;
mod check;
#[cfg(feature = "policy")]
mod file;
mod lack;
mod limit;
mod problem;
mod share;
mod words;

use std::collections::HashSet;

use crate::quota::Quota;

pub use algorithm_name::AlgorithmName;
pub use lack::Lack;
pub use limit::{CarryOver, Limit, Missing, Mode};
pub(crate) use limit::{Condition, What};
pub use problem::{PolicyError, Problem};
pub(crate) use problem::{did_you_mean, nearest};
pub use share::{Share, ShareError};
pub use words::{Amount, LimitInWords};

/// How many different facts a policy may name.
pub const MAX_FACTS: usize = 64;

/// An ordered set of limits. Put the narrowest first and the one that all requests share last.
///
/// ```
/// use tollgate::{Limit, Policy, Quota};
/// use tollgate::policy::Missing;
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

/// Changes the amount of a limit for some of its keys, or exempts them. If several overrides match
/// a key, the first counts.
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
    Concurrent { cap: u32 },
}

impl Policy {
    /// Creates a policy without limits. It admits everything.
    pub fn new() -> Policy {
        Policy::default()
    }

    /// Declares the facts that exist. A limit that names any other fact is then an error.
    #[must_use]
    pub fn facts<T: Into<String>>(mut self, facts: impl IntoIterator<Item = T>) -> Policy {
        self.facts = Some(facts.into_iter().map(Into::into).collect());
        self
    }

    /// Adds a limit after the existing ones.
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Policy {
        self.limits.push(limit);
        self
    }

    /// Adds an override after the existing ones.
    #[must_use]
    pub fn with_override(mut self, change: Override) -> Policy {
        self.overrides.push(change);
        self
    }

    /// The limits, in order.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// Checks the policy.
    ///
    /// # Errors
    /// All problems of the policy, if it has any.
    pub fn check(&self) -> Result<(), PolicyError> {
        let problems = check::problems(self, &HashSet::new());
        if problems.is_empty() { Ok(()) } else { Err(PolicyError { problems }) }
    }

    /// The facts that the limits name, without duplicates, in alphabetical order.
    pub fn named_facts(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for limit in &self.limits {
            names.extend(limit.named_facts());
        }
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Override {
    /// Creates an override of the limit named `limit`. It needs at least one condition and a
    /// change.
    pub fn new(limit: impl Into<String>) -> Override {
        Override { limit: limit.into(), matches: Vec::new(), change: Change::Nothing }
    }

    /// Adds a condition: the override is for keys whose `fact` matches one of `patterns`. All
    /// conditions must match.
    #[must_use]
    pub fn when<'a>(mut self, fact: &str, patterns: impl IntoIterator<Item = &'a str>) -> Self {
        self.matches.push(Condition::new(fact, patterns));
        self
    }

    /// Gives these keys another quota. Only for rate limits.
    #[must_use]
    pub fn quota(self, quota: Quota) -> Override {
        Override { change: Change::Quota { quota }, ..self }
    }

    /// Gives these keys another burst at the limit's rate. A burst of 0 refuses every request. Only
    /// for rate limits.
    #[must_use]
    pub fn burst(self, burst: u64) -> Override {
        Override { change: Change::Burst { burst }, ..self }
    }

    /// Gives these keys another number of slots. Only for concurrency limits.
    #[must_use]
    pub fn concurrent(self, cap: u32) -> Override {
        Override { change: Change::Concurrent { cap }, ..self }
    }

    /// Exempts these keys: the limit does not apply to them.
    #[must_use]
    pub fn exempt(self) -> Override {
        Override { change: Change::Exempt, ..self }
    }
}
