//! The expectations of `--expect`: parses them and checks a report against them.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::command::exit::Failure;
use crate::simulate::units;
use crate::text::did_you_mean;

/// A number of the report and what it is compared with, such as `peak_in_flight<=50`.
#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    key: String,
    operator: Operator,
    threshold: f64,
    /// The expectation as it was written.
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
}

/// Longer operators come before those that are their prefix.
const OPERATORS: [(&str, Operator); 5] = [
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("==", Operator::Equal),
    ("<", Operator::Below),
    (">", Operator::Above),
];

impl FromStr for Expectation {
    type Err = String;

    fn from_str(text: &str) -> Result<Expectation, String> {
        let found = OPERATORS.iter().filter_map(|(sign, operator)| {
            text.split_once(sign).map(|(key, threshold)| (key.trim(), *operator, threshold.trim()))
        });
        // The first operator in the text, and the longest one at that place.
        let first = found.min_by_key(|(key, ..)| key.len());
        let Some((key, operator, threshold)) = first.filter(|(key, ..)| !key.is_empty()) else {
            return Err(
                "an expectation is a key of the report, one of <= < >= > ==, and a number: \
                        `peak_in_flight<=50`"
                    .to_owned(),
            );
        };
        let Some(number) = number(threshold) else {
            return Err(format!(
                "`{threshold}` is no number, share or length of time, as 50, 5% or 60s"
            ));
        };
        Ok(Expectation { key: key.to_owned(), operator, threshold: number, text: text.to_owned() })
    }
}

/// `50`, `0.05` or `5%`, and lengths of time in seconds.
fn number(text: &str) -> Option<f64> {
    let plain = || text.parse().ok().filter(|number: &f64| number.is_finite());
    let share =
        || text.strip_suffix('%')?.trim_end().parse().ok().map(|percent: f64| percent / 100.0);
    plain().or_else(share).or_else(|| units::duration(text).map(|time| time.as_secs_f64()))
}

impl Expectation {
    /// The value of the report, which is null if the report has none.
    fn find<'v>(&self, report: &'v Value) -> Option<&'v Value> {
        let (run, key) = match self.key.split_once('.') {
            Some((run @ ("with" | "without"), key)) => (run, key),
            _ => ("with", self.key.as_str()),
        };
        find(report.get(run)?, key).filter(|value| value.is_number() || value.is_null())
    }

    /// Checks that the report has the key. Its numbers need not be those of the real run.
    pub(crate) fn check_key(&self, report: &Value) -> Result<(), Failure> {
        if self.find(report).is_some() {
            return Ok(());
        }
        let mut keys = Vec::new();
        if let Some(run) = report.get("with") {
            list(run, "", &mut keys);
        }
        let without: Vec<String> = keys.iter().map(|key| format!("without.{key}")).collect();
        let all = keys.iter().chain(&without).map(String::as_str);
        let hint = did_you_mean(&self.key, all).unwrap_or_else(|| {
            let short: Vec<&str> =
                keys.iter().map(String::as_str).filter(|k| !k.contains('.')).collect();
            format!("it has {}, and more: see --json", crate::text::listed(&short))
        });
        let key = crate::text::cut(&self.key, 60);
        Err(Failure::Usage(format!("--expect: the report has no number `{key}`; {hint}")))
    }

    /// What is wrong, if the expectation does not hold.
    pub(crate) fn broken(&self, report: &Value) -> Option<String> {
        let value = self.find(report)?;
        let holds =
            value.as_f64().is_some_and(|number| self.operator.holds(number, self.threshold));
        let is = if value.is_null() { "has no value".to_owned() } else { format!("is {value}") };
        (!holds).then(|| format!("expected {}, but {} {is}", self.text, self.key))
    }
}

impl Operator {
    fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Operator::AtMost => value <= threshold,
            Operator::Below => value < threshold,
            Operator::AtLeast => value >= threshold,
            Operator::Above => value > threshold,
            Operator::Equal => value == threshold,
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The value at a path of keys and indices separated by dots. A key may contain dots.
fn find<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    let within = |key: &str, inner: &'v Value| match path.strip_prefix(key)? {
        "" => Some(inner),
        rest => find(inner, rest.strip_prefix('.')?),
    };
    match value {
        Value::Object(fields) => fields.iter().find_map(|(key, inner)| within(key, inner)),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(place, inner)| within(&place.to_string(), inner))
        }
        _ => None,
    }
}

/// The paths to all numbers except those of the time line.
fn list(value: &Value, path: &str, keys: &mut Vec<String>) {
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields.iter().filter(|(key, _)| *key != "timeline") {
                list(inner, &join(key), keys);
            }
        }
        Value::Array(items) => {
            for (place, inner) in items.iter().enumerate() {
                list(inner, &join(&place.to_string()), keys);
            }
        }
        Value::Number(_) | Value::Null => keys.push(path.to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn expect(text: &str) -> Expectation {
        text.parse().unwrap()
    }

    #[test]
    fn operators_and_thresholds() {
        let report = json!({"with": {"n": 50, "share": 0.05, "none": null, "a": {"b.c": [7, 8]}},
            "without": {"n": 159}});
        for (text, holds) in [
            ("n<=50", true),
            ("n <= 49", false),
            ("n<50", false),
            ("n<51", true),
            ("n>=50", true),
            ("n>=51", false),
            ("n>49", true),
            ("n>50", false),
            ("n==50", true),
            ("n == 49.5", false),
            ("n<=50s", true),
            ("n<=49999ms", false),
            ("share<=5%", true),
            ("share<5%", false),
            ("without.n>100", true),
            ("with.n>100", false),
            ("a.b.c.1==8", true),
            ("none<=1", false),
        ] {
            let broken = expect(text).broken(&report);
            assert_eq!(broken.is_none(), holds, "{text}: {broken:?}");
        }
        assert_eq!(expect("n<=1").broken(&report).unwrap(), "expected n<=1, but n is 50");
        assert_eq!(
            expect("none<1").broken(&report).unwrap(),
            "expected none<1, but none has no value"
        );
    }

    #[test]
    fn what_is_no_expectation() {
        for text in ["", "n", "<=5", "n<=", "n<=x", "n=5", "n<=nan", "n<=inf", "n!5"] {
            assert!(text.parse::<Expectation>().is_err(), "{text}");
        }
    }
}
