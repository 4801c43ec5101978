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
use crate::time::Timestamp;

use super::account::Counts;
use super::compiled::{Applies, Compiled};
use super::decision::{Decision, Source};
use super::facts::Facts;
use super::{Enforcer, Permit, Value};

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
        Admission(Acquire::new(self.clock.clone(), self.plan(facts, cost)))
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
        acquire_blocking(self.plan(facts, cost), &self.clock).map(Permit::taken)
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
        }
    }
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
        Permit::new(Guard::from_inner(self.policy.clone())).untaken()
    }
}

impl Plan for AdmitPlan {
    type Granted = Permit;
    type Refusal = Refused;

    fn begin(&mut self, now: Timestamp) {
        self.since = now;
    }

    fn attempt(
        &self,
        turn: Option<&Arc<dyn Turnstile>>,
        now: Timestamp,
    ) -> Attempt<Permit, Refused> {
        // Relaxed: as in `Enforcer::bypass`.
        if self.bypass.load(Ordering::Relaxed) {
            return Attempt::Granted(self.permit());
        }
        let mut decision = self.decision(now, turn.is_some());
        let decided = decision.admit(self.cost);
        let Err(refusal) = &decided else {
            decision.count(&decided);
            let mut permit = self.permit();
            decision.hand_over(permit.parts().1);
            return Attempt::Granted(permit);
        };
        let stands_at = turn.map_or(NOWHERE, |_| self.stands_at.load(Ordering::Relaxed));
        if let Some((rule, place, retry)) = self.wait_at(&decision.refusals(), stands_at, now) {
            self.stands_at.store(rule, Ordering::Relaxed);
            return Attempt::waiting(decision.refused(refusal), retry, place, now);
        }
        decision.count(&decided);
        Attempt::Refused(decision.refused(refusal))
    }

    fn refusal(&self, now: Timestamp) -> Refused {
        let mut decision = self.decision(now, false);
        let stands_at = self.stands_at.load(Ordering::Relaxed);
        let refusal = decision.peek().err().unwrap_or_else(|| Refusal {
            place: if stands_at == NOWHERE { 0 } else { stands_at },
            denied: Denied::just_now(decision.tightest()),
        });
        let refused = decision.refused(&refusal);
        decision.count(&Err(refusal));
        refused
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
pub struct Admission(Acquire<AdmitPlan>);

impl Future for Admission {
    type Output = Result<Permit, WaitError<Refused>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_ok(Permit::taken)
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}
