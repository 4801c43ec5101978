//! [`ClientAddress`] finds the address that a request came from, from its peer and from what
//! proxies wrote.
//!
//! It walks from the peer to the address that the peer reported, which is last in the header, to
//! the address that this hop reported, and so on, while the hop that is reached is trusted.
//! `entries` reads the header from its end, `node` parses one address, and `key` is the result.

mod entries;
mod key;
mod node;

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderMap;
use ipnet::{IpNet, Ipv4Net};

use entries::HeaderEntries;

pub use entries::ProxyHeader;
pub use key::{ClientKey, Ipv6Prefix};

/// The number of header entries that are read, counted from the end. Earlier entries are ignored.
pub const MAX_HOPS: usize = 64;

/// Determines which address a request came from.
///
/// The peer of the connection is the client, unless it is a proxy. A proxy adds the address that it
/// was called from to a header, *after* what the client sent there: the proxy wrote the rightmost
/// entry, but the client may have invented the entries further left. So entries are counted from
/// the right, and a proxy is trusted only if you configure it:
///
/// | | headers count | right if |
/// |---|---|---|
/// | [`peer`](Self::peer), the default | never | clients connect directly |
/// | [`hops`](Self::hops) | so many entries | every request passes exactly so many proxies |
/// | [`networks`](Self::networks) | while the hop is in a network of yours | proxies have known addresses |
/// | [`trusting_everybody`](Self::trusting_everybody) | all | all clients are honest: in tests |
///
/// ```
/// use tollgate::http::ClientAddress;
/// # let mut headers = http::HeaderMap::new();
/// # headers.insert("x-forwarded-for", http::HeaderValue::from_static("10.9.9.9, 192.0.2.1"));
///
/// // x-forwarded-for: 10.9.9.9, 192.0.2.1: the client sent the first, the proxy added the second.
/// let proxy = Some([10, 0, 0, 1].into());
/// let client = ClientAddress::hops(1).of(&headers, proxy).unwrap();
/// assert_eq!(client.as_str(), "192.0.2.1");
///
/// let by_network = ClientAddress::networks(["10.0.0.0/8".parse()?]);
/// assert_eq!(by_network.of(&headers, proxy), Some(client));
/// // Who is no proxy of ours is not believed.
/// let stranger = Some("2001:db8::7:1".parse()?);
/// assert_eq!(by_network.of(&headers, stranger).unwrap().as_str(), "2001:db8::/64");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What counts as an entry
/// IPv4 and IPv6 addresses, with or without a port: `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`,
/// `[2001:db8::1]`, `[2001:db8::1]:4711`. An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) counts
/// as the IPv4 address, also as a peer and in a network. Several lines of a header are one list.
///
/// Any other entry ends the walk (`unknown`, `_hidden`, nothing between two commas, text that is
/// not an address). The client is then the hop that reported the entry: the next address to its
/// right, or the peer.
///
/// Only one header counts, [`ProxyHeader::XForwardedFor`] unless [another](Self::header) is chosen.
/// It must be the header that the proxies write: a proxy forwards what a client sent in the other
/// one.
#[derive(Clone, Debug, Default)]
pub struct ClientAddress {
    trust: Trust,
    header: ProxyHeader,
    ipv6_prefix: Ipv6Prefix,
}

/// The hops whose reports count.
#[derive(Clone, Debug, Default)]
enum Trust {
    #[default]
    Nobody,
    Hops(usize),
    Networks(Box<[IpNet]>),
    Everybody,
}

impl ClientAddress {
    /// The peer of the connection, whatever the headers say.
    pub fn peer() -> ClientAddress {
        ClientAddress::default()
    }

    /// Trusts `proxies` proxies, including the peer: with 1 the client is the last entry, with 2
    /// the last but one. With 0 the client is the peer; more than [`MAX_HOPS`] counts as
    /// [`MAX_HOPS`].
    ///
    /// Right only if every request passes all of them, and each adds one entry: a client that
    /// reaches the second of two proxies without the first chooses the address that counts.
    ///
    /// If there are fewer entries, the leftmost counts. That is safe: a client can make the list
    /// longer but not shorter, so it cannot cause this, and the entry that counts was written by a
    /// proxy nearer to this service than the one asked for.
    pub fn hops(proxies: usize) -> ClientAddress {
        ClientAddress { trust: Trust::Hops(proxies), ..ClientAddress::default() }
    }

    /// Trusts proxies in any of these networks: the client is the first hop that is in none of
    /// them, from the peer on and then from the right. If all hops are in them, the leftmost entry
    /// counts. Without a peer no entry counts.
    ///
    /// A network of addresses `::ffff:0:0/96` or narrower counts as the IPv4 network that it maps.
    pub fn networks(proxies: impl IntoIterator<Item = IpNet>) -> ClientAddress {
        let networks = proxies.into_iter().map(unmapped).collect();
        ClientAddress { trust: Trust::Networks(networks), ..ClientAddress::default() }
    }

    /// Trusts all entries, so that the leftmost counts (the leftmost of the last [`MAX_HOPS`]).
    ///
    /// **Every client can then claim any address**: with a new address for each request a client
    /// evades all limits by address, and with another client's address it uses up that client's
    /// limits. For tests, and where all clients are known to be honest.
    pub fn trusting_everybody() -> ClientAddress {
        ClientAddress { trust: Trust::Everybody, ..ClientAddress::default() }
    }

    /// The header that the proxies write.
    pub fn header(self, header: ProxyHeader) -> ClientAddress {
        ClientAddress { header, ..self }
    }

    /// The part of an IPv6 address that counts.
    pub fn ipv6_prefix(self, ipv6_prefix: Ipv6Prefix) -> ClientAddress {
        ClientAddress { ipv6_prefix, ..self }
    }

    /// The key by which to count a request whose connection comes from `peer`. `None` if the
    /// address is unknown: no peer, as on a Unix socket, and no entry that counts.
    pub fn of(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Option<ClientKey> {
        let mut client = peer.map(|peer| peer.to_canonical());
        for (passed, entry) in HeaderEntries::new(headers, self.header).take(MAX_HOPS).enumerate() {
            if !self.trust.includes(passed, client) {
                break;
            }
            match entry {
                Some(reported) => client = Some(reported),
                None => break,
            }
        }
        client.map(|client| ClientKey::new(client, self.ipv6_prefix))
    }
}

impl Trust {
    /// Whether the report of `hop` counts, with `passed` hops between this service and `hop`.
    fn includes(&self, passed: usize, hop: Option<IpAddr>) -> bool {
        match self {
            Trust::Nobody => false,
            Trust::Hops(proxies) => passed < *proxies,
            Trust::Networks(proxies) => {
                hop.is_some_and(|hop| proxies.iter().any(|network| network.contains(&hop)))
            }
            Trust::Everybody => true,
        }
    }
}

/// The bits before the IPv4 address in an IPv4-mapped IPv6 address.
const MAPPED_BITS: u8 = 96;

/// The IPv4 network, if `network` is an IPv4-mapped one.
fn unmapped(network: IpNet) -> IpNet {
    let v4 = |network: ipnet::Ipv6Net| {
        let bits = network.prefix_len().checked_sub(MAPPED_BITS)?;
        let address = Ipv6Addr::to_ipv4_mapped(&network.addr())?;
        Ipv4Net::new(address, bits).ok()
    };
    match network {
        IpNet::V6(v6) => v4(v6).map_or(network, IpNet::V4),
        IpNet::V4(_) => network,
    }
}
