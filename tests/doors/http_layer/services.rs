//! What the layer asks of a service, and what it promises as one: without sockets.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Body as _;
use tokio::sync::mpsc;
use tollgate::http::{AdmitLayer, Settle, fact};
use tollgate::{Clock, Enforcer, Limit, Policy, Quota};
use tower::buffer::Buffer;
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceExt, service_fn};

use super::server::{Gate, call, guarded, until};

/// Ready once it was asked; a clone must be asked itself.
#[derive(Default)]
struct ReadyOnce {
    is_ready: bool,
    calls: Arc<AtomicUsize>,
}

impl Clone for ReadyOnce {
    fn clone(&self) -> Self {
        ReadyOnce { is_ready: false, calls: self.calls.clone() }
    }
}

impl Service<Request<Body>> for ReadyOnce {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called, and not ready");
        self.calls.fetch_add(1, Ordering::Relaxed);
        ready(Ok(Response::new("hello".into())))
    }
}

fn one_slot(waits: bool) -> Gate {
    let slots = Limit::concurrent("slots", 1);
    let slots = if waits { slots.wait(Duration::from_secs(60)) } else { slots };
    Gate::new(Policy::new().limit(slots))
}

fn asked() -> Request<Body> {
    Request::default()
}

async fn hello(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new("hello".into()))
}

#[tokio::test]
async fn the_one_that_is_ready_is_the_one_called() {
    for waits in [false, true] {
        let gate = one_slot(waits);
        let inner = ReadyOnce::default();
        let calls = inner.calls.clone();
        let mut service = gate.layer().layer(inner);
        for nth in 1..=3 {
            let response = call(&mut service, asked()).await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(calls.load(Ordering::Relaxed), nth, "waits: {waits}");
        }
        // And of those that wait, each is called that was ready when it began to.
        let held = gate.enforcer.admit::<&str>(&[], 1).unwrap();
        if !waits {
            assert_eq!(call(&mut service, asked()).await.unwrap().status(), 503);
            drop(held);
            // What was ready stays so, or is asked again.
            assert_eq!(call(&mut service, asked()).await.unwrap().status(), 200);
            continue;
        }
        let first = service.ready().await.unwrap().call(asked());
        let second = service.ready().await.unwrap().call(asked());
        let free = async {
            until(|| gate.waiting("slots") == 2).await;
            drop(held);
        };
        let end = |response: Response<_>| drop(response);
        let (first, second, ()) = guarded(async {
            tokio::join!(
                async { first.await.map(end).is_ok() },
                async { second.await.map(end).is_ok() },
                free,
            )
        })
        .await;
        assert!(first && second);
        assert_eq!(calls.load(Ordering::Relaxed), 5);
        assert_eq!((gate.in_use("slots"), gate.waiting("slots")), (0, 0));
    }
}

/// A refused request gives nothing to the service, and what it had made ready serves the next.
#[tokio::test]
async fn before_a_limit_of_towers_own() {
    for waits in [false, true] {
        let gate = one_slot(waits);
        let mut service = gate.layer().layer(ConcurrencyLimit::new(service_fn(hello), 1));
        let held = gate.enforcer.admit::<&str>(&[], 1).unwrap();
        if waits {
            let waiting = service.ready().await.unwrap().call(asked());
            let free = async {
                until(|| gate.waiting("slots") == 1).await;
                drop(held);
            };
            let (response, ()) = guarded(async { tokio::join!(waiting, free) }).await;
            assert_eq!(response.unwrap().status(), 200);
        } else {
            for _ in 0..3 {
                assert_eq!(call(&mut service, asked()).await.unwrap().status(), 503);
            }
            drop(held);
        }
        for _ in 0..3 {
            assert_eq!(call(&mut service, asked()).await.unwrap().status(), 200, "{waits}");
        }
    }
}

#[tokio::test]
async fn before_a_buffer() {
    for waits in [false, true] {
        let gate = one_slot(waits);
        let mut service = gate.layer().layer(Buffer::new(service_fn(hello), 1));
        for _ in 0..3 {
            let response = call(&mut service, asked()).await.unwrap();
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
        }
        let held = gate.enforcer.admit::<&str>(&[], 1).unwrap();
        if waits {
            let waiting = service.ready().await.unwrap().call(asked());
            let free = async {
                until(|| gate.waiting("slots") == 1).await;
                drop(held);
            };
            let (response, ()) = guarded(async { tokio::join!(waiting, free) }).await;
            assert_eq!(response.unwrap().status(), 200);
        } else {
            assert_eq!(call(&mut service, asked()).await.unwrap().status(), 503);
            drop(held);
            assert_eq!(call(&mut service, asked()).await.unwrap().status(), 200);
        }
    }
}

/// Behind a buffer all clients go through one service, and are counted together.
#[tokio::test]
async fn behind_a_buffer() {
    let gate = Gate::new(Policy::new().limit(Limit::new("all", Quota::per_second(5))));
    let service = Buffer::new(gate.layer().layer(service_fn(hello)), 8);
    let mut admitted = 0;
    for _ in 0..50 {
        let response = guarded(service.clone().oneshot(asked())).await.unwrap();
        admitted += usize::from(response.status() == 200);
    }
    assert_eq!(admitted, 5);
}

