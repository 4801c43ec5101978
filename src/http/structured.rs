//! Structured field values (RFC 9651), as far as headers of limits need them.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The largest integer a structured field can have.
const MAX_INTEGER: u64 = 999_999_999_999_999;

/// Members of a list, one after the other.
#[derive(Default)]
pub(super) struct List(String);

impl List {
    /// Begins a member: a string, to which parameters follow.
    ///
    /// A string has printable ASCII only: the bytes of any other character are written as `%XX`.
    pub(super) fn string(&mut self, text: &str) {
        if !self.0.is_empty() {
            self.0.push_str(", ");
        }
        self.quote(text);
    }

    /// A whole number. What is larger than one can be counts as the largest.
    pub(super) fn integer(&mut self, key: &str, number: u64) {
        self.key(key);
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{}", number.min(MAX_INTEGER));
    }

    pub(super) fn word(&mut self, key: &str, text: &str) {
        self.key(key);
        self.quote(text);
    }

    /// Bytes, in base64.
    pub(super) fn bytes(&mut self, key: &str, bytes: &[u8]) {
        self.key(key);
        self.0.push(':');
        STANDARD.encode_string(bytes, &mut self.0);
        self.0.push(':');
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn key(&mut self, key: &str) {
        self.0.push(';');
        self.0.push_str(key);
        self.0.push('=');
    }

    fn quote(&mut self, text: &str) {
        self.0.push('"');
        for byte in text.bytes() {
            match byte {
                b'"' | b'\\' => {
                    self.0.push('\\');
                    self.0.push(byte.into());
                }
                b' '..=b'~' => self.0.push(byte.into()),
                _ => {
                    let _ = write!(self.0, "%{byte:02X}");
                }
            }
        }
        self.0.push('"');
    }
}
