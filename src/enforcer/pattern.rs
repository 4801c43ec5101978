//! Patterns, in which `*` stands for any run of bytes, and [`Test`], which checks a fact against
//! them. `policy::limit` has them as plain text.

use crate::policy::Condition;

use super::facts::{FactId, Facts, Names};

pub(crate) enum Pattern {
    Exact(Box<[u8]>),
    /// The text before the only star, which is at the end.
    Start(Prefix),
    /// The texts between the stars.
    Stars(Box<[Box<[u8]>]>),
}

/// A prefix. One of up to 8 bytes, as most are, is compared as a number.
pub(crate) struct Prefix {
    head: u64,
    /// The bits of `head` that count.
    mask: u64,
    text: Box<[u8]>,
}

impl Prefix {
    const HEAD: usize = size_of::<u64>();

    fn new(text: &str) -> Prefix {
        let text = text.as_bytes();
        let head =
            text.iter().take(Self::HEAD).rev().fold((0, 0), |(head, mask), byte| {
                (head << 8 | u64::from(*byte), mask << 8 | 0xff)
            });
        Prefix { head: head.0, mask: head.1, text: text.into() }
    }

    #[inline(always)]
    fn begins(&self, value: &[u8]) -> bool {
        match value.first_chunk() {
            Some(head) if self.text.len() <= Self::HEAD => {
                u64::from_le_bytes(*head) & self.mask == self.head
            }
            _ => value.starts_with(&self.text),
        }
    }
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Pattern {
        match text.split_once('*') {
            None => Pattern::Exact(text.as_bytes().into()),
            Some((start, "")) => Pattern::Start(Prefix::new(start)),
            Some(_) => Pattern::Stars(text.split('*').map(|part| part.as_bytes().into()).collect()),
        }
    }

    /// Whether the pattern matches all of `value`.
    #[inline(always)]
    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        match self {
            Pattern::Exact(exact) => **exact == *value,
            Pattern::Start(prefix) => prefix.begins(value),
            Pattern::Stars(parts) => Self::match_parts(parts, value),
        }
    }

    /// Matches each part between stars where it first occurs, so the time is at most proportional
    /// to the product of both lengths.
    fn match_parts(parts: &[Box<[u8]>], value: &[u8]) -> bool {
        let [first, middle @ .., last] = parts else { return false };
        let Some(mut rest) = value.strip_prefix(&**first) else { return false };
        for part in middle.iter().filter(|part| !part.is_empty()) {
            match rest.windows(part.len()).position(|window| window == &**part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

/// A fact, and the patterns of which one must match its value.
pub(crate) struct Test {
    pub(crate) fact: FactId,
    pub(crate) patterns: Box<[Pattern]>,
}

impl Test {
    pub(crate) fn new(condition: &Condition, names: &Names) -> Test {
        Test {
            // No request has a fact with this place.
            fact: names.find(&condition.fact).unwrap_or(FactId::MAX),
            patterns: condition.patterns.iter().map(|text| Pattern::new(text)).collect(),
        }
    }

    #[inline(always)]
    pub(crate) fn passes(&self, facts: &Facts<'_>) -> bool {
        let Some(value) = facts.get(self.fact) else { return false };
        for pattern in &self.patterns {
            if pattern.matches(value) {
                return true;
            }
        }
        false
    }

    /// The values that pass the test. `None`: a pattern has a star.
    pub(crate) fn exact_values(&self) -> Option<Vec<&[u8]>> {
        self.patterns
            .iter()
            .map(|pattern| match pattern {
                Pattern::Exact(value) => Some(&**value),
                Pattern::Start(_) | Pattern::Stars(_) => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_run_of_characters() {
        for (pattern, matching, other) in [
            ("*", &["", "a", "/a/b"][..], &[][..]),
            ("/webhooks/*", &["/webhooks/", "/webhooks/a/b"], &["/webhooks", "x/webhooks/"]),
            ("/api/v1/*", &["/api/v1/", "/api/v1/a"], &["/api/v1", "/api/v2/", "x"]),
            ("/api/v10/*", &["/api/v10/", "/api/v10/a"], &["/api/v1/0", "/api/v10", "/api/v11/"]),
            ("/\u{e9}*", &["/\u{e9}", "/\u{e9}lan-vital"], &["/C)lan-vital", "/\u{e8}lan-vital"]),
            ("*.js", &[".js", "a/b.js"], &[".jsx", "js"]),
            ("a*b*c", &["abc", "a--b--c", "abbcc"], &["ac", "acb", "bac"]),
            ("a*a", &["aa", "aba"], &["a"]),
            ("**", &["", "x"], &[]),
            ("ab", &["ab"], &["AB", "abc", ""]),
        ] {
            let compiled = Pattern::new(pattern);
            for value in matching {
                assert!(compiled.matches(value.as_bytes()), "{pattern} {value}");
            }
            for value in other {
                assert!(!compiled.matches(value.as_bytes()), "{pattern} {value}");
            }
        }
    }
}
