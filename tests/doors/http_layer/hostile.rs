//! Headers of a hostile client, byte by byte.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollgate::http::{AdmitLayer, ClientAddress, ProxyHeader, fact};
use tollgate::{Limit, Policy, Quota};

use super::server::{Gate, Server, Under, guarded};

const HTTP1: [Under; 2] = [Under::Axum1, Under::Hyper1];

/// All facts there are, of limits that count by each.
fn counted_by_all() -> (Gate, AdmitLayer) {
    let limit = |name| Limit::new(name, Quota::per_hour(1_000)).key([name]);
    let policy = ["user", "org", "ip", "hop", "path", "method"]
        .into_iter()
        .fold(Policy::new(), |policy, name| policy.limit(limit(name)));
    let gate = Gate::new(policy.limit(Limit::concurrent("slots", 4)));
    let peer = |ConnectInfo(peer): &ConnectInfo<SocketAddr>| *peer;
    let forwarded = ClientAddress::trusting_everybody().header(ProxyHeader::Forwarded);
    let layer = gate
        .layer()
        .fact("user", fact::header("x-user"))
        .fact("org", fact::header("x-org"))
        .fact("ip", fact::client_address(ClientAddress::hops(2), peer))
        .fact("hop", fact::client_address(forwarded, peer))
        .fact("path", fact::path())
        .fact("method", fact::method())
        .show_keys();
    (gate, layer)
}

/// The response to these bytes, to its end.
async fn exchange(server: &Server, head: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    guarded(async {
        // What is too long for the server it answers before it has read it.
        let _ = stream.write_all(head).await;
        let mut response = Vec::new();
        let _ = stream.read_to_end(&mut response).await;
        String::from_utf8(response).unwrap()
    })
    .await
}

fn status(response: &str) -> &str {
    response.split(' ').nth(1).unwrap_or("none")
}

/// `GET` with these header lines.
fn get(lines: &[(&str, &[u8])]) -> Vec<u8> {
    let mut head = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n".to_vec();
    for (name, value) in lines {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[tokio::test]
async fn thousands_of_hops() {
    for under in HTTP1 {
        let (gate, layer) = counted_by_all();
        let server = Server::start(under, layer).await;
        let made_up = "198.51.100.7, ".repeat(5_000) + "192.0.2.1, 192.0.2.2";
        let quoted = "for=\"[2001:db8::1]:80\";by=\"\\\",\", ".repeat(1_000) + "for=192.0.2.9";
        let lines = [("x-forwarded-for", made_up.as_bytes()), ("forwarded", quoted.as_bytes())];
        assert_eq!(status(&exchange(&server, &get(&lines)).await), "200", "{under:?}");
        assert_eq!(gate.remaining_of("ip", &[("ip", "192.0.2.1")]), 999);
        // In many lines.
        let lines: Vec<(&str, &[u8])> = (0..90)
            .map(|_| ("x-forwarded-for", &b"1.1.1.1,2.2.2.2,,,,3.3.3.3,192.0.2.1,192.0.2.2"[..]))
            .collect();
        assert_eq!(status(&exchange(&server, &get(&lines)).await), "200", "{under:?}");
        assert_eq!(gate.remaining_of("ip", &[("ip", "192.0.2.1")]), 998);
    }
}

#[tokio::test]
async fn what_is_no_text_is_missing() {
    for under in HTTP1 {
        let (gate, layer) = counted_by_all();
        let server = Server::start(under, layer).await;
        for bytes in [&b"\xff"[..], b"ann\x80", b"\xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"] {
            let told = exchange(&server, &get(&[("x-user", bytes), ("x-org", b"x")])).await;
            assert_eq!(status(&told), "200", "{under:?}: {bytes:?}");
        }
        // They count together, as if they had none, and what is text counts.
        assert_eq!(gate.remaining_of("user", &[]), 995, "{under:?}");
        assert_eq!(gate.remaining_of("org", &[("org", "x")]), 995);
        assert_eq!(status(&exchange(&server, &get(&[("x-user", "ü".as_bytes())])).await), "200");
        assert_eq!(gate.remaining_of("user", &[("user", "ü")]), 999);
    }
}

#[tokio::test]
async fn eight_kilobytes_of_junk_anywhere() {
    for under in HTTP1 {
        let (gate, layer) = counted_by_all();
        let server = Server::start(under, layer).await;
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut byte = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // What may stand in a header, and often what has a meaning there.
            match random >> 32 & 3 {
                0 => b"\",;=\\[]:. %"[(random >> 40) as usize % 11],
                1 => 0x80 | (random >> 40) as u8,
                _ => b' ' + (random >> 40) as u8 % 95,
            }
        };
        let names = [
            "x-user",
            "x-org",
            "x-forwarded-for",
            "forwarded",
            "content-type",
            "accept",
            "te",
            "user-agent",
        ];
        let mut came = 0;
        for nth in 0..200 {
            let mut junk = || (0..8_192).map(|_| byte()).collect::<Vec<u8>>();
            let (one, other) = (junk(), junk());
            let lines = [(names[nth % 8], &*one), (names[nth / 8 % 8], &*other)];
            let told = exchange(&server, &get(&lines)).await;
            assert_eq!(status(&told), "200", "{under:?}: {nth}");
            // Keys are shown, and none makes a response long.
            assert!(told.len() < 6_000, "{under:?}: {}", told.len());
            came += 1;
        }
        assert_eq!((server.calls(), came), (200, 200));
        // What cannot be in a request is the server's to refuse, and comes no further.
        for head in ["\0\0\0\0\r\n\r\n", "GET /\x7f\0 HTTP/1.1\r\n\r\n", "GET / HTTP/9\r\n\r\n"] {
            let told = exchange(&server, head.as_bytes()).await;
            assert!(["400", "505", "none"].contains(&status(&told)), "{told}");
        }
        assert_eq!(server.calls(), 200);
        assert_eq!(gate.in_use("slots"), 0);
    }
}

/// What is refused is refused whatever it says.
#[tokio::test]
async fn a_refusal_of_junk_is_a_refusal() {
    for under in HTTP1 {
        let all = Limit::new("all", Quota::per_hour(1));
        let user = Limit::new("user", Quota::per_hour(1_000)).key(["user"]);
        let gate = Gate::new(Policy::new().limit(user).limit(all));
        let layer = gate.layer().fact("user", fact::header("x-user")).show_keys();
        let server = Server::start(under, layer).await;
        let junk = [b'x'; 8_192];
        assert_eq!(status(&exchange(&server, &get(&[("x-user", &junk)])).await), "200");
        for nth in 0..50_u8 {
            let mut junk = junk.to_vec();
            junk[8_000] = b' ' + nth;
            let told = exchange(&server, &get(&[("x-user", &junk)])).await;
            assert_eq!(status(&told), "503", "{under:?}");
            assert!(told.len() < 6_000, "{under:?}: {}", told.len());
            let grpc = get(&[("x-user", &junk), ("content-type", b"application/grpc")]);
            let told = exchange(&server, &grpc).await;
            assert_eq!(status(&told), "200");
            assert!(told.contains("grpc-status: 8") && told.len() < 6_000, "{told}");
        }
        assert_eq!(server.calls(), 1);
    }
}
