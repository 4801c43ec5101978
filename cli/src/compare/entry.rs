//! One that takes part in a comparison.

use std::time::Duration;

use super::contender::{Contender, Setup};
use super::limited::Limited;
use super::report::Origin;
use tollgate::Quota;
use tollgate::algorithm::Algorithm;

/// Makes a contender, or says why it cannot be made for that quota.
pub(crate) type Make = dyn Fn(Setup) -> Result<Box<dyn Contender>, String>;

/// The most units that an algorithm says it admits within so long.
type Bound = dyn Fn(Quota, Duration) -> u64;

/// One that takes part: a name and how to make it, since each run begins with a fresh one.
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
    /// An algorithm of your own. `algorithm` makes it for a quota: not always the one that is
    /// compared.
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

    /// Another limiter. `make` says why if it cannot be made for a quota.
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

    /// What it is, in a sentence.
    #[must_use]
    pub fn what(self, what: impl Into<String>) -> Entry {
        Entry { what: what.into(), ..self }
    }

    /// It cannot be told the time, only its speed is measured.
    #[must_use]
    pub fn reads_clock(self) -> Entry {
        Entry { takes_time: false, ..self }
    }

    /// Its speed is not measured: telling it the time takes longer than a decision.
    #[must_use]
    pub fn untimed(self) -> Entry {
        Entry { is_timed: false, ..self }
    }

    pub(crate) fn is_timed(&self) -> bool {
        self.is_timed
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A fresh one.
    ///
    /// # Errors
    /// Why it cannot be made for that quota.
    pub fn make(&self, setup: Setup) -> Result<Box<dyn Contender>, String> {
        (self.make)(setup)
    }

    /// The most units that it says it admits within so long.
    pub(crate) fn bound(&self, quota: Quota, within: Duration) -> Option<u64> {
        self.bound.as_ref().map(|bound| bound(quota, within))
    }

    pub(crate) fn origin(self, origin: Origin) -> Entry {
        Entry { origin, ..self }
    }
}
