//! The fast path of a policy's decision: limits that are all enforced rates, whose keys are words that
//! stand in their slots.

use smallvec::SmallVec;

use crate::cells::{Newcomer, Pending};
use crate::decision::Retry;
use crate::enforcer::account::Counts;
use crate::enforcer::compiled::Compiled;
use crate::policy::Mode;
use crate::rate_limiter::Store;
use crate::time::Timestamp;
use crate::transaction::{FastPart, INLINE, Refusal, commit_fast, newcomer};

use super::{Answered, LimitAsked, RateSaid};

/// The limits of a request, looked at on the fast path.
#[derive(Default)]
pub(in crate::enforcer) struct Seen<'a> {
    keys: SmallVec<[Pending<'a>; INLINE]>,
    newcomers: SmallVec<[Newcomer<'a>; 2]>,
    /// Read where it stands: it is large, and a copy that is read at once is slow.
    pub(in crate::enforcer) refusal: Option<Refusal>,
}

impl<'a> Seen<'a> {
    /// Decides on the fast path: charges all, or finds the refusal; if it only `peeks` it charges none.
    ///
    /// Notes in `asks` what was charged if all agreed, and in `answered`, if that is there, what each
    /// limit said. `None`: a limit is not an enforced rate whose key is a word, a cost is 0, or something
    /// came between. Then nothing is charged.
    #[inline(always)]
    pub(in crate::enforcer) fn decide(
        &mut self,
        policy: &'a Compiled,
        asks: &mut [LimitAsked],
        now: Timestamp,
        peeks: bool,
        answered: Option<&mut Answered>,
    ) -> Option<()> {
        self.look(policy, asks, now, answered)?;
        let is_decided = match (&self.refusal, &*self.newcomers) {
            (None, []) if !peeks => commit_fast(&self.keys),
            // A peek gives no slots, and how a newcomer stands is not at hand.
            (None, [_, ..]) => !peeks && self.seat(policy, asks, now)?,
            // They were all so at one moment if all still are.
            (_, newcomers) => {
                self.keys.iter().all(Pending::stands) && newcomers.iter().all(Newcomer::stands)
            }
        };
        is_decided.then_some(())
    }

    /// Looks at each limit. `None`: the fast path does not decide.
    #[inline(always)]
    fn look(
        &mut self,
        policy: &'a Compiled,
        asks: &mut [LimitAsked],
        now: Timestamp,
        mut answered: Option<&mut Answered>,
    ) -> Option<()> {
        for asked in asks {
            let rule = policy.rules.get(asked.source.rule as usize)?;
            let (tag, cost) = asked.key()?;
            let Counts::Rate(rate) = &rule.account_of(asked.source.variant).counts else {
                return None;
            };
            if rule.mode() != Mode::Enforce {
                return None;
            }
            let answered = answered.as_deref_mut();
            match FastPart::new(&rate.store, tag, cost, now) {
                Some(part) => self.add(asked, part, now, answered),
                None => self.look_again(asked, &rate.store, now, answered)?,
            }
        }
        Some(())
    }

    /// Looks at a key without a slot, or of a quota whose axis is not whole.
    #[cold]
    #[inline(never)]
    fn look_again(
        &mut self,
        asked: &mut LimitAsked,
        store: &'a Store,
        now: Timestamp,
        answered: Option<&mut Answered>,
    ) -> Option<()> {
        let (tag, cost) = asked.key()?;
        match FastPart::cut(store, tag, cost, now) {
            Some(part) => self.add(asked, part, now, answered),
            // A newcomer's answer is not at hand.
            None if answered.is_some() => return None,
            None => self.newcomers.push(newcomer(store, tag, cost, now)?),
        }
        Some(())
    }

    /// Adds what a limit says.
    #[inline(always)]
    fn add(
        &mut self,
        asked: &mut LimitAsked,
        part: FastPart<'a>,
        now: Timestamp,
        answered: Option<&mut Answered>,
    ) {
        let source = asked.source;
        if let Some(answered) = answered {
            answered.push(RateSaid { source, tag: asked.charge.tag, answer: part.answer() });
        }
        match part.step() {
            Ok(full) => {
                let key = part.pending_until(full);
                (asked.charge.at, asked.charge.generation) = (now, key.generation());
                asked.full = full;
                self.keys.push(key);
            }
            Err(at) => {
                match &mut self.refusal {
                    Some(Refusal { denied, .. }) => {
                        denied.retry = denied.retry.max(Retry::After(part.wait(at)));
                    }
                    none => *none = part.refusal(source.rule),
                }
                self.keys.push(part.pending_until(0));
            }
        }
    }

    /// Gives those a slot that have none, and decides once more: all agreed.
    #[cold]
    #[inline(never)]
    fn seat(&self, policy: &'a Compiled, asks: &mut [LimitAsked], now: Timestamp) -> Option<bool> {
        if !self.newcomers.iter().all(|newcomer| newcomer.seat(now)) {
            return None;
        }
        let mut seen = Seen::default();
        seen.look(policy, asks, now, None)?;
        // Unless one that was seated has lost its slot.
        let all_agree = seen.refusal.is_none() && seen.newcomers.is_empty();
        Some(all_agree && commit_fast(&seen.keys))
    }
}
