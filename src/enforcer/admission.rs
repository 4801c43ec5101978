//! Waiting to be admitted, where the policy lets a request wait.
//!
//! A request queues at the first limit that refuses it, holding nothing. At the head of that line
//! its whole step is run; if another limit refuses, it goes to the end of that one's line.

use std::fmt;
use std::future::Future;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::task::{Context, Poll};

use arc_swap::Guard;
use smallvec::SmallVec;

use crate::decision::{Denied, Refused, Retry};
use crate::gate::{INLINE, Refusal};
use crate::policy::Mode;
use crate::queue::{Acquire, Attempt, Place, Plan, Turnstile, WaitError, acquire_blocking};
use crate::sync::{Arc, AtomicBool, AtomicU32, Ordering};
use crate::telemetry;
use crate::time::{Clock, Timestamp};

use super::account::Counts;
use super::compiled::{Applies, Compiled};
use super::decision::{Decision, Source};
use super::facts::Facts;
use super::{Answers, Enforcer, Permit, Value};

/// It stands in no line.
const NOWHERE: u32 = u32::MAX;

impl<S: BuildHasher> Enforcer<S> {
    /// As [`admit`](Self::admit), and where a limit that refuses has a `wait`, waits in its line
    /// under any executor: from the first poll on, at each limit as long as that one says.
    ///
    /// A rate that can never pass in time refuses at once, and so does a limit without a `wait`.
    /// Nothing is charged or held while waiting. Dropping the future leaves the line. The facts are
    /// read now; the future does not borrow them, nor the enforcer.
    ///
    /// # Errors
    /// [`WaitError::Denied`] with the limit that refused; [`WaitError::NoTimer`] if the enforcer's
    /// clock has no timer; [`WaitError::Gone`] if the enforcer was dropped.
    pub fn admit_waiting<'f, V: Copy + Into<Value<'f>>>(
        &self,
        facts: &[(&str, V)],
        cost: u64,
    ) -> Admission {
        Admission(Waiting::new(self.clock.clone(), self.plan(facts, cost)))
    }

    /// As [`admit_waiting`](Self::admit_waiting), on this thread. Works on any clock.
    ///
    /// # Errors
    /// [`WaitError::Denied`] with the limit that refused; [`WaitError::InSimulation`];
    /// [`WaitError::Gone`].
    pub fn admit_blocking<'f, V: Copy + Into<Value<'f>>>(
        &self,
        facts: &[(&str, V)],
        cost: u64,
    ) -> Result<Permit, WaitError<Refused>> {
        let since = self.clock.now();
        let ended = acquire_blocking(self.plan(facts, cost), &self.clock);
        tell(&ended, Some(since), &self.clock);
        match ended {
            Ok(granted) => Ok(granted.permit.taken()),
            Err(error) => Err(error.map(|turned_away| turned_away.refused)),
        }
    }

    fn plan<'f, V: Copy + Into<Value<'f>>>(&self, facts: &[(&str, V)], cost: u64) -> AdmitPlan {
        let policy = self.policy.load_full();
        let mut known = Facts::new();
        let unnamed = known.take(&policy.names, facts);
        if let (Some(declared), true) = (&policy.declared, unnamed > 0) {
            self.count_undeclared(declared, facts);
        }
        let mut asks = SmallVec::new();
        policy.for_each(&known, |place, rule| match rule.applies(&known, cost, &self.hasher) {
            Applies::Not(_) => {}
            Applies::Refuses => asks.push(Ask { source: Source::new(place, None), asked: None }),
            Applies::Decides { variant, tag, cost, .. } => {
                asks.push(Ask { source: Source::new(place, variant), asked: Some((tag, cost)) });
            }
        });
        AdmitPlan {
            policy,
            bypass: self.bypass.clone(),
            asks,
            cost,
            since: Timestamp::ZERO,
            stands_at: AtomicU32::new(NOWHERE),
            with_answers: false,
        }
    }
}

impl<S> Enforcer<S> {
    /// Whether a request may have to wait, and cannot.
    #[cfg_attr(not(feature = "tower"), allow(dead_code))]
    pub(crate) fn lacks_timer(&self) -> bool {
        self.policy.load().waits && !self.clock.has_timer()
    }

    /// Whether a request may have to wait, and can.
    #[cfg_attr(not(feature = "tower"), allow(dead_code))]
    pub(crate) fn can_wait(&self) -> bool {
        self.policy.load().waits && self.clock.has_timer()
    }
}

/// What who waits is granted.
struct Granted {
    permit: Permit,
    answers: Answers,
}

/// What who waits in vain is told.
struct TurnedAway {
    refused: Refused,
    /// Whether it stood in line before.
    waited: bool,
    /// About how many that makes whom the limit refused.
    nth: u64,
    answers: Answers,
}

