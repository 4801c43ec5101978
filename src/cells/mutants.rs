//! Seeded bugs that do not fit a line. No build but a model's runs them: see `sync::mutant`.

use crate::algorithm::Moment;
use crate::decision::{Allowed, Denied};
use crate::time::Timestamp;

use super::{Cells, ChargedTo, Numbers, Step};

impl Cells {
    /// Charges, then looks whether that was too much: two that race for the last unit both lose.
    pub(super) fn add_then_check(
        &self,
        tag: u64,
        cost: u64,
        now: Timestamp,
    ) -> Result<Allowed, Denied> {
        let ticks = |numbers: &Numbers| cost * numbers.bucket.scale.unit;
        let add = |tat: u64, numbers: &Numbers, moment: Moment| {
            let answer = numbers.bucket.decide(tat, cost, moment).map(|(_, allowed)| allowed);
            Step::Move(tat.max(moment.ceil) + ticks(numbers), answer)
        };
        let take_back = |tat: u64, numbers: &Numbers, _| Step::Move(tat - ticks(numbers), ());
        match self.run(ChargedTo::Own, tag, now, add) {
            Ok(Err(denied)) => {
                let _ = self.run(ChargedTo::Own, tag, now, take_back);
                Err(denied)
            }
            Ok(allowed) => allowed,
            Err(_) => self.peek_behind(tag, 0, cost, now),
        }
    }
}
