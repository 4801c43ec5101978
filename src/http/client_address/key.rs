//! [`ClientKey`]: the text by which a client is counted, stored inline.
//!
//! [`Ipv6Prefix`] decides how much of an IPv6 address the text has. `ClientAddress` finds the
//! address.

use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv6Addr};

/// The part of an IPv6 address that counts.
///
/// One customer has at least a /64, with 2^64 addresses to choose from, so a limit by single
/// addresses does not limit anyone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ipv6Prefix {
    /// A site: the most that a provider usually gives to one customer.
    Slash48,
    /// The prefix that many providers give to a home.
    Slash56,
    /// One network: the least that a customer has.
    #[default]
    Slash64,
    /// A single address. Only for clients that cannot choose theirs, as within a cluster.
    Slash128,
}

/// The longest text: an address of 39 bytes, or one with a prefix, which is shorter.
const MAX_TEXT: usize = 39;

/// The text by which a client is counted: `192.0.2.1`, `2001:db8::/64`. Usable as a key and as the
/// value of a fact.
///
/// ```
/// use tollgate::http::ClientAddress;
/// use tollgate::{Enforcer, Limit, Policy, Quota};
///
/// let policy = Policy::new().limit(Limit::new("ip", Quota::per_second(100)).key(["ip"]));
/// let enforcer = Enforcer::builder(policy).build()?;
/// # let headers = http::HeaderMap::new();
/// # let peer = Some([192, 0, 2, 1].into());
///
/// let client = ClientAddress::peer().of(&headers, peer);
/// // Without an address the fact is missing, and the limit's `missing` says what then.
/// let permit = match &client {
///     Some(client) => enforcer.admit(&[("ip", client.as_str())], 1),
///     None => enforcer.admit::<&str>(&[], 1),
/// };
/// # permit.unwrap();
/// # Ok::<(), tollgate::PolicyError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientKey(Text);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Text {
    bytes: [u8; MAX_TEXT],
    length: u8,
}

impl ClientKey {
    pub(super) fn new(client: IpAddr, ipv6_prefix: Ipv6Prefix) -> ClientKey {
        let mut text = Text { bytes: [0; MAX_TEXT], length: 0 };
        let bits = ipv6_prefix.bits();
        // Cannot fail: every text fits.
        let _ = match client {
            IpAddr::V6(v6) if bits < 128 => {
                let network = Ipv6Addr::from_bits(v6.to_bits() & !(u128::MAX >> bits));
                write!(text, "{network}/{bits}")
            }
            // Avoids `write!`, which takes as long as three checks.
            IpAddr::V4(v4) => v4.octets().iter().enumerate().try_for_each(|(at, octet)| {
                text.write_str(if at > 0 { "." } else { "" })?;
                text.write_str(itoa::Buffer::new().format(*octet))
            }),
            whole => write!(text, "{whole}"),
        };
        ClientKey(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        let Text { bytes, length } = &self.0;
        let text = bytes.get(..usize::from(*length)).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }
}

impl Ipv6Prefix {
    fn bits(self) -> u8 {
        match self {
            Ipv6Prefix::Slash48 => 48,
            Ipv6Prefix::Slash56 => 56,
            Ipv6Prefix::Slash64 => 64,
            Ipv6Prefix::Slash128 => 128,
        }
    }
}

impl Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let length = usize::from(self.length);
        let room = self.bytes.get_mut(length..length + more.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(more.as_bytes());
        self.length += more.len() as u8;
        Ok(())
    }
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientKey({self})")
    }
}
