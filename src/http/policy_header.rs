//! A cache of the part of the draft's headers that is the same in every response for the same
//! limits.
//!
//! `headers` computes and writes the values; this file only keeps them while requests meet the same
//! limits.

use arc_swap::ArcSwap;
use http::HeaderMap;

use crate::enforcer::{Answers, LimitAnswer};
use crate::policy::Amount;
use crate::sync::Arc;

use super::headers::{DraftPolicy, draft};

/// The number of policies in the cache. Requests meet few sets of limits; when more of them, or
/// reloads, have filled the cache, it starts anew.
const MOST: usize = 8;

#[derive(Default)]
pub(super) struct PolicyHeader {
    kept: ArcSwap<Vec<CachedPolicy>>,
}

#[derive(Clone)]
struct CachedPolicy {
    limits: Vec<(&'static str, Amount)>,
    policy: DraftPolicy,
}

impl CachedPolicy {
    fn is_of(&self, answers: &Answers) -> bool {
        let same = |((limit, amount), answer): (&(&'static str, Amount), &LimitAnswer)| {
            std::ptr::eq(*limit, answer.limit) && *amount == answer.amount && is_kept(answer)
        };
        self.limits.len() == answers.limits.len()
            && self.limits.iter().zip(&answers.limits).all(same)
    }
}

/// A key is specific to one client, and the headers do not state a limit that was asked for
/// nothing.
fn is_kept(answer: &LimitAnswer) -> bool {
    answer.key.is_none() && !answer.is_unfit
}

impl PolicyHeader {
    /// Adds the headers of the draft.
    pub(super) fn add_to(&self, headers: &mut HeaderMap, answers: &Answers) {
        let kept = self.kept.load();
        match kept.iter().find(|kept| kept.is_of(answers)) {
            Some(kept) => draft(headers, answers, &kept.policy),
            None => self.keep(&kept, headers, answers),
        }
    }

    #[cold]
    fn keep(&self, before: &[CachedPolicy], headers: &mut HeaderMap, answers: &Answers) {
        let Some(policy) = DraftPolicy::of(answers) else { return };
        draft(headers, answers, &policy);
        if answers.limits.iter().all(is_kept) {
            let before = if before.len() < MOST { before } else { &[] };
            let limits = answers.limits.iter().map(|answer| (answer.limit, answer.amount));
            let new = CachedPolicy { limits: limits.collect(), policy };
            self.kept.store(Arc::new(before.iter().cloned().chain([new]).collect()));
        }
    }
}
