//! The facts of a request, stored by the place that the policy gives each name. `names` finds the
//! place of a name, `value` is what a caller gives as a value.

mod names;
mod value;

use smallvec::SmallVec;

use crate::policy::MAX_FACTS;
use crate::sync::PlainAtomicU8;

use names::GUESSES;
pub(crate) use names::{FactId, Names};
pub use value::Value;
use value::ValueKind;

/// How many of the policy's facts have their text stored directly, and how many other values are
/// stored without allocating.
const KEPT: usize = 16;

/// The facts of one request that the policy names.
pub(crate) struct Facts<'a> {
    /// The texts of the first facts that the policy names. `None`: the fact is missing. Empty: its
    /// value is in `others`.
    texts: [Option<&'a [u8]>; KEPT],
    /// For each fact that the policy names, the index of its value in `others`, plus 1; 0 if it has
    /// none.
    places: [u8; MAX_FACTS],
    others: SmallVec<[Value<'a>; KEPT]>,
}

impl<'a> Facts<'a> {
    #[inline]
    pub(crate) fn new() -> Self {
        Facts { texts: [None; KEPT], places: [0; MAX_FACTS], others: SmallVec::new() }
    }

    /// Stores the given facts that `names` knows, and returns the number of the others. A fact with
    /// an empty value is missing. If a fact is given twice, the first value counts.
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

    /// Stores the fact if the guess at its place is right and its value is text. Otherwise returns
    /// false.
    #[inline(always)]
    fn take_guessed<V: Into<Value<'a>>>(
        &mut self,
        names: &Names,
        guess: &PlainAtomicU8,
        name: &str,
        value: V,
    ) -> bool {
        let Some(id) = names.guessed(guess, name) else { return false };
        let ValueKind::Text(text) = value.into().0 else { return false };
        match self.texts.get_mut(usize::from(id)) {
            Some(place @ None) if !text.is_empty() => {
                *place = Some(text.as_bytes());
                true
            }
            _ => false,
        }
    }

    /// Stores a fact that `names` knows. Returns 1 for any other, else 0.
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
        if self.get(id).is_some() || matches!(value.0, ValueKind::Text("")) {
            return 0;
        }
        let at = usize::from(id);
        match (value.0, self.texts.get_mut(at)) {
            (ValueKind::Text(value), Some(text)) => *text = Some(value.as_bytes()),
            (_, text) => {
                text.into_iter().for_each(|text| *text = Some(&[]));
                self.others.push(value);
                // Each fact adds at most one value, so the index fits a byte.
                self.places[at] = self.others.len() as u8;
            }
        }
        0
    }

    /// The value of the fact, never empty.
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
            ValueKind::Text(text) => text.as_bytes(),
            ValueKind::Decimal(decimal) => decimal.bytes(),
        })
    }
}

/// The value of a fact as text. It is valid UTF-8: it comes from a `&str` or from decimal digits.
pub(crate) fn text(value: &[u8]) -> &str {
    std::str::from_utf8(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sync::Ordering;

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
    fn an_empty_value_is_a_missing_fact_and_the_first_of_two_counts() {
        let names = Names::new(["a", "b"]);
        let mut facts = Facts::new();
        let unnamed = facts.take(&names, &[("a", ""), ("b", "1"), ("b", "2"), ("c", "3")]);
        assert!(facts.get(0).is_none());
        assert_eq!(facts.get(1), Some(&b"1"[..]));
        assert!(facts.get(2).is_none() && facts.get(FactId::MAX).is_none());
        assert_eq!(unnamed, 1);
    }

    /// The names of a policy. Some have more than 8 bytes and differ only in the middle.
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
        // Some of the names are in the policy, some are not.
        let request = prop::collection::vec((0..MAX_FACTS + 8, value), 0..90);
        prop::collection::vec(request, 1..5)
    }

    proptest! {
        /// Holds for requests in any order, whatever the guesses learned from earlier ones.
        #[test]
        fn each_fact_has_the_first_value_that_is_not_empty(
            requests in requests(), named in 1..=MAX_FACTS,
        ) {
            let all: Vec<String> = (0..MAX_FACTS + 8).map(name).collect();
            let names = Names::new(all[..named].iter().map(String::as_str));
            // Each request runs twice, the second time with the guesses of the first.
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