/// A request that may wait: what it asks of which limits.
struct AdmitPlan {
    policy: Arc<Compiled>,
    bypass: Arc<AtomicBool>,
    asks: SmallVec<[Ask; INLINE]>,
    cost: u64,
    since: Timestamp,
    /// The rule in whose line it stands. Changed only by whoever runs its step.
    stands_at: AtomicU32,
    /// Whether to say how each limit stands.
    with_answers: bool,
}

/// What is asked of one limit.
struct Ask {
    source: Source,
    /// The identity of the key, and the cost; none if the limit refuses without being asked.
    asked: Option<(u64, u64)>,
}

impl AdmitPlan {
    fn decision(&self, now: Timestamp, turn: bool) -> Decision<'_> {
        // Relaxed: written under the lock of the line under which it is read.
        let stands_at = self.stands_at.load(Ordering::Relaxed);
        let mut decision = Decision::new(&self.policy);
        for Ask { source, asked } in &self.asks {
            let rule = &self.policy.rules[source.rule as usize];
            let mode = rule.mode();
            match asked {
                _ if mode == Mode::Off => {}
                None => decision.refuses(source.rule, mode),
                Some((tag, cost)) => {
                    let account = rule.account_of(source.variant);
                    let turn = turn && stands_at == source.rule;
                    decision.look(account, *source, *tag, *cost, now, mode, turn);
                }
            }
        }
        decision
    }

    /// Where it waits, if each limit that refuses may have it wait and can let it pass in time: where
    /// it stands, if that one refuses, or else at the first.
    fn wait_at(
        &self,
        refusals: &[(u32, Denied)],
        stands_at: u32,
        now: Timestamp,
    ) -> Option<(u32, Place, Retry)> {
        let mut chosen = None;
        for (rule, denied) in refusals {
            let deadline = self.since + self.policy.rules[*rule as usize].wait?;
            let in_time = match denied.retry() {
                Retry::Never => false,
                Retry::After(wait) => now + wait <= deadline,
                Retry::Unknown { .. } => now < deadline,
            };
            if !in_time {
                return None;
            }
            if chosen.is_none() || *rule == stands_at {
                chosen = Some((*rule, deadline, denied.retry()));
            }
        }
        let (rule, deadline, retry) = chosen?;
        let Ask { source, asked } = self.asks.iter().find(|ask| ask.source.rule == rule)?;
        let (tag, cost) = (*asked)?;
        let of = &self.policy.rules[rule as usize];
        let (at, units): (Arc<dyn Turnstile>, u64) = match &of.account_of(source.variant).counts {
            Counts::Rate(rate) => (rate.line(tag), cost),
            Counts::Slots(rooms) => (rooms.room(tag), of.weight.into()),
        };
        Some((rule, Place { at, units, deadline }, retry))
    }

    fn permit(&self) -> Permit {
        // Relaxed: as in `decision`.
        let stands_at = self.stands_at.load(Ordering::Relaxed);
        let stood_at = (stands_at != NOWHERE).then_some(stands_at);
        Permit::new(Guard::from_inner(self.policy.clone())).untaken(stood_at)
    }

    fn answers(&self, decision: &Decision<'_>, is_refused: bool, now: Timestamp) -> Answers {
        if self.with_answers {
            // Relaxed: as in `decision`.
            let stands_at = self.stands_at.load(Ordering::Relaxed);
            let here = self.asks.iter().find(|ask| ask.source.rule == stands_at);
            // Who is granted stands in line until it is told.
            let in_line =
                here.filter(|_| !is_refused).and_then(|ask| Some((stands_at, ask.asked?.1)));
            decision.answers(is_refused, in_line, now)
        } else {
            Answers { at: now, limits: Vec::new() }
        }
    }

    fn turned_away(
        &self,
        decision: &Decision<'_>,
        refusal: Refusal,
        waited: bool,
        now: Timestamp,
    ) -> TurnedAway {
        let refused = decision.refused(&refusal);
        let answers = self.answers(decision, true, now);
        decision.count(&Err(refusal));
        let live = &self.policy.rules[refusal.place as usize].live;
        // Relaxed: a count.
        live.timeouts.fetch_add(waited.into(), Ordering::Relaxed);
        TurnedAway { refused, waited, nth: live.refused.of_thread(), answers }
    }
}

impl Plan for AdmitPlan {
    type Granted = Granted;
    type Refusal = TurnedAway;

    fn begin(&mut self, now: Timestamp) {
        self.since = now;
    }

