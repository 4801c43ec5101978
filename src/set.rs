//! [`all`]: several limiters decided as one step, without a policy.

mod slow;

use std::marker::PhantomData;
use std::mem::ManuallyDrop;

use crate::cells::Charge;
use crate::concurrency_limiter::{Lease, SlotKey};
use crate::decision::{Allowed, Refused};
use crate::rate_limiter::{Key, Rate};
use crate::records::Ask;
use crate::time::{Clock, Timestamp};
use crate::transaction::{FastPart, Refusal, commit_last};

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
pub struct Member<'a>(Kind<'a>);

#[derive(Clone)]
enum Kind<'a> {
    Rate(Key<'a>),
    Slots(SlotKey<'a>),
}

/// What [`all`] takes: a tuple of up to eight keys, or an array.
pub trait Keys<'a, const N: usize> {
    #[doc(hidden)]
    fn list(&self) -> [Member<'a>; N];

    /// The clock of the first.
    #[doc(hidden)]
    fn clock(&self) -> Option<&'a Clock>;

    /// Decides rates whose keys are words that stand in their slots, each listed once. `None`:
    /// something else, or something came between; nothing is written.
    #[doc(hidden)]
    fn admit_fast(
        &self,
        cost: u64,
        now: &mut impl FnMut(&'a Clock) -> Timestamp,
    ) -> Option<Result<SetPermit<'a, N>, Refused>>;
}

/// What a set is made of: a [`Key`] of a rate, a [`SlotKey`], or a [`Member`] that is one of both.
pub trait SetKey<'a>: Clone + Into<Member<'a>> {
    #[doc(hidden)]
    fn rate(&self) -> Option<Key<'a>>;

    #[doc(hidden)]
    fn clock(&self) -> &'a Clock;
}

impl<'a> SetKey<'a> for Key<'a> {
    #[inline(always)]
    fn rate(&self) -> Option<Key<'a>> {
        Some(*self)
    }

    #[inline(always)]
    fn clock(&self) -> &'a Clock {
        &self.rate.clock
    }
}

impl<'a> SetKey<'a> for SlotKey<'a> {
    #[inline(always)]
    fn rate(&self) -> Option<Key<'a>> {
        None
    }

    fn clock(&self) -> &'a Clock {
        self.clock
    }
}

impl<'a> SetKey<'a> for Member<'a> {
    #[inline(always)]
    fn rate(&self) -> Option<Key<'a>> {
        match &self.0 {
            Kind::Rate(key) => Some(*key),
            Kind::Slots(_) => None,
        }
    }

    fn clock(&self) -> &'a Clock {
        match &self.0 {
            Kind::Rate(key) => key.clock(),
            Kind::Slots(key) => key.clock,
        }
    }
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

/// Holds each key while those after it are charged, and the last by one compare-and-swap, which is
/// the moment of the decision. Nothing in between can panic.
macro_rules! commit {
    ($last:ident) => { commit_last(&$last) };
    ($first:ident $($rest:ident)+) => {
        $first.hold() && {
            let is_charged = commit!($($rest)+);
            $first.release(is_charged);
            is_charged
        }
    };
}

/// The fast path of a set of these keys. Values of one key each, rather than an array of them, stay
/// in registers, and what the caller drops is not computed.
macro_rules! fast {
    ($cost:ident, $now:ident, $($key:ident $part:ident $place:literal)+) => {{
        $(let $key = $key.rate()?;
        let $key = ($key, $now(&$key.rate.clock));
        let $part = FastPart::new(&$key.0.rate.store, $key.0.tag, $cost, $key.1)?;)+
        if $($part.is_denied())||+ {
            // They were all so at one moment if all still are. A key that is listed twice is asked
            // for twice its cost, which the transaction knows; if it is allowed, the second hold of
            // it fails.
            if !($($part.stands())&&+) || repeats(&[$($key.0),+]) {
                return None;
            }
            let mut refusal: Option<Refusal> = None;
            $(if let Some(other) = $part.refusal($place) {
                refusal = Some(match refusal {
                    Some(first) => first.and(other),
                    None => other,
                });
            })+
            let Refusal { place, denied } = refusal?;
            let name = [$($key.0),+].get(place as usize).and_then(|key| key.rate.name);
            return Some(Err(Refused::new(name, place as usize, denied)));
        }
        let allowed = Allowed::UNLIMITED$(.tighter($part.allowed()?))+;
        $(let $part = $part.pending();)+
        if !commit!($($part)+) {
            return None;
        }
        let charges =
            [$(Some(Charged { rate: $key.0.rate, charge: $part.charged($cost, $key.1) })),+];
        Some(Ok(SetPermit { charges, leases: Leases::default(), cost: $cost, allowed }))
    }};
}