/// Not ready, or broken: as the service says.
#[test]
fn readiness_is_the_services_own() {
    #[derive(Clone)]
    struct Says(Poll<Result<(), &'static str>>);

    impl Service<Request<Body>> for Says {
        type Response = Response<Body>;
        type Error = &'static str;
        type Future = Ready<Result<Response<Body>, &'static str>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
            self.0
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            ready(Err("failed"))
        }
    }

    let gate = one_slot(false);
    let mut cx = Context::from_waker(Waker::noop());
    for says in [Poll::Pending, Poll::Ready(Ok(())), Poll::Ready(Err("broken"))] {
        let mut service = gate.layer().layer(Says(says));
        assert_eq!(service.poll_ready(&mut cx), says);
    }
    // An error is passed on, and its slot is free when the future is gone.
    let mut service = gate.layer().layer(Says(Poll::Ready(Ok(()))));
    {
        let mut future = pin!(service.call(asked()));
        let Poll::Ready(Err(error)) = future.as_mut().poll(&mut cx) else { panic!() };
        assert_eq!(error, "failed");
    }
    assert_eq!(gate.in_use("slots"), 0);
}

/// A future that is dropped, polled or not, holds nothing any more.
#[test]
fn a_future_that_is_dropped_holds_nothing() {
    let mut cx = Context::from_waker(Waker::noop());
    let never = |_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>();
    for (waits, polled) in [(false, false), (false, true), (true, false), (true, true)] {
        let gate = one_slot(waits);
        let mut service = gate.layer().layer(service_fn(never));
        let mut first = Box::pin(service.call(asked()));
        if polled {
            assert!(first.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(gate.in_use("slots"), u32::from(!waits || polled));
        let mut second = Box::pin(service.call(asked()));
        assert_eq!(second.as_mut().poll(&mut cx).is_pending(), waits);
        let stands = usize::from(waits && polled);
        assert_eq!(gate.waiting("slots"), stands);
        drop(second);
        assert_eq!(gate.waiting("slots"), 0);
        drop(first);
        let slots = gate.limit("slots");
        assert_eq!((gate.in_use("slots"), slots.acquired), (0, slots.returned));
    }
}

/// A body says how long it is before and while it is read, and that it is over.
#[tokio::test]
async fn a_body_says_how_long_it_is() {
    for (body, length) in [("", 0), ("hello", 5)] {
        let gate = one_slot(false);
        let service = service_fn(move |_: Request<Body>| {
            ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(body))))
        });
        let mut service = gate.layer().layer(service);
        let admitted = call(&mut service, asked()).await.unwrap();
        let refused = call(&mut service, asked()).await.unwrap();
        assert_eq!(refused.status(), 503);
        let (mut admitted, mut refused) = (admitted.into_body(), refused.into_body());
        assert_eq!(admitted.size_hint().exact(), Some(length));
        assert_eq!(admitted.is_end_stream(), length == 0);
        assert_eq!(gate.in_use("slots"), 1, "until it is read or dropped");
        if length > 0 {
            assert_eq!(admitted.frame().await.unwrap().unwrap().into_data().unwrap(), body);
            assert_eq!(gate.in_use("slots"), 0, "that was the last frame");
        }
        assert!(admitted.is_end_stream() && admitted.frame().await.is_none());
        assert_eq!(gate.in_use("slots"), 0);
        assert!(admitted.frame().await.is_none());

        let told = refused.size_hint().exact().unwrap();
        assert!(told > 0 && !refused.is_end_stream());
        let frame = refused.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(frame.len() as u64, told);
        assert!(refused.is_end_stream() && refused.frame().await.is_none());
        assert_eq!(refused.size_hint().exact(), Some(0));
    }
}

/// What it cost is for the layer, and goes no further; unread, it is settled when it is dropped.
#[tokio::test]
async fn what_it_cost_is_taken_from_the_response() {
    let user = Limit::new("user", Quota::per_minute(100)).key(["user"]);
    let gate = Gate::new(Policy::new().limit(user));
    let layer = gate.layer().fact("user", fact::header("x-user"));
    let mut service = layer.layer(service_fn(|_: Request<Body>| {
        let mut response = Response::new(Body::from("hello"));
        response.extensions_mut().insert(Settle(30));
        ready(Ok::<_, Infallible>(response))
    }));
    let mut request = asked();
    request.headers_mut().insert("x-user", "ann".parse().unwrap());
    let response = call(&mut service, request).await.unwrap();
    assert_eq!(response.extensions().get::<Settle>(), None);
    assert_eq!(gate.remaining(&[("user", "ann")]), 99);
    drop(response);
    assert_eq!(gate.remaining(&[("user", "ann")]), 70);
}

/// On tokio's clock, paused: each is let in when its turn comes, and in order.
#[tokio::test(start_paused = true)]
async fn on_tokios_clock_turns_come_in_order() {
    let every_second = Limit::new("all", Quota::per_second(1));
    let policy = Policy::new().limit(every_second.wait(Duration::from_secs(3)));
    let enforcer = Enforcer::builder(policy).clock(Clock::tokio()).build().unwrap();
    let (to, mut came) = mpsc::unbounded_channel();
    let begun = tokio::time::Instant::now();
    let service = AdmitLayer::new(enforcer).layer(service_fn(move |request: Request<Body>| {
        to.send((request.uri().path().to_owned(), begun.elapsed().as_secs())).unwrap();
        hello(request)
    }));
    let requests: Vec<_> = (0..6)
        .map(|nth| {
            let mut request = asked();
            *request.uri_mut() = format!("/{nth}").parse().unwrap();
            tokio::spawn(service.clone().oneshot(request))
        })
        .collect();
    let mut statuses = Vec::new();
    for request in requests {
        statuses.push(request.await.unwrap().unwrap().status().as_u16());
    }
    // Those for whom 3 s are not enough are told so at once.
    assert_eq!(statuses, [200, 200, 200, 200, 503, 503]);
    for nth in 0..4 {
        assert_eq!(came.recv().await.unwrap(), (format!("/{nth}"), nth));
    }
}
