//! [`AdmitPlan`]: a request that may wait, as a [`Plan`] of the queue. It decides the whole request
//! when the queue asks, and names the line in which the request waits next.

use std::hash::BuildHasher;

use arc_swap::Guard;

use crate::decision::{Denied, Refused, Retry};
use crate::enforcer::compiled::Compiled;
use crate::enforcer::decision::{Asks, Decision};
use crate::enforcer::facts::Facts;
use crate::enforcer::limit_state::Limiter;
use crate::enforcer::permit::NOWHERE;
use crate::enforcer::{Answers, Permit};
use crate::queue::{Attempt, Plan, QueueOwner, QueuePlace};
use crate::sync::{Arc, AtomicBool, AtomicU32, Ordering};
use crate::time::{Clock, Timestamp};
use crate::transaction::Refusal;

/// What a request that is admitted gets, after a wait or without one.
pub(super) struct GrantedAdmission {
    pub(super) permit: Permit,
    pub(super) answers: Answers,
}

/// What a request that is refused gets.
pub(super) struct TurnedAway {
    pub(super) refused: Refused,
    /// Whether the request waited in line.
    pub(super) waited: bool,
    /// About the number of requests that the limit has refused, including this one.
    pub(super) nth: u64,
    pub(super) answers: Answers,
}

/// A request that may wait: its policy, and what it asks of each limit.
pub(super) struct AdmitPlan {
    policy: Arc<Compiled>,
    bypass: Arc<AtomicBool>,
    clock: Clock,
    asks: Asks,
    cost: u64,
    since: Timestamp,
    /// The place of the limit in whose line the request waits. Changed only by `attempt`.
    stands_at: AtomicU32,
    /// Whether to give the answers of the limits.
    with_answers: bool,
}

impl AdmitPlan {
    /// Finds what a request with these facts asks of each limit.
    pub(super) fn new<S: BuildHasher>(
        policy: Arc<Compiled>,
        bypass: Arc<AtomicBool>,
        clock: Clock,
        facts: &Facts<'_>,
        cost: u64,
        hasher: &S,
    ) -> AdmitPlan {
        let mut asks = Asks::new();
        policy.ask(&mut asks, facts, cost, hasher, false);
        AdmitPlan {
            policy,
            bypass,
            clock,
            asks,
            cost,
            since: Timestamp::ZERO,
            stands_at: AtomicU32::new(NOWHERE),
            with_answers: false,
        }
    }

    /// Makes the end of the wait give the answers of the limits.
    pub(super) fn say_answers(&mut self) {
        self.with_answers = true;
    }

    fn decision(&self, now: Timestamp, turn: bool) -> Decision<'_> {
        // Relaxed: `attempt` wrote it under the lock of the line that the waiter left, or before
        // the waiter was shared. The waiter was then inserted into its current line under the lock
        // that is held here.
        let stands_at = self.stands_at.load(Ordering::Relaxed);
        let turn_at = if turn { Some(stands_at) } else { None };
        Decision::new(&self.policy, &self.asks, now, turn_at)
    }

    /// Where the request waits next, if every limit that refuses has a `wait` and can let it pass
    /// in time: at `stands_at` if that limit refuses, or else at the first limit that does.
    fn wait_at(
        &self,
        refusals: &[(u32, Denied)],
        stands_at: u32,
        now: Timestamp,
    ) -> Option<(u32, QueuePlace, Retry)> {
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
        let asked = self.asks.iter().find(|asked| asked.source.rule == rule)?;
        let (source, (tag, cost)) = (asked.source, asked.key()?);
        let of = &self.policy.rules[rule as usize];
        let (at, units): (Arc<dyn QueueOwner>, u64) = match &of.state_of(source.variant).limiter {
            Limiter::Rate(rate) => (rate.line(tag), cost),
            Limiter::Slots(semaphores) => (semaphores.semaphore(tag), of.weight.into()),
        };
        Some((rule, QueuePlace { at, units, deadline }, retry))
    }

    fn permit(&self) -> Permit {
        // Relaxed: as in `decision`.
        let stands_at = self.stands_at.load(Ordering::Relaxed);
        Permit::new(Guard::from_inner(self.policy.clone())).untaken(stands_at)
    }

    fn answers(&self, decision: &Decision<'_>, is_refused: bool, now: Timestamp) -> Answers {
        if self.with_answers {
            // Relaxed: as in `decision`.
            let stands_at = self.stands_at.load(Ordering::Relaxed);
            let here = self.asks.iter().find(|asked| asked.source.rule == stands_at);
            // A granted waiter counts in the line until its answer is delivered.
            let in_line =
                here.filter(|_| !is_refused).and_then(|asked| Some((stands_at, asked.key()?.1)));
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
        let refused = self.policy.refused(&refusal);
        let answers = self.answers(decision, true, now);
        decision.count(&Err(refusal));
        let counters = &self.policy.rules[refusal.place as usize].counters;
        // Relaxed: a count; no other data is published with it.
        counters.timeouts.fetch_add(waited.into(), Ordering::Relaxed);
        TurnedAway { refused, waited, nth: counters.refused.of_thread(), answers }
    }
}

impl Plan for AdmitPlan {
    type Granted = GrantedAdmission;
    type Refusal = TurnedAway;

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn begin(&mut self, now: Timestamp) {
        self.since = now;
    }

    fn attempt(&self, turn: bool, now: Timestamp) -> Attempt<GrantedAdmission, TurnedAway> {
        // Relaxed: as in `Enforcer::bypass`.
        if self.bypass.load(Ordering::Relaxed) {
            let answers = Answers { at: now, limits: Vec::new() };
            let granted = GrantedAdmission { permit: self.permit(), answers };
            return Attempt::Granted { granted, full_until: None };
        }
        let mut decision = self.decision(now, turn);
        let decided = decision.admit(self.cost);
        let Err(refusal) = decided else {
            decision.count(&decided);
            let answers = self.answers(&decision, false, now);
            let mut permit = self.permit();
            decision.hand_over(permit.parts().1);
            return Attempt::Granted {
                granted: GrantedAdmission { permit, answers },
                full_until: None,
            };
        };
        let stands_at = if turn { self.stands_at.load(Ordering::Relaxed) } else { NOWHERE };
        if let Some((rule, place, retry)) = self.wait_at(&decision.refusals(), stands_at, now) {
            self.stands_at.store(rule, Ordering::Relaxed);
            // The request can pass in time, so this refusal is not delivered: leave out its
            // details.
            let refused = self.policy.refused(&refusal);
            let answers = Answers::default();
            let turned_away = TurnedAway { refused, waited: turn, nth: 0, answers };
            return Attempt::waiting(turned_away, retry, place, now);
        }
        Attempt::Refused(self.turned_away(&decision, refusal, turn, now))
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
        for asked in &self.asks {
            if let Some((tag, _)) = asked.key() {
                let rule = &self.policy.rules[asked.source.rule as usize];
                rule.state_of(asked.source.variant).serve_queued(tag);
            }
        }
    }
}
