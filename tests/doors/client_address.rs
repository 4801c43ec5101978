//! Which address a request came from: every form of entry, every kind of trust, and that a client
//! cannot choose it.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use proptest::prelude::*;
use tollgate::http::{ClientAddress, Ipv6Prefix, MAX_HOPS, ProxyHeader};

const PROXY: &str = "10.0.0.1";

fn headers<L: AsRef<[u8]>>(name: &'static str, lines: &[L]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(name, HeaderValue::from_bytes(line.as_ref()).unwrap());
    }
    headers
}

fn client(how: &ClientAddress, headers: &HeaderMap, peer: &str) -> String {
    let peer = (!peer.is_empty()).then(|| peer.parse().unwrap());
    how.of(headers, peer).map_or("nobody".to_owned(), |client| client.to_string())
}

/// By `X-Forwarded-For`, from [`PROXY`].
fn forwarded_for<L: AsRef<[u8]>>(how: &ClientAddress, lines: &[L]) -> String {
    client(how, &headers("x-forwarded-for", lines), PROXY)
}

/// By `Forwarded`, from [`PROXY`].
fn forwarded<L: AsRef<[u8]>>(how: ClientAddress, lines: &[L]) -> String {
    client(&how.header(ProxyHeader::Forwarded), &headers("forwarded", lines), PROXY)
}

fn networks(networks: &[&str]) -> ClientAddress {
    ClientAddress::networks(networks.iter().map(|network| network.parse().unwrap()))
}

fn ours() -> ClientAddress {
    networks(&["10.0.0.0/8", "2001:db8:ffff::/48"])
}

/// If the leftmost entry were trusted, a client could choose its own address.
#[test]
fn an_entry_that_the_client_sent_does_not_count() {
    let line = ["127.0.0.1, 198.51.100.7, 203.0.113.9"];
    for how in [ClientAddress::hops(1), ours()] {
        assert_eq!(forwarded_for(&how, &line), "203.0.113.9");
        let forwarded_too = ["for=127.0.0.1, for=203.0.113.9"];
        assert_eq!(forwarded(how, &forwarded_too), "203.0.113.9");
    }
    assert_eq!(forwarded_for(&ClientAddress::peer(), &line), PROXY);
    assert_eq!(forwarded_for(&ClientAddress::default(), &line), PROXY);
    assert_eq!(forwarded_for(&ClientAddress::trusting_everybody(), &line), "127.0.0.1");
}

#[test]
fn a_header_that_the_proxies_do_not_write_does_not_count() {
    let mut both = headers("x-forwarded-for", &["203.0.113.9"]);
    both.append("forwarded", HeaderValue::from_static("for=198.51.100.7"));
    both.append("x-real-ip", HeaderValue::from_static("127.0.0.1"));
    let how = ClientAddress::hops(1);
    assert_eq!(client(&how, &both, PROXY), "203.0.113.9");
    assert_eq!(client(&how.header(ProxyHeader::Forwarded), &both, PROXY), "198.51.100.7");
    both.remove("x-forwarded-for");
    assert_eq!(client(&ClientAddress::hops(1), &both, PROXY), PROXY);
}

#[test]
fn hops_are_counted_from_the_right() {
    let line = ["192.0.2.1, 192.0.2.2, 192.0.2.3"];
    for (hops, expected) in [
        (0, PROXY),
        (1, "192.0.2.3"),
        (2, "192.0.2.2"),
        (3, "192.0.2.1"),
        // Fewer than hops: the leftmost there is.
        (4, "192.0.2.1"),
        (MAX_HOPS, "192.0.2.1"),
        (usize::MAX, "192.0.2.1"),
    ] {
        assert_eq!(forwarded_for(&ClientAddress::hops(hops), &line), expected, "{hops} hops");
        assert_eq!(forwarded_for::<&str>(&ClientAddress::hops(hops), &[]), PROXY, "{hops} hops");
    }
}

