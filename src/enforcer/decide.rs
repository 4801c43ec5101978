//! From what a request asks to a filled-in permit: on the fast path if possible, or else as a
//! transaction. `decision` has both ways to decide; this file chooses between them, counts and
//! logs.

use smallvec::SmallVec;

use crate::decision::Refused;
use crate::time::Timestamp;
use crate::transaction::{INLINE, Listed, Said};

use super::answers::Says;
use super::decision::{Decision, LimitSaid, Saying, Source};
use super::permit::Permit;

/// Decides what is asked and moves what was charged and taken to the permit. Tries the fast path
/// first.
// Not inlined, so that there is one copy for all hashers and types of facts.
#[inline(never)]
pub(super) fn decide(permit: &mut Permit, cost: u64, now: Timestamp) -> Result<(), Refused> {
    // The block ends the borrows. `drop(listed)` would move, and so copy, a large value.
    let is_decided = 'fast: {
        let (policy, held) = permit.parts();
        let mut listed = Listed::default();
        let looked = policy.look(&mut held.charges, now, &mut listed, |_, _, _| {});
        if looked.is_none() || !listed.decide() {
            break 'fast false;
        }
        policy.count_fast(&held.charges, listed.refusal.as_ref());
        if let Some(refusal) = &listed.refusal {
            return Err(policy.refused_told(refusal));
        }
        if !listed.has_slots() {
            return Ok(());
        }
        policy.hand_over(&mut listed, held);
        true
    };
    if !is_decided {
        return decide_slow(permit, cost, now, None);
    }
    permit.settle_in();
    Ok(())
}

/// As [`decide`], and also gives the answers of the limits, always or only if the request is
/// refused.
#[inline(never)]
pub(super) fn decide_and_say(
    permit: &mut Permit,
    cost: u64,
    now: Timestamp,
    mut says: Says<'_>,
) -> Result<(), Refused> {
    let is_decided = 'fast: {
        let (policy, held) = permit.parts();
        let mut listed = Listed::default();
        let mut all_said = SmallVec::<[LimitSaid; INLINE]>::new();
        let looked = policy.look(&mut held.charges, now, &mut listed, |source, tag, said| {
            let said = match said {
                Said::Seen(part) => Saying::Seen(*part),
                said => Saying::Answer(said.answer()),
            };
            all_said.push(LimitSaid { source, tag, said });
        });
        if looked.is_none() || !listed.decide() {
            break 'fast false;
        }
        // One call each: a second use of `count_fast` would keep its callees from being inlined in
        // `decide`.
        held.charges.iter().for_each(|asked| policy.count(asked.source.rule, false));
        policy.counter_of(listed.refusal.as_ref()).add(1);
        let is_refused = listed.refusal.is_some();
        if let Some(answers) = says.wanted(is_refused) {
            for (rule, answer) in listed.slot_answers() {
                let source = Source { rule, variant: u32::MAX };
                all_said.push(LimitSaid { source, tag: 0, said: Saying::Answer(answer) });
            }
            all_said.sort_by_key(|said| said.source.rule);
            *answers = policy.answers(all_said.iter().copied(), is_refused, None, now);
        }
        if let Some(refusal) = &listed.refusal {
            return Err(policy.refused_told(refusal));
        }
        policy.hand_over(&mut listed, held);
        true
    };
    if !is_decided {
        return decide_slow(permit, cost, now, Some(says));
    }
    permit.settle_in();
    Ok(())
}

#[cold]
#[inline(never)]
fn decide_slow(
    permit: &mut Permit,
    cost: u64,
    now: Timestamp,
    mut says: Option<Says<'_>>,
) -> Result<(), Refused> {
    let (policy, held) = permit.parts();
    let mut decision = Decision::new(policy, &held.charges, now, None);
    let decided = decision.admit(cost);
    decision.count(&decided);
    if let Some(answers) = says.as_mut().and_then(|says| says.wanted(decided.is_err())) {
        *answers = decision.answers(decided.is_err(), None, now);
    }
    // Logged last: a logger may panic, and by then the permit owns what was taken and gives it
    // back.
    if let Err(refusal) = decided {
        decision.serve();
        decision.log(held);
        return Err(policy.refused_told(&refusal));
    }
    decision.hand_over(held);
    decision.log(held);
    drop(decision);
    permit.settle_in();
    Ok(())
}
