//! A participant of a comparison: its name, and how to make a fresh limiter.

use std::time::Duration;

use super::contender::{Contender, Setup};
use super::limited::Limited;
use super::report::Origin;
use tollgate::Quota;
use tollgate::algorithm::Algorithm;

/// Makes a contender, or says why it cannot be made for that quota.
pub(crate) type Make = dyn Fn(Setup) -> Result<Box<dyn Contender>, String>;

/// The most units that an algorithm promises to admit within a duration.
type Bound = dyn Fn(Quota, Duration) -> u64;

/// A participant: a name and a constructor, since each run begins with a fresh contender.
pub struct Entry {
    pub(crate) name: String,
    pub(crate) origin: Origin,
    pub(crate) what: String,
    pub(crate) takes_time: bool,
    is_timed: bool,
    pub(crate) make: Box<Make>,
    bound: Option<Box<Bound>>,
}

impl Entry {
    /// An algorithm of your own. `algorithm` makes it for a quota, which is not always the one that
    /// is compared.
    ///
    /// ```
    /// use tollgate::algorithm::Gcra;
    /// use tollgate_cli::compare::Entry;
    ///
    /// let entry = Entry::new("mine", Gcra::new);
    /// ```
    pub fn new<A: Algorithm>(
        name: impl Into<String>,
        algorithm: impl Fn(Quota) -> A + Clone + 'static,
    ) -> Entry {
        let bound = algorithm.clone();
        let make = move |setup: Setup| {
            let limiter: Box<dyn Contender> = Box::new(Limited::new(algorithm(setup.quota), setup));
            Ok(limiter)
        };
        Entry {
            name: name.into(),
            origin: Origin::Own,
            what: String::new(),
            takes_time: true,
            is_timed: true,
            make: Box::new(make),
            bound: Some(Box::new(move |quota, within| bound(quota).bound(within))),
        }
    }

    /// Another limiter. `make` returns an error if it cannot be made for a quota.
    pub fn peer(
        name: impl Into<String>,
        make: impl Fn(Setup) -> Result<Box<dyn Contender>, String> + 'static,
    ) -> Entry {
        Entry {
            name: name.into(),
            origin: Origin::Peer,
            what: String::new(),
            takes_time: true,
            is_timed: true,
            make: Box::new(make),
            bound: None,
        }
    }

    /// Sets its description, a sentence.
    #[must_use]
    pub fn what(self, what: impl Into<String>) -> Entry {
        Entry { what: what.into(), ..self }
    }

    /// Declares that it cannot be given the time: only its speed is measured.
    #[must_use]
    pub fn reads_clock(self) -> Entry {
        Entry { takes_time: false, ..self }
    }

    /// Declares that its speed is not measured: setting its time takes longer than a decision.
    #[must_use]
    pub fn untimed(self) -> Entry {
        Entry { is_timed: false, ..self }
    }

    pub(crate) fn is_timed(&self) -> bool {
        self.is_timed
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A fresh contender.
    ///
    /// # Errors
    /// Why it cannot be made for that quota.
    pub fn make(&self, setup: Setup) -> Result<Box<dyn Contender>, String> {
        (self.make)(setup)
    }

    /// The most units that it promises to admit within `duration`.
    pub(crate) fn bound(&self, quota: Quota, within: Duration) -> Option<u64> {
        self.bound.as_ref().map(|bound| bound(quota, within))
    }

    pub(crate) fn origin(self, origin: Origin) -> Entry {
        Entry { origin, ..self }
    }
}
