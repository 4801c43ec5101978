//! A compact form of a log: the time, cost and callers of each request.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt;

use crate::replay::{Disorder, Event, Op};
use tollgate::Timestamp;
use tollgate::policy::MAX_FACTS;

/// The most memory for observed requests: about 200 million requests of three facts, if those have
/// few different values. Searching for limits takes about as much again.
pub const MAX_BYTES: u64 = 4 << 30;

/// Overhead of a value in bytes, besides its text.
const BYTES_PER_VALUE: u64 = 64;

/// The coarsest step of timestamps that is distinguished.
const SECOND: u64 = 1_000_000_000;

/// The number of a request without the fact.
const NOBODY: u32 = u32::MAX;

/// The part of a log that [`suggest`](Observed::suggest) needs, for some facts.
///
/// A request takes 8 bytes, 4 more for each fact, and 8 more where costs are not all 1. Each
/// different value of a fact is stored once.
#[derive(Debug)]
pub struct Observed {
    columns: Vec<Column>,
    /// When each request came; never decreasing.
    stamps: Vec<Timestamp>,
    /// The cost of each request. Empty as long as all costs are 1.
    costs: Vec<u64>,
    first: Option<Timestamp>,
    latest: Timestamp,
    disorder: Disorder,
    /// In nanoseconds, the largest step up to a second that divides all timestamps.
    step: u64,
    /// The first facts that requests have, observed or not.
    names: BTreeSet<String>,
    bytes: u64,
    max_bytes: u64,
}

/// One fact of all requests.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) fact: String,
    ids: HashMap<String, u32>,
    /// The number of the value that each request has, or the number for "without the fact".
    callers: Vec<u32>,
}

/// Why something cannot be observed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unobserved {
    /// A fact without a name, or with several: `a|b`.
    Misnamed(String),
    /// A fact that was given twice.
    Twice(String),
    /// More facts than a policy may name: [`MAX_FACTS`].
    TooManyFacts,
    /// More requests or values than [`MAX_BYTES`] can hold.
    TooMuch,
}

impl Observed {
    /// An empty observation of these facts.
    ///
    /// # Errors
    /// If a fact has no valid name or is given twice, or there are too many.
    pub fn of<'a>(facts: impl IntoIterator<Item = &'a str>) -> Result<Observed, Unobserved> {
        let mut columns: Vec<Column> = Vec::new();
        for fact in facts {
            let fact = fact.to_owned();
            if fact.is_empty() || fact.trim() != fact || fact.contains('|') {
                return Err(Unobserved::Misnamed(fact));
            }
            if columns.iter().any(|column| column.fact == fact) {
                return Err(Unobserved::Twice(fact));
            }
            columns.push(Column { fact, ids: HashMap::new(), callers: Vec::new() });
        }
        if columns.len() > MAX_FACTS {
            return Err(Unobserved::TooManyFacts);
        }
        Ok(Observed {
            columns,
            stamps: Vec::new(),
            costs: Vec::new(),
            first: None,
            latest: Timestamp::ZERO,
            disorder: Disorder::default(),
            step: SECOND,
            names: BTreeSet::new(),
            bytes: 0,
            max_bytes: MAX_BYTES,
        })
    }

    /// Adds a request. Of other events only the timestamp counts.
    ///
    /// # Errors
    /// If memory for it would exceed [`MAX_BYTES`]. Requests observed before are kept.
    pub fn event(&mut self, event: &Event<'_>) -> Result<(), Unobserved> {
        self.move_time_to(event.at);
        if event.op != Op::Admit {
            return Ok(());
        }
        let has_costs = !self.costs.is_empty() || event.cost != 1;
        let costs = if has_costs { self.requests() + 1 - self.costs.len() as u64 } else { 0 };
        let size = 8 + 4 * self.columns.len() as u64 + 8 * costs;
        if self.bytes + size > self.max_bytes {
            return Err(Unobserved::TooMuch);
        }
        self.bytes += size;
        if has_costs {
            self.costs.resize(self.stamps.len(), 1);
            self.costs.push(event.cost);
        }
        self.stamps.push(self.latest);
        for (name, _) in &event.facts {
            if self.names.len() < MAX_FACTS && !self.names.contains(&**name) {
                self.names.insert(name.to_string());
            }
        }
        for column in &mut self.columns {
            self.bytes += column.add(event);
        }
        Ok(())
    }

    /// The number of requests observed.
    pub fn requests(&self) -> u64 {
        self.stamps.len() as u64
    }

    /// The facts that requests have, in alphabetical order; at most 64 of them.
    pub fn facts(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Moves the time forward, never back.
    fn move_time_to(&mut self, at: Timestamp) {
        self.step = gcd(self.step, at.as_nanos());
        self.first.get_or_insert(at);
        if at < self.latest {
            self.disorder.lines += 1;
            self.disorder.furthest = self.disorder.furthest.max(self.latest.since(at));
        }
        self.latest = self.latest.max(at);
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// From the timestamp of the first event to the latest one.
    pub(super) fn span(&self) -> Option<(Timestamp, Timestamp)> {
        Some((self.first?, self.latest))
    }

    pub(super) fn disorder(&self) -> Disorder {
        self.disorder
    }

    pub(super) fn step_nanos(&self) -> u64 {
        self.step
    }

    /// When a request came, and what it costs.
    pub(super) fn request(&self, index: usize) -> (Timestamp, u64) {
        let at = self.stamps.get(index).copied().unwrap_or_default();
        (at, self.costs.get(index).copied().unwrap_or(1))
    }
}

impl Column {
    /// Records the value of a request; returns how many bytes the value took, if it is new.
    fn add(&mut self, event: &Event<'_>) -> u64 {
        // As in the enforcer: an empty value is a missing fact.
        let given =
            |(name, value): &&(Cow<'_, str>, Cow<'_, str>)| *name == self.fact && !value.is_empty();
        let Some(value) = event.facts.iter().find(given).map(|(_, value)| &**value) else {
            self.callers.push(NOBODY);
            return 0;
        };
        if let Some(id) = self.ids.get(value) {
            self.callers.push(*id);
            return 0;
        }
        // Numbers never run out: the values reach the memory bound before.
        let id = u32::try_from(self.ids.len()).unwrap_or(NOBODY);
        self.ids.insert(value.to_owned(), id);
        self.callers.push(id);
        value.len() as u64 + BYTES_PER_VALUE
    }

    /// The number of different values.
    pub(super) fn values(&self) -> usize {
        self.ids.len()
    }

    /// The values, each at the index that is its number.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names = vec![""; self.ids.len()];
        for (name, id) in &self.ids {
            if let Some(place) = names.get_mut(*id as usize) {
                *place = name;
            }
        }
        names
    }

    /// The number of the value that a request has.
    pub(super) fn caller(&self, request: usize) -> Option<usize> {
        self.callers.get(request).filter(|id| **id != NOBODY).map(|id| *id as usize)
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl fmt::Display for Unobserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unobserved::Misnamed(fact) => {
                write!(f, "`{}` is no name of one fact; name each by itself", fact.escape_debug())
            }
            Unobserved::Twice(fact) => {
                write!(f, "fact `{}` is asked for twice", fact.escape_debug())
            }
            Unobserved::TooManyFacts => {
                write!(f, "a policy names at most {MAX_FACTS} facts; ask for fewer")
            }
            Unobserved::TooMuch => write!(
                f,
                "there are more requests than {} GiB hold; take fewer facts, or a part of the log",
                MAX_BYTES >> 30
            ),
        }
    }
}

