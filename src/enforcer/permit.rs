//! [`Permit`]: what an admitted request was charged, and where it can be corrected.

use arc_swap::Guard;

use crate::decision::Allowed;
use crate::sync::Arc;

use super::Charges;
use super::compiled::Compiled;

/// An admitted request. Dropping it keeps what was charged.
///
/// It belongs to the policy that admitted it, also after a reload, and may be settled on another
/// thread.
pub struct Permit {
    allowed: Allowed,
    charges: Charges,
    policy: Guard<Arc<Compiled>>,
}

impl Permit {
    /// A permit that nothing was charged for yet.
    #[inline]
    pub(crate) fn new(policy: Guard<Arc<Compiled>>) -> Permit {
        Permit { allowed: Allowed::UNLIMITED, charges: Charges::new(), policy }
    }

    /// To be filled in by the policy's decision.
    #[inline]
    pub(crate) fn parts(&mut self) -> (&Compiled, &mut Charges, &mut Allowed) {
        (&self.policy, &mut self.charges, &mut self.allowed)
    }

    /// How the tightest of the enforced limits stands: the one of which the least remains. If no
    /// limit applied, as if there were one of `u64::MAX`.
    pub fn allowed(&self) -> Allowed {
        self.allowed
    }

    /// Makes the request's charge `cost`, more or less than it was.
    ///
    /// If limits took their cost from a fact this settles those and leaves the others, which
    /// count requests. Otherwise it settles all. What time has already given back is not given
    /// back again, and more than was charged makes debt:
    /// [`Reservation::settle`](crate::Reservation::settle).
    pub fn settle(self, cost: u64) {
        let by_fact = |rule: u32| self.policy.rules[rule as usize].cost.is_some();
        let any_by_fact = self.charges.iter().any(|(seat, _)| by_fact(seat.rule));
        self.settle_where(cost, |rule| by_fact(rule) == any_by_fact);
    }

    /// Gives back everything that was charged, as far as time has not.
    pub fn cancel(self) {
        self.settle_where(0, |_| true);
    }

    fn settle_where(&self, cost: u64, which: impl Fn(u32) -> bool) {
        for (seat, charge) in &self.charges {
            if which(seat.rule) {
                let rule = &self.policy.rules[seat.rule as usize];
                let variant = rule.variants.get(seat.variant as usize);
                let account = variant.and_then(|variant| variant.account.as_ref());
                account.unwrap_or(&rule.account).cells.settle(charge, cost, &self.policy.clock);
            }
        }
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permit").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}