    fn attempt(
        &self,
        turn: Option<&Arc<dyn Turnstile>>,
        now: Timestamp,
    ) -> Attempt<Granted, TurnedAway> {
        // Relaxed: as in `Enforcer::bypass`.
        if self.bypass.load(Ordering::Relaxed) {
            let answers = Answers { at: now, limits: Vec::new() };
            return Attempt::Granted(Granted { permit: self.permit(), answers });
        }
        let mut decision = self.decision(now, turn.is_some());
        let decided = decision.admit(self.cost);
        let Err(refusal) = decided else {
            decision.count(&decided);
            let answers = self.answers(&decision, false, now);
            let mut permit = self.permit();
            decision.hand_over(permit.parts().1);
            return Attempt::Granted(Granted { permit, answers });
        };
        let stands_at = turn.map_or(NOWHERE, |_| self.stands_at.load(Ordering::Relaxed));
        if let Some((rule, place, retry)) = self.wait_at(&decision.refusals(), stands_at, now) {
            self.stands_at.store(rule, Ordering::Relaxed);
            // It can pass in time: what a refusal would say is not asked for.
            let refused = decision.refused(&refusal);
            let answers = Answers::default();
            let turned_away = TurnedAway { refused, waited: turn.is_some(), nth: 0, answers };
            return Attempt::waiting(turned_away, retry, place, now);
        }
        Attempt::Refused(self.turned_away(&decision, refusal, turn.is_some(), now))
    }

    fn refusal(&self, now: Timestamp) -> TurnedAway {
        let mut decision = self.decision(now, false);
        let stands_at = self.stands_at.load(Ordering::Relaxed);
        let refusal = decision.peek().err().unwrap_or_else(|| Refusal {
            place: if stands_at == NOWHERE { 0 } else { stands_at },
            denied: Denied::just_now(decision.tightest()),
        });
        self.turned_away(&decision, refusal, now > self.since, now)
    }

    fn serve_others(&self) {
        for Ask { source, asked } in &self.asks {
            if let Some((tag, _)) = asked {
                let rule = &self.policy.rules[source.rule as usize];
                rule.account_of(source.variant).serve_queued(*tag);
            }
        }
    }
}

/// Waits to be admitted: [`Enforcer::admit_waiting`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct Admission(Waiting);

/// As [`Admission`], and says how each enforced limit stood in the end:
/// [`Admission::with_answers`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct AdmissionWithAnswers(Waiting);

impl Admission {
    /// Says how each enforced limit stood in the end, too.
    pub fn with_answers(mut self) -> AdmissionWithAnswers {
        if let Some(plan) = self.0.acquire.plan_mut() {
            plan.with_answers = true;
        }
        AdmissionWithAnswers(self.0)
    }
}

/// A wait, and since when.
struct Waiting {
    acquire: Acquire<AdmitPlan>,
    clock: Clock,
    /// When it began to stand in line.
    since: Option<Timestamp>,
}

impl Waiting {
    fn new(clock: Clock, plan: AdmitPlan) -> Waiting {
        Waiting { acquire: Acquire::new(clock.clone(), plan), clock, since: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Granted, WaitError<TurnedAway>>> {
        let ended = Pin::new(&mut self.acquire).poll(cx);
        match &ended {
            Poll::Pending => {
                self.since.get_or_insert_with(|| self.clock.now());
            }
            Poll::Ready(ended) => tell(ended, self.since, &self.clock),
        }
        ended
    }
}

/// Tells how long somebody stood in line, and of a refusal.
fn tell(ended: &Result<Granted, WaitError<TurnedAway>>, since: Option<Timestamp>, clock: &Clock) {
    let waited = since.map(|since| clock.now().since(since));
    match ended {
        Ok(Granted { permit, .. }) => {
            if let (Some(limit), Some(waited)) = (permit.waited_for(), waited) {
                telemetry::waited(limit, waited, true);
            }
        }
        Err(WaitError::Denied(TurnedAway { refused, waited: stood, nth, .. })) => {
            telemetry::refused(refused.limit(), &refused.retry(), *nth);
            if let (true, Some(waited)) = (stood, waited) {
                telemetry::waited(refused.limit(), waited, false);
            }
        }
        Err(_) => {}
    }
}

impl Future for Admission {
    type Output = Result<Permit, WaitError<Refused>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx).map(|ended| match ended {
            Ok(granted) => Ok(granted.permit.taken()),
            Err(error) => Err(error.map(|turned_away| turned_away.refused)),
        })
    }
}

impl Future for AdmissionWithAnswers {
    type Output = (Result<Permit, WaitError<Refused>>, Answers);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx).map(|ended| match ended {
            Ok(Granted { permit, answers }) => (Ok(permit.taken()), answers),
            Err(error) => {
                let mut answers = Answers::default();
                let error = error.map(|turned_away| {
                    answers = turned_away.answers;
                    turned_away.refused
                });
                (Err(error), answers)
            }
        })
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}

impl fmt::Debug for AdmissionWithAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdmissionWithAnswers").finish_non_exhaustive()
    }
}
