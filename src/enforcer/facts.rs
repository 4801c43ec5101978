//! Facts of a request, found by the names that a policy uses.

use smallvec::SmallVec;

use crate::policy::MAX_FACTS;
use crate::sync::{Ordering, PlainAtomicU8};

use super::{framing, rollout};

/// The value of a fact: text, or an integer, which counts as its decimal text.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a>(Kind<'a>);

#[derive(Clone, Copy, Debug)]
enum Kind<'a> {
    Text(&'a str),
    Decimal(Decimal),
}

/// Characters of the longest 64-bit integer, sign included.
const LONGEST: usize = 20;

/// The decimal text of an integer, at the end of its bytes.
#[derive(Clone, Copy, Debug)]
struct Decimal {
    digits: [u8; LONGEST],
    start: u8,
}

impl Decimal {
    fn bytes(&self) -> &[u8] {
        self.digits.get(usize::from(self.start)..).unwrap_or_default()
    }
}

impl Value<'_> {
    fn decimal(mut magnitude: u64, negative: bool) -> Self {
        let mut digits = [b'0'; LONGEST];
        let mut start = LONGEST;
        loop {
            start -= 1;
            digits[start] = b'0' + (magnitude % 10) as u8;
            magnitude /= 10;
            if magnitude == 0 {
                break;
            }
        }
        if negative {
            start -= 1;
            digits[start] = b'-';
        }
        Value(Kind::Decimal(Decimal { digits, start: start as u8 }))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    #[inline]
    fn from(text: &'a str) -> Self {
        Value(Kind::Text(text))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    #[inline]
    fn from(text: &'a String) -> Self {
        Value(Kind::Text(text))
    }
}

macro_rules! integers {
    ($($signed:ty)+ ; $($unsigned:ty)+) => {
        $(impl From<$signed> for Value<'_> {
            fn from(number: $signed) -> Self {
                Value::decimal(u64::from(number.unsigned_abs()), number < 0)
            }
        })+
        $(impl From<$unsigned> for Value<'_> {
            fn from(number: $unsigned) -> Self {
                Value::decimal(u64::from(number), false)
            }
        })+
    };
}
integers!(i8 i16 i32 i64; u8 u16 u32 u64);

/// A fact's place among those that a policy names.
pub(crate) type FactId = u8;

/// The facts that a policy names: from a name to its place.
pub(crate) struct Names {
    names: Vec<Name>,
    /// An open hash table of places + 1. Twice as many slots as names at most, so probes end.
    slots: [u8; 2 * MAX_FACTS],
    /// For each of the first facts of a request the place it had in a request before.
    guesses: [PlainAtomicU8; GUESSES],
    /// How often a guess was changed.
    changes: PlainAtomicU8,
}

const GUESSES: usize = 16;

struct Name {
    ends: u64,
    text: Box<str>,
    /// See [`Names::identity`].
    identity: u64,
}

impl Name {
    fn new(text: &str) -> Name {
        let identity = framing::name(rollout::identity(text));
        Name { ends: few(text.as_bytes()), text: text.into(), identity }
    }

