//! Waiting to be admitted, where the policy lets a request wait.
//!
//! A request queues at the first limit that refuses it, holding nothing. At the head of that line
//! its whole step is run; if another limit refuses, it goes to the end of that one's line. This file
//! is the face, `plan` what is run.

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

use plan::{AdmitPlan, Granted, TurnedAway};

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
        Admission(WaitInLine::new(self.clock.clone(), self.plan(facts, cost)))
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
    /// Of the facts `given` those that the policy does not name, and those that it does and are not
    /// among them.
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

/// Waits to be admitted: [`Enforcer::admit_waiting`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct Admission(WaitInLine);

/// As [`Admission`], and says how each enforced limit stood in the end:
/// [`Admission::with_answers`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct AdmissionWithAnswers(WaitInLine);

impl Admission {
    /// Says how each enforced limit stood in the end, too.
    pub fn with_answers(mut self) -> AdmissionWithAnswers {
        if let Acquire::New(plan) = &mut self.0.acquire {
            plan.say_answers();
        }
        AdmissionWithAnswers(self.0)
    }
}

/// A wait, and since when.
struct WaitInLine {
    acquire: Acquire<AdmitPlan>,
    clock: Clock,
    /// When it began to stand in line.
    since: Option<Timestamp>,
}

impl WaitInLine {
    fn new(clock: Clock, plan: AdmitPlan) -> WaitInLine {
        WaitInLine { acquire: Acquire::New(plan), clock, since: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Granted, WaitError<TurnedAway>>> {
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

/// Tells how long somebody stood in line, and of a refusal.
fn log(ended: &Result<Granted, WaitError<TurnedAway>>, since: Option<Timestamp>, clock: &Clock) {
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
