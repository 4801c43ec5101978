//! Follows a request through a policy for a replay, which counts keys: which limits apply to the
//! request, and under which key. Charges and counts nothing.

use std::hash::BuildHasher;

use crate::policy::Mode;

use super::compiled::{Applies, Candidates};
use super::facts::Facts;
use super::framing::KeyWords;
use super::{Enforcer, Value};

impl<S: BuildHasher> Enforcer<S> {
    /// Calls `limit` for each limit that applies to these facts now, without charging anything. The
    /// arguments: the limit's place in the policy; the hash of the request's key, or `None` if the
    /// limit refuses without deciding; and whether the limit is in shadow and would refuse the
    /// request.
    #[doc(hidden)]
    pub fn trace<'f, V: Copy + Into<Value<'f>>>(
        &self,
        facts: &[(&str, V)],
        cost: u64,
        mut limit: impl FnMut(usize, Option<u64>, bool),
    ) {
        let policy = self.policy.load();
        let mut known = Facts::new();
        known.take(&policy.names, facts);
        let now = self.clock.now();
        for place in policy.find(&known, &mut Candidates::new()) {
            let index = *place as usize;
            let Some(rule) = policy.rules.get(index) else { continue };
            let is_shadow = match rule.counters.mode() {
                Mode::Enforce => false,
                Mode::Shadow => true,
                Mode::Off => continue,
            };
            let (is_meant, words) = (rule.is_meant(&known), &mut KeyWords::default());
            match rule.applies(is_meant, &known, cost, &self.hasher, words) {
                Applies::Not(_) => {}
                Applies::Refuses => limit(index, None, is_shadow),
                Applies::Decides { state, tag, cost, .. } => {
                    let refuses = is_shadow && rule.peek(state, tag, cost, now).is_err();
                    limit(index, Some(tag), refuses);
                }
            }
        }
    }

    /// The request's key under the limit at `index`, in words.
    #[doc(hidden)]
    pub fn key_text<'f, V: Copy + Into<Value<'f>>>(
        &self,
        index: usize,
        facts: &[(&str, V)],
    ) -> String {
        let policy = self.policy.load();
        let mut known = Facts::new();
        known.take(&policy.names, facts);
        policy.rules.get(index).map(|rule| rule.key_text(&known, &policy.names)).unwrap_or_default()
    }
}
