//! The types that [`all`](crate::all) accepts, and the fast path of sets.
//!
//! A macro expands the fast path for tuples of one to eight keys. The slow path is in `slow`, the
//! participants and their commit in `transaction`.

use crate::concurrency_limiter::SlotKey;
use crate::decision::{Allowed, Refused};
use crate::rate_limiter::Key;
use crate::time::{Clock, Timestamp};
use crate::transaction::{FastParticipant, Refusal, commit_last};

use super::{Charged, Leases, Member, MemberKind, SetPermit};

/// The argument of [`all`](crate::all): a tuple of up to eight keys, or an array.
pub trait Keys<'a, const N: usize> {
    #[doc(hidden)]
    fn list(&self) -> [Member<'a>; N];

    /// The clock of the first member.
    #[doc(hidden)]
    fn clock(&self) -> Option<&'a Clock>;

    /// Decides rates whose states are words in slots of the table, each key listed once; with
    /// `WHOLE` only under quotas with a whole number of ticks in a nanosecond. `None`, with nothing
    /// written: the set contains something else, or another thread wrote in between.
    #[doc(hidden)]
    fn admit_fast<const WHOLE: bool>(
        &self,
        cost: u64,
        now: &mut impl FnMut(&'a Clock) -> Timestamp,
    ) -> Option<Result<SetPermit<'a, N>, Refused>>;
}

/// A member of a set: a [`Key`] of a rate, a [`SlotKey`], or a [`Member`] that holds either.
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
            MemberKind::Rate(key) => Some(*key),
            MemberKind::Slots(_) => None,
        }
    }

    fn clock(&self) -> &'a Clock {
        match &self.0 {
            MemberKind::Rate(key) => key.clock(),
            MemberKind::Slots(key) => key.clock,
        }
    }
}

impl<'a> From<Key<'a>> for Member<'a> {
    #[inline(always)]
    fn from(key: Key<'a>) -> Self {
        Member(MemberKind::Rate(key))
    }
}

impl<'a> From<SlotKey<'a>> for Member<'a> {
    fn from(key: SlotKey<'a>) -> Self {
        Member(MemberKind::Slots(key))
    }
}

impl<'a> Key<'a> {
    #[inline(always)]
    pub(super) fn is_same(&self, other: &Key<'_>) -> bool {
        self.tag == other.tag && std::ptr::eq(self.rate, other.rate)
    }
}

/// Holds each key while the keys after it are charged, and charges the last key by one
/// compare-and-swap, which is the moment of the decision. No code in between can panic.
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

/// The fast path for these keys. A variable per key, instead of an array, stays in registers, and
/// the compiler removes what the caller drops.
macro_rules! fast {
    ($cost:ident, $now:ident, $($key:ident $part:ident $place:literal)+) => {{
        // Resolves all keys first, so that a set with slots returns before it takes a snapshot.
        $(let $key = $key.rate()?;)+
        $(let $key = ($key, $now(&$key.rate.clock));
        let $part = FastParticipant::new::<WHOLE>(&$key.0.rate.store, $key.0.tag, $cost, $key.1)?;)+
        if $($part.is_denied())||+ {
            // If all snapshots are still valid, there was a moment at which the whole answer was
            // true. A key that is listed twice is asked for twice the cost, which only the
            // transaction handles; if it is allowed here, its second hold fails.
            if !($($part.is_valid())&&+) || repeats(&[$($key.0),+]) {
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

/// Whether any key is listed twice.
#[inline(always)]
pub(super) fn repeats(keys: &[Key<'_>]) -> bool {
    match keys {
        [_] => false,
        [a, b] => a.is_same(b),
        [a, b, c] => a.is_same(b) || a.is_same(c) || b.is_same(c),
        keys => keys.iter().enumerate().any(|(at, a)| keys[..at].iter().any(|b| a.is_same(b))),
    }
}

impl<'a, const N: usize, K: SetKey<'a>> Keys<'a, N> for [K; N] {
    fn list(&self) -> [Member<'a>; N] {
        self.each_ref().map(|key| key.clone().into())
    }

    fn clock(&self) -> Option<&'a Clock> {
        self.first().map(SetKey::clock)
    }

    fn admit_fast<const WHOLE: bool>(
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

            // Always inlined, so that a caller that drops the permit does not pay for it.
            #[inline(always)]
            #[allow(non_snake_case)]
            fn admit_fast<const WHOLE: bool>(
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