#[test]
fn hops_are_followed_while_they_are_in_a_trusted_network() {
    for (line, peer, expected) in [
        ("192.0.2.1", "10.0.0.1", "192.0.2.1"),
        ("127.0.0.1, 192.0.2.1, 10.9.9.9", "10.0.0.1", "192.0.2.1"),
        ("192.0.2.1, 2001:db8:ffff::7", "::ffff:10.0.0.1", "192.0.2.1"),
        ("192.0.2.1, 10.2.3.4, ::ffff:10.0.0.2", "2001:db8:ffff::1", "192.0.2.1"),
        // All are ours: the request began there.
        ("10.0.0.3, 10.0.0.2", "10.0.0.1", "10.0.0.3"),
        // The peer is a stranger.
        ("192.0.2.1", "11.0.0.1", "11.0.0.1"),
        ("192.0.2.1", "2001:db8:fffe::1", "2001:db8:fffe::/64"),
        ("192.0.2.1", "", "nobody"),
        ("192.0.2.1, unknown, 10.0.0.2", "10.0.0.1", "10.0.0.2"),
    ] {
        let headers = headers("x-forwarded-for", &[line]);
        assert_eq!(client(&ours(), &headers, peer), expected, "{line} from {peer}");
    }
    assert_eq!(forwarded_for(&networks(&[]), &["192.0.2.1"]), PROXY);
}

#[test]
fn a_network_may_be_written_as_mapped_addresses() {
    for (network, is_trusted) in [
        ("::ffff:10.0.0.0/104", true),
        ("::ffff:0:0/96", true),
        ("::ffff:10.0.0.1/128", true),
        ("::ffff:10.0.0.2/128", false),
        ("::ffff:11.0.0.0/104", false),
        ("10.0.0.7/8", true),
        ("0.0.0.0/0", true),
        // An IPv4 address is in no network of IPv6 addresses.
        ("::/0", false),
        ("::/96", false),
    ] {
        for peer in ["10.0.0.1", "::ffff:10.0.0.1"] {
            let headers = headers("x-forwarded-for", &["2001:db8::1"]);
            let expected = if is_trusted { "2001:db8::/64" } else { "10.0.0.1" };
            assert_eq!(client(&networks(&[network]), &headers, peer), expected, "{network}");
        }
    }
}

