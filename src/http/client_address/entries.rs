//! [`HeaderEntries`]: the entries that proxies wrote, from the last to the first.
//!
//! Lines are read from their right end, so that a proxy's entry means the same whatever a client
//! sent before it: read from the left, a quote that the client never closes would swallow it.

use std::net::IpAddr;

use http::header::{FORWARDED, GetAll, HeaderMap, HeaderName, HeaderValue};

use super::node;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The header in which proxies name the address that called them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`: addresses between commas.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239): the `for=` parameter of each entry.
    Forwarded,
}

/// The entries of all lines of a header, the last first; `None` for an entry that is not an
/// address.
pub(super) struct HeaderEntries<'a> {
    header: ProxyHeader,
    lines: std::iter::Rev<<GetAll<'a, HeaderValue> as IntoIterator>::IntoIter>,
    /// The unread rest of the current line.
    line: Option<&'a [u8]>,
}

impl<'a> HeaderEntries<'a> {
    pub(super) fn new(headers: &'a HeaderMap, header: ProxyHeader) -> HeaderEntries<'a> {
        let lines = match header {
            ProxyHeader::XForwardedFor => headers.get_all(&X_FORWARDED_FOR),
            ProxyHeader::Forwarded => headers.get_all(FORWARDED),
        };
        HeaderEntries { header, lines: lines.into_iter().rev(), line: None }
    }
}

impl Iterator for HeaderEntries<'_> {
    type Item = Option<IpAddr>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = match self.line.take() {
            Some(line) => line,
            None => self.lines.next()?.as_bytes(),
        };
        let comma = match self.header {
            ProxyHeader::XForwardedFor => line.iter().rposition(|byte| *byte == b','),
            ProxyHeader::Forwarded => last_unquoted_comma(line),
        };
        let entry = match comma {
            Some(at) => {
                self.line = Some(&line[..at]);
                &line[at + 1..]
            }
            None => line,
        };
        Some(match self.header {
            ProxyHeader::XForwardedFor => node::address(entry.trim_ascii()),
            ProxyHeader::Forwarded => forwarded_for(entry),
        })
    }
}

/// The last comma outside quoted strings, determined only by the bytes after it.
fn last_unquoted_comma(line: &[u8]) -> Option<usize> {
    let mut is_quoted = false;
    let mut at = line.len();
    while let Some(before) = at.checked_sub(1) {
        at = before;
        match line[at] {
            b',' if !is_quoted => return Some(at),
            b'"' if is_quoted => {
                // Within a string, a quote is the opening one unless an odd number of `\` escape
                // it.
                let escapes = line[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
                is_quoted = escapes % 2 == 1;
                at -= escapes;
            }
            b'"' => is_quoted = true,
            _ => {}
        }
    }
    None
}

/// The value of `for=` in an entry of `Forwarded`. `None` if the entry has several.
fn forwarded_for(entry: &[u8]) -> Option<IpAddr> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    let pairs = entry.split(|byte| {
        let escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'\\' => is_escaped = is_quoted && !escaped,
            b'"' if !escaped => is_quoted = !is_quoted,
            _ => {}
        }
        *byte == b';' && !is_quoted
    });
    let mut values = pairs.filter_map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&pair[..equals], &pair[equals + 1..]);
        name.trim_ascii().eq_ignore_ascii_case(b"for").then(|| value.trim_ascii())
    });
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    match value {
        [b'"', inside @ .., b'"'] => node::quoted_address(inside),
        _ => node::address(value),
    }
}
