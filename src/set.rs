//! [`all`]: several limiters decided as one step, without a policy.

use smallvec::SmallVec;

use crate::cells::{Cells, Charge};
use crate::decision::{Allowed, Refused};
use crate::gate::{self, Entries, Entry, INLINE, Refusal};
use crate::rate_limiter::Key;
use crate::time::{Clock, Timestamp};

/// Several limits to be decided as one: all of them are charged, or none.
///
/// Takes keys of limiters, in the order in which a refusal is to name them: narrowest first, the
/// one that all requests share last, which is also the fastest order.
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
pub fn all<'a>(keys: impl Keys<'a>) -> Set<'a> {
    Set { keys: keys.list() }
}

/// Keys of limiters that are decided together: [`all`].
#[derive(Clone)]
pub struct Set<'a> {
    keys: List<'a>,
}

type List<'a> = SmallVec<[Key<'a>; INLINE]>;

/// What [`all`] takes: a tuple of up to eight keys, an array, or a slice.
pub trait Keys<'a> {
    #[doc(hidden)]
    fn list(self) -> SmallVec<[Key<'a>; INLINE]>;
}

/// What an admitted set of limits was charged. Dropping it keeps the charge.
#[derive(Debug)]
pub struct SetPermit<'a> {
    charges: SmallVec<[(Account<'a>, Charge); INLINE]>,
    allowed: Allowed,
}

/// Where a charge can be settled.
#[derive(Clone, Copy)]
struct Account<'a> {
    cells: &'a Cells,
    clock: &'a Clock,
}

impl<'a> Set<'a> {
    /// Decides `cost` units of each limit now, and charges all of them or none.
    ///
    /// Each limit is asked at its own clock's time. A key that is listed twice is charged twice.
    #[inline]
    pub fn admit(&self, cost: u64) -> Result<SetPermit<'a>, Refused> {
        self.decide(cost, None)
    }

    /// [`admit`](Self::admit) at `now`, whatever the clocks say.
    pub fn admit_at(&self, cost: u64, now: Timestamp) -> Result<SetPermit<'a>, Refused> {
        self.decide(cost, Some(now))
    }

    fn decide(&self, cost: u64, now: Option<Timestamp>) -> Result<SetPermit<'a>, Refused> {
        // Filled and used where it stands: it is long.
        let mut entries = Entries::new();
        self.list_entries(&mut entries, cost, now);
        match gate::admit(&mut entries) {
            Ok(()) => Ok(self.permit(&entries)),
            Err(refusal) => Err(self.refused(&entries, &refusal, cost)),
        }
    }

    fn permit(&self, entries: &[Entry<'_>]) -> SetPermit<'a> {
        let mut permit = SetPermit { charges: SmallVec::new(), allowed: Allowed::UNLIMITED };
        for (entry, key) in entries.iter().zip(self.firsts()) {
            if let Some(Ok(allowed)) = entry.answer() {
                permit.allowed = permit.allowed.tighter(allowed);
            }
            if let Some(charge) = entry.charge() {
                permit.charges.push((Account { cells: key.cells, clock: key.clock }, charge));
            }
        }
        permit
    }

    fn refused(&self, entries: &[Entry<'_>], refusal: &Refusal, cost: u64) -> Refused {
        let index = self.named(entries, refusal.index, cost);
        let name = self.keys.get(index).and_then(|key| key.name);
        Refused::new(name.cloned(), index, refusal.denied)
    }

    /// What is decided for each key. One that is listed again adds to the cost of the first.
    #[inline]
    fn list_entries(&self, entries: &mut Entries<'a>, cost: u64, now: Option<Timestamp>) {
        let mut clock: Option<(&Clock, Timestamp)> = None;
        for key in &self.keys {
            if let Some(first) = entries.iter_mut().find(|entry| key.is_of(entry)) {
                first.cost = first.cost.saturating_add(cost);
                continue;
            }
            let now = now.unwrap_or_else(|| match clock {
                Some((read, now)) if read.same_axis(key.clock) => now,
                _ => {
                    let now = key.clock.now();
                    clock = Some((key.clock, now));
                    now
                }
            });
            entries.push(Entry::new(key.cells, key.tag, cost, now, true));
        }
    }

    /// The keys that have an entry of their own.
    fn firsts(&self) -> impl Iterator<Item = &Key<'a>> {
        self.keys.iter().enumerate().filter_map(|(index, key)| {
            let again = self.keys.iter().take(index).any(|other| other.is_same(key));
            (!again).then_some(key)
        })
    }

    /// The key that the refusing entry stands for: of a key listed twice, the listing that was
    /// too much.
    fn named(&self, entries: &[Entry<'_>], refusing: usize, cost: u64) -> usize {
        if entries.len() == self.keys.len() {
            return refusing;
        }
        let Some(entry) = entries.get(refusing) else { return refusing };
        let mut listed = 0_u64;
        let listings = self.keys.iter().enumerate().filter(|(_, key)| key.is_of(entry));
        let mut last = refusing;
        for (index, key) in listings {
            last = index;
            listed = listed.saturating_add(cost);
            if key.cells.peek(key.tag, listed, entry.now).is_err() {
                break;
            }
        }
        last
    }
}

impl Key<'_> {
    fn is_of(&self, entry: &Entry<'_>) -> bool {
        entry.is_for(self.cells, self.tag)
    }

    fn is_same(&self, other: &Key<'_>) -> bool {
        self.tag == other.tag && std::ptr::eq(self.cells, other.cells)
    }
}

impl SetPermit<'_> {
    /// How the tightest of the limits stands: the one of which the least remains.
    pub fn allowed(&self) -> Allowed {
        self.allowed
    }

    /// Makes the charge of each limit `cost`, as
    /// [`Reservation::settle`](crate::Reservation::settle) does.
    pub fn settle(self, cost: u64) {
        for (account, charge) in &self.charges {
            account.cells.settle(charge, cost, account.clock);
        }
    }

    /// Gives the charges back: [`settle`](Self::settle) at 0.
    pub fn cancel(self) {
        self.settle(0);
    }
}

impl std::fmt::Debug for Account<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("clock", self.clock).finish_non_exhaustive()
    }
}

impl<'a, const N: usize> Keys<'a> for [Key<'a>; N] {
    #[inline]
    fn list(self) -> List<'a> {
        List::from_slice(&self)
    }
}

impl<'a> Keys<'a> for &[Key<'a>] {
    #[inline]
    fn list(self) -> List<'a> {
        List::from_slice(self)
    }
}

macro_rules! tuple {
    ($($name:ident)+) => {
        impl<'a> Keys<'a> for ($(tuple!(@key $name),)+) {
            #[inline]
            #[allow(non_snake_case)]
            fn list(self) -> List<'a> {
                let ($($name,)+) = self;
                List::from_slice(&[$($name),+])
            }
        }
    };
    (@key $name:ident) => { Key<'a> };
}
tuple!(A);
tuple!(A B);
tuple!(A B C);
tuple!(A B C D);
tuple!(A B C D E);
tuple!(A B C D E F);
tuple!(A B C D E F G);
tuple!(A B C D E F G H);
