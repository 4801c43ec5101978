//! [`all`]: several limiters decided as one step, without a policy.

mod slow;

use crate::cells::Charge;
use crate::concurrency_limiter::{Lease, SlotKey};
use crate::decision::{Allowed, Refused};
use crate::rate_limiter::{Key, Rate};
use crate::records::Ask;
use crate::time::{Clock, Timestamp};
use crate::transaction::{FastPart, Refusal};

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
    Set { keys: keys.list() }
}

/// Keys of limiters that are decided together: [`all`].
#[derive(Clone)]
pub struct Set<'a, const N: usize> {
    keys: [Member<'a>; N],
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
    fn list(self) -> [Member<'a>; N];
}

/// What a set is made of: a [`Key`] of a rate, a [`SlotKey`], or a [`Member`] that is one of both.
pub trait SetKey<'a>: Into<Member<'a>> {}

impl<'a> SetKey<'a> for Key<'a> {}

impl<'a> SetKey<'a> for SlotKey<'a> {}

impl<'a> SetKey<'a> for Member<'a> {}

/// What an admitted set of limits was charged, and the slots it holds. Dropping it keeps the charge
/// and gives the slots back.
#[derive(Debug)]
pub struct SetPermit<'a, const N: usize> {
    charges: [Option<Charged<'a>>; N],
    // A box, so that a set without slots has nothing to drop.
    leases: Option<Box<[Lease]>>,
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

/// Holds each key while those after it are charged, and the last by one compare-and-swap, which is
/// the moment of the decision. Nothing in between can panic.
macro_rules! commit {
    ($last:ident) => { $last.commit() };
    ($first:ident $($rest:ident)+) => {
        $first.hold() && {
            let is_charged = commit!($($rest)+);
            $first.release(is_charged);
            is_charged
        }
    };
}

/// The fast path of a set of these keys. Values of one key each, rather than arrays of them, stay
/// in registers.
macro_rules! fast {
    ($set:ident, $cost:ident, $now:ident, $($key:ident)+) => {{
        $(let $key = $key.part($cost, $now)?;)+
        if $set.repeats() {
            return None;
        }
        let (mut refusal, mut place): (Option<Refusal>, u32) = (None, 0);
        $(if let Some(other) = $key.refusal(place) {
            refusal = Some(refusal.map_or(other, |first| first.and(other)));
        }
        place += 1;)+
        let _ = place;
        if let Some(refusal) = refusal {
            // They were all so at one moment if all still are.
            let stands = $($key.stands())&&+;
            return stands.then(|| Err($set.refusal(&refusal)));
        }
        commit!($($key)+).then(|| Ok($set.permit(&[$($key),+], $cost)))
    }};
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
        self.decide_slow(Ask::UpTo(up_to), &mut |clock| clock.now())
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
        match self.decide_fast(cost, &mut now) {
            Some(decided) => decided,
            None => self.decide_slow(Ask::All(cost), &mut now),
        }
    }

    /// Decides a set of up to four rates whose keys are words that stand in their slots, each listed
    /// once. `None`: something else, or something came between; nothing is written.
    // Always inlined: then a caller that drops the permit does not pay for it.
    #[inline(always)]
    fn decide_fast(
        &self,
        cost: u64,
        now: &mut impl FnMut(&'a Clock) -> Timestamp,
    ) -> Option<Result<SetPermit<'a, N>, Refused>> {
        // The length is known when the set is compiled: one arm is left.
        match &self.keys[..] {
            [a] => fast!(self, cost, now, a),
            [a, b] => fast!(self, cost, now, a b),
            [a, b, c] => fast!(self, cost, now, a b c),
            [a, b, c, d] => fast!(self, cost, now, a b c d),
            _ => None,
        }
    }

    /// What the keys were charged on the fast path.
    #[inline(always)]
    fn permit(&self, parts: &[FastPart<'a>], cost: u64) -> SetPermit<'a, N> {
        let mut permit = self.nothing(cost);
        permit.charges = std::array::from_fn(|index| {
            let (part, key) = (parts.get(index)?, self.keys[index].rate()?);
            Some(Charged { rate: key.rate, charge: part.charge(cost) })
        });
        let all_allowed = parts.iter().filter_map(FastPart::allowed);
        let tighter = |a: Allowed, b: Allowed| *a.tighter(&b);
        permit.allowed = all_allowed.reduce(tighter).unwrap_or(Allowed::UNLIMITED);
        permit
    }

    #[inline(always)]
    fn nothing(&self, cost: u64) -> SetPermit<'a, N> {
        SetPermit { charges: [None; N], leases: None, cost, allowed: Allowed::UNLIMITED }
    }

    /// Whether two of the keys are one.
    #[inline(always)]
    fn repeats(&self) -> bool {
        let same = |a: &Member<'a>, b: &Member<'a>| match (a.rate(), b.rate()) {
            (Some(a), Some(b)) => a.is_same(b),
            _ => false,
        };
        match &self.keys[..] {
            [a, b] => same(a, b),
            [a, b, c] => same(a, b) || same(a, c) || same(b, c),
            keys => keys.iter().enumerate().any(|(at, a)| keys[..at].iter().any(|b| same(a, b))),
        }
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
    fn refusal(&self, refusal: &Refusal) -> Refused {
        let index = refusal.place as usize;
        let name = self.keys.get(index).and_then(Member::name);
        Refused::new(name, index, refusal.denied)
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

    /// A key on the fast path, if it may take it.
    #[inline(always)]
    fn part(
        &self,
        cost: u64,
        now: &mut impl FnMut(&'a Clock) -> Timestamp,
    ) -> Option<FastPart<'a>> {
        let Key { rate, clock, tag, .. } = *self.rate()?;
        FastPart::new(&rate.store, tag, cost, now(clock))
    }

    /// After a refusal: perhaps it is the turn of those who wait, and nobody told them.
    fn serve_queued(&self) {
        match &self.0 {
            Kind::Rate(key) => key.rate.serve_queued(key.tag),
            Kind::Slots(key) => key.room.serve_queued(),
        }
    }

    #[inline(always)]
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
    #[inline(always)]
    fn list(self) -> [Member<'a>; N] {
        self.map(Into::into)
    }
}

macro_rules! tuple {
    ($count:literal $($name:ident)+) => {
        impl<'a, $($name: SetKey<'a>),+> Keys<'a, $count> for ($($name,)+) {
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
