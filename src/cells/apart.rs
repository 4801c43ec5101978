//! Keys that leave a table for another because they were charged at a stamp beyond its axis.
//!
//! The word of the key says so from then on, and its slot never goes to another key. Its state
//! continues in the other table, whose axis reaches further. `rate_limiter/words.rs` decides when a
//! key leaves.

use crate::algorithm::Bucket;
use crate::time::Timestamp;

use super::parameters::Parameters;
use super::published::read_word;
use super::word::{ELSEWHERE, MAX_TICK};
use super::{Cells, ChargedTo, Step, word};

/// The first generation of a table apart, above every generation of the table that its keys come
/// from: a charge made in that table is then older than every quota that this one remembers.
const APART: u64 = 1 << 48;

impl Cells {
    /// A table for up to `max_keys` keys that leave this one. Its axis reaches to `now`.
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

    /// Moves the key, with its debt, to `far`, whose axis reaches to `now`. Returns whether this
    /// call moved it: the key may have left before, or a table has no room for it.
    pub(crate) fn leave_for(&self, far: &Cells, tag: u64, now: Timestamp) -> bool {
        let look = |tat: u64, params: &Parameters, _| Step::Stay((tat, *params));
        loop {
            let Ok((tat, near)) = self.run(ChargedTo::Own, tag, now, look) else { return false };
            // Before the key leaves, so that no caller finds it gone and its debt missing.
            let arrive = |there: u64, params: &Parameters, _| {
                match params.convert_as_of(&near, tat, params.origin) {
                    // Even if the debt is paid off at `now`: a later call may bring an earlier
                    // stamp.
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
            let leave = |still: u64, _: &Parameters, _| match still == tat {
                true => Step::Move(ELSEWHERE, true),
                false => Step::Stay(false),
            };
            match self.run(ChargedTo::Own, tag, now, leave) {
                Ok(true) => return true,
                // The key was charged meanwhile: retry.
                Ok(false) => {}
                Err(_) => return false,
            }
        }
    }
}