/// Entries by their meaning; for entries without one, the client is the proxy's address.
#[test]
fn every_form_of_entry() {
    let whole = ClientAddress::hops(1).ipv6_prefix(Ipv6Prefix::Slash128);
    for (entry, expected) in [
        ("192.0.2.1", "192.0.2.1"),
        (" \t192.0.2.1\t ", "192.0.2.1"),
        ("192.0.2.1:1", "192.0.2.1"),
        ("192.0.2.1:65535", "192.0.2.1"),
        ("192.0.2.1:_port", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("2001:db8::1:4711", "2001:db8::1:4711"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("[2001:db8::1]:_a.b-c_d", "2001:db8::1"),
        ("::", "::"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:c000:201]:80", "192.0.2.1"),
        ("", PROXY),
        ("unknown", PROXY),
        ("_hidden", PROXY),
        ("192.0.2", PROXY),
        ("192.0.2.256", PROXY),
        ("192.0.2.01", PROXY),
        ("192.0.2.1:", PROXY),
        ("192.0.2.1:65536", PROXY),
        ("192.0.2.1:123456", PROXY),
        ("192.0.2.1:+1", PROXY),
        ("192.0.2.1:_", PROXY),
        ("192.0.2.1 192.0.2.2", PROXY),
        ("[192.0.2.1]", PROXY),
        ("[2001:db8::1", PROXY),
        ("2001:db8::1]", PROXY),
        ("[2001:db8::1]4711", PROXY),
        ("[2001:db8::1]:", PROXY),
        ("[fe80::1%eth0]", PROXY),
        ("fe80::1%1", PROXY),
        ("2001:db8::1/64", PROXY),
        ("\"192.0.2.1\"", PROXY),
        ("localhost", PROXY),
        ("for=192.0.2.1", PROXY),
    ] {
        assert_eq!(forwarded_for(&whole, &[entry]), expected, "{entry:?}");
        let after_a_lie = format!("198.51.100.7,{entry}");
        assert_eq!(forwarded_for(&whole, &[after_a_lie]), expected, "{entry:?}");
    }
}

#[test]
fn every_form_of_forwarded_entry() {
    for (entry, expected) in [
        ("for=192.0.2.1", "192.0.2.1"),
        ("For=192.0.2.1", "192.0.2.1"),
        ("FOR=\"192.0.2.1\"", "192.0.2.1"),
        ("for=192.0.2.1:80", "192.0.2.1"),
        ("for=\"192.0.2.1:_x\"", "192.0.2.1"),
        ("for=\"[2001:db8::1]\"", "2001:db8::1"),
        ("for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
        ("for=[2001:db8::1]", "2001:db8::1"),
        ("by=203.0.113.43;for=192.0.2.1;proto=https", "192.0.2.1"),
        (" by=_gate ; for = 192.0.2.1 ; host=example.com ", "192.0.2.1"),
        ("for=192.0.2.1;", "192.0.2.1"),
        // What is in quotes separates nothing.
        ("host=\"a,b;for=6.6.6.6\";for=192.0.2.1", "192.0.2.1"),
        ("for=192.0.2.1;host=\"x, for=6.6.6.6\"", "192.0.2.1"),
        ("host=\"\\\", for=6.6.6.6, \\\"\";for=192.0.2.1", "192.0.2.1"),
        ("for=192.0.2.1;host=\"a, \\\"b\"", "192.0.2.1"),
        ("host=\"\\\\\";for=192.0.2.1;by=\"\\\\\\\\\"", "192.0.2.1"),
        ("for=\"\\1\\92.0.2\\.1\"", "192.0.2.1"),
        ("for=\"[::ffff:192.0.2.1]:1\"", "192.0.2.1"),
        ("", PROXY),
        ("192.0.2.1", PROXY),
        ("for", PROXY),
        ("for=", PROXY),
        ("for=\"\"", PROXY),
        ("for=\"", PROXY),
        ("for=\"192.0.2.1", PROXY),
        ("for='192.0.2.1'", PROXY),
        ("for=\"19\"2.0.2.1\"", PROXY),
        ("for=\"192.0.2.1\\\"", PROXY),
        ("for=unknown", PROXY),
        ("for=\"_gazonk\"", PROXY),
        ("by=192.0.2.1", PROXY),
        ("xfor=192.0.2.1", PROXY),
        ("host=\";for=192.0.2.1;\"", PROXY),
        ("for=192.0.2.1;for=192.0.2.1", PROXY),
    ] {
        let whole = ClientAddress::hops(1).ipv6_prefix(Ipv6Prefix::Slash128);
        assert_eq!(forwarded(whole.clone(), &[entry]), expected, "{entry:?}");
        let after_a_lie = format!("for=198.51.100.7,{entry}");
        assert_eq!(forwarded(whole, &[after_a_lie]), expected, "{entry:?}");
    }
    let long = format!("for=\"[2001:db8::1]:_{}\"", "x".repeat(8_000));
    assert_eq!(forwarded(ClientAddress::hops(1), &[long]), PROXY);
}

/// Read from the left, the open quote would hold all that proxies write after it.
#[test]
fn a_quote_that_the_client_leaves_open_hides_nothing() {
    for sent in ["for=\"", "for=\"198.51.100.7", "for=\"x\\", "\"", "\"\"\"", "for=\"\\\"", "\\"] {
        for added in
            ["for=203.0.113.9", "for=\"203.0.113.9:80\";by=\"_a\"", "For=\"203\\.0.113.9\""]
        {
            let line = format!("{sent}, {added}");
            assert_eq!(forwarded(ClientAddress::hops(1), &[&line]), "203.0.113.9", "{line}");
            assert_eq!(forwarded(ours(), &[&line]), "203.0.113.9", "{line}");
        }
    }
}

#[test]
fn what_is_no_address_ends_the_walk_at_the_hop_that_reported_it() {
    for (line, hops, expected) in [
        ("192.0.2.1, unknown", 1, PROXY),
        ("192.0.2.1, unknown", 2, PROXY),
        ("192.0.2.1, unknown, 192.0.2.3", 2, "192.0.2.3"),
        ("192.0.2.1, , 192.0.2.3", 3, "192.0.2.3"),
        ("192.0.2.1,", 2, PROXY),
        ("_a, 192.0.2.2, 192.0.2.3", 3, "192.0.2.2"),
        ("_a, 192.0.2.2, 192.0.2.3", 9, "192.0.2.2"),
    ] {
        assert_eq!(forwarded_for(&ClientAddress::hops(hops), &[line]), expected, "{line}");
    }
    let everybody = ClientAddress::trusting_everybody();
    assert_eq!(forwarded_for(&everybody, &["192.0.2.1, _a, 192.0.2.3"]), "192.0.2.3");
}

#[test]
fn several_lines_are_one_list() {
    let lines = ["192.0.2.1, 192.0.2.2", "192.0.2.3", "192.0.2.4, 192.0.2.5"];
    for (hops, expected) in (1..=5).zip([5, 4, 3, 2, 1]) {
        let expected = format!("192.0.2.{expected}");
        assert_eq!(forwarded_for(&ClientAddress::hops(hops), &lines), expected);
        let lines = lines.map(|line| line.replace("192", "for=192"));
        assert_eq!(forwarded(ClientAddress::hops(hops), &lines), expected);
    }
    // An empty line is an entry that is empty.
    assert_eq!(
        forwarded_for(&ClientAddress::hops(2), &["192.0.2.1", "", "192.0.2.3"]),
        "192.0.2.3"
    );
    assert_eq!(
        forwarded_for(&ClientAddress::hops(3), &["192.0.2.1", "", "192.0.2.3"]),
        "192.0.2.3"
    );
    // A quote does not reach over the end of its line.
    let open = ["for=\"192.0.2.1", "for=192.0.2.2\""];
    assert_eq!(forwarded(ClientAddress::hops(1), &open), PROXY);
}

#[test]
fn without_a_peer_entries_still_count_where_they_are_counted() {
    let sent = headers("x-forwarded-for", &["192.0.2.1, 192.0.2.2"]);
    let none = HeaderMap::new();
    let hidden = headers("x-forwarded-for", &["192.0.2.1, unknown"]);
    for (how, expected) in [
        (ClientAddress::peer(), "nobody"),
        (ClientAddress::hops(1), "192.0.2.2"),
        (ours(), "nobody"),
        (networks(&["0.0.0.0/0"]), "nobody"),
        (ClientAddress::trusting_everybody(), "192.0.2.1"),
    ] {
        assert_eq!(client(&how, &sent, ""), expected);
        assert_eq!(client(&how, &none, ""), "nobody");
        assert_eq!(client(&how, &hidden, ""), "nobody");
    }
}

#[test]
fn an_ipv6_client_is_its_network() {
    let address = "2001:db8:abcd:1234:5678:9abc:def0:1234";
    for (prefix, expected) in [
        (Ipv6Prefix::Slash48, "2001:db8:abcd::/48"),
        (Ipv6Prefix::Slash56, "2001:db8:abcd:1200::/56"),
        (Ipv6Prefix::Slash64, "2001:db8:abcd:1234::/64"),
        (Ipv6Prefix::Slash128, address),
    ] {
        let none = HeaderMap::new();
        let how = ClientAddress::peer().ipv6_prefix(prefix);
        assert_eq!(client(&how, &none, address), expected);
        assert_eq!(client(&how, &none, "192.0.2.1"), "192.0.2.1");
        assert_eq!(client(&how, &none, "::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(
            forwarded_for(&ClientAddress::hops(1).ipv6_prefix(prefix), &[address]),
            expected
        );
    }
    let none = HeaderMap::new();
    let of = |peer: &str| ClientAddress::peer().of(&none, peer.parse().ok());
    assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1:2:3"));
    assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
}

#[test]
fn only_the_last_entries_are_looked_at() {
    let numbered: Vec<String> =
        (0..5_000).map(|n| format!("10.1.{}.{}", n / 250, n % 250)).collect();
    let line = [numbered.join(",")];
    let nth_last = |nth: usize| numbered[numbered.len() - nth].clone();
    assert_eq!(forwarded_for(&ClientAddress::hops(1), &line), nth_last(1));
    assert_eq!(forwarded_for(&ClientAddress::hops(MAX_HOPS), &line), nth_last(MAX_HOPS));
    assert_eq!(forwarded_for(&ClientAddress::hops(MAX_HOPS + 1), &line), nth_last(MAX_HOPS));
    assert_eq!(forwarded_for(&ours(), &line), nth_last(MAX_HOPS));
    assert_eq!(forwarded_for(&ClientAddress::trusting_everybody(), &line), nth_last(MAX_HOPS));
    let lines: Vec<&str> = numbered.iter().map(String::as_str).collect();
    assert_eq!(forwarded_for(&ours(), &lines), nth_last(MAX_HOPS));
}

#[test]
fn junk_is_no_address_and_no_panic() {
    let piece: Vec<u8> = (0x20..0x7f).chain(0x80..=0xff).collect();
    let junk: Vec<u8> = piece.iter().cycle().copied().take(8_192).collect();
    let quotes = b"\"\\".repeat(4_096);
    let quotes_too = b"\\\\\"".repeat(2_700);
    for line in [&junk, &quotes, &quotes_too, &b",".repeat(8_192), &b";".repeat(8_192)] {
        for how in [ClientAddress::hops(usize::MAX), ours(), ClientAddress::trusting_everybody()] {
            assert_eq!(forwarded_for(&how, &[line]), PROXY);
            assert_eq!(forwarded(how, &[line]), PROXY);
        }
    }
}

/// `X-Forwarded-For` as one would write it down at first: all entries, then what is asked for.
fn naive(lines: &[String], trusted: impl Fn(usize, IpAddr) -> bool, peer: IpAddr) -> IpAddr {
    let address = |entry: &str| {
        let entry = entry.trim();
        let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']'));
        let bare = bare.filter(|bare| bare.contains(':'));
        let with_port = || entry.parse::<SocketAddr>().ok().map(|socket| socket.ip());
        bare.unwrap_or(entry).parse::<IpAddr>().ok().or_else(with_port)
    };
    let all = if lines.is_empty() { None } else { Some(lines.join(",")) };
    let entries = all.iter().flat_map(|all| all.split(',')).map(address);
    let mut hops: Vec<Option<IpAddr>> = entries.collect();
    hops.push(Some(peer));
    hops.reverse();
    hops.truncate(1 + MAX_HOPS);
    let known = hops.iter().map_while(|hop| *hop).map(|hop| hop.to_canonical());
    let known: Vec<IpAddr> = known.collect();
    let trusted = known.iter().enumerate().take_while(|(nth, hop)| trusted(*nth, **hop)).count();
    known[trusted.min(known.len() - 1)]
}

fn entry() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => any::<u8>().prop_map(|n| format!("10.0.0.{n}")),
        3 => any::<[u8; 4]>().prop_map(|v4| IpAddr::from(v4).to_string()),
        2 => any::<[u16; 8]>().prop_map(|v6| IpAddr::from(v6).to_string()),
        1 => any::<u8>().prop_map(|n| format!("::ffff:10.0.0.{n}")),
        1 => (any::<[u16; 8]>(), any::<u16>())
            .prop_map(|(v6, port)| SocketAddr::from((v6, port)).to_string()),
        1 => (any::<[u8; 4]>(), any::<u16>())
            .prop_map(|(v4, port)| format!(" {} ", SocketAddr::from((v4, port)))),
        1 => any::<[u16; 8]>().prop_map(|v6| format!("\t[{}]", IpAddr::from(v6))),
        1 => prop_oneof![Just(""), Just("unknown"), Just("_x"), Just("10.0.0"), Just("[10.0.0.1]")]
            .prop_map(str::to_owned),
    ]
}

