//! Linearizability by search (Wing and Gong, 1993; Lowe, 2017): of the calls that could come next,
//! since no call that is left had ended before they began, take one whose answer the model gives,
//! and go on; if none leads to the end, go back.

/// Nanoseconds. Time moves by whole ones of these.
pub const TIME_STEP: i64 = 12;

/// What one thread would have been answered.
pub trait Model: Copy {
    type Op: Copy;
    type Answer: Copy + PartialEq;

    /// What `op` is answered. `now` is the stamp it read itself, if it is not given one; `None` if
    /// it cannot have read that.
    fn step(&mut self, op: Self::Op, now: i64) -> Option<Self::Answer>;
}

/// One call, from when to when, and what the clock said then.
#[derive(Clone, Copy, Debug)]
pub struct Event<Op, Answer> {
    pub begin: u64,
    pub end: u64,
    pub clock: [i64; 2],
    pub op: Op,
    pub answer: Answer,
}

/// Whether some order of `events` that is true to time gives all their answers.
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
