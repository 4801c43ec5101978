//! Parses access log lines of web servers: the common format, and the combined format, which adds
//! the referer and the user agent.
//!
//! ```text
//! 192.0.2.1 - alice [10/Oct/2000:13:55:36 -0700] "GET /a?b HTTP/1.0" 200 2326
//! 192.0.2.1 - alice [10/Oct/2000:13:55:36 -0700] "GET /a?b HTTP/1.0" 200 2326 "https://…" "curl/8"
//! ```
//!
//! Values are taken from the line as they are: escapes such as `\"` and `\x22` stay. Bytes that are
//! not UTF-8 become U+FFFD. Fields after the last one of the format are ignored, unless the caller
//! knows that they say how long the request took.

use std::borrow::Cow;
use std::net::IpAddr;

use super::event::{Event, Op, Unreadable};
use tollgate::Timestamp;

/// Bytes of a date with nine decimals of the second.
const LONGEST_DATE: usize = 36;

/// The facts of a line, in the order of the line.
struct Facts<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// An event, and the text after its fields in the line.
type Start<'a> = (Event<'a>, &'a [u8]);

pub(super) fn combined(line: &[u8]) -> Result<Start<'_>, Unreadable> {
    let (mut event, rest) = common(line)?;
    let mut facts = Facts(event.facts);
    let (referer, rest) = quoted(rest).ok_or_else(|| lacks("the quoted referer"))?;
    let (user_agent, rest) = quoted(rest).ok_or_else(|| lacks("the quoted user agent"))?;
    facts.add("referer", referer);
    facts.add("user_agent", user_agent);
    event.facts = facts.0;
    Ok((event, rest))
}

pub(super) fn common(line: &[u8]) -> Result<Start<'_>, Unreadable> {
    let (client, at, rest) = split_at_date(line)?;
    let mut facts = Facts(Vec::with_capacity(9));
    facts.add_client(client)?;
    let (request, rest) = quoted(rest).ok_or_else(|| lacks("the quoted request"))?;
    facts.add_request(request);
    let (status, rest) = word(rest);
    let (bytes, rest) = word(rest);
    let digits = |field: &[u8]| field.iter().all(u8::is_ascii_digit);
    if status != b"-" && !(status.len() == 3 && digits(status)) {
        return Err(lacks("a status of three digits after the request"));
    }
    if bytes != b"-" && (bytes.is_empty() || !digits(bytes)) {
        return Err(lacks("a number of bytes after the status"));
    }
    facts.add("status", status);
    facts.add("bytes", bytes);
    Ok((Event { at, id: None, op: Op::Admit, facts: facts.0, cost: 1, took: None }, rest))
}

impl<'a> Facts<'a> {
    /// The value, unless it is `-` or empty: a log writes both for an unknown value.
    fn add(&mut self, name: &'static str, value: &'a [u8]) {
        if !matches!(value, b"" | b"-") {
            self.0.push((Cow::Borrowed(name), String::from_utf8_lossy(value)));
        }
    }

    /// `ip ident user`, optionally preceded by the virtual host: `host:port ip ident user`.
    ///
    /// A user may contain spaces, so of four or more words the second decides: if it looks like an
    /// address, the first is a host.
    fn add_client(&mut self, client: &'a [u8]) -> Result<(), Unreadable> {
        let (first, rest) = word(client);
        let (second, after) = word(rest);
        let (ip, rest) = if words(client) >= 4 && is_address(second) {
            if first.ends_with(b",") {
                return Err(Unreadable::because("has several client addresses"));
            }
            self.add("host", without_port(first));
            (second, after)
        } else {
            (first, rest)
        };
        let (ident, user) = word(rest);
        let user = user.trim_ascii();
        if ip.is_empty() || ident.is_empty() || user.is_empty() {
            return Err(lacks("address, identity and user before the date"));
        }
        self.add("ip", ip);
        self.add("user", user);
        Ok(())
    }