/// What a client may send: any bytes that a header can hold, likely ones more often.
fn sent() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let likely = proptest::sample::select(&b"\"\"\\\\,;=for192.:[] \t_\xff"[..]);
    let byte = prop_oneof![4 => likely, 1 => any::<u8>().prop_filter("no control", |b| *b >= 32 && *b != 127)];
    let line = prop_oneof![
        proptest::collection::vec(byte, 0..40),
        proptest::collection::vec(entry(), 0..5).prop_map(|entries| entries.join(",").into_bytes()),
    ];
    proptest::collection::vec(line, 0..4)
}

const ADDED: [(&str, &str, &str); 6] = [
    ("203.0.113.9", "for=203.0.113.9", "203.0.113.9"),
    ("203.0.113.9:80", "for=\"203.0.113.9:80\";by=\"_,;\\\"\"", "203.0.113.9"),
    ("[2001:db8::1]:80", "For=\"[2001:db8::1]:80\";host=\"\\\\\"", "2001:db8::/64"),
    ("::ffff:203.0.113.9", "for=\"[::ffff:203.0.113.9]\"", "203.0.113.9"),
    ("unknown", "for=unknown", PROXY),
    ("", "proto=https", PROXY),
];

proptest! {
    #[test]
    fn x_forwarded_for_is_as_a_naive_reading_has_it(
        lines in proptest::collection::vec(proptest::collection::vec(entry(), 1..30), 0..5),
        hops in 0..80usize,
        peer in prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), Just(IpAddr::from([10, 0, 0, 1]))],
    ) {
        let lines: Vec<String> = lines.iter().map(|entries| entries.join(",")).collect();
        let sent = headers("x-forwarded-for", &lines);
        let network: IpNet = "10.0.0.0/8".parse().unwrap();
        let whole = Ipv6Prefix::Slash128;
        let text = |how: ClientAddress| {
            how.ipv6_prefix(whole).of(&sent, Some(peer)).unwrap().to_string()
        };

        let by_hops = naive(&lines, |nth, _| nth < hops, peer);
        prop_assert_eq!(text(ClientAddress::hops(hops)), by_hops.to_string());
        let by_network = naive(&lines, |_, hop| network.contains(&hop), peer);
        prop_assert_eq!(text(ClientAddress::networks([network])), by_network.to_string());
        let by_all = naive(&lines, |_, _| true, peer);
        prop_assert_eq!(text(ClientAddress::trusting_everybody()), by_all.to_string());
        prop_assert_eq!(text(ClientAddress::peer()), peer.to_canonical().to_string());
    }

    #[test]
    fn nothing_that_a_client_sends_changes_whom_its_proxy_reports(
        sent in sent(),
        added in proptest::sample::select(&ADDED[..]),
        behind in proptest::bool::ANY,
    ) {
        let (plain, labelled, expected) = added;
        for (name, header, entry) in [
            ("x-forwarded-for", ProxyHeader::XForwardedFor, plain),
            ("forwarded", ProxyHeader::Forwarded, labelled),
        ] {
            // In a line of its own, or behind what the last line holds.
            let mut lines = sent.clone();
            match lines.last_mut().filter(|_| behind) {
                Some(last) => last.extend_from_slice(format!(", {entry}").as_bytes()),
                None => lines.push(entry.into()),
            }
            let headers = headers(name, &lines);
            for how in [ClientAddress::hops(1), ours()] {
                let how = how.header(header);
                prop_assert_eq!(client(&how, &headers, PROXY), expected);
            }
        }
    }
}
