//! Who a request came from, whatever its headers hold: an answer that reads back as it is written,
//! and that nothing a client sends can change once a trusted proxy has added its entry.
//!
//! The first byte chooses entry and peer, the rest is what the client sent: lines of a header.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use tollgate::http::{ClientAddress, ClientKey, Ipv6Prefix, ProxyHeader};

const PREFIXES: [Ipv6Prefix; 4] =
    [Ipv6Prefix::Slash48, Ipv6Prefix::Slash56, Ipv6Prefix::Slash64, Ipv6Prefix::Slash128];

/// What a proxy at 10.0.0.1 may add, and whom it means; None: it hides its client.
const X_FORWARDED_FOR: [(&str, Option<&str>); 7] = [
    ("192.0.2.1", Some("192.0.2.1")),
    ("192.0.2.1:4711", Some("192.0.2.1")),
    ("2001:db8::1", Some("2001:db8::1")),
    ("[2001:db8::1]:4711", Some("2001:db8::1")),
    ("::ffff:192.0.2.1", Some("192.0.2.1")),
    ("unknown", None),
    ("", None),
];
const FORWARDED: [(&str, Option<&str>); 7] = [
    ("for=192.0.2.1", Some("192.0.2.1")),
    ("proto=https;For=\"192.0.2.1:4711\";by=_gate", Some("192.0.2.1")),
    ("for=\"[2001:db8::1]\"", Some("2001:db8::1")),
    ("by=\"a,b;for=6.6.6.6\";for=\"[2001:db8::1]:_port\"", Some("2001:db8::1")),
    ("host=\"a\\\"b,\\\\\" ; for=\"192.0\\.2.1\"", Some("192.0.2.1")),
    ("for=\"_hidden\"", None),
    ("proto=https", None),
];

const PROXY: [u8; 4] = [10, 0, 0, 1];

pub(crate) fn run(data: &[u8]) {
    let Some((choice, sent)) = data.split_first() else { return };
    let peer = [None, Some(IpAddr::from(PROXY)), Some(IpAddr::from([7; 16]))];
    let peer = peer[usize::from(choice / 7) % peer.len()];
    let proxies = || ["10.0.0.0/8", "2001:db8:ffff::/48"].map(|net| net.parse::<IpNet>().unwrap());
    let x_forwarded_for = HeaderName::from_static("x-forwarded-for");
    let lines: Vec<&[u8]> = sent.split(|byte| *byte == b'\n').collect();
    for (name, header, entries) in [
        (x_forwarded_for, ProxyHeader::XForwardedFor, X_FORWARDED_FOR),
        (http::header::FORWARDED, ProxyHeader::Forwarded, FORWARDED),
    ] {
        let headers = |lines: &[Vec<u8>]| -> HeaderMap {
            let values = lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok());
            values.map(|value| (name.clone(), value)).collect()
        };
        let sent: Vec<Vec<u8>> = lines.iter().map(|line| line.to_vec()).collect();
        for prefix in PREFIXES {
            for how in [
                ClientAddress::peer(),
                ClientAddress::hops(usize::from(*choice)),
                ClientAddress::networks(proxies()),
                ClientAddress::trusting_everybody(),
            ] {
                let how = how.header(header).ipv6_prefix(prefix);
                let client = how.of(&headers(&sent), peer);
                assert!(client.is_some() || peer.is_none());
                client.iter().for_each(|client| reads_back(client, prefix));
            }
        }

        let (entry, client) = entries[usize::from(*choice) % entries.len()];
        let proxy = Some(IpAddr::from(PROXY));
        let expected = client.map_or(proxy, |client| client.parse().ok());
        let expected = ClientAddress::peer().of(&HeaderMap::new(), expected);
        let mut beside = sent.clone();
        beside.push(entry.into());
        let mut within = sent;
        // A proxy adds to the last line that there is; one that is no header value is not.
        within.retain(|line| HeaderValue::from_bytes(line).is_ok());
        match within.last_mut() {
            Some(last) => last.extend_from_slice(format!(", {entry}").as_bytes()),
            None => within.push(entry.into()),
        }
        for how in [ClientAddress::hops(1), ClientAddress::networks(proxies())] {
            let how = how.header(header);
            for lines in [&beside, &within] {
                assert_eq!(how.of(&headers(lines), proxy), expected, "{entry} after {lines:?}");
            }
        }
    }
}

/// The text is an address, or a network that is written as its first address.
fn reads_back(client: &ClientKey, prefix: Ipv6Prefix) {
    let text = client.as_str();
    let address: IpAddr = match text.parse::<IpNet>() {
        Ok(network) => {
            assert_eq!((network.trunc(), network.to_string()), (network, text.to_owned()));
            network.addr()
        }
        Err(_) => text.parse().expect(text),
    };
    let how = ClientAddress::peer().ipv6_prefix(prefix);
    assert_eq!(how.of(&HeaderMap::new(), Some(address)), Some(*client));
}