    /// `METHOD target HTTP/version`. Anything else that a client sent is a request without these
    /// facts.
    fn add_request(&mut self, request: &'a [u8]) {
        let mut ends = request.splitn(2, |byte| *byte == b' ');
        let (Some(method), Some(rest)) = (ends.next(), ends.next()) else { return };
        let mut ends = rest.rsplitn(2, |byte| *byte == b' ');
        let (Some(version), Some(target)) = (ends.next(), ends.next()) else { return };
        let is_method = !method.is_empty() && method.iter().all(|b| is_token(*b));
        if is_method && version.starts_with(b"HTTP/") {
            self.add("method", method);
            self.add("path", target);
        }
    }
}

fn lacks(what: &str) -> Unreadable {
    Unreadable::because(format!("lacks {what}"))
}

/// The next word, and the text after it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    text.split_at(text.iter().position(|byte| *byte == b' ').unwrap_or(text.len()))
}

fn words(text: &[u8]) -> usize {
    text.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).count()
}

/// The text in the next quotes, and the text after them. Within quotes `\` escapes any byte.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii_start().strip_prefix(b"\"")?;
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => return Some((text.get(..at)?, text.get(at + 1..)?)),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn is_address(word: &[u8]) -> bool {
    std::str::from_utf8(word).is_ok_and(|word| word.parse::<IpAddr>().is_ok())
}

fn without_port(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|byte| *byte == b':') {
        Some(colon) if host[colon + 1..].iter().all(u8::is_ascii_digit) => &host[..colon],
        _ => host,
    }
}

/// Whether a byte is allowed in a method (RFC 9110).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The text before the date, the date, and the text after it. The first brackets that contain a
/// date count, since the name of a user may contain brackets.
fn split_at_date(line: &[u8]) -> Result<(&[u8], Timestamp, &[u8]), Unreadable> {
    let mut brackets = false;
    for open in (0..line.len()).filter(|at| line[*at..].starts_with(b" [")) {
        let inside = &line[open + 2..];
        let close = inside.iter().take(LONGEST_DATE + 1).position(|byte| *byte == b']');
        let Some(close) = close else { continue };
        brackets = true;
        if let Some(at) = date(&inside[..close]) {
            return Ok((&line[..open], at, &inside[close + 1..]));
        }
    }
    Err(if brackets {
        lacks("a date since 1970 like [10/Oct/2000:13:55:36 -0700]")
    } else {
        lacks("a date in brackets")
    })
}

/// `10/Oct/2000:13:55:36 -0700`, optionally with up to nine decimals of the second.
fn date(text: &[u8]) -> Option<Timestamp> {
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let (local, zone) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (local, fraction) = local.split_at_checked(20)?;
    let [
        day @ ..,
        b'/',
        m0,
        m1,
        m2,
        b'/',
        y0,
        y1,
        y2,
        y3,
        b':',
        h0,
        h1,
        b':',
        n0,
        n1,
        b':',
        s0,
        s1,
    ] = local
    else {
        return None;
    };
    let month = MONTHS.chunks(3).position(|month| month == [*m0, *m1, *m2])? + 1;
    let nanos = match fraction {
        [] => 0,
        [b'.', decimals @ ..] if matches!(decimals.len(), 1..=9) => {
            number(decimals)? * 10_i32.pow(9 - decimals.len() as u32)
        }
        _ => return None,
    };
    let [b' ', sign @ (b'+' | b'-'), zh0, zh1, zm0, zm1] = zone else { return None };
    let minutes = number(&[*zm0, *zm1]).filter(|minutes| *minutes < 60)?;
    let east = number(&[*zh0, *zh1])? * 3600 + minutes * 60;
    let offset = jiff::tz::Offset::from_seconds(if *sign == b'-' { -east } else { east }).ok()?;
    let local = jiff::civil::DateTime::new(
        number(&[*y0, *y1, *y2, *y3])? as i16,
        month as i8,
        number(day)? as i8,
        number(&[*h0, *h1])? as i8,
        number(&[*n0, *n1])? as i8,
        number(&[*s0, *s1])? as i8,
        nanos,
    );
    let nanos = offset.to_timestamp(local.ok()?).ok()?.as_nanosecond();
    Some(Timestamp::from_nanos(u64::try_from(nanos).ok()?))
}

