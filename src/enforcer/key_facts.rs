//! [`KeyFacts`]: one part of a limit's key, with facts by place. `policy::limit` has the same part
//! by name; `framing` makes the bytes of a key.

use super::facts::{FactId, Facts, Names};

/// A part of a key: a list of facts. The first one that the request has counts.
pub(crate) struct KeyFacts {
    first: KeyFact,
    others: Box<[KeyFact]>,
}

/// A fact, and the identity of its name.
pub(crate) type KeyFact = (FactId, u64);

impl KeyFacts {
    pub(crate) fn new(facts: &[String], names: &Names) -> KeyFacts {
        let known = |fact: &String| names.find(fact).map(|id| (id, names.identity(id)));
        let mut facts = facts.iter().filter_map(known);
        // No request has a fact with this place.
        KeyFacts { first: facts.next().unwrap_or((FactId::MAX, 0)), others: facts.collect() }
    }

    /// The first of the facts that the request has, and its value.
    #[inline(always)]
    pub(crate) fn find<'f>(&self, facts: &'f Facts<'_>) -> Option<(KeyFact, &'f [u8])> {
        match facts.get(self.first.0) {
            Some(value) => Some((self.first, value)),
            None if self.others.is_empty() => None,
            None => self.find_other(facts),
        }
    }

    #[inline(never)]
    fn find_other<'f>(&self, facts: &'f Facts<'_>) -> Option<(KeyFact, &'f [u8])> {
        self.others.iter().find_map(|fact| Some((*fact, facts.get(fact.0)?)))
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = FactId> {
        [&self.first].into_iter().chain(&self.others).map(|(id, _)| *id)
    }
}
