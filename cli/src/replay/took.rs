//! Reads from a line of an access log how long its request took.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::decimal;
use super::event::{Event, Unreadable};

/// The meaning of the last field of an access log line: how long the request took, in which unit,
/// and whether the line's timestamp is the beginning of the request or its end.
///
/// The field is a bare value, in quotes, or after a name and `=`: `0.003`, `"0.003"`, `rt=0.003`.
/// `-` means that the duration is not known. Every unit may have decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// Microseconds from the timestamp, as Apache's `%D` beside its `%t`.
    Microseconds,
    /// Milliseconds from the timestamp, as Apache's `%{ms}T`.
    Milliseconds,
    /// Seconds from the timestamp, as Apache's `%T`.
    Seconds,
    /// Seconds until the timestamp, as nginx's `$request_time`: nginx sets the timestamp when it
    /// writes the line, at the end of the request.
    RequestTime,
}

impl Took {
    const ALL: [Took; 4] =
        [Took::Microseconds, Took::Milliseconds, Took::Seconds, Took::RequestTime];

    /// Reads the duration from the text after the known fields of a line.
    pub(super) fn read(self, event: &mut Event<'_>, rest: &[u8]) -> Result<(), Unreadable> {
        let field = rest.split(u8::is_ascii_whitespace).rfind(|word| !word.is_empty());
        let Some(took) = field.and_then(|field| self.duration(bare(field))) else {
            return Err(Unreadable::because("lacks at its end how long the request took"));
        };
        event.took = took;
        if let (Took::RequestTime, Some(took)) = (self, took) {
            if took.as_nanos() > u128::from(event.at.as_nanos()) {
                return Err(Unreadable::because("has a request that began before 1970"));
            }
            event.at = event.at - took;
        }
        Ok(())
    }

    /// The duration; `None` if the field is no duration, `Some(None)` if it is not known.
    fn duration(self, field: &[u8]) -> Option<Option<Duration>> {
        let power = match self {
            Took::Microseconds => 3,
            Took::Milliseconds => 6,
            Took::Seconds | Took::RequestTime => 9,
        };
        match field {
            b"-" => Some(None),
            _ => decimal::nanos(field, power).map(|nanos| Some(Duration::from_nanos(nanos))),
        }
    }
}

/// A field without the quotes and the name around its value.
fn bare(field: &[u8]) -> &[u8] {
    let field = unquoted(field);
    match field.iter().rposition(|byte| *byte == b'=') {
        Some(at) => unquoted(&field[at + 1..]),
        None => field,
    }
}

fn unquoted(field: &[u8]) -> &[u8] {
    let inside = field.strip_prefix(b"\"").and_then(|field| field.strip_suffix(b"\""));
    inside.unwrap_or(field)
}

impl FromStr for Took {
    type Err = &'static str;

    /// Parses the name of a unit, or its spelling in a server's configuration: `%D`, `%{ms}T`,
    /// `%T`, `$request_time`.
    fn from_str(name: &str) -> Result<Took, &'static str> {
        let by_server = match name {
            "%D" | "%{us}T" => Some(Took::Microseconds),
            "%{ms}T" => Some(Took::Milliseconds),
            "%T" | "%{s}T" => Some(Took::Seconds),
            "$request_time" => Some(Took::RequestTime),
            _ => None,
        };
        let named = || Took::ALL.into_iter().find(|took| took.to_string() == name);
        by_server
            .or_else(named)
            .ok_or("it is `microseconds` (%D), `milliseconds`, `seconds` (%T) or `request_time`")
    }
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Took::Microseconds => "microseconds",
            Took::Milliseconds => "milliseconds",
            Took::Seconds => "seconds",
            Took::RequestTime => "request_time",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::Format;

    /// 10 October 2000, 20:55:36 UTC.
    const AT: u64 = 971_211_336_000_000_000;
    const COMMON: &str = r#"a - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 1"#;

    /// When the request of a line began, and how long it took, in nanoseconds.
    fn read(format: Format, rest: &str, took: Took) -> Result<(u64, Option<u128>), String> {
        let line = format!("{COMMON} {rest}");
        let event = format.timed_event(line.as_bytes(), Some(took));
        let event = event.map_err(|why| why.to_string())?.expect("it is not blank");
        Ok((event.at.as_nanos(), event.took.map(|took| took.as_nanos())))
    }

    #[test]
    fn the_last_field_is_how_long_it_took() {
        for (rest, took, expected) in [
            ("1834", Took::Microseconds, (AT, Some(1_834_000))),
            ("0", Took::Microseconds, (AT, Some(0))),
            ("1834", Took::Milliseconds, (AT, Some(1_834_000_000))),
            ("2", Took::Seconds, (AT, Some(2_000_000_000))),
            ("0.003", Took::RequestTime, (AT - 3_000_000, Some(3_000_000))),
            ("2.5", Took::RequestTime, (AT - 2_500_000_000, Some(2_500_000_000))),
            ("rt=0.003", Took::Seconds, (AT, Some(3_000_000))),
            (r#""0.003""#, Took::Seconds, (AT, Some(3_000_000))),
            (r#"uct="0.001" rt="0.003""#, Took::Seconds, (AT, Some(3_000_000))),
            ("7 12 1834\t", Took::Microseconds, (AT, Some(1_834_000))),
            ("-", Took::RequestTime, (AT, None)),
            (r#""-""#, Took::RequestTime, (AT, None)),
        ] {
            assert_eq!(read(Format::Common, rest, took), Ok(expected), "{rest}");
            let rest = format!(r#""-" "curl 8" {rest}"#);
            assert_eq!(read(Format::Combined, &rest, took), Ok(expected), "{rest}");
        }
    }

    #[test]
    fn a_line_without_it_says_so() {
        for rest in ["", "x", "1s", "-1", "1,5", r#"""#, r#""5"#, "rt=", "0.1, 0.2,"] {
            let error = read(Format::Common, rest, Took::Seconds).expect_err(rest);
            assert!(error.contains("how long the request took"), "{rest}: {error}");
        }
        // The user agent is no duration.
        let error = read(Format::Combined, r#""-" "5""#, Took::Seconds).unwrap_err();
        assert!(error.contains("how long the request took"), "{error}");
        let error = read(Format::Common, "971211336.000000001", Took::RequestTime).unwrap_err();
        assert!(error.contains("before 1970"), "{error}");
        assert_eq!(read(Format::Common, "971211336", Took::RequestTime).map(|read| read.0), Ok(0));
    }

    #[test]
    fn it_is_not_guessed_and_not_asked_of_event_lines() {
        let line = format!("{COMMON} 0.003");
        let event = Format::Common.event(line.as_bytes()).unwrap().unwrap();
        assert_eq!((event.at.as_nanos(), event.took), (AT, None));
        let line = br#"{"t": 1, "took": 2}"#;
        let event = Format::Jsonl.timed_event(line, Some(Took::RequestTime));
        assert_eq!(event, Format::Jsonl.event(line));
    }

    #[test]
    fn names_are_read_as_they_print_and_as_servers_have_them() {
        for took in Took::ALL {
            assert_eq!(took.to_string().parse(), Ok(took));
        }
        assert_eq!("%D".parse(), Ok(Took::Microseconds));
        assert_eq!("%T".parse(), Ok(Took::Seconds));
        assert_eq!("$request_time".parse(), Ok(Took::RequestTime));
        assert!("%t".parse::<Took>().is_err());
    }
}
