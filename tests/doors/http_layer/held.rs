//! How long a permit is held: until the body of the response has ended, or whatever comes before.

use std::time::Duration;

use axum::body::Body;
use http::{Method, Response};
use tollgate::http::{Settle, fact};
use tollgate::{Limit, Mode, Policy, Quota};

use super::server::{
    Begun, Does, Gate, Server, Stream, Under, meanwhile, next, read, request, until,
};

const LEASE: Duration = Duration::from_secs(10);

fn one_slot() -> Gate {
    Gate::new(Policy::new().limit(Limit::concurrent("slots", 1).lease(LEASE)))
}

/// Nothing is held, and another request is admitted.
async fn is_free(gate: &Gate, server: &Server) {
    until(|| gate.in_use("slots") == 0).await;
    let told = server.client().await.get("/", &[]).await;
    assert_eq!(told.status, 200);
    until(|| gate.in_use("slots") == 0).await;
    let slots = gate.limit("slots");
    assert_eq!(slots.acquired, slots.returned);
}

#[tokio::test]
async fn until_the_last_frame() {
    for under in Under::ALL {
        let gate = one_slot();
        let server = Server::start(under, gate.layer()).await;
        let mut begun = server.client().await.begin("/held", &[]);
        let handler = server.handler().await;
        assert_eq!(gate.in_use("slots"), 1);
        let stream = handler.streams();
        let response = begun.head().await.unwrap();
        let left = r#""slots";r=0"#;
        assert_eq!(response.headers()["ratelimit"], left, "{under:?}");
        let mut body = response.into_body();
        for frame in [b"a", b"b", b"c"] {
            stream.sends(frame).await;
            assert_eq!(next(&mut body).await.unwrap(), &frame[..]);
            assert_eq!(gate.in_use("slots"), 1);
            let told = server.client().await.get("/", &[]).await;
            assert_eq!((told.status, told.header("ratelimit")), (503, left), "{under:?}");
        }
        drop(stream);
        assert_eq!(next(&mut body).await, None);
        is_free(&gate, &server).await;
        assert_eq!(server.calls(), 2);
    }
}

#[tokio::test]
async fn until_the_client_hangs_up_in_the_middle() {
    for under in Under::ALL {
        let gate = one_slot();
        let server = Server::start(under, gate.layer()).await;
        let mut begun = server.client().await.begin("/held", &[]);
        let stream = server.handler().await.streams();
        let mut body = begun.head().await.unwrap().into_body();
        stream.sends(b"a").await;
        assert_eq!(next(&mut body).await.unwrap(), "a");
        meanwhile().await;
        assert_eq!(gate.in_use("slots"), 1, "{under:?}");
        drop((begun, body));
        stream.dropped().await;
        is_free(&gate, &server).await;
    }
}

#[tokio::test]
async fn until_the_client_hangs_up_before_the_response() {
    for under in Under::ALL {
        let gate = one_slot();
        let server = Server::start(under, gate.layer()).await;
        let begun = server.client().await.begin("/held", &[]);
        let handler = server.handler().await;
        assert_eq!(gate.in_use("slots"), 1, "{under:?}");
        drop(begun);
        handler.dropped().await;
        is_free(&gate, &server).await;
    }
}

/// A response that the client does not read, as far as the server can send it.
async fn stalled(server: &Server) -> (Begun, hyper::body::Incoming, Stream) {
    let mut begun = server.client().await.begin("/held", &[]);
    let stream = server.handler().await.streams();
    let body = begun.head().await.unwrap().into_body();
    stream.fills().await;
    meanwhile().await;
    (begun, body, stream)
}

#[tokio::test]
async fn while_the_client_stalls_until_it_hangs_up() {
    for under in Under::ALL {
        let gate = one_slot();
        let server = Server::start(under, gate.layer()).await;
        let (begun, body, stream) = stalled(&server).await;
        assert_eq!(gate.in_use("slots"), 1, "{under:?}");
        assert_eq!(server.client().await.get("/", &[]).await.status, 503);
        drop((begun, body));
        stream.dropped().await;
        is_free(&gate, &server).await;
        assert_eq!(gate.limit("slots").slots.unwrap().late, 0);
    }
}

