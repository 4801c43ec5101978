//! [`Permit`]: what an admitted request was charged and the slots it holds. Settling and cancelling
//! correct the charge; dropping the permit gives the slots back.

use arc_swap::Guard;
use smallvec::SmallVec;

use crate::concurrency_limiter::Semaphore;
use crate::decision::Allowed;
use crate::rate_limiter::Rate;
use crate::sync::Arc;
use crate::telemetry::LOGS;
use crate::transaction::HeldSlots;

use super::compiled::Compiled;
use super::decision::{Holding, LimitAsked};
use super::limit_state::Limiter;

/// In place of a limit's place: in no line.
pub(super) const NOWHERE: u32 = u32::MAX;

/// An admitted request. Dropping the permit keeps the charge and gives the slots back, the last
/// taken first.
///
/// A permit stays with the policy that admitted it, also after a reload. It may move to another
/// thread or task.
#[must_use = "dropping a permit gives its slots back at once"]
pub struct Permit {
    holding: Holding,
    policy: Guard<Arc<Compiled>>,
    /// Granted to a waiter that has not received it yet: dropping it gives everything back.
    is_untaken: bool,
    /// The place of the limit in whose line it was granted. `NOWHERE`: in none.
    stood_at: u32,
}

impl Permit {
    #[inline(always)]
    pub(crate) fn new(policy: Guard<Arc<Compiled>>) -> Permit {
        Permit { holding: Holding::default(), policy, is_untaken: false, stood_at: NOWHERE }
    }

    /// Marks the permit as granted to a waiter, in the line of that limit (`NOWHERE`: in none).
    pub(super) fn untaken(self, stood_at: u32) -> Permit {
        let mut permit = self;
        (permit.is_untaken, permit.stood_at) = (true, stood_at);
        permit
    }

    /// The name of the limit in whose line the permit was granted.
    pub(super) fn waited_for(&self) -> Option<&'static str> {
        self.policy.rules.get(self.stood_at as usize).map(|rule| rule.name)
    }

    pub(super) fn taken(self) -> Permit {
        let mut permit = self;
        permit.is_untaken = false;
        permit
    }

    /// The policy, and the part that its decision fills in.
    pub(crate) fn parts(&mut self) -> (&Compiled, &mut Holding) {
        (&self.policy, &mut self.holding)
    }

    /// If the permit holds slots, and so may live long, makes its guard own an `Arc`. A thread has few
    /// guards that borrow instead, and they are for short use.
    pub(crate) fn settle_in(&mut self) {
        if !self.holding.slots.is_empty() {
            self.policy = Guard::from_inner(self.policy.clone());
        }
    }

    /// The answer of the tightest enforced limit at admission: the limit with the least remaining.
    /// If no limit applied, `u64::MAX` units remain. Computed by this call, since most callers do
    /// not ask.
    ///
    /// For a limit whose quota has changed twice since, it is the current state of the key.
    pub fn allowed(&self) -> Allowed {
        self.policy.tightest(self.holding.tightest, &self.holding.charges)
    }

    /// Changes the request's charge to `cost`, more or less than it was, and gives its slots back.
    ///
    /// If any limit took its cost from a fact, only such limits are settled; the others count
    /// requests. Otherwise all are settled. Units that time has already given back are not given
    /// back again, and a higher cost than charged makes debt:
    /// [`Reservation::settle`](crate::Reservation::settle).
    pub fn settle(mut self, cost: u64) {
        let by_fact = |policy: &Compiled, rule: u32| policy.rules[rule as usize].cost.is_some();
        let any_by_fact =
            self.holding.charges.iter().any(|asked| by_fact(&self.policy, asked.source.rule));
        self.give_back(cost, |policy, rule| by_fact(policy, rule) == any_by_fact);
    }

    /// Gives back the whole charge, except what time has already given back, and the slots.
    pub fn cancel(mut self) {
        self.give_back(0, |_, _| true);
    }

    /// Settles and gives back everything before it serves any waiter: a waiter may need several of
    /// the limits.
    fn give_back(&mut self, cost: u64, which: impl Fn(&Compiled, u32) -> bool) {
        self.is_untaken = false;
        let mut asked: WaitedFors = SmallVec::new();
        for LimitAsked { source, charge, .. } in &self.holding.charges {
            if which(&self.policy, source.rule) {
                let rule = &self.policy.rules[source.rule as usize];
                if let Limiter::Rate(rate) = &rule.state_of(source.variant).limiter {
                    if rate.settle_unserved(charge, cost) {
                        asked.push(WaitedFor::Rate(rate.clone(), charge.tag));
                    }
                }
            }
        }
        self.give_back_slots(asked);
    }

    /// Gives back the slots, the last taken first, then serves the waiters for them and those in
    /// `asked`. Logs expired leases last, since a logger may panic.
    fn give_back_slots(&mut self, mut asked: WaitedFors) {
        let slots = std::mem::take(&mut *self.holding.slots);
        for HeldSlots { place, semaphore, held } in slots.iter().rev() {
            self.policy.rules[*place as usize].counters.returned.add(1);
            if semaphore.give_back_unserved(held) {
                asked.push(WaitedFor::Slots(semaphore.clone()));
            }
        }
        drop(asked);
        if LOGS {
            for HeldSlots { place, semaphore, .. } in &slots {
                self.policy.rules[*place as usize].log_expired(semaphore);
            }
        }
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if self.is_untaken {
            self.give_back(0, |_, _| true);
        } else if !self.holding.slots.is_empty() {
            self.give_back_slots(WaitedFors::new());
        }
    }
}

