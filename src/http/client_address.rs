//! Which address a request came from, told from its peer and from what proxies wrote.
//!
//! One walk: from the peer to what it reported, which stands last in the header, to what that one
//! reported, and so on, as long as the hop that is reached is trusted to tell the truth.

mod entries;
mod key;
mod node;

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderMap;
use ipnet::{IpNet, Ipv4Net};

use entries::HeaderEntries;

pub use entries::ProxyHeader;
pub use key::{ClientKey, Ipv6Prefix};

/// Entries of the header that are looked at, counted from its end. Those before them are as if they
/// were not there.
pub const MAX_HOPS: usize = 64;

/// How to tell which address a request came from.
///
/// The peer of the connection is the client, unless it is a proxy. A proxy adds to a header the
/// address that it was called from, *after* what the client sent there: what stands at the right is
/// the proxy's word, what stands further left may be the client's invention. So entries are counted
/// from the right, and a proxy is trusted only if one says so:
///
/// | | headers count | right if |
/// |---|---|---|
/// | [`peer`](Self::peer), the default | never | clients connect directly |
/// | [`hops`](Self::hops) | so many entries | every request passes exactly so many proxies |
/// | [`networks`](Self::networks) | while the hop is in a network of yours | proxies have known addresses |
/// | [`trusting_everybody`](Self::trusting_everybody) | all | nobody lies: in tests |
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
/// IPv4 and IPv6 addresses, with a port or without: `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`,
/// `[2001:db8::1]`, `[2001:db8::1]:4711`. An IPv4 address in an IPv6 one (`::ffff:192.0.2.1`) is the
/// IPv4 address, as a peer and in a network too. Several lines of a header are one list.
///
/// Anything else ends the walk (`unknown`, `_hidden`, nothing between two commas, text that is no
/// address): the client is then known only by the hop that reported it, the last address to the
/// right of that entry, or the peer.
///
/// Only one header counts, [`ProxyHeader::XForwardedFor`] unless [another](Self::header) is named,
/// and it must be the one that the proxies write: a proxy passes on what a client sent in the other.
#[derive(Clone, Debug, Default)]
pub struct ClientAddress {
    trust: Trust,
    header: ProxyHeader,
    ipv6_prefix: Ipv6Prefix,
}

/// Whose word counts.
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

    /// Trusts `proxies` proxies, the peer being the first: with 1 the client is the last entry,
    /// with 2 the last but one. With 0 it is the peer; more than [`MAX_HOPS`] are as many as that.
    ///
    /// Right only if every request passes all of them, and each adds one entry: who reaches the
    /// second of two proxies past the first chooses the address that counts.
    ///
    /// If there are fewer entries, it is the leftmost. That is safe: what a client sends makes the
    /// list longer, never shorter, so it cannot bring this about, and the entry taken is nearer to
    /// here than the one that was asked for.
    pub fn hops(proxies: usize) -> ClientAddress {
        ClientAddress { trust: Trust::Hops(proxies), ..ClientAddress::default() }
    }

    /// Trusts proxies that are in one of these networks: the client is the first hop, from the peer
    /// on and then from the right, that is in none. A peer that is in none is the client, and so is
    /// the leftmost entry if all are in one. Without a peer nothing is known.
    ///
    /// A network of addresses `::ffff:0:0/96` or narrower is the IPv4 network that it stands for.
    pub fn networks(proxies: impl IntoIterator<Item = IpNet>) -> ClientAddress {
        let networks = proxies.into_iter().map(unmapped).collect();
        ClientAddress { trust: Trust::Networks(networks), ..ClientAddress::default() }
    }

    /// Trusts whoever wrote the header, so that the leftmost entry counts (of more than [`MAX_HOPS`]
    /// the leftmost of the last so many).
    ///
    /// **Every client can then be anyone**: with a new address for each request no limit by address
    /// holds, and with somebody else's it is used up for them. For tests, and where all clients are
    /// known to be honest.
    pub fn trusting_everybody() -> ClientAddress {
        ClientAddress { trust: Trust::Everybody, ..ClientAddress::default() }
    }

    /// The header that the proxies write.
    pub fn header(self, header: ProxyHeader) -> ClientAddress {
        ClientAddress { header, ..self }
    }

    /// How much of an IPv6 address counts.
    pub fn ipv6_prefix(self, ipv6_prefix: Ipv6Prefix) -> ClientAddress {
        ClientAddress { ipv6_prefix, ..self }
    }

    /// What to count a request by, `peer` being the address that its connection comes from. None if
    /// nothing tells: no peer, as on a Unix socket, and no entry that counts.
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
    /// Whether what a hop reports counts, `passed` others between here and it.
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

/// The bits before the IPv4 address in an IPv6 one.
const MAPPED_BITS: u8 = 96;

/// The network of IPv4 addresses, if it is one that is written as IPv6.
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
