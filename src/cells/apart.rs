//! Keys that leave a table for another, since they were charged at a stamp beyond its axis.
//!
//! The word of such a key says so for good, and its slot is never another's. Its state goes on in the
//! other table, whose axis reaches further.

use crate::algorithm::Bucket;
use crate::sync::mutant;
use crate::time::Timestamp;

use super::parameters::Parameters;
use super::published::read_word;
use super::word::{ELSEWHERE, MAX_TICK};
use super::{Cells, ChargedTo, Step, word};

/// The first generation of a table apart: beyond those of the table that its keys come from, so that
/// of a charge made there it is not known which quotas were in force since.
const APART: u64 = 1 << 48;

impl Cells {
    /// A table for `max_keys` keys that leave this one, whose axis reaches to `now`.
    pub(crate) fn apart(&self, max_keys: usize, now: Timestamp) -> Cells {
        let params = self.published.load().moved(now);
        Cells::under(&Parameters { generation: APART, ..params }, max_keys, self.overflow)
    }

    /// Whether the key has left the table.
    pub(crate) fn has_left(&self, tag: u64) -> bool {
        let params = self.published.load();
        self.table.find(tag, word::spread(tag)).is_some_and(|(_, word)| {
            read_word(&self.published, &params, word, tag).is_some_and(|tick| tick > MAX_TICK)
        })
    }

    /// Whether the key owes anything at `now`, and has not left the table.
    pub(crate) fn owes(&self, tag: u64, now: Timestamp) -> bool {
        let owes = |tat: u64, _: &Parameters, moment| {
            Step::Stay(tat <= MAX_TICK && !Bucket::is_idle(tat, moment))
        };
        self.run(ChargedTo::Own, tag, now, owes).unwrap_or(false)
    }

    /// Has the key leave the table for `far`, whose axis reaches to `now`, and take along what it owes.
    /// Whether it left by this call: it may have left before, or there is no room to say so.
    pub(crate) fn leave_for(&self, far: &Cells, tag: u64, now: Timestamp) -> bool {
        let look = |tat: u64, params: &Parameters, _| Step::Stay((tat, *params));
        loop {
            let Ok((tat, near)) = self.run(ChargedTo::Own, tag, now, look) else { return false };
            // Before it leaves, so that nobody finds a key that has left without its debt.
            let arrive = |there: u64, params: &Parameters, _| {
                match params.convert_as_of(&near, tat, params.origin) {
                    // Also if that is over: stamps may come from before it was.
                    owed if owed > there => Step::Move(owed, ()),
                    _ => Step::Stay(()),
                }
            };
            if tat > MAX_TICK {
                return false;
            }
            if far.run(ChargedTo::Own, tag, now, arrive).is_err() {
                return false;
            }
            let leave =
                |still: u64, _: &Parameters, _| match still == tat || mutant("leave_unasked") {
                    true => Step::Move(ELSEWHERE, true),
                    false => Step::Stay(false),
                };
            match self.run(ChargedTo::Own, tag, now, leave) {
                Ok(true) => return true,
                // It was charged meanwhile.
                Ok(false) => {}
                Err(_) => return false,
            }
        }
    }
}
