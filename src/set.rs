//! [`all`]: several limiters decided as one step, without a policy.

mod keys;
mod slow;

use std::marker::PhantomData;
use std::mem::ManuallyDrop;

use crate::cells::{Ask, Charge};
use crate::concurrency_limiter::{Lease, SlotKey};
use crate::decision::{Allowed, Refused};
use crate::rate_limiter::{Key, Rate};
use crate::time::{Clock, Timestamp};

pub use keys::{Keys, SetKey};
use slow::Members;

/// Several limits to be decided as one: all of them are charged, or none.
///
/// Takes keys of limiters, in the order in which a refusal is to name them: narrowest first, the
/// one that all requests share last, which is also the fastest order. Slots of concurrency limits
/// ([`ConcurrencyLimiter::slot`](crate::ConcurrencyLimiter::slot),
/// [`KeyedConcurrencyLimiter::key`](crate::KeyedConcurrencyLimiter::key)) may be among them.
///
/// ```
/// use tollgate::{Quota, RateLimiter};
///
/// let users = RateLimiter::builder(Quota::per_second(50)).name("user").build();
/// let orgs = RateLimiter::builder(Quota::per_second(1000)).name("org").build();
/// let global = RateLimiter::builder(Quota::per_second(5000)).name("global").build();
///
/// let set = tollgate::all((users.key("42"), orgs.key("7"), global.key(&())));
/// match set.admit(1) {
///     Ok(permit) => println!("{} more at once", permit.allowed().remaining()),
///     Err(refused) => println!("{}: {}", refused.limit(), refused.retry()),
/// }
/// ```
#[inline(always)]
pub fn all<'a, const N: usize, K: Keys<'a, N>>(keys: K) -> Set<'a, N, K> {
    Set { keys, of: PhantomData }
}

/// Keys of limiters that are decided together: [`all`].
#[derive(Clone)]
pub struct Set<'a, const N: usize, K> {
    keys: K,
    of: PhantomData<[&'a (); N]>,
}

/// One key of a set, of a rate or of slots: made of either with `into`.
#[derive(Clone)]
pub struct Member<'a>(MemberKind<'a>);

#[derive(Clone)]
enum MemberKind<'a> {
    Rate(Key<'a>),
    Slots(SlotKey<'a>),
}

/// What an admitted set of limits was charged, and the slots it holds. Dropping it keeps the charge
/// and gives the slots back.
#[derive(Debug)]
pub struct SetPermit<'a, const N: usize> {
    charges: [Option<Charged<'a>>; N],
    leases: Leases,
    /// What it was admitted at.
    cost: u64,
    allowed: Allowed,
}

/// The slots that a set holds. Few sets have any: dropping none is one comparison at the caller, and
/// leaves the compiler free to drop what was computed for the permit.
#[derive(Debug, Default)]
struct Leases(ManuallyDrop<Option<Box<[Lease]>>>);

impl Leases {
    fn new(leases: Box<[Lease]>) -> Leases {
        Leases(ManuallyDrop::new((!leases.is_empty()).then_some(leases)))
    }
}

impl Drop for Leases {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(leases) = self.0.take() {
            give_back(leases);
        }
    }
}

#[cold]
fn give_back(leases: Box<[Lease]>) {
    drop(leases);
}

/// A charge and where it can be settled.
#[derive(Clone, Copy)]
struct Charged<'a> {
    rate: &'a Rate,
    charge: Charge,
}

