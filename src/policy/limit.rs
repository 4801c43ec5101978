//! [`Limit`]: one limit of a policy as plain data, and the functions that build it in code.
//! `file::read` builds it from a file; `check` checks it.

use std::time::Duration;

use super::problem::Field;
use super::{AlgorithmName, Share};
use crate::cells::Overflow;
use crate::queue::MAX_WAITERS;
use crate::quota::Quota;

/// A named rate or concurrency limit, and the facts it counts by.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    pub(crate) name: String,
    pub(crate) key: Vec<KeyPart>,
    pub(crate) what: What,
    pub(crate) when: Vec<Condition>,
    pub(crate) missing: Missing,
    pub(crate) mode: Mode,
    pub(crate) rollout: Option<Rollout>,
    pub(crate) cost: Option<String>,
    pub(crate) algorithm: AlgorithmName,
    pub(crate) max_keys: usize,
    pub(crate) overflow: Overflow,
    /// How long a request may wait for its turn. `None`: it does not wait.
    pub(crate) wait: Option<Duration>,
    pub(crate) max_waiters: Option<usize>,
    pub(crate) carry_over: CarryOver,
    /// Settings that were given and that a limit of this kind does not have.
    pub(crate) unfit: Vec<Field>,
}

/// What a limit limits: units per period, or requests at the same time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum What {
    Rate(Quota),
    Slots {
        cap: u32,
        /// When a slot that is not given back is free again. `None`: never.
        lease: Option<Duration>,
        /// The slots that a request takes.
        weight: u32,
    },
}

/// A part of a key: the first of these facts that the request has. `user|project` is one part.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeyPart {
    pub(crate) facts: Vec<String>,
}

/// A fact, and the patterns of which its value must match one. `*` is any run of characters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    pub(crate) fact: String,
    pub(crate) patterns: Vec<String>,
}

/// What to do with a request that lacks a fact of a limit's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// Requests without the fact count together; the other parts of the key still separate them.
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
    /// A denial is counted and changes nothing. If the limit agrees and the request is admitted, it
    /// is charged.
    Shadow,
    /// The limit does not apply, and counts nothing.
    Off,
}

/// What happens to the debt of keys when a reload changes their quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CarryOver {
    /// The debt stays, in units, and is repaid at the new rate.
    #[default]
    Debt,
    /// The debt is forgotten: every key starts anew.
    Reset,
}

/// The share of requests to which a limit applies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rollout {
    pub(crate) share: Share,
    /// The facts whose values choose. Empty: those of the limit's key.
    pub(crate) by: Vec<String>,
}

impl Limit {
    /// Creates a rate limit that counts all requests together. The other methods set everything
    /// else.
    pub fn new(name: impl Into<String>, quota: Quota) -> Limit {
        Limit::of(name.into(), What::Rate(quota))
    }

    /// Creates a concurrency limit: at most `cap` slots are taken at the same time. A request takes
    /// one and gives it back with its permit. A cap of 0 refuses every request; the largest is
    /// [`MAX_SLOTS`](crate::MAX_SLOTS).
    ///
    /// It has neither [`cost`](Self::cost) nor [`max_keys`](Self::max_keys) nor
    /// [`overflow`](Self::overflow): keys that hold no slot are forgotten.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollgate::{Limit, Policy};
    ///
    /// let queries = Limit::concurrent("queries", 50)
    ///     .lease(Duration::from_secs(300))
    ///     .wait(Duration::from_secs(60));
    /// assert_eq!(queries.cap(), Some(50));
    /// assert!(Policy::new().limit(queries).check().is_ok());
    /// ```
    pub fn concurrent(name: impl Into<String>, cap: u32) -> Limit {
        Limit::of(name.into(), What::Slots { cap, lease: None, weight: 1 })
    }

    fn of(name: String, what: What) -> Limit {
        Limit {
            name,
            key: Vec::new(),
            what,
            when: Vec::new(),
            missing: Missing::default(),
            mode: Mode::default(),
            rollout: None,
            cost: None,
            algorithm: AlgorithmName::default(),
            max_keys: 1 << 20,
            overflow: Overflow::default(),
            wait: None,
            max_waiters: None,
            carry_over: CarryOver::default(),
            unfit: Vec::new(),
        }
    }

