//! [`all`]: several limiters decided as one step, without a policy.

mod beside;

use crate::cells::{Cells, Charge};
use crate::concurrency_limiter::{Lease, SlotKey};
use crate::decision::{Allowed, Refused};
use crate::gate::{self, Entry, Refusal, Rest};
use crate::rate_limiter::{Key, Rate, Store};
use crate::records::Ask;
use crate::time::{Clock, Timestamp};

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
pub fn all<'a, const N: usize, K: Keys<'a, N>>(keys: K) -> Set<'a, N> {
    Set { keys: keys.list(), are_rates: K::ARE_RATES }
}

/// Keys of limiters that are decided together: [`all`].
#[derive(Clone)]
pub struct Set<'a, const N: usize> {
    keys: [Member<'a>; N],
    /// Known from the types of the keys. Known when the set is compiled, it keeps what slots cost
    /// away from sets that have none.
    are_rates: bool,
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
    const ARE_RATES: bool;
    #[doc(hidden)]
    fn list(self) -> [Member<'a>; N];
}

/// What a set is made of: a [`Key`] of a rate, a [`SlotKey`], or a [`Member`] that is one of both.
pub trait SetKey<'a>: Into<Member<'a>> {
    #[doc(hidden)]
    const IS_RATE: bool;
}

impl<'a> SetKey<'a> for Key<'a> {
    const IS_RATE: bool = true;
}

impl<'a> SetKey<'a> for SlotKey<'a> {
    const IS_RATE: bool = false;
}

impl<'a> SetKey<'a> for Member<'a> {
    const IS_RATE: bool = false;
}

/// What an admitted set of limits was charged, and the slots it holds. Dropping it keeps the charge
/// and gives the slots back.
#[derive(Debug)]
pub struct SetPermit<'a, const N: usize> {
    charges: [Option<Charged<'a>>; N],
    leases: Vec<Lease>,
    /// What it was admitted at.
    cost: u64,
    allowed: Allowed,
}

/// A charge and where it can be settled.
#[derive(Clone, Copy)]
struct Charged<'a> {
    rate: &'a Rate,
    charge: Charge,
}