    /// Whether it is this one, if both have up to 16 bytes.
    #[inline(always)]
    fn is_at_once(&self, name: &str) -> bool {
        let (ours, given) = (self.text.as_bytes(), name.as_bytes());
        if ours.len() != given.len() {
            return false;
        }
        match (given.first_chunk(), given.last_chunk()) {
            // The ends and the length tell a name of up to 8 bytes from all others.
            (Some(first), Some(last)) if given.len() <= 8 => self.ends == ends(first, last),
            (Some(_), Some(_)) => {
                given.len() <= 16
                    && ours.first_chunk::<8>() == given.first_chunk()
                    && ours.last_chunk::<8>() == given.last_chunk()
            }
            _ => self.ends == few(given),
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
        let ends = few(name.as_bytes());
        let mut slot = first_slot(ends);
        while let Some(place) = self.slots[slot].checked_sub(1) {
            let found = &self.names[usize::from(place)];
            // Of a name of up to 8 bytes the ends and the length say it all.
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

    /// The place that was guessed, if it is the name's and that is seen without a call.
    #[inline(always)]
    fn guessed(&self, guess: &PlainAtomicU8, name: &str) -> Option<FactId> {
        // Relaxed: whatever it says is compared.
        let place = guess.load(Ordering::Relaxed);
        let is_it = self.names.get(usize::from(place))?.is_at_once(name);
        is_it.then_some(place)
    }

    /// As [`find`](Self::find), for the next request to guess.
    fn find_and_learn(&self, guess: &PlainAtomicU8, name: &str) -> Option<FactId> {
        let place = self.find(name)?;
        // Relaxed: guesses, and about how many. After about 255 changes they stay, so that requests
        // of two kinds on two threads do not take the line from each other for ever.
        if guess.load(Ordering::Relaxed) != place {
            if let Some(changes) = self.changes.load(Ordering::Relaxed).checked_add(1) {
                self.changes.store(changes, Ordering::Relaxed);
                guess.store(place, Ordering::Relaxed);
            }
        }
        Some(place)
    }

    /// What stands for the name in keys: the same in any policy that has it, unless another name of
    /// that policy has it already.
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

/// A number that no other bytes of this length have, of which there are up to 8.
#[inline]
fn few(bytes: &[u8]) -> u64 {
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => ends(first, last),
        _ if bytes.is_empty() => 0,
        _ => {
            let at = |index: usize| u64::from(bytes[index]);
            at(0) | at(bytes.len() / 2) << 8 | at(bytes.len() - 1) << 16
        }
    }
}

/// The first 4 and the last 4 bytes, some of which may be the same.
#[inline(always)]
fn ends(first: &[u8; 4], last: &[u8; 4]) -> u64 {
    u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
}

#[inline]
fn first_slot(ends: u64) -> usize {
    // The high bits of a product depend on all of the number.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    (ends.wrapping_mul(SPREAD) >> 32) as usize % (2 * MAX_FACTS)
}

/// As many of a policy's facts as have their texts at hand, and as many other values of a request as are
/// kept without allocating.
const KEPT: usize = 16;

/// What a policy may ask of one request.
pub(crate) struct Facts<'a> {
    /// The texts of the first facts that the policy names. `None`: the fact is missing. Empty: its
    /// value is among the others.
    texts: [Option<&'a [u8]>; KEPT],
    /// For each fact that the policy names the place of its value among the others + 1, or 0.
    places: [u8; MAX_FACTS],
    others: SmallVec<[Value<'a>; KEPT]>,
}

impl<'a> Facts<'a> {
    #[inline]
    pub(crate) fn new() -> Self {
        Facts { texts: [None; KEPT], places: [0; MAX_FACTS], others: SmallVec::new() }
    }

    /// Takes what `names` has a place for. An empty value is a missing fact; of a fact that is
    /// given twice the first counts. Says for how many there was no place.
    #[inline(always)]
    pub(crate) fn take<V: Copy + Into<Value<'a>>>(
        &mut self,
        names: &Names,
        given: &[(&str, V)],
    ) -> usize {
        let mut unnamed = 0;
        for ((name, value), guess) in given.iter().zip(&names.guesses) {
            if !self.take_guessed(names, guess, name, *value) {
                unnamed += self.take_other(names, Some(guess), name, *value);
            }
        }
        for (name, value) in given.get(GUESSES..).unwrap_or_default() {
            unnamed += self.take_other(names, None, name, *value);
        }
        unnamed
    }

    /// Takes the text of a fact whose place was guessed, if that is what it is.
    #[inline(always)]
    fn take_guessed<V: Into<Value<'a>>>(
        &mut self,
        names: &Names,
        guess: &PlainAtomicU8,
        name: &str,
        value: V,
    ) -> bool {
        let Some(id) = names.guessed(guess, name) else { return false };
        let Kind::Text(text) = value.into().0 else { return false };
        match self.texts.get_mut(usize::from(id)) {
            Some(place @ None) if !text.is_empty() => {
                *place = Some(text.as_bytes());
                true
            }
            _ => false,
        }
    }

    /// Takes any fact. Says how many it is for which there is no place.
    #[inline(never)]
    fn take_other<V: Into<Value<'a>>>(
        &mut self,
        names: &Names,
        guess: Option<&PlainAtomicU8>,
        name: &str,
        value: V,
    ) -> usize {
        let id = match guess {
            Some(guess) => names.find_and_learn(guess, name),
            None => names.find(name),
        };
        let Some(id) = id else { return 1 };
        let value = value.into();
        if self.get(id).is_some() || matches!(value.0, Kind::Text("")) {
            return 0;
        }
        let at = usize::from(id);
        match (value.0, self.texts.get_mut(at)) {
            (Kind::Text(value), Some(text)) => *text = Some(value.as_bytes()),
            (_, text) => {
                text.into_iter().for_each(|text| *text = Some(&[]));
                self.others.push(value);
                // One for each fact at most: a byte holds them all.
                self.places[at] = self.others.len() as u8;
            }
        }
        0
    }

    /// The fact's value, which is not empty.
    #[inline(always)]
    pub(crate) fn get(&self, id: FactId) -> Option<&[u8]> {
        match self.texts.get(usize::from(id)) {
            Some(None) => None,
            Some(Some(text)) if !text.is_empty() => Some(text),
            _ => self.get_other(id),
        }
    }

    #[inline(never)]
    fn get_other(&self, id: FactId) -> Option<&[u8]> {
        let place = self.places.get(usize::from(id))?.checked_sub(1)?;
        self.others.get(usize::from(place)).map(|value| match &value.0 {
            Kind::Text(text) => text.as_bytes(),
            Kind::Decimal(decimal) => decimal.bytes(),
        })
    }
}

/// A fact's value as text, which it was, or is if it was an integer.
pub(crate) fn text(value: &[u8]) -> &str {
    std::str::from_utf8(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_count_as_their_decimal_text() {
        let names = Names::new(["n"]);
        let is_text = |number: Value<'_>, text: &str| {
            let mut facts = Facts::new();
            facts.take(&names, &[("n", number)]);
            assert_eq!(facts.get(0), Some(text.as_bytes()));
        };
        for number in [0, 7, -1, i64::MAX, i64::MIN] {
            is_text(number.into(), &number.to_string());
        }
        is_text(u64::MAX.into(), &u64::MAX.to_string());
    }

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

    #[test]
    fn an_empty_value_is_a_missing_fact_and_the_first_of_two_counts() {
        let names = Names::new(["a", "b"]);
        let mut facts = Facts::new();
        let unnamed = facts.take(&names, &[("a", ""), ("b", "1"), ("b", "2"), ("c", "3")]);
        assert!(facts.get(0).is_none());
        assert_eq!(facts.get(1), Some(&b"1"[..]));
        assert!(facts.get(2).is_none() && facts.get(FactId::MAX).is_none());
        assert_eq!(unnamed, 1);
    }

    /// A policy's names: some of more than 8 bytes that differ in the middle only.
    fn name(index: usize) -> String {
        match index % 3 {
            0 => format!("n{index}"),
            1 => format!("name-{index:02}-of-many"),
            _ => format!("name{index:04}"),
        }
    }

    #[derive(Clone, Debug)]
    enum Owned {
        Text(String),
        Number(i64),
    }

    fn requests() -> impl Strategy<Value = Vec<Vec<(usize, Owned)>>> {
        let text = prop_oneof![Just(""), Just("a"), Just("a text of many bytes")];
        let value = prop_oneof![
            4 => text.prop_map(|text| Owned::Text(text.to_owned())),
            1 => any::<i64>().prop_map(Owned::Number),
        ];
        // Names that are there, and some that are not.
        let request = prop::collection::vec((0..MAX_FACTS + 8, value), 0..90);
        prop::collection::vec(request, 1..5)
    }

    proptest! {
        /// Whatever was asked before, and in which order.
        #[test]
        fn each_fact_has_the_first_value_that_is_not_empty(
            requests in requests(), named in 1..=MAX_FACTS,
        ) {
            let all: Vec<String> = (0..MAX_FACTS + 8).map(name).collect();
            let names = Names::new(all[..named].iter().map(String::as_str));
            // Each twice: the second time with guesses from the first.
            for request in requests.iter().flat_map(|request| [request, request]) {
                let value = |value: &Owned| match value {
                    Owned::Text(text) => text.clone(),
                    Owned::Number(number) => number.to_string(),
                };
                let given: Vec<(&str, Value<'_>)> = request
                    .iter()
                    .map(|(name, value)| match value {
                        Owned::Text(text) => (&*all[*name], text.into()),
                        Owned::Number(number) => (&*all[*name], (*number).into()),
                    })
                    .collect();
                let mut facts = Facts::new();
                let unnamed = facts.take(&names, &given);
                prop_assert_eq!(unnamed, request.iter().filter(|(name, _)| *name >= named).count());
                for id in 0..named {
                    let mut values = request.iter().filter(|(name, _)| *name == id);
                    let first = values.find_map(|(_, of)| Some(value(of)).filter(|v| !v.is_empty()));
                    prop_assert_eq!(facts.get(id as u8).map(text), first.as_deref());
                }
            }
        }
    }

    #[test]
    fn guesses_are_learned_and_then_kept() {
        let names = Names::new(["a", "b", "a-long-name"]);
        let guesses = || names.guesses.each_ref().map(|guess| guess.load(Ordering::Relaxed));
        let take = |given: &[(&str, &str)]| Facts::new().take(&names, given);
        take(&[("a-long-name", "1"), ("x", "2"), ("b", "3")]);
        assert_eq!(guesses()[..4], [2, 0, 1, 0]);
        for _ in 0..200 {
            take(&[("a", "1"), ("b", "1")]);
            take(&[("b", "1"), ("a", "1")]);
        }
        let then = guesses();
        take(&[("a-long-name", "1"), ("a-long-name", "1")]);
        assert_eq!(guesses(), then);
    }
}
