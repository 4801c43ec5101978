//! The fast path of a policy's decision: limits that are all enforced rates, whose keys are words.

use crate::cells::Charge;
use crate::enforcer::account::Counts;
use crate::enforcer::compiled::Compiled;
use crate::policy::Mode;
use crate::rate_limiter::Store;
use crate::time::Timestamp;
use crate::transaction::{FastPart, Listed};

use super::{Answered, LimitAsked, RateSaid, Source};

impl Compiled {
    /// Looks at each limit, and notes in `asks` what it is charged if all agree. `None`: the fast path
    /// does not decide.
    #[inline(always)]
    pub(in crate::enforcer) fn look<'a>(
        &'a self,
        asks: &mut [LimitAsked],
        now: Timestamp,
        listed: &mut Listed<'a>,
    ) -> Option<()> {
        for asked in asks {
            let LimitAsked { source, charge, full } = asked;
            let store = self.enforced(*source, charge)?;
            charge.at = now;
            listed.look(source.rule, store, charge, full)?;
        }
        Some(())
    }

    /// The same, and says in `answered` how each limit stands. `None` also if a key has no slot: how it
    /// stands is not at hand.
    pub(in crate::enforcer) fn look_and_say<'a>(
        &'a self,
        asks: &mut [LimitAsked],
        now: Timestamp,
        listed: &mut Listed<'a>,
        answered: &mut Answered,
    ) -> Option<()> {
        for asked in asks {
            let LimitAsked { source, charge, full } = asked;
            let store = self.enforced(*source, charge)?;
            charge.at = now;
            let Charge { tag, cost, .. } = *charge;
            let part = FastPart::new::<false>(store, tag, cost, now)?;
            answered.push(RateSaid { source: *source, tag, answer: part.answer() });
            listed.add(source.rule, &part, charge, full);
        }
        Some(())
    }

    /// What decides a key of an enforced rate.
    #[inline(always)]
    fn enforced(&self, source: Source, charge: &Charge) -> Option<&Store> {
        let rule = self.rules.get(source.rule as usize)?;
        match &rule.account_of(source.variant).counts {
            Counts::Rate(rate) if rule.mode() == Mode::Enforce => {
                (charge.tag != LimitAsked::NO_KEY).then_some(&rate.store)
            }
            _ => None,
        }
    }
}
