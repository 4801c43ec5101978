//! Event lines: one JSON object each.
//!
//! ```json
//! {"t": 12.5, "id": "r1", "op": "admit", "facts": {"user": "7"}, "cost": 1}
//! ```
//!
//! Only `t` must be there. Keys that are none of these are left alone, so that a log may carry
//! more than is asked of it.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::event::{Event, Op, Unreadable};
use crate::time::Timestamp;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    t: &'a RawValue,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(default)]
    op: Op,
    #[serde(borrow, default)]
    facts: Facts<'a>,
    #[serde(default = "one")]
    cost: u64,
}

/// A string, or a whole number as its decimal text.
struct Text<'a>(Cow<'a, str>);

#[derive(Default)]
struct Facts<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

fn one() -> u64 {
    1
}

pub(super) fn event(line: &[u8]) -> Result<Event<'_>, Unreadable> {
    // Otherwise an array of the fields would do too.
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(Unreadable::because("is no JSON object"));
    }
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| {
        // Every line is line 1, and the reader knows which it is.
        let text = error.to_string().replace(" at line 1 column ", " at column ");
        Unreadable::because(text)
    })?;
    let at = time(line.t.get()).ok_or_else(|| {
        Unreadable::because("`t` is not a number of seconds from 0 to 18446744073.709551615")
    })?;
    if line.op == Op::Finish && line.id.is_none() {
        return Err(Unreadable::because("`finish` needs the `id` of what it finishes"));
    }
    let id = line.id.map(|id| id.0);
    let facts = line.facts.0.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    Ok(Event { at, id, op: line.op, facts, cost: line.cost })
}

/// Reads seconds from a JSON number, or from a JSON string that holds one.
fn time(json: &str) -> Option<Timestamp> {
    if json.starts_with('"') {
        let text: Cow<'_, str> = serde_json::from_str(json).ok()?;
        return seconds(&text);
    }
    seconds(json)
}

/// Reads decimal seconds to the nanosecond, without a float in between. What is finer is cut off.
fn seconds(text: &str) -> Option<Timestamp> {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    // As many of the digits as make nanoseconds; after the last of them come zeros.
    let wanted = i64::try_from(whole.len()).ok()? + i64::from(exponent) + 9;
    let mut digits = whole.bytes().chain(part.bytes());
    let mut nanos = 0_u64;
    for _ in 0..wanted {
        let digit = match digits.next() {
            Some(digit) => u64::from(digit - b'0'),
            None if nanos == 0 => break,
            None => 0,
        };
        nanos = nanos.checked_mul(10)?.checked_add(digit)?;
    }
    Some(Timestamp::from_nanos(nanos))
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a whole number")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }
        }
        from.deserialize_any(Texts)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Facts<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Facts<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of facts")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Facts<'de>, M::Error> {
                let mut facts = Vec::<(Cow<'de, str>, Cow<'de, str>)>::new();
                while let Some((Text(name), Text(value))) = map.next_entry()? {
                    facts.push((name, value));
                }
                let mut names: Vec<&str> = facts.iter().map(|(name, _)| name.as_ref()).collect();
                names.sort_unstable();
                match names.windows(2).find(|pair| pair[0] == pair[1]) {
                    Some(twice) => {
                        Err(de::Error::custom(format_args!("fact `{}` is there twice", twice[0])))
                    }
                    None => Ok(Facts(facts)),
                }
            }
        }
        from.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_read_to_the_nanosecond() {
        for (json, nanos) in [
            ("0", 0),
            ("12.5", 12_500_000_000),
            ("\"12.5\"", 12_500_000_000),
            ("1.25e1", 12_500_000_000),
            ("125E-1", 12_500_000_000),
            ("0.1", 100_000_000),
            ("0.000000001", 1),
            ("0.0000000019", 1),
            ("1e-9", 1),
            ("1e-10", 0),
            ("0e999999999", 0),
            ("1e-999999999", 0),
            // A float would give …672.
            ("1715472017.123456789", 1_715_472_017_123_456_789),
            ("18446744073.709551615", u64::MAX),
            ("18446744073.7095516159", u64::MAX),
            ("1.8446744073709551615e10", u64::MAX),
            ("\"007\"", 7_000_000_000),
        ] {
            assert_eq!(time(json), Some(Timestamp::from_nanos(nanos)), "{json}");
        }
        for json in [
            "18446744073.709551616",
            "1e11",
            "1e2147483647",
            "1e99999999999",
            "-1",
            "-0",
            "null",
            "true",
            "[1]",
            "{}",
            "\"\"",
            "\"1s\"",
            "\".5\"",
            "\"5.\"",
            "\"+5\"",
            "\"0x10\"",
            "\"NaN\"",
            "\"1e\"",
            "\" 1\"",
        ] {
            assert_eq!(time(json), None, "{json}");
        }
    }

    #[test]
    fn facts_of_a_line() {
        let line = br#"{"t": 12.5, "id": "r1", "op": "peek", "facts": {"user": "7", "n": -7,
            "big": 18446744073709551615, "q": "\"", "none": ""}, "cost": 3, "else": [{}]}"#;
        let read = event(line).unwrap();
        let facts: Vec<(&str, &str)> = read.facts.iter().map(|(n, v)| (&**n, &**v)).collect();
        let big = ("big", "18446744073709551615");
        assert_eq!(facts, [("user", "7"), ("n", "-7"), big, ("q", "\"")]);
        assert_eq!((read.id.as_deref(), read.op, read.cost), (Some("r1"), Op::Peek, 3));
        let least = event(br#"{"t": "1"}"#).unwrap();
        let nothing =
            Event { at: Timestamp::from_secs(1), id: None, op: Op::Admit, facts: vec![], cost: 1 };
        assert_eq!(least, nothing);
        assert_eq!(
            event(br#"{"t": 1, "id": 9, "op": "finish"}"#).unwrap().id.as_deref(),
            Some("9")
        );
    }

    #[test]
    fn what_is_unreadable_says_why() {
        for (line, why) in [
            ("", "no JSON object"),
            ("{", "EOF"),
            ("{}", "missing field `t`"),
            ("[1]", "no JSON object"),
            ("12", "no JSON object"),
            (r#"{"t": 1} x"#, "trailing characters at column 10"),
            (r#"{"t": -1}"#, "`t` is not a number of seconds"),
            (r#"{"t": true}"#, "`t` is not a number of seconds"),
            (r#"{"t": 1, "t": 2}"#, "duplicate field `t`"),
            (r#"{"t": 1, "op": "admitt"}"#, "unknown variant `admitt`"),
            (r#"{"t": 1, "op": "finish"}"#, "needs the `id`"),
            (r#"{"t": 1, "cost": -1}"#, "expected u64"),
            (r#"{"t": 1, "cost": 1.5}"#, "expected u64"),
            (r#"{"t": 1, "facts": {"a": 1.5}}"#, "a string or a whole number"),
            (r#"{"t": 1, "facts": {"a": null}}"#, "a string or a whole number"),
            (r#"{"t": 1, "facts": {"a": true}}"#, "a string or a whole number"),
            (r#"{"t": 1, "facts": {"a": {}}}"#, "a string or a whole number"),
            (r#"{"t": 1, "facts": {"a": 1, "b": 2, "a": 1}}"#, "fact `a` is there twice"),
            (r#"{"t": 1, "facts": [["a", "b"]]}"#, "an object of facts"),
        ] {
            let error = event(line.as_bytes()).expect_err(line).to_string();
            assert!(error.contains(why), "{line}: {error}");
        }
        assert!(event(b"{\"t\": 1, \"id\": \"\xff\"}").is_err());
    }
}
