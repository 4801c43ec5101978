//! Parses one address as proxies write it, perhaps with a port.
//!
//! `entries` splits a header into these nodes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The most bytes of a quoted address that are read: the longest with a port has 53.
const MAX_QUOTED: usize = 64;

/// Parses `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:4711`;
/// `None` for anything else.
pub(super) fn address(node: &[u8]) -> Option<IpAddr> {
    let node = std::str::from_utf8(node).ok()?;
    let address = if let Some(bracketed) = node.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']')?;
        if !rest.is_empty() && !is_port(rest.strip_prefix(':')?) {
            return None;
        }
        IpAddr::V6(address.parse::<Ipv6Addr>().ok()?)
    } else if let Some((address, _)) = node.split_once(':').filter(|(_, port)| is_port(port)) {
        IpAddr::V4(address.parse::<Ipv4Addr>().ok()?)
    } else {
        node.parse().ok()?
    };
    Some(address.to_canonical())
}

/// Parses the address between two quotes.
pub(super) fn quoted_address(inside: &[u8]) -> Option<IpAddr> {
    let mut plain = [0; MAX_QUOTED];
    let mut length = 0;
    let mut bytes = inside.iter();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'\\' => bytes.next()?,
            byte => byte,
        };
        *plain.get_mut(length)? = *byte;
        length += 1;
    }
    address(&plain[..length])
}

/// A number, or an obfuscated port (RFC 7239, section 6).
fn is_port(text: &str) -> bool {
    let is_hidden = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    let is_number = || {
        (1..=5).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_digit())
            && text.parse::<u16>().is_ok()
    };
    text.strip_prefix('_').map_or_else(is_number, is_hidden)
}