/// A whole number of at most nine digits.
fn number(digits: &[u8]) -> Option<i32> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + i32::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10 October 2000, 20:55:36 UTC, in nanoseconds since 1970.
    const AT: u64 = 971_211_336_000_000_000;

    fn facts<'a>(event: &'a Event<'_>) -> Vec<(&'a str, &'a str)> {
        event.facts.iter().map(|(name, value)| (&**name, &**value)).collect()
    }

    #[test]
    fn facts_of_a_line() {
        let full = [
            ("ip", "192.0.2.1"),
            ("user", "alice"),
            ("method", "GET"),
            ("path", "/a?b=c"),
            ("status", "200"),
            ("bytes", "2326"),
        ];
        for (line, expected) in [
            (
                r#"192.0.2.1 - alice [10/Oct/2000:13:55:36 -0700] "GET /a?b=c HTTP/1.0" 200 2326"#,
                full.to_vec(),
            ),
            (
                r#"2001:db8::1 - - [10/Oct/2000:13:55:36 -0700] "GET /a b HTTP/2.0" 200 -"#,
                vec![("ip", "2001:db8::1"), ("method", "GET"), ("path", "/a b"), ("status", "200")],
            ),
            (r#"- - - [10/Oct/2000:13:55:36 -0700] "-" - -"#, vec![]),
            (
                r#"a 192.0.2.1 bob [10/Oct/2000:13:55:36 -0700] "-" - -"#,
                vec![("ip", "a"), ("user", "bob")],
            ),
            (
                r#"a.example:443 ::1 - - [10/Oct/2000:13:55:36 -0700] "" 408 0"#,
                vec![("host", "a.example"), ("ip", "::1"), ("status", "408"), ("bytes", "0")],
            ),
            (
                r#"192.0.2.9:80 192.0.2.1 - al ice [10/Oct/2000:13:55:36 -0700] "x" 400 0"#,
                vec![
                    ("host", "192.0.2.9"),
                    ("ip", "192.0.2.1"),
                    ("user", "al ice"),
                    ("status", "400"),
                    ("bytes", "0"),
                ],
            ),
            (
                r#"client.example - al [10/ice] [10/Oct/2000:13:55:36 -0700] "\x16\x03\x01" 400 0"#,
                vec![
                    ("ip", "client.example"),
                    ("user", "al [10/ice]"),
                    ("status", "400"),
                    ("bytes", "0"),
                ],
            ),
            (
                r#"192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET /\"\\ HTTP/1.1" 200 1 extra"#,
                vec![
                    ("ip", "192.0.2.1"),
                    ("method", "GET"),
                    ("path", r#"/\"\\"#),
                    ("status", "200"),
                    ("bytes", "1"),
                ],
            ),
            (
                r#"192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET /old" 200 1"#,
                vec![("ip", "192.0.2.1"), ("status", "200"), ("bytes", "1")],
            ),
        ] {
            let event = common(line.as_bytes()).unwrap_or_else(|why| panic!("{line}: {why}")).0;
            assert_eq!(facts(&event), expected, "{line}");
            assert_eq!((event.at.as_nanos(), event.cost, event.op), (AT, 1, Op::Admit), "{line}");
        }
    }

    #[test]
    fn the_combined_format_adds_referer_and_user_agent() {
        let start = r#"192.0.2.1 - - [10/Oct/2000:20:55:36 +0000] "x" 200 1 "#;
        for (rest, referer, user_agent) in [
            (r#""-" "-""#, None, None),
            (
                r#""https://a/" "curl/8 \"x\"" "more" 0.001"#,
                Some("https://a/"),
                Some(r#"curl/8 \"x\""#),
            ),
            (r#""" "x""#, None, Some("x")),
        ] {
            let line = format!("{start}{rest}");
            let event = combined(line.as_bytes()).unwrap().0;
            let fact = |wanted| facts(&event).into_iter().find(|(name, _)| *name == wanted);
            assert_eq!(fact("referer").map(|(_, value)| value), referer, "{rest}");
            assert_eq!(fact("user_agent").map(|(_, value)| value), user_agent, "{rest}");
        }
        for (rest, why) in [
            ("", "referer"),
            (r#""unclosed"#, "referer"),
            (r#""a""#, "user agent"),
            (r#""a" "unclosed \""#, "user agent"),
        ] {
            let line = format!("{start}{rest}");
            assert!(common(line.as_bytes()).is_ok());
            let error = combined(line.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{rest}: {error}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let line =
            b"192.0.2.1 - \xff [10/Oct/2000:13:55:36 -0700] \"GET /\xc3\xa4\xfe HTTP/1.1\" 200 1";
        let event = common(line).unwrap().0;
        assert!(facts(&event).contains(&("user", "\u{fffd}")));
        assert!(facts(&event).contains(&("path", "/ä\u{fffd}")));
    }

    #[test]
    fn what_is_unreadable_says_why() {
        for (line, why) in [
            ("hello", "lacks a date in brackets"),
            (" \"Mozilla/5.0\"", "lacks a date in brackets"),
            ("\u{16}\u{3}\u{1}", "lacks a date in brackets"),
            ("a - - [10/Oct/2000:13:55:36 -0700", "lacks a date in brackets"),
            ("a - - [10/Okt/2000:13:55:36 -0700] \"x\" 200 1", "like [10/Oct"),
            ("a - - [31/Apr/2000:13:55:36 -0700] \"x\" 200 1", "like [10/Oct"),
            ("a - - [10/Oct/2000:24:00:00 -0700] \"x\" 200 1", "like [10/Oct"),
            ("a - - [10/Oct/2000:13:55:36 -0760] \"x\" 200 1", "like [10/Oct"),
            ("a - - [10/Oct/2000:13:55:36] \"x\" 200 1", "like [10/Oct"),
            ("a - - [31/Dec/1969:23:59:59 +0000] \"x\" 200 1", "since 1970"),
            ("a - - [01/Jan/9999:00:00:00 +0000] \"x\" 200 1", "like [10/Oct"),
            ("- [10/Oct/2000:13:55:36 -0700] \"x\" 200 1", "address, identity and user"),
            ("a - [10/Oct/2000:13:55:36 -0700] \"x\" 200 1", "address, identity and user"),
            ("192.0.2.1, 192.0.2.2 - - [10/Oct/2000:13:55:36 -0700] \"x\" 200 1", "several client"),
            ("a - - [10/Oct/2000:13:55:36 -0700]", "quoted request"),
            ("a - - [10/Oct/2000:13:55:36 -0700] \"GET /", "quoted request"),
            ("a - - [10/Oct/2000:13:55:36 -0700] \"GET /\\\"", "quoted request"),
            ("a - - [10/Oct/2000:13:55:36 -0700] \"x\\", "quoted request"),
            ("a - - [10/Oct/2000:13:55:36 -0700] \"x\"", "three digits"),
            ("a - - [10/Oct/2000:13:55:36 -0700] \"x\" 20", "three digits"),
            ("a - - [10/Oct/2000:13:55:36 -0700] \"x\" 2OO 5", "three digits"),
            ("a - - [10/Oct/2000:13:55:36 -0700] \"x\" 200", "number of bytes"),
            ("a - - [10/Oct/2000:13:55:36 -0700] \"x\" 200 -5", "number of bytes"),
        ] {
            let error = common(line.as_bytes()).expect_err(line).to_string();
            assert!(error.contains(why), "{line}: {error}");
        }
    }

    #[test]
    fn dates_are_read_exactly() {
        for (text, nanos) in [
            ("10/Oct/2000:13:55:36 -0700", AT),
            ("11/Oct/2000:02:25:36 +0530", AT),
            ("10/Oct/2000:20:55:36.5 +0000", AT + 500_000_000),
            ("10/Oct/2000:20:55:36.000000001 -0000", AT + 1),
            ("01/Jan/1970:00:00:00 +0000", 0),
            ("01/Jan/1970:01:00:00 +0100", 0),
            ("29/Feb/2024:23:59:59 +0000", 1_709_251_199_000_000_000),
        ] {
            assert_eq!(date(text.as_bytes()), Some(Timestamp::from_nanos(nanos)), "{text}");
        }
    }
}
