//! [`Answers`]: what each limit answered in a decision, the source of response headers and reports.
//! The decisions themselves are in `decide` and `decision`.

use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use crate::algorithm::Algorithm;
use crate::decision::{Allowed, Denied, Refused, Retry, Standing};
use crate::policy::Amount;
use crate::rate_limiter::{Rate, RateLimiter};
use crate::time::Timestamp;
use crate::transaction::INLINE;

use super::compiled::{Compiled, CompiledLimit};
use super::decision::{Decision, LimitSaid, Saying, rate_of};
use super::{Enforcer, Explanation, Permit, Value};

/// The answers of the enforced limits that applied to a request, in the order of the policy.
/// Returned by [`Enforcer::admit_with_answers`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answers {
    /// When the request was decided.
    pub at: Timestamp,
    /// The enforced limits that applied. Empty while the enforcer is bypassed.
    pub limits: Vec<LimitAnswer>,
}

/// The answer of one limit when a request was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitAnswer {
    /// The limit's name.
    pub limit: &'static str,
    /// The quota or cap in force for the key.
    pub amount: Amount,
    /// Whether all requests share one key: the limit's key has no parts.
    pub is_shared: bool,
    /// The limit's answer. If the request was refused, an agreeing limit was not charged, and its
    /// answer shows the state without the charge.
    pub answer: Result<Allowed, Denied>,
    /// If the limit agrees: how long until one unit more than remains is available; `None` if
    /// nothing is missing. If it refuses: how long until the whole cost is available; `None` if
    /// that is not known or never happens. Always `None` for slots, which time alone does not
    /// return.
    pub next: Option<Duration>,
    /// Whether the limit refused without deciding: a fact of its key is missing, or the cost is not
    /// a whole number.
    pub is_unfit: bool,
    /// The key in words, if [`Answers::with_keys`] added it.
    pub key: Option<String>,
    /// The limit's place in the policy.
    place: u32,
}

/// Where to write the answers, and for which decisions.
pub(super) enum Says<'a> {
    Always(&'a mut Answers),
    #[cfg_attr(not(feature = "tower"), allow(dead_code))]
    IfRefused(&'a mut Answers),
}

impl Says<'_> {
    pub(super) fn wanted(&mut self, is_refused: bool) -> Option<&mut Answers> {
        match self {
            Says::IfRefused(_) if !is_refused => None,
            Says::Always(answers) | Says::IfRefused(answers) => Some(answers),
        }
    }
}

impl Answers {
    /// Makes the answers of limiters that belong to no policy.
    pub fn new(at: Timestamp, limits: impl IntoIterator<Item = LimitAnswer>) -> Answers {
        Answers { at, limits: limits.into_iter().collect() }
    }

    /// How long the request has to wait until all limits agree. `None`: no limit refuses it.
    pub fn retry(&self) -> Option<Retry> {
        let refusals = self.limits.iter().filter_map(|answer| answer.answer.err());
        refusals.map(|denied| denied.retry).reduce(Retry::max)
    }

    /// Adds the keys in words, as [`Enforcer::explain`] gives them for the same facts.
    #[must_use]
    pub fn with_keys(mut self, explained: impl IntoIterator<Item = Explanation>) -> Answers {
        for explanation in explained {
            let mut limits = self.limits.iter_mut();
            if let Some(answer) = limits.find(|answer| answer.limit == explanation.limit) {
                answer.key = Some(explanation.key);
            }
        }
        self
    }
}

impl LimitAnswer {
    /// Makes the answer of a limiter that belongs to no policy, under the name `limit`: `answer` is
    /// what the limiter has just returned for `key`.
    ///
    /// ```
    /// use tollgate::{LimitAnswer, Quota, RateLimiter};
    ///
    /// let limiter = RateLimiter::new(Quota::per_minute(5));
    /// let answer = LimitAnswer::of("logins", &limiter, &"ann", limiter.check("ann"));
    /// assert_eq!(answer.remaining(), 4);
    /// ```
    pub fn of<A: Algorithm, S: BuildHasher, K: Hash + ?Sized>(
        limit: &'static str,
        limiter: &RateLimiter<A, S>,
        key: &K,
        answer: Result<Allowed, Denied>,
    ) -> LimitAnswer {
        let next = match &answer {
            Ok(allowed) => next(allowed, |cost| limiter.peek_n(key, cost)),
            Err(denied) => denied.retry.after(),
        };
        let amount = Amount::Quota(limiter.quota());
        LimitAnswer {
            limit,
            amount,
            is_shared: false,
            answer,
            next,
            is_unfit: false,
            key: None,
            place: 0,
        }
    }