impl std::error::Error for Unobserved {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::Format;

    fn observe(observed: &mut Observed, line: &str) -> Result<(), Unobserved> {
        observed.event(&Format::Jsonl.event(line.as_bytes()).unwrap().unwrap())
    }

    #[test]
    fn the_memory_has_a_bound() {
        let mut observed = Observed::of(["user"]).unwrap();
        observed.max_bytes = 12 * 3 + BYTES_PER_VALUE + 1;
        let line = r#"{"t": 0, "facts": {"user": 7}}"#;
        for _ in 0..3 {
            observe(&mut observed, line).unwrap();
        }
        assert_eq!(observe(&mut observed, line), Err(Unobserved::TooMuch));
        assert_eq!(observed.requests(), 3);
        // The first cost other than 1 takes memory for the costs of all requests.
        assert_eq!(observed.bytes, observed.max_bytes);
        let dear = r#"{"t": 0, "cost": 2}"#;
        assert_eq!(observe(&mut observed, dear), Err(Unobserved::TooMuch));
        observed.max_bytes += 8 * 4 + 12;
        observe(&mut observed, dear).unwrap();
        assert_eq!(observed.bytes, observed.max_bytes);
        assert_eq!([0, 2, 3].map(|index| observed.request(index).1), [1, 1, 2]);
    }

    #[test]
    fn an_empty_value_is_nobody_and_of_two_values_the_first_counts() {
        let mut observed = Observed::of(["user"]).unwrap();
        for values in [&["", "a"][..], &["a", "b"], &["b"], &[]] {
            let facts = values.iter().map(|value| ("user".into(), (*value).into())).collect();
            let (at, op) = (Timestamp::ZERO, Op::Admit);
            observed.event(&Event { at, id: None, op, facts, cost: 1, took: None }).unwrap();
        }
        let column = &observed.columns()[0];
        assert_eq!(column.names(), ["a", "b"]);
        let callers = [0, 1, 2, 3].map(|request| column.caller(request));
        // The enforcer takes the first value that is not empty.
        assert_eq!(callers, [Some(0), Some(0), Some(1), None]);
    }

    #[test]
    fn names_have_a_bound() {
        let mut observed = Observed::of([]).unwrap();
        for name in 0..1_000 {
            let line = format!(r#"{{"t": 0, "facts": {{"{name}": 1}}}}"#);
            observe(&mut observed, &line).unwrap();
        }
        assert_eq!(observed.facts().count(), MAX_FACTS);
        let many: Vec<String> = (0..=MAX_FACTS).map(|name| name.to_string()).collect();
        let of = |names: &[String]| Observed::of(names.iter().map(String::as_str)).map(drop);
        assert_eq!(of(&many), Err(Unobserved::TooManyFacts));
        assert_eq!(of(&many[1..]), Ok(()));
    }

    #[test]
    fn the_step_of_stamps_is_what_divides_them_all() {
        for (stamps, step) in [
            (&["0"][..], SECOND),
            (&["7", "12"], SECOND),
            (&["7", "12.5", "13"], SECOND / 2),
            (&["0.25", "1.2"], SECOND / 20),
            (&["3.000000001"], 1),
        ] {
            let mut observed = Observed::of([]).unwrap();
            for at in stamps {
                observe(&mut observed, &format!(r#"{{"t": {at}}}"#)).unwrap();
            }
            assert_eq!(observed.step_nanos(), step, "{stamps:?}");
        }
    }
}
