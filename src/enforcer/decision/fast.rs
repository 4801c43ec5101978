//! The fast path of a policy's decision. It decides requests whose limits are all enforced and are
//! either rates with one word per key or concurrency limits that no caller waits for.

use crate::enforcer::compiled::Compiled;
use crate::enforcer::limit_state::Limiter;
use crate::policy::Mode;
use crate::telemetry::LOGS;
use crate::time::Timestamp;
use crate::transaction::{HeldSlots, Listed, Said};

use super::{Holding, LimitAsked, Source};

impl Compiled {
    /// Takes a snapshot of each limit, and writes to `asks` what it is charged if all agree. `says`
    /// gets the source, the key hash and the answer of each rate. `None`: the fast path does not
    /// decide.
    #[inline(always)]
    pub(in crate::enforcer) fn look<'a>(
        &'a self,
        asks: &mut [LimitAsked],
        now: Timestamp,
        listed: &mut Listed<'a>,
        mut says: impl FnMut(Source, u64, Said<'_, 'a>),
    ) -> Option<()> {
        for LimitAsked { source, charge, full } in asks {
            let rule = self.rules.get(source.rule as usize)?;
            if rule.counters.mode() != Mode::Enforce || charge.tag == LimitAsked::NO_KEY {
                return None;
            }
            charge.at = now;
            match &rule.state_of(source.variant).limiter {
                Limiter::Rate(rate) => {
                    let tag = charge.tag;
                    let says = |said: Said<'_, 'a>| says(*source, tag, said);
                    *full = listed.look(source.rule, &rate.store, charge, says)?;
                }
                // A cost of 0 is a peek, which the fast path does not do for slots.
                Limiter::Slots(_) if charge.cost == 0 => return None,
                Limiter::Slots(semaphores) => {
                    let (semaphore, units) = (semaphores.semaphore(charge.tag), rule.weight);
                    listed.look_slots(source.rule, semaphore, units, now)?;
                }
            }
        }
        Some(())
    }

    /// Moves the slots that the fast path took to `holding`.
    #[inline(never)]
    pub(in crate::enforcer) fn hand_over(&self, listed: &mut Listed<'_>, holding: &mut Holding) {
        holding.tightest = listed.tightest_slots();
        for slots in listed.taken() {
            self.rules[slots.place as usize].counters.acquired.add(1);
            holding.slots.push(slots);
        }
        if LOGS {
            // Logged last: a logger may panic, and by then the permit owns the slots.
            for HeldSlots { place, semaphore, .. } in holding.slots.iter() {
                self.rules[*place as usize].log_expired(semaphore);
            }
        }
    }
}