#[tokio::test]
async fn while_the_client_stalls_until_the_lease_is_over() {
    for under in Under::ALL {
        let gate = one_slot();
        let server = Server::start(under, gate.layer()).await;
        let (begun, body, stream) = stalled(&server).await;
        gate.time.advance(LEASE - Duration::from_nanos(1));
        assert_eq!(server.client().await.get("/", &[]).await.status, 503, "{under:?}");
        gate.time.advance(Duration::from_nanos(1));
        let mut second = server.client().await.begin("/held", &[]);
        let handler = server.handler().await;
        // The first gives back what is another's by now: nothing.
        drop((begun, body));
        stream.dropped().await;
        until(|| gate.limit("slots").returned == 1).await;
        assert_eq!(gate.in_use("slots"), 1);
        assert_eq!(server.client().await.get("/", &[]).await.status, 503);
        handler.answers("done");
        assert_eq!(second.told().await.body, "done");
        is_free(&gate, &server).await;
        let slots = gate.limit("slots").slots.unwrap();
        assert_eq!((slots.expired, slots.late), (1, 1));
    }
}

#[tokio::test]
async fn until_the_handler_panics() {
    for under in Under::ALL {
        let gate = one_slot();
        let server = Server::start(under, gate.layer()).await;
        assert!(server.client().await.send(request("/panic", &[])).await.is_err());
        is_free(&gate, &server).await;

        let mut begun = server.client().await.begin("/held", &[]);
        server.handler().await.does(Does::Panics);
        assert!(begun.head().await.is_err(), "{under:?}");
        is_free(&gate, &server).await;

        // While the body is sent.
        let mut begun = server.client().await.begin("/held", &[]);
        let stream = server.handler().await.streams();
        stream.sends(b"a").await;
        let mut body = begun.head().await.unwrap().into_body();
        assert_eq!(next(&mut body).await.unwrap(), "a");
        assert_eq!(gate.in_use("slots"), 1);
        stream.panics().await;
        assert_eq!(next(&mut body).await, None);
        is_free(&gate, &server).await;
    }
}

