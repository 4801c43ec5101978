//! Checks linearizability by search (Wing and Gong, 1993; Lowe, 2017). Candidates for the next call
//! are the calls that began before any remaining call ended. The search takes a candidate whose
//! answer the model gives, and continues; if no candidate leads to the end, it backtracks.

/// Nanoseconds. Time moves in multiples of this step.
pub const TIME_STEP: i64 = 12;

/// A sequential model of the code under test.
pub trait Model: Copy {
    type Op: Copy;
    type Answer: Copy + PartialEq;

    /// The answer to `op`. `now` is the timestamp that the call read itself, if it is not given
    /// one. Returns `None` if the call cannot have read that timestamp.
    fn step(&mut self, op: Self::Op, now: i64) -> Option<Self::Answer>;
}

/// One call: its beginning, its end, and what the clock said in between.
#[derive(Clone, Copy, Debug)]
pub struct Event<Op, Answer> {
    pub begin: u64,
    pub end: u64,
    pub clock: [i64; 2],
    pub op: Op,
    pub answer: Answer,
}

/// Whether `events` have an order that respects real time and gives all their answers.
pub fn has_serial_order<M: Model>(model: M, events: &[Event<M::Op, M::Answer>]) -> bool {
    assert!(events.len() < 32, "one bit each");
    search(&model, events, 0)
}

fn search<M: Model>(model: &M, events: &[Event<M::Op, M::Answer>], done: u32) -> bool {
    if done == (1 << events.len()) - 1 {
        return true;
    }
    let left = || events.iter().enumerate().filter(|(index, _)| done & 1 << index == 0);
    let first_end = left().map(|(_, event)| event.end).min().unwrap_or(u64::MAX);
    left().filter(|(_, event)| event.begin <= first_end).any(|(index, event)| {
        let [from, to] = event.clock;
        (from..=to).step_by(TIME_STEP as usize).any(|now| {
            let mut next = *model;
            next.step(event.op, now) == Some(event.answer)
                && search(&next, events, done | 1 << index)
        })
    })
}
