//! From what is asked to the permit: on the fast path, or as a transaction.

use crate::decision::Refused;
use crate::time::Timestamp;

use super::answers::Answers;
use super::decision::{Answered, Decision, Seen};
use super::permit::Permit;

/// Decides what is asked, on the fast path if it can, and hands over what was charged and taken.
// Apart, since it is the same for all hashers and facts.
#[inline(never)]
pub(super) fn decide(permit: &mut Permit, cost: u64, now: Timestamp) -> Result<(), Refused> {
    let (policy, held) = permit.parts();
    let mut seen = Seen::default();
    let Some(()) = seen.decide(policy, &mut held.charges, now, false, None) else {
        drop(seen);
        return decide_slow(permit, cost, now, None);
    };
    policy.count_fast(&held.charges, seen.refusal.as_ref());
    match &seen.refusal {
        None => Ok(()),
        Some(refusal) => Err(policy.refused_told(refusal)),
    }
}

/// As `decide`, and says how each limit stands.
#[inline(never)]
pub(super) fn decide_and_say(
    permit: &mut Permit,
    cost: u64,
    now: Timestamp,
    answers: &mut Answers,
) -> Result<(), Refused> {
    let (policy, held) = permit.parts();
    let mut said = Answered::new();
    let mut seen = Seen::default();
    let Some(()) = seen.decide(policy, &mut held.charges, now, false, Some(&mut said)) else {
        drop(seen);
        return decide_slow(permit, cost, now, Some(answers));
    };
    held.charges.iter().for_each(|asked| policy.count(asked.source.rule, false));
    policy.counter_of(seen.refusal.as_ref()).add(1);
    *answers = policy.answers(&said, seen.refusal.is_some(), None, now);
    seen.refusal.map_or(Ok(()), |refusal| Err(policy.refused_told(&refusal)))
}

#[cold]
#[inline(never)]
fn decide_slow(
    permit: &mut Permit,
    cost: u64,
    now: Timestamp,
    answers: Option<&mut Answers>,
) -> Result<(), Refused> {
    let (policy, held) = permit.parts();
    let mut decision = Decision::new(policy, &held.charges, now, None);
    let decided = decision.admit(cost);
    decision.count(&decided);
    if let Some(answers) = answers {
        *answers = decision.answers(decided.is_err(), None, now);
    }
    // Told last: a logger may panic, and what was taken is then the permit's to give back.
    if let Err(refusal) = decided {
        decision.serve();
        decision.tell(held);
        return Err(policy.refused_told(&refusal));
    }
    decision.hand_over(held);
    decision.tell(held);
    drop(decision);
    permit.settle_in();
    Ok(())
}