/// Whether two of the keys are one.
#[inline(always)]
fn repeats(keys: &[Key<'_>]) -> bool {
    match keys {
        [_] => false,
        [a, b] => a.is_same(b),
        [a, b, c] => a.is_same(b) || a.is_same(c) || b.is_same(c),
        keys => keys.iter().enumerate().any(|(at, a)| keys[..at].iter().any(|b| a.is_same(b))),
    }
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
        Members(self.keys.list()).decide(Ask::UpTo(up_to), &mut |clock| clock.now(), &mut decided);
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
        if let Some(decided) = self.keys.admit_fast(cost, &mut now) {
            return decided;
        }
        // Not the place of the value that is returned: that would keep a permit in memory that the
        // caller drops.
        let mut decided = None;
        Members(self.keys.list()).decide(Ask::All(cost), &mut now, &mut decided);
        decided.unwrap_or_else(|| Ok(SetPermit::nothing()))
    }
}

impl<'a> From<Key<'a>> for Member<'a> {
    #[inline(always)]
    fn from(key: Key<'a>) -> Self {
        Member(Kind::Rate(key))
    }
}

impl<'a> From<SlotKey<'a>> for Member<'a> {
    fn from(key: SlotKey<'a>) -> Self {
        Member(Kind::Slots(key))
    }
}

impl<'a> Key<'a> {
    #[inline(always)]
    fn is_same(&self, other: &Key<'_>) -> bool {
        self.tag == other.tag && std::ptr::eq(self.rate, other.rate)
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

impl<'a, const N: usize, K: SetKey<'a>> Keys<'a, N> for [K; N] {
    fn list(&self) -> [Member<'a>; N] {
        self.each_ref().map(|key| key.clone().into())
    }

    fn clock(&self) -> Option<&'a Clock> {
        self.first().map(SetKey::clock)
    }

    fn admit_fast(
        &self,
        _: u64,
        _: &mut impl FnMut(&'a Clock) -> Timestamp,
    ) -> Option<Result<SetPermit<'a, N>, Refused>> {
        None
    }
}

macro_rules! tuple {
    ($count:literal $($name:ident $part:ident $place:literal)+) => {
        impl<'a, $($name: SetKey<'a>),+> Keys<'a, $count> for ($($name,)+) {
            #[allow(non_snake_case)]
            fn list(&self) -> [Member<'a>; $count] {
                let ($($name,)+) = self;
                [$($name.clone().into()),+]
            }

            #[inline(always)]
            fn clock(&self) -> Option<&'a Clock> {
                Some(self.0.clock())
            }

            // Always inlined: then a caller that drops the permit does not pay for it.
            #[inline(always)]
            #[allow(non_snake_case)]
            fn admit_fast(
                &self,
                cost: u64,
                now: &mut impl FnMut(&'a Clock) -> Timestamp,
            ) -> Option<Result<SetPermit<'a, $count>, Refused>> {
                let ($($name,)+) = self;
                fast!(cost, now, $($name $part $place)+)
            }
        }
    };
}
tuple!(1 A P0 0);
tuple!(2 A P0 0 B P1 1);
tuple!(3 A P0 0 B P1 1 C P2 2);
tuple!(4 A P0 0 B P1 1 C P2 2 D P3 3);
tuple!(5 A P0 0 B P1 1 C P2 2 D P3 3 E P4 4);
tuple!(6 A P0 0 B P1 1 C P2 2 D P3 3 E P4 4 F P5 5);
tuple!(7 A P0 0 B P1 1 C P2 2 D P3 3 E P4 4 F P5 5 G P6 6);
tuple!(8 A P0 0 B P1 1 C P2 2 D P3 3 E P4 4 F P5 5 G P6 6 H P7 7);