    /// The units or slots that remain.
    pub fn remaining(&self) -> u64 {
        match &self.answer {
            Ok(allowed) => allowed.remaining(),
            Err(denied) => denied.remaining(),
        }
    }

    /// How long until all units or slots are available again.
    pub fn reset_after(&self) -> Duration {
        match &self.answer {
            Ok(allowed) => allowed.reset_after(),
            Err(denied) => denied.reset_after(),
        }
    }
}

impl<S: BuildHasher> Enforcer<S> {
    /// As [`admit`](Self::admit), and also returns the state of each enforced limit that applies
    /// after the decision, whether it agreed or not. Limits in shadow are left out; while the
    /// enforcer is bypassed, all are. Answers take time to build, and limits off the fast path are
    /// asked a second time: use `admit` if the answers are not read.
    ///
    /// It never waits; [`Admission::with_answers`](crate::future::Admission::with_answers) does.
    ///
    /// # Errors
    /// As [`admit`](Self::admit). The answers are returned in that case too.
    ///
    /// ```
    /// use tollgate::{Enforcer, Limit, Policy, Quota};
    ///
    /// let user = Limit::new("user", Quota::per_second(50)).key(["user"]);
    /// let enforcer = Enforcer::builder(Policy::new().limit(user)).build()?;
    /// let (permit, answers) = enforcer.admit_with_answers(&[("user", "42")], 1);
    /// assert!(permit.is_ok());
    /// assert_eq!((answers.limits[0].limit, answers.limits[0].remaining()), ("user", 49));
    /// # Ok::<(), tollgate::PolicyError>(())
    /// ```
    pub fn admit_with_answers<'f, V: Copy + Into<Value<'f>>>(
        &self,
        facts: &[(&str, V)],
        cost: u64,
    ) -> (Result<Permit, Refused>, Answers) {
        let now = self.clock.now();
        let mut answers = Answers { at: now, limits: Vec::new() };
        let mut permit = Permit::new(self.policy.load());
        let says = Says::Always(&mut answers);
        let admitted = self.admit_into(&mut permit, facts, cost, now, Some(says));
        (admitted.map(|()| permit), answers)
    }

    /// As [`admit_with_answers`](Self::admit_with_answers), with a boxed permit. If the request is
    /// admitted and `always` is false, the answers are empty.
    #[cfg(feature = "tower")]
    pub(crate) fn admit_boxed<'f, V: Copy + Into<Value<'f>>>(
        &self,
        facts: &[(&str, V)],
        cost: u64,
        always: bool,
    ) -> (Result<Box<Permit>, Refused>, Answers) {
        let now = self.clock.now();
        let mut answers = Answers { at: now, limits: Vec::new() };
        let mut permit = Box::new(Permit::new(self.policy.load()));
        let says = if always { Says::Always(&mut answers) } else { Says::IfRefused(&mut answers) };
        let admitted = self.admit_into(&mut permit, facts, cost, now, Some(says));
        (admitted.map(|()| permit), answers)
    }
}

