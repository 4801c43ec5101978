//! Seeded bugs that need more than one line. Only builds of the models run them, to show that the
//! models find bugs: see `sync::mutant`.

use crate::algorithm::Moment;
use crate::decision::{Allowed, Denied};
use crate::time::Timestamp;

use super::{Cells, ChargedTo, Parameters, Step};

impl Cells {
    /// Charges first and checks afterwards: two callers that race for the last unit both lose.
    pub(super) fn add_then_check(
        &self,
        tag: u64,
        cost: u64,
        now: Timestamp,
    ) -> Result<Allowed, Denied> {
        let ticks = |params: &Parameters| cost * params.bucket.scale.unit;
        let add = |tat: u64, params: &Parameters, moment: Moment| {
            let answer = params.bucket.decide(tat, cost, moment).map(|(_, allowed)| allowed);
            Step::Move(tat.max(moment.ceil) + ticks(params), answer)
        };
        let take_back = |tat: u64, params: &Parameters, _| Step::Move(tat - ticks(params), ());
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
