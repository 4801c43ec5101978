//! What requests are counted by.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, MatchedPath};
use tollgate::http::{AdmitLayer, ClientAddress, fact};
use tollgate::policy::Missing;
use tollgate::{Limit, Policy, Quota};
use tower::util::MapRequestLayer;

use super::server::{Gate, Server, Under};

/// What a layer further out found out of a request.
#[derive(Clone)]
struct Account(String);

#[tokio::test]
async fn a_user_or_else_an_organization() {
    for under in Under::ALL {
        let by = Limit::new("by", Quota::per_minute(1)).key(["user|org"]);
        let gate = Gate::new(Policy::new().limit(by));
        let layer =
            gate.layer().fact("user", fact::header("x-user")).fact("org", fact::header("x-org"));
        let server = Server::start(under, layer).await;
        let mut client = server.client().await;
        for (headers, status) in [
            (&[("x-user", "ann"), ("x-org", "x")][..], 200),
            (&[("x-user", "ann"), ("x-org", "y")], 429),
            (&[("x-user", "ann")], 429),
            (&[("x-org", "x")], 200),
            (&[("x-user", ""), ("x-org", "x")], 429),
            // An organization of a user's name is another.
            (&[("x-org", "ann")], 200),
            (&[], 200),
            (&[("x-user", ""), ("x-org", "")], 429),
            // Only the first of a name counts.
            (&[("x-user", "ann"), ("x-user", "bob")], 429),
            (&[("x-user", "bob"), ("x-user", "ann")], 200),
        ] {
            let told = client.get("/", headers).await;
            assert_eq!(told.status, status, "{under:?}: {headers:?}");
        }
    }
}

#[tokio::test]
async fn an_extension_or_else_a_header() {
    for under in [Under::Axum1, Under::Axum2] {
        let gate =
            Gate::new(Policy::new().limit(Limit::new("by", Quota::per_minute(1)).key(["user"])));
        // Of a fact that is there twice the first counts that has a value.
        let layer = gate
            .layer()
            .fact("user", fact::extension(|Account(user): &Account| user.as_str()))
            .fact("user", fact::header("x-user"));
        let signed_in = MapRequestLayer::new(|request: axum::extract::Request| {
            let mut request = request;
            if let Some(account) = request.headers().get("x-account") {
                let account = Account(account.to_str().unwrap().to_owned());
                request.extensions_mut().insert(account);
            }
            request
        });
        let server = Server::start_with(under, layer, |router| router.layer(signed_in)).await;
        let mut client = server.client().await;
        for (headers, status) in [
            (&[("x-account", "bob"), ("x-user", "cyd")][..], 200),
            (&[("x-account", "bob")], 429),
            (&[("x-user", "bob")], 429),
            (&[("x-user", "cyd")], 200),
            (&[("x-account", ""), ("x-user", "cyd")], 429),
        ] {
            let told = client.get("/", headers).await;
            assert_eq!(told.status, status, "{under:?}: {headers:?}");
        }
    }
}

#[tokio::test]
async fn a_route_is_counted_as_one_whatever_its_parameters() {
    for under in [Under::Axum1, Under::Axum2] {
        let route = Limit::new("route", Quota::per_minute(2)).key(["route", "method"]);
        let gate = Gate::new(Policy::new().limit(route.missing(Missing::Skip)));
        let layer = gate
            .layer()
            .fact("route", fact::extension(MatchedPath::as_str))
            .fact("method", fact::method());
        let server = Server::start(under, layer).await;
        let mut client = server.client().await;
        for (nth, status) in [200, 200, 429].into_iter().enumerate() {
            let told = client.get(&format!("/items/{nth}"), &[]).await;
            assert_eq!(told.status, status, "{under:?}");
        }
        // No route matches: the limit does not apply.
        for _ in 0..3 {
            let told = client.get("/elsewhere", &[]).await;
            assert!(told.status == 200 && !told.tells_limits());
        }
        assert_eq!(gate.remaining(&[("route", "/items/{id}"), ("method", "GET")]), 0);
    }
}

