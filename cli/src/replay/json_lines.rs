//! Parses event lines, one JSON object each.
//!
//! ```json
//! {"t": 12.5, "id": "r1", "op": "admit", "facts": {"user": "7"}, "cost": 1}
//! ```
//!
//! Only `t` is required. A request whose end is known may have `"took": 0.25`, in seconds like `t`.
//! Other keys are ignored, so that a log may carry more than a replay needs.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::decimal;
use super::event::{Event, Op, Unreadable};
use tollgate::Timestamp;

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
    #[serde(borrow, default)]
    took: Option<&'a RawValue>,
}

/// A string, or a whole number as its decimal text.
struct Text<'a>(Cow<'a, str>);

#[derive(Default)]
struct Facts<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

fn one() -> u64 {
    1
}

pub(super) fn event(line: &[u8]) -> Result<Event<'_>, Unreadable> {
    // Without this check serde would also accept an array of the fields.
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(Unreadable::because("is no JSON object"));
    }
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| {
        // serde sees each line as line 1; the reader reports the real number.
        let text = error.to_string().replace(" at line 1 column ", " at column ");
        Unreadable::because(text)
    })?;
    let seconds = |name: &str, json: &RawValue| {
        let why = || format!("`{name}` is not a number of seconds from 0 to 18446744073.709551615");
        nanos(json.get()).ok_or_else(|| Unreadable::because(why()))
    };
    let at = Timestamp::from_nanos(seconds("t", line.t)?);
    let took = match line.took {
        Some(took) if line.op == Op::Admit => Some(Duration::from_nanos(seconds("took", took)?)),
        _ => None,
    };
    if line.op == Op::Finish && line.id.is_none() {
        return Err(Unreadable::because("`finish` needs the `id` of what it finishes"));
    }
    let id = line.id.map(|id| id.0);
    let facts = line.facts.0.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    Ok(Event { at, id, op: line.op, facts, cost: line.cost, took })
}

/// Reads seconds from a JSON number, or from a JSON string that holds one, as nanoseconds.
fn nanos(json: &str) -> Option<u64> {
    if json.starts_with('"') {
        let text: Cow<'_, str> = serde_json::from_str(json).ok()?;
        return decimal::nanos(text.as_bytes(), SECONDS);
    }
    decimal::nanos(json.as_bytes(), SECONDS)
}

/// Nanoseconds of a second, as a power of ten.
const SECONDS: i64 = 9;

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
        for (json, expected) in [
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
            assert_eq!(nanos(json), Some(expected), "{json}");
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
            assert_eq!(nanos(json), None, "{json}");
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
        let nothing = Event {
            at: Timestamp::from_secs(1),
            id: None,
            op: Op::Admit,
            facts: vec![],
            cost: 1,
            took: None,
        };
        assert_eq!(least, nothing);
        assert_eq!(
            event(br#"{"t": 1, "id": 9, "op": "finish"}"#).unwrap().id.as_deref(),
            Some("9")
        );
    }

    #[test]
    fn only_what_is_admitted_takes_time() {
        for (rest, nanos) in [
            (r#""took": 0.25"#, Some(250_000_000)),
            (r#""took": "0.000000001""#, Some(1)),
            (r#""took": 0"#, Some(0)),
            (r#""took": null"#, None),
            (r#""op": "peek", "took": 1"#, None),
            (r#""op": "finish", "id": "a", "took": "1 s""#, None),
        ] {
            let line = format!(r#"{{"t": 1, {rest}}}"#);
            let took = event(line.as_bytes()).unwrap().took;
            assert_eq!(took, nanos.map(Duration::from_nanos), "{line}");
        }
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
            (r#"{"t": 1, "took": -1}"#, "`took` is not a number of seconds"),
            (r#"{"t": 1, "took": "1s"}"#, "`took` is not a number of seconds"),
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
