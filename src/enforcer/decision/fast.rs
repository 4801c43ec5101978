//! The fast path of a policy's decision: limits that are all enforced rates, whose keys are words.

use crate::cells::Charge;
use crate::enforcer::account::Counts;
use crate::enforcer::compiled::Compiled;
use crate::policy::Mode;
use crate::rate_limiter::Store;
use crate::time::Timestamp;
use crate::transaction::{Listed, Said};

use super::{LimitAsked, Source};

impl Compiled {
    /// Looks at each limit, and notes in `asks` what it is charged if all agree. `says` is told what each
    /// says of which key. `None`: the fast path does not decide.
    #[inline(always)]
    pub(in crate::enforcer) fn look<'a>(
        &'a self,
        asks: &mut [LimitAsked],
        now: Timestamp,
        listed: &mut Listed<'a>,
        mut says: impl FnMut(Source, u64, Said<'_, 'a>),
    ) -> Option<()> {
        for LimitAsked { source, charge, full } in asks {
            let store = self.enforced(*source, charge)?;
            let tag = charge.tag;
            charge.at = now;
            *full = listed.look(source.rule, store, charge, |said| says(*source, tag, said))?;
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