#[tokio::test]
async fn a_missing_fact_is_the_policys_choice() {
    for under in Under::ALL {
        for missing in [Missing::Marker, Missing::Skip, Missing::Refuse] {
            let user = Limit::new("user", Quota::per_minute(1)).key(["user"]).missing(missing);
            let gate = Gate::new(Policy::new().limit(user));
            let layer = gate.layer().fact("user", fact::header("x-user"));
            let server = Server::start(under, layer).await;
            let mut client = server.client().await;
            assert_eq!(client.get("/", &[("x-user", "ann")]).await.status, 200);
            let told = [client.get("/", &[]).await, client.get("/", &[("x-user", "")]).await];
            let statuses = told.each_ref().map(|told| told.status);
            match missing {
                Missing::Marker => assert_eq!(statuses, [200, 429], "{under:?}"),
                Missing::Skip => assert_eq!(statuses, [200, 200], "{under:?}"),
                Missing::Refuse => {
                    assert_eq!(statuses, [400, 400], "{under:?}");
                    assert_eq!(told[0].header("retry-after"), "-", "no wait helps");
                }
            }
        }
    }
}

fn by_address(gate: &Gate, address: ClientAddress) -> AdmitLayer {
    let peer = |ConnectInfo(peer): &ConnectInfo<SocketAddr>| *peer;
    gate.layer().fact("ip", fact::client_address(address, peer))
}

fn ip() -> Limit {
    Limit::new("ip", Quota::per_minute(2)).key(["ip"])
}

#[tokio::test]
async fn a_client_that_makes_up_where_it_comes_from_is_counted_all_the_same() {
    for under in [Under::Axum1, Under::Axum2] {
        // Without a proxy, the header is the client's word alone.
        let gate = Gate::new(Policy::new().limit(ip()));
        let server = Server::start(under, by_address(&gate, ClientAddress::peer())).await;
        let mut client = server.client().await;
        for (nth, status) in [200, 200, 429, 429].into_iter().enumerate() {
            let from = format!("198.51.100.{nth}");
            let told = client.get("/", &[("x-forwarded-for", &from)]).await;
            assert_eq!(told.status, status, "{under:?}");
        }
        assert_eq!(gate.remaining(&[("ip", "127.0.0.1")]), 0);

        // Behind one proxy, what stands left of what it added.
        for address in
            [ClientAddress::hops(1), ClientAddress::networks(["127.0.0.0/8".parse().unwrap()])]
        {
            let gate = Gate::new(Policy::new().limit(ip()));
            let server = Server::start(under, by_address(&gate, address)).await;
            let mut client = server.client().await;
            for (nth, status) in [200, 200, 429, 429].into_iter().enumerate() {
                let from = format!("198.51.100.{nth}, 192.0.2.7");
                let told = client.get("/", &[("x-forwarded-for", &from)]).await;
                assert_eq!(told.status, status, "{under:?}");
                // In a line of its own, too, before the proxy's.
                let lines = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "192.0.2.8")];
                assert_eq!(client.get("/", &lines).await.status, status);
            }
            assert_eq!(gate.remaining(&[("ip", "192.0.2.7")]), 0);
            assert_eq!(gate.remaining(&[("ip", "198.51.100.0")]), 2);
        }
    }
}

/// Hyper by itself leaves no peer with a request.
#[tokio::test]
async fn without_a_peer_and_a_header_the_address_is_missing_and_no_error() {
    for under in [Under::Hyper1, Under::Hyper2] {
        for (missing, expected) in [
            (Missing::Marker, [200, 200, 429]),
            (Missing::Skip, [200, 200, 200]),
            (Missing::Refuse, [400, 400, 400]),
        ] {
            for address in [ClientAddress::peer(), ClientAddress::hops(1)] {
                let gate = Gate::new(Policy::new().limit(ip().missing(missing)));
                let server = Server::start(under, by_address(&gate, address)).await;
                let mut client = server.client().await;
                for status in expected {
                    assert_eq!(client.get("/", &[]).await.status, status, "{under:?}");
                }
            }
        }
    }
}
