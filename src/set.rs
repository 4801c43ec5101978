//! [`all`] decides several limiters as one step, without a policy.
//!
//! `keys` holds the types that a set accepts and the fast path, `slow` the transaction for all
//! other sets. Policies with named limits are in `policy` and `enforcer`.

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

/// Combines several limits into a set that charges all of them or none.
///
/// Takes keys of limiters in the order in which a refusal names them: the narrowest limit first,
/// the limit that all requests share last, which is also the fastest order. Slots of concurrency
/// limits ([`ConcurrencyLimiter::slot`](crate::ConcurrencyLimiter::slot),
/// [`KeyedConcurrencyLimiter::key`](crate::KeyedConcurrencyLimiter::key)) may be members too.
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

/// Keys of limiters that are decided as one: [`all`].
#[derive(Clone)]
pub struct Set<'a, const N: usize, K> {
    keys: K,
    of: PhantomData<[&'a (); N]>,
}

/// One member of a set, a key of a rate or of slots: created from either with `into`.
#[derive(Clone)]
pub struct Member<'a>(MemberKind<'a>);

#[derive(Clone)]
enum MemberKind<'a> {
    Rate(Key<'a>),
    Slots(SlotKey<'a>),
}

/// The charges and the slots of an admitted set. Dropping it keeps the charges and gives the slots
/// back.
#[derive(Debug)]
pub struct SetPermit<'a, const N: usize> {
    charges: [Option<Charged<'a>>; N],
    leases: Leases,
    /// The cost at which the set was admitted.
    cost: u64,
    allowed: Allowed,
}

/// The slots that a set holds. Few sets have any, so the drop of an empty value is one comparison,
/// inlined in the caller; the compiler can then remove what was computed for the permit.
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

/// A charge, and the limiter that settles it.
#[derive(Clone, Copy)]
struct Charged<'a> {
    rate: &'a Rate,
    charge: Charge,
}

impl<'a, const N: usize, K: Keys<'a, N>> Set<'a, N, K> {
    /// Decides `cost` units of each rate and a slot of each concurrency limit now: all of them are
    /// charged and taken, or none. A cost of 0 is a peek.
    ///
    /// Each limit is decided at the time of its own clock. A key that is listed twice is charged
    /// twice.
    #[inline(always)]
    pub fn admit(&self, cost: u64) -> Result<SetPermit<'a, N>, Refused> {
        // Read the clock before the snapshots, and only once for all clocks that read alike.
        let Some(first) = self.keys.clock() else { return self.decide(cost, Clock::now_apart) };
        let now = first.now();
        self.decide(cost, |clock| if first.reads_alike(clock) { now } else { clock.now_apart() })
    }

    /// Charges each rate the units that all of them have left, at most `up_to`, and takes a slot of
    /// each concurrency limit. [`SetPermit::cost`] says how many units, which is more than 0.
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
    /// If a member has nothing left: the refusal is that of a request for one unit.
    pub fn grant_up_to(&self, up_to: u64) -> Result<SetPermit<'a, N>, Refused> {
        let mut decided = None;
        Members(self.keys.list()).decide(Ask::up_to(up_to), &mut |clock| clock.now(), &mut decided);
        decided.unwrap_or_else(|| Ok(SetPermit::nothing()))
    }

    /// Like [`admit`](Self::admit), at `now` instead of the clocks' times.
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
        // A separate variable, not the return value's place: that would keep a permit in memory
        // even if the caller drops the permit.
        let mut decided = None;
        self.decide_apart(cost, &mut now, &mut decided);
        decided.unwrap_or_else(|| Ok(SetPermit::nothing()))
    }

    /// Decides what the inlined path leaves over, and writes the answer to `decided`.
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
    /// The permit of a set that was charged nothing.
    fn nothing() -> Self {
        SetPermit {
            charges: [None; N],
            leases: Leases::default(),
            cost: 0,
            allowed: Allowed::UNLIMITED,
        }
    }

    /// The units that each rate was charged, for each time it is listed.
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// The state of the limit with the least remaining.
    pub fn allowed(&self) -> Allowed {
        self.allowed
    }

    /// Changes the charge of each limit to `cost`, as
    /// [`Reservation::settle`](crate::Reservation::settle) does; a key that is listed several times
    /// is settled as often. Gives the slots back.
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