impl<'a, const N: usize, K: Keys<'a, N>> Set<'a, N, K> {
    /// Decides `cost` units of each rate and a slot of each concurrency limit now: all of them are
    /// charged and taken, or none. A cost of 0 is a peek.
    ///
    /// Each limit is asked at its own clock's time. A key that is listed twice is charged twice.
    #[inline(always)]
    pub fn admit(&self, cost: u64) -> Result<SetPermit<'a, N>, Refused> {
        // Read before the keys are looked at, and nearly always once.
        let Some(first) = self.keys.clock() else { return self.decide(cost, Clock::now_apart) };
        let now = first.now();
        self.decide(cost, |clock| if first.reads_alike(clock) { now } else { clock.now_apart() })
    }

    /// Charges each rate as much as all have left, of at most `up_to` units, and takes a slot of each
    /// concurrency limit: [`SetPermit::cost`] says how much it was, which is more than 0.
    ///
    /// ```
    /// use tollgate::{Quota, RateLimiter};
    ///
    /// let tenants = RateLimiter::new(Quota::per_minute(100));
    /// let global = RateLimiter::new(Quota::per_minute(250));
    /// let granted = tollgate::all((tenants.key("7"), global.key(&()))).grant_up_to(120)?;
    /// assert_eq!(granted.cost(), 100);
    /// # Ok::<(), tollgate::Refused>(())
    /// ```
    ///
    /// # Errors
    /// If one of them has nothing left: as if one unit had been asked.
    pub fn grant_up_to(&self, up_to: u64) -> Result<SetPermit<'a, N>, Refused> {
        let mut decided = None;
        Members(self.keys.list()).decide(Ask::up_to(up_to), &mut |clock| clock.now(), &mut decided);
        decided.unwrap_or_else(|| Ok(SetPermit::nothing()))
    }

    /// [`admit`](Self::admit) at `now`, whatever the clocks say.
    #[inline(always)]
    pub fn admit_at(&self, cost: u64, now: Timestamp) -> Result<SetPermit<'a, N>, Refused> {
        self.decide(cost, |_| now)
    }

    #[inline(always)]
    fn decide(
        &self,
        cost: u64,
        mut now: impl FnMut(&'a Clock) -> Timestamp,
    ) -> Result<SetPermit<'a, N>, Refused> {
        if let Some(decided) = self.keys.admit_fast::<true>(cost, &mut now) {
            return decided;
        }
        // Not the place of the value that is returned: that would keep a permit in memory that the
        // caller drops.
        let mut decided = None;
        self.decide_apart(cost, &mut now, &mut decided);
        decided.unwrap_or_else(|| Ok(SetPermit::nothing()))
    }

    /// Decides what is not decided inline, and leaves the answer in `decided`.
    #[cold]
    #[inline(never)]
    fn decide_apart(
        &self,
        cost: u64,
        mut now: &mut dyn FnMut(&'a Clock) -> Timestamp,
        decided: &mut Option<Result<SetPermit<'a, N>, Refused>>,
    ) {
        *decided = self.keys.admit_fast::<false>(cost, &mut now);
        if decided.is_none() {
            Members(self.keys.list()).decide(Ask::all(cost), now, decided);
        }
    }
}

impl<const N: usize> SetPermit<'_, N> {
    /// Of a set that was charged nothing.
    fn nothing() -> Self {
        SetPermit {
            charges: [None; N],
            leases: Leases::default(),
            cost: 0,
            allowed: Allowed::UNLIMITED,
        }
    }

    /// How many units each rate was charged, for each time it is listed.
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// How the tightest of the limits stands: the one of which the least remains.
    pub fn allowed(&self) -> Allowed {
        self.allowed
    }

    /// Makes the charge of each limit `cost`, as
    /// [`Reservation::settle`](crate::Reservation::settle) does; of a key that was listed several
    /// times, each time. Slots are given back.
    pub fn settle(self, cost: u64) {
        for Charged { rate, charge } in self.charges.into_iter().flatten() {
            let listed = charge.cost.checked_div(self.cost).unwrap_or(1);
            rate.settle(&charge, cost.saturating_mul(listed));
        }
    }

    /// Gives the charges back: [`settle`](Self::settle) at 0.
    pub fn cancel(self) {
        self.settle(0);
    }
}

impl std::fmt::Debug for Charged<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Charged").field("charge", &self.charge).finish_non_exhaustive()
    }
}
