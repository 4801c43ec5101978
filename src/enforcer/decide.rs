//! From what is asked to the permit: on the fast path, or as a transaction.

use crate::decision::{Allowed, Denied, Refused};
use crate::time::Timestamp;
use crate::transaction::Listed;

use super::answers::Answers;
use super::decision::{Answered, Decision, LimitAsked, RateSaid};
use super::permit::Permit;

/// Decides what is asked, on the fast path if it can, and hands over what was charged and taken.
// Apart, since it is the same for all hashers and facts.
#[inline(never)]
pub(super) fn decide(permit: &mut Permit, cost: u64, now: Timestamp) -> Result<(), Refused> {
    let (policy, held) = permit.parts();
    let mut listed = Listed::default();
    if policy.look::<false>(&mut held.charges, now, &mut listed).is_none() || !listed.decide() {
        drop(listed);
        return decide_slow(permit, cost, now, None);
    }
    policy.count_fast(&held.charges, listed.refusal.as_ref());
    match &listed.refusal {
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
    let mut listed = Listed::default();
    let looked = policy.look::<true>(&mut held.charges, now, &mut listed);
    if looked.is_none() || !listed.decide() {
        drop(listed);
        return decide_slow(permit, cost, now, Some(answers));
    }
    // One by one: a second use of `count_fast` would keep what it calls from being inlined in `decide`.
    held.charges.iter().for_each(|asked| policy.count(asked.source.rule, false));
    policy.counter_of(listed.refusal.as_ref()).add(1);
    let said = |(asked, answer): (&LimitAsked, &Result<Allowed, Denied>)| RateSaid {
        source: asked.source,
        tag: asked.charge.tag,
        answer: *answer,
    };
    let said: Answered = held.charges.iter().zip(&listed.said).map(said).collect();
    *answers = policy.answers(&said, listed.refusal.is_some(), None, now);
    listed.refusal.map_or(Ok(()), |refusal| Err(policy.refused_told(&refusal)))
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
