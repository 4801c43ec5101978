//! The names of the facts that a policy knows, and how to find the place of a name: by a guess that
//! earlier requests left, or by a hash table.

use crate::enforcer::{fixed_hash, framing};
use crate::policy::MAX_FACTS;
use crate::sync::{Ordering, PlainAtomicU8};

/// The place of a fact among those that a policy names.
pub(crate) type FactId = u8;

/// The facts that a policy names, each with its place.
pub(crate) struct Names {
    names: Vec<Name>,
    /// An open hash table of places + 1; 0 is empty. At most half of it is full, so every probe
    /// ends.
    slots: [u8; 2 * MAX_FACTS],
    /// For each of the first facts of a request, the place that the fact there had in an earlier
    /// request.
    pub(super) guesses: [PlainAtomicU8; GUESSES],
    /// How often a guess was changed.
    changes: PlainAtomicU8,
}

pub(super) const GUESSES: usize = 16;

struct Name {
    ends: u64,
    text: Box<str>,
    /// See [`Names::identity`].
    identity: u64,
}

impl Name {
    fn new(text: &str) -> Name {
        let identity = framing::name(fixed_hash::identity(text));
        Name { ends: fingerprint(text.as_bytes()), text: text.into(), identity }
    }

    /// Whether `name` is this name. Always false for names of more than 16 bytes.
    #[inline(always)]
    fn is_match(&self, name: &str) -> bool {
        let (ours, given) = (self.text.as_bytes(), name.as_bytes());
        if ours.len() != given.len() {
            return false;
        }
        match (given.first_chunk(), given.last_chunk()) {
            // The ends and the length identify a name of up to 8 bytes.
            (Some(first), Some(last)) if given.len() <= 8 => self.ends == ends(first, last),
            (Some(_), Some(_)) => {
                given.len() <= 16
                    && ours.first_chunk::<8>() == given.first_chunk()
                    && ours.last_chunk::<8>() == given.last_chunk()
            }
            _ => self.ends == fingerprint(given),
        }
    }
}

impl Names {
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Names {
        let mut names: Vec<Name> = names.into_iter().take(MAX_FACTS).map(Name::new).collect();
        for place in 1..names.len() {
            while names[..place].iter().any(|other| other.identity == names[place].identity) {
                names[place].identity = framing::next_name(names[place].identity);
            }
        }
        let mut slots = [0; 2 * MAX_FACTS];
        for (place, name) in names.iter().enumerate() {
            let mut slot = first_slot(name.ends);
            while slots[slot] != 0 {
                slot = (slot + 1) % slots.len();
            }
            slots[slot] = place as u8 + 1;
        }
        Names { names, slots, guesses: Default::default(), changes: PlainAtomicU8::new(0) }
    }

    pub(crate) fn find(&self, name: &str) -> Option<FactId> {
        let ends = fingerprint(name.as_bytes());
        let mut slot = first_slot(ends);
        while let Some(place) = self.slots[slot].checked_sub(1) {
            let found = &self.names[usize::from(place)];
            // The ends and the length identify a name of up to 8 bytes; longer names are compared.
            if found.ends == ends
                && found.text.len() == name.len()
                && (name.len() <= 8 || *found.text == *name)
            {
                return Some(place);
            }
            slot = (slot + 1) % self.slots.len();
        }
        None
    }

    /// The guessed place, if it is the place of `name` and the name is short enough to compare
    /// inline.
    #[inline(always)]
    pub(super) fn guessed(&self, guess: &PlainAtomicU8, name: &str) -> Option<FactId> {
        // Relaxed: any value is correct, since the name at that place is compared.
        let place = guess.load(Ordering::Relaxed);
        let is_it = self.names.get(usize::from(place))?.is_match(name);
        is_it.then_some(place)
    }

    /// As [`find`](Self::find), and updates the guess for the next request.
    pub(super) fn find_and_learn(&self, guess: &PlainAtomicU8, name: &str) -> Option<FactId> {
        let place = self.find(name)?;
        // Relaxed: any guess is correct, and the number of changes need not be exact. After about
        // 255 changes the guesses stay as they are, so that two threads with different requests do
        // not contend for the cache line forever.
        if guess.load(Ordering::Relaxed) != place {
            if let Some(changes) = self.changes.load(Ordering::Relaxed).checked_add(1) {
                self.changes.store(changes, Ordering::Relaxed);
                guess.store(place, Ordering::Relaxed);
            }
        }
        Some(place)
    }

    /// Stands for the name in keys. It is the same in every policy that has the name, unless an
    /// earlier name of that policy has the same one.
    pub(crate) fn identity(&self, id: FactId) -> u64 {
        self.names[usize::from(id)].identity
    }

    #[cfg_attr(not(feature = "tower"), allow(dead_code))]
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &*name.text)
    }

    pub(crate) fn name(&self, id: FactId) -> &str {
        &self.names[usize::from(id)].text
    }
}

/// A number that identifies the bytes among all others of the same length, if there are at most 8.
#[inline]
fn fingerprint(bytes: &[u8]) -> u64 {
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => ends(first, last),
        _ if bytes.is_empty() => 0,
        _ => {
            let at = |index: usize| u64::from(bytes[index]);
            at(0) | at(bytes.len() / 2) << 8 | at(bytes.len() - 1) << 16
        }
    }
}

/// The first 4 and the last 4 bytes, which may overlap.
#[inline(always)]
fn ends(first: &[u8; 4], last: &[u8; 4]) -> u64 {
    u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
}

#[inline]
fn first_slot(ends: u64) -> usize {
    // The high bits of the product depend on all bits of `ends`.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    (ends.wrapping_mul(SPREAD) >> 32) as usize % (2 * MAX_FACTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_set_of_names_is_found() {
        let names: Vec<String> = (0..MAX_FACTS).map(|i| format!("fact{}x", i * 10)).collect();
        let table = Names::new(names.iter().map(String::as_str));
        for (place, name) in names.iter().enumerate() {
            assert_eq!(table.find(name), Some(place as u8));
        }
        assert_eq!(table.find("other"), None);
        assert_eq!(table.find(""), None);
    }

    #[test]
    fn names_that_differ_in_one_byte_are_told_apart() {
        for length in 1..=12 {
            let names: Vec<String> = (0..length)
                .map(|at| (0..length).map(|i| if i == at { 'x' } else { 'a' }).collect())
                .collect();
            let table = Names::new(names.iter().map(String::as_str));
            for (place, name) in names.iter().enumerate() {
                assert_eq!(table.find(name), Some(place as u8));
            }
            assert_eq!(table.find(&"a".repeat(length)), None);
        }
    }
}
