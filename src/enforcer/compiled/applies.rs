//! Whether and how a compiled limit applies to a request: its conditions, rollout, key, overrides
//! and cost. Which limits are considered at all is in `routes`.

use std::hash::BuildHasher;

use crate::enforcer::facts::{Facts, Names, text};
use crate::enforcer::framing::{self, KeyWords};
use crate::enforcer::limit_state::LimitState;
use crate::policy::Missing;
use crate::sync::Arc;

use super::{CompiledLimit, KeyFacts, Variant};

/// Why a limit does not apply to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// The limit's mode is off.
    Off,
    /// A condition does not match.
    When,
    /// The request is not in the share of the limit's rollout.
    Rollout,
    /// A fact of the limit's key is missing, and its `missing` is skip.
    Missing,
    /// An override exempts the key.
    Exempt,
}

/// Whether and how a limit applies to a request.
pub(crate) enum Applies<'a> {
    Not(SkipReason),
    /// The limit refuses without deciding: a fact of its key is missing, or the cost cannot be
    /// read.
    Refuses,
    Decides {
        state: &'a Arc<LimitState>,
        /// The index of the override. `u32::MAX`: none.
        variant: u32,
        tag: u64,
        cost: u64,
    },
}

impl CompiledLimit {
    /// Whether the request meets the limit's conditions.
    #[inline(always)]
    pub(crate) fn is_meant(&self, facts: &Facts<'_>) -> bool {
        for test in &self.when {
            if !test.passes(facts) {
                return false;
            }
        }
        true
    }

    /// Whether and how the limit applies. `is_meant`: whether the request meets its conditions.
    #[inline(always)]
    pub(crate) fn applies<S: BuildHasher>(
        &self,
        is_meant: bool,
        facts: &Facts<'_>,
        cost: u64,
        hasher: &S,
        words: &mut KeyWords,
    ) -> Applies<'_> {
        if !is_meant {
            return Applies::Not(SkipReason::When);
        }
        if !self.is_plain {
            return self.applies_in_part(facts, cost, hasher, words);
        }
        match self.tag(facts, hasher, words) {
            Some(tag) => Applies::Decides { state: &self.state, variant: u32::MAX, tag, cost },
            None => self.applies_without_key(),
        }
    }

    /// How the limit treats a request that lacks a fact of its key.
    fn applies_without_key(&self) -> Applies<'_> {
        match self.missing {
            Missing::Refuse => Applies::Refuses,
            Missing::Skip | Missing::Marker => Applies::Not(SkipReason::Missing),
        }
    }

    /// As [`applies`](Self::applies), for a limit that is not plain.
    // Not inlined, so that the path of plain limits keeps its registers.
    #[inline(never)]
    fn applies_in_part<S: BuildHasher>(
        &self,
        facts: &Facts<'_>,
        cost: u64,
        hasher: &S,
        words: &mut KeyWords,
    ) -> Applies<'_> {
        if self.rollout.as_ref().is_some_and(|rollout| !rollout.includes(facts)) {
            return Applies::Not(SkipReason::Rollout);
        }
        let Some(tag) = self.tag(facts, hasher, words) else {
            return self.applies_without_key();
        };
        let (mut state, mut variant) = (&self.state, u32::MAX);
        if let Some((index, change)) = self.variant(facts) {
            let Some(its) = &change.state else { return Applies::Not(SkipReason::Exempt) };
            (state, variant) = (its, index);
        }
        let cost = match self.cost {
            None => cost,
            // A peek stays a peek, whatever the fact says.
            Some(_) if cost == 0 => 0,
            Some(fact) => match cost_by(facts.get(fact)) {
                Some(cost) => cost,
                None => return Applies::Refuses,
            },
        };
        Applies::Decides { state, variant, tag, cost }
    }

    /// The hash of the request's key, never 0: of the name and the value of the fact that counts in
    /// each part. `None`: such a fact is missing and the limit does not use the marker. `words` is
    /// overwritten.
    #[inline(always)]
    pub(crate) fn tag<S: BuildHasher>(
        &self,
        facts: &Facts<'_>,
        hasher: &S,
        words: &mut KeyWords,
    ) -> Option<u64> {
        if self.key.is_empty() {
            return Some(1);
        }
        let mut len = 0;
        for part in &self.key {
            let Some(next) = framing::put(words, len, self.given(part, facts)?) else {
                let parts = self.key.iter().map(|part| self.given(part, facts));
                return framing::hash_long(parts, hasher.build_hasher()).map(|tag| tag.max(1));
            };
            len = next;
        }
        Some(framing::hash(words, len, hasher.build_hasher()).max(1))
    }

    /// The fact that counts in a part. `None`: it is missing and the limit does not use the marker.
    #[inline(always)]
    fn given<'f>(&self, part: &KeyFacts, facts: &'f Facts<'_>) -> Option<framing::Given<'f>> {
        match part.find(facts) {
            Some(((_, name), value)) => Some((name, value)),
            None => (self.missing == Missing::Marker).then_some((0, &[])),
        }
    }

    #[inline(always)]
    fn variant(&self, facts: &Facts<'_>) -> Option<(u32, &Variant)> {
        for (index, variant) in (0..).zip(&self.variants) {
            if variant.tests.iter().all(|test| test.passes(facts)) {
                return Some((index, variant));
            }
        }
        None
    }

    /// The request's key in words: `user=42 view=/a`, or `everything` for an empty key.
    pub(crate) fn key_text(&self, facts: &Facts<'_>, names: &Names) -> String {
        if self.key.is_empty() {
            return "everything".to_owned();
        }
        let part = |part: &KeyFacts| match part.find(facts) {
            Some(((id, _), value)) => format!("{}={}", names.name(id), text(value)),
            None => {
                let facts: Vec<&str> = part.ids().map(|id| names.name(id)).collect();
                format!("no {}", facts.join("|"))
            }
        };
        self.key.iter().map(part).collect::<Vec<_>>().join(" ")
    }
}

/// The cost that a fact gives in decimal digits; 1 if the fact is missing. `None`: it is not a
/// number.
fn cost_by(value: Option<&[u8]>) -> Option<u64> {
    let Some(value) = value else { return Some(1) };
    let text = text(value);
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}
