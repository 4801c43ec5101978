//! Waiting to be admitted, where the policy lets a request wait. This file has the public functions
//! and futures; `plan` has what the queue runs.
//!
//! A request queues at the first limit that refuses it, and holds nothing. At the head of that line
//! it is decided again as a whole; if another limit refuses, it moves to the end of the line there.

mod plan;

use std::fmt;
use std::future::Future;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::decision::Refused;
use crate::queue::{Acquire, WaitError, acquire_blocking};
use crate::telemetry;
use crate::time::{Clock, Timestamp};

use super::facts::Facts;
use super::{Answers, Enforcer, Permit, Value};

use plan::{AdmitPlan, GrantedAdmission, TurnedAway};

impl<S: BuildHasher> Enforcer<S> {
    /// As [`admit`](Self::admit), and waits in the line of a limit that refuses and has a `wait`,
    /// under any executor. The wait counts from the first poll, and each limit bounds it by its own
    /// `wait`.
    ///
    /// A rate that cannot pass in time refuses immediately, and so does a limit without a `wait`.
    /// Nothing is charged or held while waiting. Dropping the future leaves the line. The facts are
    /// read by this call; the future borrows neither them nor the enforcer.
    ///
    /// # Errors
    /// [`WaitError::Denied`] with the limit that refused; [`WaitError::NoTimer`] if the enforcer's
    /// clock has no timer; [`WaitError::Gone`] if the enforcer was dropped.
    pub fn admit_waiting<'f, V: Copy + Into<Value<'f>>>(
        &self,
        facts: &[(&str, V)],
        cost: u64,
    ) -> Admission {
        Admission(WaitInLine::new(self.clock.clone(), self.plan(facts, cost)))
    }

    /// As [`admit_waiting`](Self::admit_waiting), but blocks this thread. Works on any clock.
    ///
    /// # Errors
    /// [`WaitError::Denied`] with the limit that refused; [`WaitError::InSimulation`] in a
    /// simulation; [`WaitError::Gone`] if the enforcer was dropped.
    pub fn admit_blocking<'f, V: Copy + Into<Value<'f>>>(
        &self,
        facts: &[(&str, V)],
        cost: u64,
    ) -> Result<Permit, WaitError<Refused>> {
        let since = self.clock.now();
        let ended = acquire_blocking(self.plan(facts, cost));
        log(&ended, Some(since), &self.clock);
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
        AdmitPlan::new(policy, self.bypass.clone(), self.clock.clone(), &known, cost, &self.hasher)
    }
}

impl<S> Enforcer<S> {
    /// Logs the facts that the policy names and `given` lacks, and the facts in `given` that the
    /// policy does not name, if there are any.
    #[cfg_attr(not(feature = "tower"), allow(dead_code))]
    pub(crate) fn log_facts(&self, given: &[&str]) {
        let policy = self.policy.load();
        let lacking: Vec<&str> = policy.names.all().filter(|name| !given.contains(name)).collect();
        let unknown: Vec<&str> =
            given.iter().filter(|name| policy.names.find(name).is_none()).copied().collect();
        if !lacking.is_empty() || !unknown.is_empty() {
            telemetry::facts_differ(&lacking, &unknown);
        }
    }

    /// Whether the policy lets requests wait and the clock has no timer for it.
    #[cfg_attr(not(feature = "tower"), allow(dead_code))]
    pub(crate) fn lacks_timer(&self) -> bool {
        self.policy.load().waits && !self.clock.has_timer()
    }

    /// Whether the policy lets requests wait and the clock has a timer for it.
    #[cfg_attr(not(feature = "tower"), allow(dead_code))]
    pub(crate) fn can_wait(&self) -> bool {
        self.policy.load().waits && self.clock.has_timer()
    }
}

/// A future that waits to be admitted. Made by [`Enforcer::admit_waiting`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct Admission(WaitInLine);

/// As [`Admission`], and also resolves to the answer of each enforced limit at the end of the wait.
/// Made by [`Admission::with_answers`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct AdmissionWithAnswers(WaitInLine);

impl Admission {
    /// Makes the future also resolve to the answer of each enforced limit at the end of the wait.
    pub fn with_answers(mut self) -> AdmissionWithAnswers {
        if let Acquire::New(plan) = &mut self.0.acquire {
            plan.say_answers();
        }
        AdmissionWithAnswers(self.0)
    }
}

/// A wait, and when the time in line began.
struct WaitInLine {
    acquire: Acquire<AdmitPlan>,
    clock: Clock,
    /// When the first poll found that the request has to wait in line.
    since: Option<Timestamp>,
}

impl WaitInLine {
    fn new(clock: Clock, plan: AdmitPlan) -> WaitInLine {
        WaitInLine { acquire: Acquire::New(plan), clock, since: None }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<GrantedAdmission, WaitError<TurnedAway>>> {
        let ended = Pin::new(&mut self.acquire).poll(cx);
        match &ended {
            Poll::Pending => {
                self.since.get_or_insert_with(|| self.clock.now());
            }
            Poll::Ready(ended) => log(ended, self.since, &self.clock),
        }
        ended
    }
}

/// Logs a refusal, and how long the request waited in line.
fn log(
    ended: &Result<GrantedAdmission, WaitError<TurnedAway>>,
    since: Option<Timestamp>,
    clock: &Clock,
) {
    let waited = since.map(|since| clock.now().since(since));
    match ended {
        Ok(GrantedAdmission { permit, .. }) => {
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
            Ok(GrantedAdmission { permit, answers }) => (Ok(permit.taken()), answers),
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
