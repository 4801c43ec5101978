//! [`Permit`]: what an admitted request was charged and holds, and where it can be corrected.

use arc_swap::Guard;
use smallvec::SmallVec;

use crate::decision::Allowed;
use crate::sync::Arc;

use super::account::Counts;
use super::compiled::Compiled;
use super::decision::Holding;

/// An admitted request. Dropping it keeps what was charged and gives its slots back, the last taken
/// first.
///
/// It belongs to the policy that admitted it, also after a reload, and may move to another thread or
/// task.
#[must_use = "dropping a permit gives its slots back at once"]
pub struct Permit {
    holding: Holding,
    policy: Guard<Arc<Compiled>>,
    /// It was granted to somebody who waits and has not looked: dropping it takes all back.
    is_untaken: bool,
}

impl Permit {
    /// A permit that nothing was charged for yet.
    #[inline]
    pub(crate) fn new(policy: Guard<Arc<Compiled>>) -> Permit {
        let holding = Holding {
            allowed: Allowed::UNLIMITED,
            charges: SmallVec::new(),
            leases: SmallVec::new(),
        };
        Permit { holding, policy, is_untaken: false }
    }

    pub(super) fn untaken(self) -> Permit {
        let mut permit = self;
        permit.is_untaken = true;
        permit
    }

    pub(super) fn taken(self) -> Permit {
        let mut permit = self;
        permit.is_untaken = false;
        permit
    }

    /// To be filled in by the policy's decision.
    #[inline]
    pub(crate) fn parts(&mut self) -> (&Compiled, &mut Holding) {
        (&self.policy, &mut self.holding)
    }

    /// Makes it ready to be held for long: guards are for moments, and a thread has few.
    #[inline]
    pub(crate) fn settle_in(&mut self) {
        if !self.holding.leases.is_empty() {
            self.policy = Guard::from_inner(self.policy.clone());
        }
    }

    /// How the tightest of the enforced limits stands: the one of which the least remains. If no
    /// limit applied, as if there were one of `u64::MAX`.
    pub fn allowed(&self) -> Allowed {
        self.holding.allowed
    }

    /// Makes the request's charge `cost`, more or less than it was, and gives its slots back.
    ///
    /// If limits took their cost from a fact this settles those and leaves the others, which
    /// count requests. Otherwise it settles all. What time has already given back is not given
    /// back again, and more than was charged makes debt:
    /// [`Reservation::settle`](crate::Reservation::settle).
    pub fn settle(self, cost: u64) {
        let by_fact = |rule: u32| self.policy.rules[rule as usize].cost.is_some();
        let any_by_fact = self.holding.charges.iter().any(|(source, _)| by_fact(source.rule));
        self.settle_where(cost, |rule| by_fact(rule) == any_by_fact);
    }

    /// Gives back everything that was charged, as far as time has not, and its slots.
    pub fn cancel(self) {
        self.settle_where(0, |_| true);
    }

    fn settle_where(&self, cost: u64, which: impl Fn(u32) -> bool) {
        for (source, charge) in &self.holding.charges {
            if which(source.rule) {
                let rule = &self.policy.rules[source.rule as usize];
                if let Counts::Rate(rate) = &rule.account_of(source.variant).counts {
                    rate.settle(charge, cost);
                }
            }
        }
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if self.is_untaken {
            self.settle_where(0, |_| true);
        }
    }
}

impl Drop for Holding {
    #[inline]
    fn drop(&mut self) {
        while let Some(lease) = self.leases.pop() {
            drop(lease);
        }
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permit").field("allowed", &self.holding.allowed).finish_non_exhaustive()
    }
}
