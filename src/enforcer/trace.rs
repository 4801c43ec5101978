//! Following a request through a policy, for who counts keys: which limits look at it, under which
//! identity of its key.

use std::hash::BuildHasher;

use crate::policy::Mode;

use super::compiled::{Applies, Found};
use super::facts::Facts;
use super::framing::Words;
use super::{Enforcer, Value};

/// A limit that applies to a request.
pub(crate) struct Traced {
    /// Its place in the policy.
    pub(crate) index: usize,
    /// The identity of the request's key. None if the limit refuses without counting.
    pub(crate) tag: Option<u64>,
    /// Whether it would deny the request, but does not enforce it.
    pub(crate) shadow_refuses: bool,
}

impl<S: BuildHasher> Enforcer<S> {
    /// Says for each limit that applies to these facts now what it makes of them, charging
    /// nothing.
    pub(crate) fn trace<'f, V: Copy + Into<Value<'f>>>(
        &self,
        facts: &[(&str, V)],
        cost: u64,
        mut limit: impl FnMut(Traced),
    ) {
        let policy = self.policy.load();
        let mut known = Facts::new();
        known.take(&policy.names, facts);
        let now = self.clock.now();
        for place in policy.find(&known, &mut Found::new()) {
            let index = *place as usize;
            let Some(rule) = policy.rules.get(index) else { continue };
            let is_shadow = match rule.mode() {
                Mode::Enforce => false,
                Mode::Shadow => true,
                Mode::Off => continue,
            };
            let (is_meant, words) = (rule.is_meant(&known), &mut Words::default());
            match rule.applies(is_meant, &known, cost, &self.hasher, words) {
                Applies::Not(_) => {}
                Applies::Refuses => limit(Traced { index, tag: None, shadow_refuses: is_shadow }),
                Applies::Decides { account, tag, cost, .. } => {
                    let shadow_refuses = is_shadow && rule.peek(account, tag, cost, now).is_err();
                    limit(Traced { index, tag: Some(tag), shadow_refuses });
                }
            }
        }
    }

    /// The request's key under the limit at `index`, in words.
    pub(crate) fn key_text<'f, V: Copy + Into<Value<'f>>>(
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