    /// Sets the facts to count by. `a|b` is one part: the first of these facts that the request
    /// has.
    #[must_use]
    pub fn key<'a>(mut self, parts: impl IntoIterator<Item = &'a str>) -> Limit {
        self.key = parts.into_iter().map(KeyPart::new).collect();
        self
    }

    /// Adds a condition: the limit applies only to requests whose `fact` matches one of `patterns`.
    /// In a pattern, `*` is any run of characters, including `/`. All conditions must match.
    #[must_use]
    pub fn when<'a>(mut self, fact: &str, patterns: impl IntoIterator<Item = &'a str>) -> Limit {
        self.when.push(Condition::new(fact, patterns));
        self
    }

    /// Sets what to do with a request that lacks a fact of the key. Default: [`Missing::Marker`].
    #[must_use]
    pub fn missing(mut self, missing: Missing) -> Limit {
        self.missing = missing;
        self
    }

    /// Sets what to do with the limit's decision. Default: [`Mode::Enforce`].
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Limit {
        self.mode = mode;
        self
    }

    /// Applies the limit only to this share of requests, chosen by the values of the facts `by`, or
    /// of the key if `by` is empty. It does not apply to requests that lack these facts.
    #[must_use]
    pub fn rollout<'a>(mut self, share: Share, by: impl IntoIterator<Item = &'a str>) -> Limit {
        let by = by.into_iter().map(str::to_owned).collect();
        self.rollout = Some(Rollout { share, by });
        self
    }

    /// Sets the fact that gives the cost of a request. A request without the fact costs 1; if the
    /// value is not a whole number, the request is refused. Default: the cost given by the call.
    /// Only for a rate.
    #[must_use]
    pub fn cost(mut self, fact: impl Into<String>) -> Limit {
        match self.what {
            What::Rate(_) => self.cost = Some(fact.into()),
            What::Slots { .. } => self.does_not_have(Field::Cost),
        }
        self
    }

    /// Sets the algorithm to decide by. Default: [`AlgorithmName::Gcra`]. Only for a rate.
    ///
    /// ```
    /// use tollgate::{Limit, Policy, Quota};
    /// use tollgate::policy::AlgorithmName;
    ///
    /// let codes = Limit::new("codes", Quota::per_hour(5)).algorithm(AlgorithmName::SlidingLog);
    /// assert!(Policy::new().limit(codes).check().is_ok());
    /// ```
    #[must_use]
    pub fn algorithm(mut self, algorithm: AlgorithmName) -> Limit {
        match self.what {
            What::Rate(_) => self.algorithm = algorithm,
            What::Slots { .. } => self.does_not_have(Field::Algorithm),
        }
        self
    }

    /// Sets how many keys can be in debt at once. Default: 1,048,576. Only for a rate.
    #[must_use]
    pub fn max_keys(mut self, max_keys: usize) -> Limit {
        match self.what {
            What::Rate(_) => self.max_keys = max_keys,
            What::Slots { .. } => self.does_not_have(Field::MaxKeys),
        }
        self
    }

    /// Sets what happens to a key beyond [`max_keys`](Self::max_keys). Default: [`Overflow::Pool`].
    /// Only for a rate.
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Limit {
        match self.what {
            What::Rate(_) => self.overflow = overflow,
            What::Slots { .. } => self.does_not_have(Field::Overflow),
        }
        self
    }

    /// Sets what happens to the debt of keys when [`Enforcer::reload`](crate::Enforcer::reload)
    /// changes the quota of the limit or of an override. Default: [`CarryOver::Debt`]. Only for a
    /// rate.
    #[must_use]
    pub fn carry_over(mut self, carry_over: CarryOver) -> Limit {
        match self.what {
            What::Rate(_) => self.carry_over = carry_over,
            What::Slots { .. } => self.does_not_have(Field::CarryOver),
        }
        self
    }

    /// Sets how long after it was taken a slot is free again if it is not given back. Default:
    /// never. Only for a concurrency limit.
    #[must_use]
    pub fn lease(mut self, time: Duration) -> Limit {
        match &mut self.what {
            What::Slots { lease, .. } => *lease = Some(time),
            What::Rate(_) => self.does_not_have(Field::Lease),
        }
        self
    }

    /// Sets how many slots a request takes, from 1 to the cap. Default: 1. Only for a concurrency
    /// limit.
    #[must_use]
    pub fn weight(mut self, slots: u32) -> Limit {
        match &mut self.what {
            What::Slots { weight, .. } => *weight = slots,
            What::Rate(_) => self.does_not_have(Field::Weight),
        }
        self
    }

    /// Sets how long a request may wait for its turn, if the caller uses a function that waits.
    /// Default: zero, it does not wait.
    #[must_use]
    pub fn wait(mut self, at_most: Duration) -> Limit {
        self.wait = Some(at_most).filter(|time| !time.is_zero());
        self
    }

    /// Sets how many callers may wait in a line; others are refused. Only with
    /// [`wait`](Self::wait). Default: 1,000.
    #[must_use]
    pub fn max_waiters(mut self, max_waiters: usize) -> Limit {
        self.max_waiters = Some(max_waiters);
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The quota, where no override changes it. `None`: it is a concurrency limit.
    pub fn quota(&self) -> Option<Quota> {
        match self.what {
            What::Rate(quota) => Some(quota),
            What::Slots { .. } => None,
        }
    }

    /// The number of slots, where no override changes it. `None`: it is a rate limit.
    pub fn cap(&self) -> Option<u32> {
        match self.what {
            What::Rate(_) => None,
            What::Slots { cap, .. } => Some(cap),
        }
    }

    /// How many callers may wait in a line.
    pub(crate) fn most_waiters(&self) -> usize {
        self.max_waiters.unwrap_or(MAX_WAITERS)
    }

    /// Notes a mistake that [`Policy::check`](super::Policy::check) reports.
    fn does_not_have(&mut self, field: Field) {
        if !self.unfit.contains(&field) {
            self.unfit.push(field);
        }
    }

    pub(super) fn named_facts(&self) -> impl Iterator<Item = &str> {
        let key = self.key.iter().flat_map(|part| &part.facts);
        let when = self.when.iter().map(|condition| &condition.fact);
        let by = self.rollout.iter().flat_map(|rollout| &rollout.by);
        key.chain(when).chain(by).chain(&self.cost).map(String::as_str)
    }
}

impl KeyPart {
    pub(crate) fn new(text: &str) -> KeyPart {
        KeyPart { facts: text.split('|').map(str::to_owned).collect() }
    }
}

impl Condition {
    pub(crate) fn new<'a>(fact: &str, patterns: impl IntoIterator<Item = &'a str>) -> Condition {
        let patterns = patterns.into_iter().map(str::to_owned).collect();
        Condition { fact: fact.to_owned(), patterns }
    }
}