impl Compiled {
    /// The answers of the enforced limits after a decision. `in_line`: the place of the limit in
    /// whose line the request still waits, and its units there.
    #[cold]
    pub(super) fn answers<'s>(
        &self,
        said: impl Iterator<Item = LimitSaid<'s>>,
        is_refused: bool,
        in_line: Option<(u32, u64)>,
        now: Timestamp,
    ) -> Answers {
        let mut limits = Vec::with_capacity(self.rules.len().min(INLINE));
        limits.extend(said.map(|LimitSaid { source, tag, said }| {
            let rule = &self.rules[source.rule as usize];
            let answer = match said {
                Saying::Seen(part) => {
                    let (answer, next) = part.answer_with_next(is_refused);
                    let amount = rule.state_of(source.variant).amount();
                    return rule.answer(source.rule, amount, answer, next);
                }
                Saying::Answer(answer) => answer,
            };
            let Some(rate) = rate_of(self, source) else {
                return rule.slots_answer(source.rule, answer, is_refused);
            };
            let own = in_line.filter(|(rule, _)| *rule == source.rule).map_or(0, |(_, own)| own);
            rule.rate_answer(rate, source.rule, tag, answer, is_refused, own, now)
        }));
        Answers { at: now, limits }
    }
}

impl Decision<'_> {
    /// The answers of the enforced limits after the decision. `in_line`: as in
    /// [`Compiled::answers`].
    #[cold]
    pub(super) fn answers(
        &self,
        is_refused: bool,
        in_line: Option<(u32, u64)>,
        now: Timestamp,
    ) -> Answers {
        let mut answers = self.policy.answers(self.said(), is_refused, in_line, now);
        for place in &self.refusing {
            let denied = Denied { standing: Standing::NONE, retry: Retry::Never };
            let rule = self.rule(*place);
            let answer = rule.answer(*place, rule.state.amount(), Err(denied), None);
            answers.limits.push(LimitAnswer { is_unfit: true, ..answer });
        }
        answers.limits.sort_by_key(|answer| answer.place);
        answers
    }

    fn rule(&self, place: u32) -> &CompiledLimit {
        &self.policy.rules[place as usize]
    }
}

impl CompiledLimit {
    #[allow(clippy::too_many_arguments)]
    fn rate_answer(
        &self,
        rate: &Rate,
        place: u32,
        tag: u64,
        answer: Result<Allowed, Denied>,
        is_refused: bool,
        own: u64,
        now: Timestamp,
    ) -> LimitAnswer {
        // The limit agreed, but the request was refused: nothing was charged.
        let answer = match answer {
            Ok(_) if is_refused => rate.store.peek(tag, 0, now),
            answer => answer,
        };
        let next = match &answer {
            Ok(allowed) if own > 0 => {
                next(allowed, |cost| rate.store.peek_past(tag, own, cost, now))
            }
            Ok(allowed) => next(allowed, |cost| rate.store.peek(tag, cost, now)),
            Err(denied) => denied.retry.after(),
        };
        self.answer(place, Amount::Quota(rate.store.quota()), answer, next)
    }

    fn slots_answer(
        &self,
        place: u32,
        answer: Result<Allowed, Denied>,
        is_refused: bool,
    ) -> LimitAnswer {
        // The limit agreed, but the request was refused: its slots were not taken.
        let back = if is_refused { self.weight.into() } else { 0 };
        let answer = answer.map(|Allowed(standing)| {
            Allowed(Standing { room: standing.room.saturating_add(back), ..standing })
        });
        let (Ok(Allowed(standing)) | Err(Denied { standing, .. })) = &answer;
        let amount = Amount::Cap(u32::try_from(standing.capacity).unwrap_or(u32::MAX));
        self.answer(place, amount, answer, None)
    }

    fn answer(
        &self,
        place: u32,
        amount: Amount,
        answer: Result<Allowed, Denied>,
        next: Option<Duration>,
    ) -> LimitAnswer {
        let is_shared = self.key.is_empty();
        LimitAnswer {
            limit: self.name,
            amount,
            is_shared,
            answer,
            next,
            is_unfit: false,
            key: None,
            place,
        }
    }
}

/// How long until the key has one unit more than remains. Asks the limit by `peek`, so it works for
/// every algorithm.
fn next(allowed: &Allowed, peek: impl FnOnce(u64) -> Result<Allowed, Denied>) -> Option<Duration> {
    let remaining = allowed.remaining();
    if remaining >= allowed.burst() {
        return None;
    }
    match peek(remaining + 1) {
        Err(denied) => denied.retry.after(),
        // The unit became available since `allowed` was read.
        Ok(_) => Some(Duration::ZERO),
    }
}