impl<'a, const N: usize> Set<'a, N> {
    /// Decides `cost` units of each rate and a slot of each concurrency limit now: all of them are
    /// charged and taken, or none. A cost of 0 is a peek.
    ///
    /// Each limit is asked at its own clock's time. A key that is listed twice is charged twice.
    #[inline(always)]
    pub fn admit(&self, cost: u64) -> Result<SetPermit<'a, N>, Refused> {
        let mut read: Option<(&Clock, Timestamp)> = None;
        self.decide(cost, |clock| match read {
            Some((other, now)) if other.reads_alike(clock) => now,
            _ => read.insert((clock, clock.now())).1,
        })
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
        self.decide_beside(Ask::UpTo(up_to), &mut |clock| clock.now())
    }

    /// [`admit`](Self::admit) at `now`, whatever the clocks say.
    #[inline(always)]
    pub fn admit_at(&self, cost: u64, now: Timestamp) -> Result<SetPermit<'a, N>, Refused> {
        self.decide(cost, |_| now)
    }

    // Always inlined: then a caller that drops the permit does not pay for it.
    #[inline(always)]
    fn decide(
        &self,
        cost: u64,
        mut now: impl FnMut(&'a Clock) -> Timestamp,
    ) -> Result<SetPermit<'a, N>, Refused> {
        let any = if self.are_rates { self.keys.iter().find_map(Member::words) } else { None };
        let Some((_, any)) = any else {
            return self.decide_beside(Ask::All(cost), &mut now);
        };
        // Filled in place: an entry is too long to be moved for nothing.
        let mut entries = [Entry::blank(any); N];
        let mut filled = 0;
        for (index, (entry, key)) in entries.iter_mut().zip(&self.keys).enumerate() {
            if let Some((key, cells)) = key.words() {
                let cost = self.cost(index, key, cost);
                entry.ask(cells, key.tag, cost, now(key.clock), true);
                entry.place = index as u32;
                filled += 1;
            }
        }
        // Nothing is written yet.
        if filled < N {
            return self.decide_beside(Ask::All(cost), &mut now);
        }
        match gate::admit(&mut entries, &mut Rest::none()) {
            Ok(()) => Ok(self.permit(&entries, cost)),
            Err(refusal) => Err(self.refused(&refusal, cost, now)),
        }
    }

    fn nothing(&self, cost: u64) -> SetPermit<'a, N> {
        let allowed = Allowed::UNLIMITED;
        SetPermit { charges: [None; N], leases: Vec::new(), cost, allowed }
    }

    /// What is asked of the key at `index`: of one that is listed several times the first time all,
    /// then nothing.
    #[inline]
    fn cost(&self, index: usize, key: &Key<'_>, cost: u64) -> u64 {
        let same = |other: &&Member<'_>| other.rate().is_some_and(|other| other.is_same(key));
        if self.keys.iter().take(index).any(|other| same(&other)) {
            return 0;
        }
        let listed = 1 + self.keys.iter().skip(index + 1).filter(same).count();
        cost.saturating_mul(listed as u64)
    }

    #[inline(always)]
    fn permit(&self, entries: &[Entry<'a>; N], cost: u64) -> SetPermit<'a, N> {
        let allowed = entries.iter().filter_map(|entry| entry.answer().as_ref().ok());
        let allowed = allowed.reduce(Allowed::tighter).copied().unwrap_or(Allowed::UNLIMITED);
        let mut permit = SetPermit { charges: [None; N], leases: Vec::new(), cost, allowed };
        for ((slot, key), entry) in permit.charges.iter_mut().zip(&self.keys).zip(entries) {
            if let (Some(charge), Some(key)) = (entry.charge(), key.rate()) {
                *slot = Some(Charged { rate: key.rate, charge });
            }
        }
        permit
    }

    fn refused(
        &self,
        refusal: &Refusal,
        cost: u64,
        now: impl FnMut(&'a Clock) -> Timestamp,
    ) -> Refused {
        self.keys.iter().for_each(Member::serve_queued);
        let first = refusal.place as usize;
        let index = self.named(first, cost, now).unwrap_or(first);
        Refused::new(self.keys[index].name(), index, refusal.denied)
    }

    /// The listing that was too much, of a rate that is listed several times, `first` at first.
    fn named(
        &self,
        first: usize,
        cost: u64,
        mut now: impl FnMut(&'a Clock) -> Timestamp,
    ) -> Option<usize> {
        let key = self.keys[first].rate()?;
        let mut same = (first..N)
            .filter(|index| self.keys[*index].rate().is_some_and(|other| other.is_same(key)));
        if same.clone().count() == 1 {
            return None;
        }
        let now = now(key.clock);
        let mut asked = 0_u64;
        same.find(|_| {
            asked = asked.saturating_add(cost);
            key.rate.store.peek(key.tag, asked, now).is_err()
        })
    }
}

impl<'a> Member<'a> {
    #[inline(always)]
    fn rate(&self) -> Option<&Key<'a>> {
        match &self.0 {
            Kind::Rate(key) => Some(key),
            Kind::Slots(_) => None,
        }
    }

    /// A rate whose keys are words.
    #[inline(always)]
    fn words(&self) -> Option<(&Key<'a>, &'a Cells)> {
        let key = self.rate()?;
        match &key.rate.store {
            Store::Words(cells) => Some((key, cells)),
            Store::Records(_) => None,
        }
    }

    /// After a refusal: perhaps it is the turn of those who wait, and nobody told them.
    fn serve_queued(&self) {
        match &self.0 {
            Kind::Rate(key) => key.rate.serve_queued(key.tag),
            Kind::Slots(key) => key.room.serve_queued(),
        }
    }

    fn name(&self) -> Option<&'static str> {
        match &self.0 {
            Kind::Rate(key) => key.name,
            Kind::Slots(key) => key.name,
        }
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

impl Key<'_> {
    #[inline]
    fn is_same(&self, other: &Key<'_>) -> bool {
        self.tag == other.tag && std::ptr::eq(self.rate, other.rate)
    }
}

impl<const N: usize> SetPermit<'_, N> {
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
    const ARE_RATES: bool = K::IS_RATE;

    #[inline(always)]
    fn list(self) -> [Member<'a>; N] {
        self.map(Into::into)
    }
}

macro_rules! tuple {
    ($count:literal $($name:ident)+) => {
        impl<'a, $($name: SetKey<'a>),+> Keys<'a, $count> for ($($name,)+) {
            const ARE_RATES: bool = $($name::IS_RATE)&&+;

            #[inline(always)]
            #[allow(non_snake_case)]
            fn list(self) -> [Member<'a>; $count] {
                let ($($name,)+) = self;
                [$($name.into()),+]
            }
        }
    };
}
tuple!(1 A);
tuple!(2 A B);
tuple!(3 A B C);
tuple!(4 A B C D);
tuple!(5 A B C D E);
tuple!(6 A B C D E F);
tuple!(7 A B C D E F G);
tuple!(8 A B C D E F G H);
