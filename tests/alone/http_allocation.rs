//! What a request's headers make the layer allocate has a bound.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Body;
use stats_alloc::Region;
use tollgate::http::{AdmitLayer, ClientAddress, ProxyHeader, fact};
use tollgate::{Enforcer, Limit, Policy, Quota, VirtualClock};
use tower::{Layer, Service, service_fn};

use crate::ALLOCATOR;

/// What a call may allocate, whatever the headers.
const AT_MOST: usize = 4_096;
/// The most that headers may allocate: the numbers of the limits that they state.
const MORE: usize = 64;

fn nothing(_: Request<()>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::from("hello"))))
}

fn layer(quota: Quota) -> AdmitLayer {
    let limit = |name| Limit::new(name, quota).key([name]);
    let policy = ["user", "ip", "hop"].into_iter().map(limit).fold(Policy::new(), Policy::limit);
    let time = VirtualClock::new();
    let enforcer = Enforcer::builder(policy).clock(time.clock()).build().unwrap();
    let trusting = |header| ClientAddress::trusting_everybody().header(header);
    let peer = |peer: &SocketAddr| *peer;
    AdmitLayer::new(enforcer)
        .fact("user", fact::header("x-user"))
        .fact("ip", fact::client_address(trusting(ProxyHeader::XForwardedFor), peer))
        .fact("hop", fact::client_address(trusting(ProxyHeader::Forwarded), peer))
}

/// Bytes allocated from the call to the end of the body, and whether the request was admitted.
fn call<S, B>(service: &mut S, request: Request<()>) -> (usize, bool)
where
    S: Service<Request<()>, Response = Response<B>>,
    B: Body,
{
    let region = Region::new(ALLOCATOR);
    let mut cx = Context::from_waker(Waker::noop());
    let future = pin!(service.call(request));
    let Poll::Ready(Ok(response)) = future.poll(&mut cx) else { panic!("it is ready at once") };
    let admitted = response.status() == 200;
    let mut body = pin!(black_box(response).into_body());
    while let Poll::Ready(Some(_)) = body.as_mut().poll_frame(&mut cx) {}
    (region.change().bytes_allocated, admitted)
}

fn request(lines: &[(&'static str, Vec<u8>)]) -> Request<()> {
    let mut request = Request::new(());
    for (name, value) in lines {
        request.headers_mut().append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    request.extensions_mut().insert(SocketAddr::from(([192, 0, 2, 1], 4711)));
    request
}

#[test]
fn headers_do_not_make_the_layer_allocate() {
    alone!(headers_do_not_make_the_layer_allocate);
    let junk: Vec<u8> = (0..8_192_u32).map(|at| b' ' + (at * 31 % 95) as u8).collect();
    let hostile = [
        vec![("x-user", vec![b'x'; 8_192])],
        vec![("x-user", junk.clone())],
        vec![("x-user", vec![0xff; 8_192])],
        vec![("x-user", vec![b'x'; 1 << 20])],
        vec![("x-forwarded-for", "198.51.100.7, ".repeat(20_000).into_bytes())],
        vec![("x-forwarded-for", vec![b','; 1 << 20])],
        vec![("forwarded", "for=\"[2001:db8::1]:80\";by=\"\\\",\", ".repeat(5_000).into_bytes())],
        vec![("forwarded", vec![b'"'; 1 << 16])],
        (0..5_000).map(|_| ("x-forwarded-for", b"1.1.1.1,2.2.2.2".to_vec())).collect(),
        vec![("x-forwarded-for", junk.clone()), ("forwarded", junk.clone()), ("te", junk)],
    ];
    let mut admitting = layer(Quota::per_hour(1_000_000)).layer(service_fn(nothing));
    let mut refusing = layer(Quota::per_hour(1).burst(0)).layer(service_fn(nothing));
    let harmless = || {
        let ip = b"198.51.100.1".to_vec();
        request(&[("x-user", b"ann".to_vec()), ("x-forwarded-for", ip)])
    };
    for _ in 0..10 {
        call(&mut admitting, harmless());
        call(&mut refusing, harmless());
    }
    let (usual, admitted) = call(&mut admitting, harmless());
    assert!(admitted && (1..=AT_MOST).contains(&usual), "{usual}");
    let (refusal, admitted) = call(&mut refusing, harmless());
    assert!(!admitted && (1..=AT_MOST).contains(&refusal), "{refusal}");
    for lines in hostile {
        let name = lines[0].0;
        // The second time: a key that is new may have its table grow.
        call(&mut admitting, request(&lines));
        let (bytes, admitted) = call(&mut admitting, request(&lines));
        assert!(admitted && bytes <= usual + MORE, "{name}: {bytes}, usually {usual}");
        let (bytes, admitted) = call(&mut refusing, request(&lines));
        assert!(!admitted && bytes <= refusal + MORE, "{name}: {bytes}, usually {refusal}");
    }
    println!("admitted {usual} bytes, refused {refusal}");
}
