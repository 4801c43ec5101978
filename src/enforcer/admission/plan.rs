//! A request that may wait, as a plan of the queue: its whole step, and where it then stands.

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

/// What who waits is granted.
pub(super) struct Granted {
    pub(super) permit: Permit,
    pub(super) answers: Answers,
}

/// What who waits in vain is told.
pub(super) struct TurnedAway {
    pub(super) refused: Refused,
    /// Whether it stood in line before.
    pub(super) waited: bool,
    /// About how many that makes whom the limit refused.
    pub(super) nth: u64,
    pub(super) answers: Answers,
}

/// A request that may wait: what it asks of which limits.
pub(super) struct AdmitPlan {
    policy: Arc<Compiled>,
    bypass: Arc<AtomicBool>,
    clock: Clock,
    asks: Asks,
    cost: u64,
    since: Timestamp,
    /// The rule in whose line it stands. Changed only by whoever runs its step.
    stands_at: AtomicU32,
    /// Whether to say how each limit stands.
    with_answers: bool,
}

impl AdmitPlan {
    /// What a request of these facts asks of which limits.
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

    /// Has it say how each limit stands in the end.
    pub(super) fn say_answers(&mut self) {
        self.with_answers = true;
    }

    fn decision(&self, now: Timestamp, turn: bool) -> Decision<'_> {
        // Relaxed: written under the lock of the line under which it is read.
        let stands_at = self.stands_at.load(Ordering::Relaxed);
        let turn_at = if turn { Some(stands_at) } else { None };
        Decision::new(&self.policy, &self.asks, now, turn_at)
    }

    /// Where it waits, if each limit that refuses may have it wait and can let it pass in time: where
    /// it stands, if that one refuses, or else at the first.
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
            // A granted waiter stands in line until it is told.
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
        // Relaxed: a count.
        counters.timeouts.fetch_add(waited.into(), Ordering::Relaxed);
        TurnedAway { refused, waited, nth: counters.refused.of_thread(), answers }
    }
}

impl Plan for AdmitPlan {
    type Granted = Granted;
    type Refusal = TurnedAway;

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn begin(&mut self, now: Timestamp) {
        self.since = now;
    }

    fn attempt(&self, turn: bool, now: Timestamp) -> Attempt<Granted, TurnedAway> {
        // Relaxed: as in `Enforcer::bypass`.
        if self.bypass.load(Ordering::Relaxed) {
            let answers = Answers { at: now, limits: Vec::new() };
            let granted = Granted { permit: self.permit(), answers };
            return Attempt::Granted { granted, full_until: None };
        }
        let mut decision = self.decision(now, turn);
        let decided = decision.admit(self.cost);
        let Err(refusal) = decided else {
            decision.count(&decided);
            let answers = self.answers(&decision, false, now);
            let mut permit = self.permit();
            decision.hand_over(permit.parts().1);
            return Attempt::Granted { granted: Granted { permit, answers }, full_until: None };
        };
        let stands_at = if turn { self.stands_at.load(Ordering::Relaxed) } else { NOWHERE };
        if let Some((rule, place, retry)) = self.wait_at(&decision.refusals(), stands_at, now) {
            self.stands_at.store(rule, Ordering::Relaxed);
            // It can pass in time: what a refusal would say is not asked for.
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
