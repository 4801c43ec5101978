//! The responses that clients get, and the keys by which they are counted together.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Response, StatusCode};
use tollgate::http::{HeaderStyle, RefusalBody, Refusals, fact};
use tollgate::policy::Missing;
use tollgate::{Busiest, Limit, Mode, Policy, Quota};

use super::server::{Gate, Server, Under, request};

fn user(quota: Quota) -> Limit {
    Limit::new("user", quota).key(["user"])
}

const ANN: [(&str, &str); 1] = [("x-user", "ann")];

#[tokio::test]
async fn admitted_and_refused() {
    for under in Under::ALL {
        let gate = Gate::new(Policy::new().limit(user(Quota::per_minute(2))));
        let layer = gate.layer().fact("user", fact::header("x-user"));
        let server = Server::start(under, layer).await;
        let mut client = server.client().await;
        for left in [1, 0] {
            let told = client.get("/", &ANN).await;
            assert_eq!((told.status, &*told.body), (200, "hello"), "{under:?}");
            assert_eq!(told.header("ratelimit-policy"), r#""user";q=2;w=60"#);
            assert_eq!(told.header("ratelimit"), format!(r#""user";r={left};t=30"#));
            assert_eq!(told.header("retry-after"), "-");
        }
        let told = client.get("/", &ANN).await;
        assert_eq!(told.status, 429, "{under:?}");
        assert_eq!(told.header("retry-after"), "30");
        assert_eq!(told.header("ratelimit-policy"), r#""user";q=2;w=60"#);
        assert_eq!(told.header("ratelimit"), r#""user";r=0;t=30"#);
        assert_eq!(told.header("content-type"), "application/problem+json");
        assert_eq!(told.header("content-length"), told.body.len().to_string());
        let body: serde_json::Value = serde_json::from_str(&told.body).unwrap();
        assert_eq!(body["violated-policies"], serde_json::json!(["user"]));
        assert_eq!(body["status"], 429);
        assert_eq!(server.calls(), 2, "the refused one never came to the handler");
        // The connection goes on, and so do others.
        assert_eq!(client.get("/", &[("x-user", "bob")]).await.status, 200);
        gate.time.advance(Duration::from_secs(30));
        assert_eq!(client.get("/", &ANN).await.status, 200);
    }
}

/// A refusal as long as it says, whatever is asked of its body.
#[tokio::test]
async fn refusals_of_every_body_say_how_long_they_are() {
    for under in Under::ALL {
        for body in [RefusalBody::Problem, RefusalBody::Plain, RefusalBody::Empty] {
            let gate = Gate::new(Policy::new().limit(Limit::new("all", Quota::per_minute(1))));
            let refusals = Refusals::default().body(body).style(HeaderStyle::None);
            let server = Server::start(under, gate.layer().refusals(refusals)).await;
            let mut client = server.client().await;
            let admitted = client.get("/", &[]).await;
            assert!(!admitted.tells_limits(), "{admitted:?}");
            let told = client.get("/", &[]).await;
            assert_eq!((told.status, told.header("retry-after")), (503, "60"));
            // Nothing, or 0, where there is nothing to be long.
            let length = told.header("content-length").replace('-', "0");
            assert_eq!(length, told.body.len().to_string(), "{under:?}");
            assert_eq!(told.body.is_empty(), body == RefusalBody::Empty);

            let mut head = request("/", &[]);
            *head.method_mut() = Method::HEAD;
            let of_head = client.ask(head).await;
            assert_eq!((of_head.status, &*of_head.body), (503, ""));
            // What the same GET would have.
            assert_eq!(of_head.header("content-length").replace('-', "0"), length, "{under:?}");
            assert_eq!(client.get("/", &[]).await.status, 503, "the connection goes on");
        }
    }
}

/// tower's own limit, behind a buffer, is one of each connection.
#[tokio::test]
async fn connections_share_a_limit() {
    for under in Under::ALL {
        let gate = Gate::new(Policy::new().limit(Limit::new("all", Quota::per_second(5))));
        let server = Server::start(under, gate.layer()).await;
        let mut statuses = Vec::new();
        for _ in 0..50 {
            statuses.push(server.client().await.get("/", &[]).await.status);
        }
        let admitted = statuses.iter().filter(|status| **status == 200).count();
        assert_eq!((admitted, server.calls()), (5, 5), "{under:?}");
        assert!(statuses[5..].iter().all(|status| *status == 503));
    }
}

/// Five per second are five in a second, not one in five.
#[tokio::test]
async fn five_per_second_are_five_a_second() {
    for under in Under::ALL {
        let gate = Gate::new(Policy::new().limit(Limit::new("all", Quota::per_second(5))));
        let server = Server::start(under, gate.layer()).await;
        let mut client = server.client().await;
        for _ in 0..3 {
            for nth in 0..6 {
                let status = client.get("/", &[]).await.status;
                assert_eq!(status == 200, nth < 5, "{under:?}: {nth}");
            }
            gate.time.advance(Duration::from_secs(1));
        }
        // And one comes back in a fifth of it.
        for _ in 0..5 {
            assert_eq!(client.get("/", &[]).await.status, 200);
        }
        gate.time.advance(Duration::from_millis(200));
        let statuses = [client.get("/", &[]).await.status, client.get("/", &[]).await.status];
        assert_eq!(statuses, [200, 503]);
    }
}

#[tokio::test]
async fn an_outer_limit_is_not_charged_for_what_an_inner_one_refuses() {
    for under in Under::ALL {
        for outer_first in [true, false] {
            let all = Limit::new("all", Quota::per_minute(10));
            let user = user(Quota::per_minute(2));
            let policy = match outer_first {
                true => Policy::new().limit(all).limit(user),
                false => Policy::new().limit(user).limit(all),
            };
            let gate = Gate::new(policy);
            let layer = gate.layer().fact("user", fact::header("x-user"));
            let server = Server::start(under, layer).await;
            let mut client = server.client().await;
            for _ in 0..2 {
                assert_eq!(client.get("/", &ANN).await.status, 200);
            }
            for _ in 0..20 {
                let told = client.get("/", &ANN).await;
                assert_eq!(told.status, 429, "{under:?}");
                assert!(told.body.contains(r#""violated-policies":["user"]"#), "{}", told.body);
            }
            // Two of ten are spent, and 8 others come in.
            for nth in 0..9 {
                let told = client.get("/", &[("x-user", &format!("u{nth}"))]).await;
                assert_eq!(told.status, if nth < 8 { 200 } else { 503 }, "{under:?}: {nth}");
                assert_eq!(told.body.contains(r#"["all"]"#), nth == 8);
            }
        }
    }
}

/// Never `Retry-After: 0`, and a client that waits as long as the header says is admitted.
#[tokio::test]
async fn retry_after_is_at_least_a_second_and_enough() {
    for under in Under::ALL {
        let all = Limit::new("all", Quota::new(1, Duration::from_secs(1)).unwrap());
        let gate = Gate::new(Policy::new().limit(all));
        let server = Server::start(under, gate.layer()).await;
        let mut client = server.client().await;
        for passed in [0, 1, 100_000_000, 999_999_999] {
            assert_eq!(client.get("/", &[]).await.status, 200, "{under:?}");
            gate.time.advance(Duration::from_nanos(passed));
            let told = client.get("/", &[]).await;
            assert_eq!((told.status, told.header("retry-after")), (503, "1"), "after {passed}");
            gate.time.advance(Duration::from_secs(1));
        }
    }
}

#[tokio::test]
async fn a_shadow_changes_nothing_and_is_told_nowhere() {
    for under in Under::ALL {
        let shadow = Limit::new("shadow", Quota::per_hour(1)).mode(Mode::Shadow);
        let slots = Limit::concurrent("slots", 1).missing(Missing::Refuse).mode(Mode::Shadow);
        let user = user(Quota::per_minute(3));
        // First, so that it would hide what comes after.
        let gate = Gate::new(Policy::new().limit(shadow).limit(slots).limit(user));
        let layer = gate.layer().fact("user", fact::header("x-user"));
        let server = Server::start(under, layer).await;
        let mut client = server.client().await;
        for nth in 0..4 {
            let told = client.get("/", &ANN).await;
            assert_eq!(told.status, if nth < 3 { 200 } else { 429 }, "{under:?}");
            assert!(!format!("{told:?}").contains("shadow"), "{told:?}");
            assert_eq!(told.header("ratelimit-policy"), r#""user";q=3;w=60"#);
        }
        assert_eq!(gate.limit("shadow").shadow_refused, 3, "it would have refused");
        assert_eq!(gate.limit("shadow").refused, 0);
    }
}

#[tokio::test]
async fn while_bypassed_all_come_in_and_nothing_is_told() {
    for under in Under::ALL {
        let gate = Gate::new(Policy::new().limit(Limit::new("all", Quota::per_minute(1))));
        let server = Server::start(under, gate.layer()).await;
        let mut client = server.client().await;
        gate.enforcer.bypass(true);
        for _ in 0..3 {
            let told = client.get("/", &[]).await;
            assert!(told.status == 200 && !told.tells_limits(), "{under:?}: {told:?}");
        }
        gate.enforcer.bypass(false);
        assert_eq!(client.get("/", &[]).await.header("ratelimit"), r#""all";r=0;t=60"#);
        assert_eq!(client.get("/", &[]).await.status, 503);
    }
}

#[tokio::test]
async fn refusals_can_be_answered_by_hand() {
    for under in Under::ALL {
        let gate = Gate::new(Policy::new().limit(user(Quota::per_minute(1))));
        let layer = gate.layer().fact("user", fact::header("x-user")).respond(
            |request, refused, answers| {
                let body = format!(
                    "{} {}: {} of {}",
                    request.uri.path(),
                    refused.limit(),
                    answers.limits[0].remaining(),
                    answers.limits.len(),
                );
                let mut response = Response::new(body.into());
                *response.status_mut() = StatusCode::IM_A_TEAPOT;
                response
            },
        );
        let server = Server::start(under, layer).await;
        let mut client = server.client().await;
        assert_eq!(client.get("/", &ANN).await.status, 200);
        // gRPC too.
        for headers in [&ANN[..], &[ANN[0], ("content-type", "application/grpc")]] {
            let told = client.get("/tea", headers).await;
            assert_eq!((told.status, &*told.body), (418, "/tea user: 0 of 1"), "{under:?}");
            assert_eq!(told.header("content-length"), told.body.len().to_string());
            assert!(!told.tells_limits() && told.header("retry-after") == "-");
        }
    }
}

#[tokio::test]
async fn the_busiest_keys_are_counted_as_they_are_refused() {
    for under in Under::ALL {
        let busiest = Arc::new(Busiest::new(2));
        let counted = busiest.clone();
        let gate = Gate::new(Policy::new().limit(user(Quota::per_minute(1))));
        let layer = gate
            .layer()
            .fact("user", fact::header("x-user"))
            .on_refused(move |refused, key| counted.count(refused.limit(), key));
        let server = Server::start(under, layer).await;
        let mut client = server.client().await;
        for (name, times) in [("ann", 4), ("bob", 3), ("cleo", 1)] {
            for _ in 0..times {
                let told = client.get("/", &[("x-user", name)]).await;
                assert!(!format!("{told:?}").contains("user="), "the client is told no key");
            }
        }
        let top = busiest.top("user").into_iter().map(|busy| (busy.key, busy.at_most));
        let expected = [("user=ann".to_owned(), 3), ("user=bob".to_owned(), 2)];
        assert_eq!(top.collect::<Vec<_>>(), expected, "{under:?}");
    }
}

#[tokio::test]
async fn a_clone_of_a_layer_is_as_it_was() {
    let gate = Gate::new(Policy::new().limit(user(Quota::per_minute(1))));
    let before = gate.layer().fact("user", fact::header("x-user"));
    let _after = before
        .clone()
        .fact("user", fact::header("x-other"))
        .refusals(Refusals::default().own_status(StatusCode::PAYMENT_REQUIRED))
        .respond(|_, _, _| panic!("this is the other one's"))
        .show_keys();
    let server = Server::start(Under::Axum1, before).await;
    let mut client = server.client().await;
    assert_eq!(client.get("/", &ANN).await.header("ratelimit"), r#""user";r=0;t=60"#);
    assert_eq!(client.get("/", &ANN).await.status, 429);
}

#[tokio::test]
async fn keys_are_shown_on_request() {
    let gate = Gate::new(Policy::new().limit(user(Quota::per_minute(1))));
    let layer = gate.layer().fact("user", fact::header("x-user")).show_keys();
    let server = Server::start(Under::Axum1, layer).await;
    let mut client = server.client().await;
    for status in [200, 429] {
        let told = client.get("/", &ANN).await;
        assert_eq!(told.status, status);
        // `user=ann` in base64.
        assert_eq!(told.header("ratelimit"), r#""user";r=0;t=60;pk=:dXNlcj1hbm4=:"#);
    }
}

/// Requests with few sets of limits, and with more sets than are cached, with other numbers after
/// reloads: each gets its own.
#[tokio::test]
async fn the_policy_that_is_told_is_that_of_the_request() {
    for sets in [2, 12] {
        let policy = |burst: u64| {
            (0..sets).fold(Policy::new(), |policy, nth| {
                let quota = Quota::per_second(1).burst(burst + nth);
                let path = format!("/{nth}");
                policy.limit(Limit::new(format!("limit {nth}"), quota).when("path", [&*path]))
            })
        };
        let gate = Gate::new(policy(100));
        let server = Server::start(Under::Axum1, gate.layer().fact("path", fact::path())).await;
        let mut client = server.client().await;
        for burst in [100, 200, 100] {
            let _ = gate.enforcer.reload(policy(burst)).unwrap();
            for nth in (0..sets).chain(0..sets) {
                let told = client.get(&format!("/{nth}"), &[]).await;
                let q = burst + nth;
                let expected = format!(r#""limit {nth}";q={q};w={q}"#);
                assert_eq!(told.header("ratelimit-policy"), expected);
            }
        }
    }
}