#[tokio::test]
async fn until_the_handler_fails() {
    for under in Under::ALL {
        let gate = one_slot();
        let server = Server::start(under, gate.layer()).await;
        let mut begun = server.client().await.begin("/held", &[]);
        server.handler().await.does(Does::Fails);
        match (under, begun.head().await) {
            (Under::Axum1 | Under::Axum2, response) => {
                let response = response.unwrap();
                assert_eq!(response.status(), 500);
                assert_eq!(response.headers()["ratelimit"], r#""slots";r=0"#);
            }
            (Under::Hyper1 | Under::Hyper2, response) => assert!(response.is_err()),
        }
        is_free(&gate, &server).await;
    }
}

#[tokio::test]
async fn of_head_and_of_nothing_the_body_is_over_at_once() {
    for under in Under::ALL {
        let gate = one_slot();
        let server = Server::start(under, gate.layer()).await;
        let mut client = server.client().await;
        for (method, status) in [(Method::HEAD, 200), (Method::GET, 204), (Method::POST, 200)] {
            let mut asked = request("/held", &[]);
            *asked.method_mut() = method.clone();
            let told = async { client.ask(asked).await };
            let handled = async {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = status.try_into().unwrap();
                server.handler().await.does(Does::Answers(response));
            };
            let (told, ()) = tokio::join!(told, handled);
            assert_eq!((told.status, &*told.body), (status, ""), "{under:?}");
            until(|| gate.in_use("slots") == 0).await;
        }
        // An endless body, of which HEAD must send nothing. Hyper over HTTP/2 sends it.
        if under == Under::Hyper2 {
            continue;
        }
        let mut asked = request("/held", &[]);
        *asked.method_mut() = Method::HEAD;
        let (told, stream) =
            tokio::join!(client.ask(asked), async { server.handler().await.streams() });
        assert_eq!((told.status, &*told.body), (200, ""), "{under:?}");
        stream.dropped().await;
        is_free(&gate, &server).await;
        assert_eq!(client.get("/", &[]).await.status, 200, "the connection goes on");
    }
}

#[tokio::test]
async fn a_handler_settles_what_it_cost_when_all_is_over() {
    for under in Under::ALL {
        let user = Limit::new("user", Quota::per_minute(100)).key(["user"]);
        let gate = Gate::new(Policy::new().limit(user));
        let layer = gate.layer().fact("user", fact::header("x-user"));
        let server = Server::start(under, layer).await;
        for (user, cost, hangs_up) in [
            ("a", Some(40), false),
            ("b", Some(40), true),
            ("c", Some(0), false),
            ("d", None, false),
        ] {
            let facts = [("user", user)];
            let mut begun = server.client().await.begin("/held", &[("x-user", user)]);
            let mut response = Response::new(());
            if let Some(cost) = cost {
                response.extensions_mut().insert(Settle(cost));
            }
            let stream = server.handler().await.streams_as(response);
            let response = begun.head().await.unwrap();
            assert_eq!(response.headers()["ratelimit"], r#""user";r=99;t=1"#);
            meanwhile().await;
            assert_eq!(gate.remaining(&facts), 99, "{under:?}: not before its end");
            if hangs_up {
                drop((response, begun));
                stream.dropped().await;
            } else {
                drop(stream);
                assert_eq!(read(response).await.body, "");
            }
            let left = 100 - cost.unwrap_or(1);
            until(|| gate.remaining(&facts) == left).await;
        }
    }
}

#[tokio::test]
async fn through_a_reload() {
    let slots = |cap| Policy::new().limit(Limit::concurrent("slots", cap).lease(LEASE));
    for under in Under::ALL {
        let gate = one_slot();
        let server = Server::start(under, gate.layer()).await;
        let mut first = server.client().await.begin("/held", &[]);
        let handler = server.handler().await;
        let _ = gate.enforcer.reload(slots(2)).unwrap();
        let mut second = server.client().await.begin("/held", &[]);
        let stream = server.handler().await.streams();
        assert_eq!(gate.in_use("slots"), 2, "{under:?}");
        // Without the limit, and back: what was taken from the old one is given back to it.
        let _ = gate.enforcer.reload(Policy::new()).unwrap();
        let told = server.client().await.get("/", &[]).await;
        assert!(told.status == 200 && !told.tells_limits());
        let _ = gate.enforcer.reload(slots(1)).unwrap();
        drop(stream);
        assert_eq!(second.told().await.status, 200);
        handler.answers("done");
        assert_eq!(first.told().await.body, "done");
        is_free(&gate, &server).await;
        assert_eq!(gate.limit("slots").acquired, 3);
    }
}

#[tokio::test]
async fn whatever_becomes_of_the_mode() {
    for under in Under::ALL {
        let gate = one_slot();
        let server = Server::start(under, gate.layer()).await;
        let mut begun = server.client().await.begin("/held", &[]);
        let stream = server.handler().await.streams();
        for mode in [Mode::Shadow, Mode::Off] {
            gate.enforcer.set_mode("slots", mode).unwrap();
            let told = server.client().await.get("/", &[]).await;
            assert!(told.status == 200 && !told.tells_limits(), "{under:?}: {mode:?}");
        }
        gate.enforcer.set_mode("slots", Mode::Enforce).unwrap();
        assert_eq!(server.client().await.get("/", &[]).await.status, 503);
        drop(stream);
        assert_eq!(begun.told().await.status, 200);
        is_free(&gate, &server).await;
    }
}

#[tokio::test]
async fn a_server_that_stops_lets_responses_end() {
    for under in [Under::Axum1, Under::Axum2] {
        let gate = one_slot();
        let server = Server::start(under, gate.layer()).await;
        let mut begun = server.client().await.begin("/held", &[]);
        let stream = server.handler().await.streams();
        let mut body = begun.head().await.unwrap().into_body();
        server.stop();
        meanwhile().await;
        assert!(!server.is_stopped() && gate.in_use("slots") == 1, "{under:?}");
        stream.sends(b"a").await;
        assert_eq!(next(&mut body).await.unwrap(), "a");
        drop(stream);
        assert_eq!(next(&mut body).await, None);
        server.stopped().await;
        assert_eq!(gate.in_use("slots"), 0);
    }
}
