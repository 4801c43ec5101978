//! The answers of a limiter: [`Allowed`] or [`Denied`], with [`Retry`] for when to come back, and
//! [`Refused`] where several limits decide together.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::sync::PlainMutex;

/// The state of a key relative to its limit. Part of both answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// The whole burst (`capacity`) and what remains of it (`room`), in parts: `unit` parts are one
    /// unit. Kept in parts so that only a caller that reads units divides.
    pub(crate) capacity: u64,
    pub(crate) room: u64,
    pub(crate) unit: u64,
    /// The time until the whole burst is there, in ticks: `per_nano` ticks are one nanosecond.
    pub(crate) reset: u64,
    pub(crate) per_nano: u64,
}

impl Standing {
    /// A burst of 0 with nothing remaining.
    pub(crate) const NONE: Standing =
        Standing { capacity: 0, room: 0, unit: 1, reset: 0, per_nano: 1 };

    fn new(burst: u64, remaining: u64, reset_after: Duration) -> Standing {
        let reset = u64::try_from(reset_after.as_nanos()).unwrap_or(u64::MAX);
        Standing { capacity: burst, room: remaining, reset, ..Standing::NONE }
    }

    /// The same standing as seen from a time that is earlier by `by`: the reset takes `by` longer.
    pub(crate) fn later(self, by: Duration) -> Standing {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Standing { reset: self.reset_nanos().saturating_add(by), per_nano: 1, ..self }
    }

    /// Nanoseconds until the whole burst is there, rounded up.
    #[inline]
    fn reset_nanos(&self) -> u64 {
        self.reset.div_ceil(self.per_nano.max(1))
    }

    #[inline]
    fn burst(&self) -> u64 {
        self.capacity.checked_div(self.unit).unwrap_or(0)
    }

    #[inline]
    fn remaining(&self) -> u64 {
        self.room.checked_div(self.unit).unwrap_or(0)
    }
}

impl PartialEq for Standing {
    fn eq(&self, other: &Self) -> bool {
        let seen =
            |standing: &Self| (standing.burst(), standing.remaining(), standing.reset_nanos());
        seen(self) == seen(other)
    }
}

impl Eq for Standing {}

/// The request may go ahead and was charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed(pub(crate) Standing);

/// The request may not go ahead and was not charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    pub(crate) standing: Standing,
    pub(crate) retry: Retry,
}

/// When the same call would be allowed if no other call comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// After exactly this duration, and not a nanosecond sooner.
    After(Duration),
    /// As soon as another caller makes room: by giving back a slot, or by letting a key become idle
    /// where no more keys fit ([`Overflow::Deny`](crate::Overflow::Deny)).
    Unknown {
        /// The time until enough leases expire: there is room then at the latest, unless others
        /// wait in line. `None` if the leases do not expire.
        at_latest: Option<Duration>,
    },
    /// Never: the cost is above the burst, the weight is above the cap, or a limit of a policy
    /// refuses the request as it is (a fact of its key is missing, or its cost is not a whole
    /// number).
    Never,
}

impl Allowed {
    /// The answer of an algorithm that admits at most `burst` units at once: `remaining` are left,
    /// and all are back after `reset_after`.
    pub fn new(burst: u64, remaining: u64, reset_after: Duration) -> Allowed {
        Allowed(Standing::new(burst, remaining, reset_after))
    }
}

impl Denied {
    /// The answer of an algorithm, with the parameters of [`Allowed::new`] and when to retry.
    pub fn new(burst: u64, remaining: u64, reset_after: Duration, retry: Retry) -> Denied {
        Denied { standing: Standing::new(burst, remaining, reset_after), retry }
    }
}

macro_rules! standing {
    ($type:ident, $($at:tt)+) => {
        impl $type {
            /// The most units that one instant can admit.
            pub fn burst(&self) -> u64 {
                self.$($at)+.burst()
            }

            /// Units that could be charged right after this answer, rounded down.
            pub fn remaining(&self) -> u64 {
                self.$($at)+.remaining()
            }

            /// How long until the whole burst is there again, rounded up to a nanosecond.
            pub fn reset_after(&self) -> Duration {
                Duration::from_nanos(self.$($at)+.reset_nanos())
            }
        }
    };
}
standing!(Allowed, 0);
standing!(Denied, standing);

impl Denied {
    /// A denial of a cost that has room, because it is the turn of another caller.
    pub(crate) fn just_now(Allowed(standing): Allowed) -> Denied {
        Denied { standing, retry: Retry::Unknown { at_latest: Some(Duration::ZERO) } }
    }

