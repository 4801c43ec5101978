//! Values of `RateLimit-Policy` that are kept: they are the same for as long as requests meet the
//! same limits.

use arc_swap::ArcSwap;
use http::HeaderValue;

use crate::enforcer::{Answers, LimitAnswer};
use crate::policy::Amount;
use crate::sync::Arc;

use super::headers::policy_value;

/// Values that are kept. Requests meet few sets of limits; where there are more, and after reloads,
/// it begins anew.
const MOST: usize = 8;

#[derive(Default)]
pub(super) struct ToldPolicy {
    kept: ArcSwap<Vec<Kept>>,
}

#[derive(Clone)]
struct Kept {
    limits: Vec<(&'static str, Amount)>,
    value: HeaderValue,
}

impl Kept {
    fn is_of(&self, answers: &Answers) -> bool {
        let same = |((limit, amount), answer): (&(&'static str, Amount), &LimitAnswer)| {
            std::ptr::eq(*limit, answer.limit) && *amount == answer.amount && is_kept(answer)
        };
        self.limits.len() == answers.limits.len()
            && self.limits.iter().zip(&answers.limits).all(same)
    }
}

/// Keys in words are of one client, and a limit that was asked for nothing is not told of.
fn is_kept(answer: &LimitAnswer) -> bool {
    answer.key.is_none() && !answer.is_unfit
}

impl ToldPolicy {
    /// As [`policy_value`].
    pub(super) fn value(&self, answers: &Answers) -> Option<HeaderValue> {
        let kept = self.kept.load();
        match kept.iter().find(|kept| kept.is_of(answers)) {
            Some(kept) => Some(kept.value.clone()),
            None => self.keep(&kept, answers),
        }
    }

    #[cold]
    fn keep(&self, before: &[Kept], answers: &Answers) -> Option<HeaderValue> {
        let value = policy_value(answers)?;
        if answers.limits.iter().all(is_kept) {
            let before = if before.len() < MOST { before } else { &[] };
            let limits = answers.limits.iter().map(|answer| (answer.limit, answer.amount));
            let new = Kept { limits: limits.collect(), value: value.clone() };
            self.kept.store(Arc::new(before.iter().cloned().chain([new]).collect()));
        }
        Some(value)
    }
}
