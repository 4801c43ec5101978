//! Structured field values (RFC 9651), as far as headers of limits need them.
//!
//! [`List`] writes the values; `headers` decides what they contain.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

/// The largest integer of a structured field.
const MAX_INTEGER: u64 = 999_999_999_999_999;

/// A list under construction: its members in wire format.
pub(super) struct List(Vec<u8>);

impl List {
    /// An empty list with capacity for about `members` members.
    pub(super) fn with_room(members: usize) -> List {
        List(Vec::with_capacity(members * 32))
    }

    /// Starts a member: a string, which parameters may follow.
    ///
    /// A string has only printable ASCII: the bytes of any other character are written as `%XX`.
    pub(super) fn string(&mut self, text: &str) {
        self.separate();
        self.quote(text);
    }

    /// Appends the bytes of another list, which must have at least one member.
    pub(super) fn member(&mut self, written: &[u8]) {
        self.separate();
        self.0.extend_from_slice(written);
    }

    /// An integer parameter; `key` is `";q="`. Larger values count as the largest integer.
    pub(super) fn integer(&mut self, key: &str, number: u64) {
        self.0.extend_from_slice(key.as_bytes());
        // Avoids `write!`, which a response would run nine times.
        let mut digits = itoa::Buffer::new();
        self.0.extend_from_slice(digits.format(number.min(MAX_INTEGER)).as_bytes());
    }

    pub(super) fn word(&mut self, key: &str, text: &str) {
        self.0.extend_from_slice(key.as_bytes());
        self.quote(text);
    }

    /// A parameter of bytes, in base64.
    pub(super) fn bytes(&mut self, key: &str, bytes: &[u8]) {
        self.0.extend_from_slice(key.as_bytes());
        self.0.push(b':');
        self.0.extend_from_slice(STANDARD.encode(bytes).as_bytes());
        self.0.push(b':');
    }

    /// The list as a header value. The content is printable ASCII, so this succeeds.
    pub(super) fn into_value(self) -> Option<HeaderValue> {
        HeaderValue::try_from(self.0).ok()
    }

    pub(super) fn into_bytes(self) -> Box<[u8]> {
        self.0.into()
    }

    #[inline]
    fn separate(&mut self) {
        if !self.0.is_empty() {
            self.0.extend_from_slice(b", ");
        }
    }

    fn quote(&mut self, text: &str) {
        self.0.push(b'"');
        if is_plain(text) {
            self.0.extend_from_slice(text.as_bytes());
            self.0.push(b'"');
            return;
        }
        for byte in text.bytes() {
            match byte {
                b'"' | b'\\' => {
                    self.0.push(b'\\');
                    self.0.push(byte);
                }
                b' '..=b'~' => self.0.push(byte),
                _ => self.0.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            }
        }
        self.0.push(b'"');
    }
}

/// Whether `text` is printable ASCII that needs no escaping in a string, here and in JSON.
pub(super) fn is_plain(text: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\');
    // No early exit, so that the compiler checks several bytes at once.
    text.bytes().fold(true, |all, byte| all & is_plain(byte))
}