/// Something given back that others wait for. Dropping it serves the waiters. Since a list of them
/// is dropped element by element, all lines are served even if a waker panics.
enum WaitedFor {
    Rate(Arc<Rate>, u64),
    Slots(Arc<Semaphore>),
}

type WaitedFors = SmallVec<[WaitedFor; 2]>;

impl Drop for WaitedFor {
    fn drop(&mut self) {
        match self {
            WaitedFor::Rate(rate, tag) => rate.serve_queued(*tag),
            WaitedFor::Slots(semaphore) => semaphore.serve_now(),
        }
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permit").field("allowed", &self.allowed()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::{Enforcer, Limit, Policy, Quota, VirtualClock};

    fn enforcer(user: Quota) -> Enforcer {
        Enforcer::builder(policy(user)).clock(VirtualClock::new().clock()).build().unwrap()
    }

    fn policy(user: Quota) -> Policy {
        let user = Limit::new("user", user).key(["user"]);
        Policy::new().limit(user).limit(Limit::new("all", Quota::per_second(1_000)))
    }

    #[test]
    fn the_tightest_limit_is_the_one_of_the_answers() {
        // With whole and fractional ticks per unit, and with the limits' answers close together and
        // far apart.
        for user in [Quota::per_minute(10), Quota::per_second(333), Quota::per_hour(1_001)] {
            let enforcer = enforcer(user);
            for _ in 0..3 {
                // In the first round the key has no slot in the table yet.
                let peeked = enforcer.peek(&[("user", "1")], 3).unwrap();
                let (permit, answers) = enforcer.admit_with_answers(&[("user", "1")], 3);
                let all = answers.limits.iter().map(|limit| limit.answer.unwrap());
                let tightest = all.min_by_key(|allowed| allowed.remaining()).unwrap();
                assert_eq!(permit.unwrap().allowed(), tightest, "{user:?}");
                assert_eq!(peeked, tightest, "{user:?}");
            }
        }
    }

    #[test]
    fn another_quota_changes_nothing_about_the_tightest_limit_and_two_do() {
        let enforcer = enforcer(Quota::per_minute(10));
        let admit = || enforcer.admit(&[("user", "1")], 3).unwrap();
        drop(admit());
        let permit = admit();
        let allowed = permit.allowed();
        assert_eq!((allowed.burst(), allowed.remaining()), (10, 4));
        let change = |per_minute| enforcer.reload(policy(Quota::per_minute(per_minute))).unwrap();
        change(600);
        assert_eq!(permit.allowed(), allowed);
        change(60);
        assert_eq!(permit.allowed().burst(), 60);
    }
}