    /// When the same call would be allowed if no other call comes before it.
    pub fn retry(&self) -> Retry {
        self.retry
    }
}

impl Retry {
    /// The wait after which the same call is allowed, if it is known.
    pub fn after(self) -> Option<Duration> {
        match self {
            Retry::After(wait) => Some(wait),
            Retry::Unknown { .. } | Retry::Never => None,
        }
    }

    /// The longer of two waits, for a call that needs both limits.
    #[inline(always)]
    pub(crate) fn max(self, other: Retry) -> Retry {
        match (self, other) {
            (Retry::Never, _) | (_, Retry::Never) => Retry::Never,
            (Retry::After(a), Retry::After(b)) => Retry::After(a.max(b)),
            (Retry::After(wait), Retry::Unknown { at_latest })
            | (Retry::Unknown { at_latest }, Retry::After(wait)) => {
                Retry::Unknown { at_latest: at_latest.map(|at_latest| at_latest.max(wait)) }
            }
            (Retry::Unknown { at_latest: a }, Retry::Unknown { at_latest: b }) => {
                Retry::Unknown { at_latest: a.zip(b).map(|(a, b)| a.max(b)) }
            }
        }
    }
}

impl Allowed {
    /// The answer where no limit applies.
    pub const UNLIMITED: Allowed =
        Allowed(Standing { capacity: u64::MAX, room: u64::MAX, ..Standing::NONE });

    /// The answer with fewer units remaining.
    #[inline(always)]
    pub(crate) fn tighter(self, other: Allowed) -> Allowed {
        // By value, so that the compiler can drop the comparison if the caller ignores the answer.
        if other.is_tighter(&self) { other } else { self }
    }

    /// Whether fewer units remain than in `other`.
    #[inline(always)]
    pub(crate) fn is_tighter(&self, other: &Allowed) -> bool {
        let (ours, others) = (&self.0, &other.0);
        let parts = |a: &Standing, b: &Standing| u128::from(a.room) * u128::from(b.unit);
        let (less, more) = (parts(ours, others), parts(others, ours));
        let unit = u128::from(ours.unit) * u128::from(others.unit);
        // `remaining` divides. That is needed only if `less` is smaller by less than a unit.
        less < more && (more - less >= unit || ours.remaining() < others.remaining())
    }
}

/// The request was denied by at least one of several limits and charged by none.
///
/// It names the first limit, in their order, that denies; [`retry`](Self::retry) is the wait until
/// no limit denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    limit: Option<&'static str>,
    index: usize,
    denied: Denied,
}

impl Refused {
    pub(crate) fn new(limit: Option<&'static str>, index: usize, denied: Denied) -> Refused {
        Refused { limit, index, denied }
    }

    /// The name of the limit that refused, or its place (`first`, `second` …) if it has no name.
    pub fn limit(&self) -> &'static str {
        const PLACES: [&str; 8] =
            ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"];
        match self.limit {
            Some(name) => name,
            None => PLACES.get(self.index).unwrap_or(&"unnamed"),
        }
    }

    /// The place of the limit that refused, counted from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// When all limits would admit the same call if no other call comes before it.
    pub fn retry(&self) -> Retry {
        self.denied.retry
    }

    /// The answer of the limit that refused.
    pub fn denied(&self) -> Denied {
        self.denied
    }
}

/// Returns the only copy of a limit's name, which is never freed: a refusal can then name its limit
/// without a reference count that all threads share. The operator chooses the names, and there are
/// few.
pub(crate) fn intern(name: &str) -> &'static str {
    static NAMES: PlainMutex<BTreeSet<&'static str>> = PlainMutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    match names.get(name) {
        Some(name) => name,
        None => {
            let name: &'static str = Box::leak(name.into());
            names.insert(name);
            name
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused by limit {}, {}", self.limit(), self.retry())
    }
}

impl std::error::Error for Refused {}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Retry::After(wait) => write!(f, "retry in {wait:?}"),
            Retry::Unknown { at_latest: Some(wait) } => {
                write!(f, "retry when a slot is free, in {wait:?} at the latest")
            }
            Retry::Unknown { at_latest: None } => f.write_str("retry when a slot is free"),
            Retry::Never => f.write_str("no wait helps"),
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "denied, {}", self.retry)
    }
}

impl std::error::Error for Denied {}
