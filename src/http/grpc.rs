//! [`grpc_response`]: a refusal as a gRPC response, without a gRPC library.
//!
//! Encodes the few protocol buffer messages by hand. Refusals over plain HTTP are in `refusal`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::decision::{Refused, Retry};
use crate::enforcer::Answers;

use super::headers::{HeaderStyle, set_text};

/// `RESOURCE_EXHAUSTED`.
const RESOURCE_EXHAUSTED: u8 = 8;

/// Whether a request is gRPC, by its content type.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// A refusal as a trailers-only gRPC response: `RESOURCE_EXHAUSTED`, with `google.rpc.RetryInfo` in
/// its details and `grpc-retry-pushback-ms`, both only if the wait is known. If no wait helps, the
/// pushback tells the client not to retry.
///
/// The delay is exact, the pushback in whole milliseconds, rounded up.
pub fn grpc_response(refused: &Refused, answers: &Answers, style: HeaderStyle) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    style.add_to(headers, answers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(u16::from(RESOURCE_EXHAUSTED)));
    let message = refused.to_string();
    set_text(headers, HeaderName::from_static("grpc-message"), percent_encoded(&message));
    let pushback = match refused.retry() {
        Retry::After(wait) => Some(millis_up(wait).to_string()),
        Retry::Never => Some("-1".to_owned()),
        Retry::Unknown { .. } => None,
    };
    if let Some(pushback) = pushback {
        set_text(headers, HeaderName::from_static("grpc-retry-pushback-ms"), pushback);
    }
    if let Some(wait) = refused.retry().after() {
        let details = STANDARD_NO_PAD.encode(status(&message, wait));
        set_text(headers, HeaderName::from_static("grpc-status-details-bin"), details);
    }
    response
}

fn millis_up(wait: Duration) -> u128 {
    wait.as_nanos().div_ceil(1_000_000)
}

/// Encodes a message as gRPC requires: printable ASCII except `%` as it is, all other bytes as
/// `%XX`.
fn percent_encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b' '..=b'~' if byte != b'%' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// A `google.rpc.Status` with a `google.rpc.RetryInfo`, in protocol buffers' wire format: nested
/// messages with few fixed fields.
fn status(message: &str, wait: Duration) -> Vec<u8> {
    let mut delay = Vec::new();
    number(&mut delay, 1, wait.as_secs());
    number(&mut delay, 2, wait.subsec_nanos().into());
    let mut retry_info = Vec::new();
    bytes(&mut retry_info, 1, &delay);
    let mut any = Vec::new();
    bytes(&mut any, 1, b"type.googleapis.com/google.rpc.RetryInfo");
    bytes(&mut any, 2, &retry_info);
    let mut status = Vec::new();
    number(&mut status, 1, RESOURCE_EXHAUSTED.into());
    bytes(&mut status, 2, message.as_bytes());
    bytes(&mut status, 3, &any);
    status
}

/// A numeric field. A value of 0 is left out.
fn number(to: &mut Vec<u8>, field: u64, number: u64) {
    if number != 0 {
        varint(to, field << 3);
        varint(to, number);
    }
}

/// A field of bytes, text, or a message.
fn bytes(to: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint(to, field << 3 | 2);
    varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// Seven bits per byte, the lowest first; all bytes but the last have the high bit set.
fn varint(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}
