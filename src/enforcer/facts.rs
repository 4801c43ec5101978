//! Facts of a request, found by the names that a policy uses.

use smallvec::SmallVec;

use crate::policy::MAX_FACTS;

/// The value of a fact: text, or an integer, which counts as its decimal text.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a>(Kind<'a>);

#[derive(Clone, Copy, Debug)]
enum Kind<'a> {
    Text(&'a str),
    Decimal { digits: [u8; LONGEST], start: u8 },
}

/// Characters of the longest 64-bit integer, sign included.
const LONGEST: usize = 20;

impl Value<'_> {
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.0 {
            Kind::Text(text) => text.as_bytes(),
            Kind::Decimal { digits, start } => &digits[usize::from(*start)..],
        }
    }

    pub(crate) fn text(&self) -> &str {
        // Digits and a sign are ASCII.
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }

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
        Value(Kind::Decimal { digits, start: start as u8 })
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
}

struct Name {
    ends: u64,
    text: Box<str>,
}

impl Name {
    fn new(text: &str) -> Name {
        Name { ends: few(text.as_bytes()), text: text.into() }
    }
}

impl Names {
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Names {
        let names: Vec<Name> = names.into_iter().take(MAX_FACTS).map(Name::new).collect();
        let mut slots = [0; 2 * MAX_FACTS];
        for (place, name) in names.iter().enumerate() {
            let mut slot = first_slot(name.ends);
            while slots[slot] != 0 {
                slot = (slot + 1) % slots.len();
            }
            slots[slot] = place as u8 + 1;
        }
        Names { names, slots }
    }

    #[inline(always)]
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
    let half = |bytes: Option<&[u8; 4]>| bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes));
    match bytes {
        [] => 0,
        [.., _, _, _, _] => {
            // The first 4 and the last 4, which may be the same ones.
            u64::from(half(bytes.first_chunk())) | u64::from(half(bytes.last_chunk())) << 32
        }
        _ => {
            let at = |index: usize| u64::from(bytes[index]);
            at(0) | at(bytes.len() / 2) << 8 | at(bytes.len() - 1) << 16
        }
    }
}

#[inline]
fn first_slot(ends: u64) -> usize {
    // The high bits of a product depend on all of the number.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    (ends.wrapping_mul(SPREAD) >> 32) as usize % (2 * MAX_FACTS)
}

/// As many of a request's facts as are kept without allocating.
const KEPT: usize = 16;

/// What a policy may ask of one request.
pub(crate) struct Facts<'a> {
    values: SmallVec<[Value<'a>; KEPT]>,
    /// For each fact the policy names its place in `values` + 1.
    places: [u8; MAX_FACTS],
}

impl<'a> Facts<'a> {
    #[inline]
    pub(crate) fn new() -> Self {
        Facts { values: SmallVec::new(), places: [0; MAX_FACTS] }
    }

    /// Takes what `names` has a place for. An empty value is a missing fact; of a fact that is
    /// given twice the first counts. Says for how many there was no place.
    #[inline]
    pub(crate) fn take<V: Copy + Into<Value<'a>>>(
        &mut self,
        names: &Names,
        given: &[(&str, V)],
    ) -> usize {
        let mut unnamed = 0;
        for (name, value) in given {
            let Some(id) = names.find(name) else {
                unnamed += 1;
                continue;
            };
            let value: Value<'a> = (*value).into();
            let place = &mut self.places[usize::from(id)];
            if *place == 0 && !value.bytes().is_empty() {
                self.values.push(value);
                *place = self.values.len() as u8;
            }
        }
        unnamed
    }

    #[inline]
    pub(crate) fn get(&self, id: FactId) -> Option<&Value<'a>> {
        let place = self.places.get(usize::from(id))?.checked_sub(1)?;
        self.values.get(usize::from(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_count_as_their_decimal_text() {
        for number in [0, 7, -1, i64::MAX, i64::MIN] {
            assert_eq!(Value::from(number).text(), number.to_string());
        }
        assert_eq!(Value::from(u64::MAX).text(), u64::MAX.to_string());
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
        assert_eq!(facts.get(1).unwrap().text(), "1");
        assert_eq!(unnamed, 1);
    }
}
