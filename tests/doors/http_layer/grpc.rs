//! gRPC, by tonic's server and its client.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tollgate::http::{AdmitLayer, fact};
use tollgate::{Limit, Policy, Quota};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use super::server::{Gate, guarded, meanwhile, until};

async fn serve(layer: AdmitLayer) -> SocketAddr {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("it", ServingStatus::Serving).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = tonic::transport::Server::builder()
        .layer(layer)
        .add_service(health)
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(serve);
    address
}

async fn client(address: SocketAddr) -> HealthClient<Channel> {
    let to = Endpoint::from_shared(format!("http://{address}")).unwrap();
    HealthClient::new(guarded(to.connect()).await.unwrap())
}

fn of(user: &str) -> Request<HealthCheckRequest> {
    let mut request = Request::new(HealthCheckRequest { service: "it".to_owned() });
    request.metadata_mut().insert("x-user", user.parse().unwrap());
    request
}

fn pushback(status: &Status) -> Option<&str> {
    status.metadata().get("grpc-retry-pushback-ms").map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn refused_with_the_time_to_retry() {
    let user = Limit::new("user", Quota::per_minute(2)).key(["user"]);
    let gate = Gate::new(Policy::new().limit(user));
    let address = serve(gate.layer().fact("user", fact::header("x-user"))).await;
    let mut client = client(address).await;
    for left in [1, 0] {
        let response = guarded(client.check(of("ann"))).await.unwrap();
        let told = response.metadata().get("ratelimit").unwrap();
        assert_eq!(told, format!(r#""user";r={left};t=30"#).as_str());
        assert_eq!(response.into_inner().status, i32::from(ServingStatus::Serving as u8));
    }
    gate.time.advance(Duration::new(1, 1));
    let status = guarded(client.check(of("ann"))).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "refused by limit user, retry in 28.999999999s");
    let retry = status.get_details_retry_info().unwrap().retry_delay;
    assert_eq!(retry, Some(Duration::new(28, 999_999_999)));
    assert_eq!(pushback(&status), Some("29000"));
    assert_eq!(status.metadata().get("ratelimit").unwrap(), r#""user";r=0;t=29"#);

    // Others come in, and so does whoever waits as long as that, on the same connection.
    assert!(guarded(client.check(of("bob"))).await.is_ok());
    gate.time.advance(retry.unwrap());
    assert!(guarded(client.check(of("ann"))).await.is_ok());
}

#[tokio::test]
async fn refused_for_good() {
    let gate = Gate::new(Policy::new().limit(Limit::new("all", Quota::per_minute(5).burst(0))));
    let mut client = client(serve(gate.layer()).await).await;
    let status = guarded(client.check(of("ann"))).await.unwrap_err();
    assert_eq!((status.code(), pushback(&status)), (Code::ResourceExhausted, Some("-1")));
    assert!(status.get_details_retry_info().is_none());
}

#[tokio::test]
async fn channels_share_a_limit() {
    let gate = Gate::new(Policy::new().limit(Limit::new("all", Quota::per_second(5))));
    let address = serve(gate.layer()).await;
    let mut admitted = 0;
    for _ in 0..50 {
        let answered = guarded(client(address).await.check(of("ann"))).await;
        match answered {
            Ok(_) => admitted += 1,
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted),
        }
    }
    assert_eq!(admitted, 5);
}

/// A stream of messages holds its slot until it ends, which here only its client can bring about.
#[tokio::test]
async fn a_stream_holds_its_slot() {
    let gate = Gate::new(Policy::new().limit(Limit::concurrent("slots", 1)));
    let address = serve(gate.layer()).await;
    let mut client = client(address).await;
    let mut stream = guarded(client.watch(of("ann"))).await.unwrap().into_inner();
    let message = guarded(stream.message()).await.unwrap().unwrap();
    assert_eq!(message.status, i32::from(ServingStatus::Serving as u8));
    meanwhile().await;
    assert_eq!(gate.in_use("slots"), 1);
    let status = guarded(client.check(of("bob"))).await.unwrap_err();
    // Nobody knows how long it takes.
    assert_eq!((status.code(), pushback(&status)), (Code::ResourceExhausted, None));
    assert!(status.get_details_retry_info().is_none());
    drop(stream);
    until(|| gate.in_use("slots") == 0).await;
    // A message and its trailers: the slot is free when they are through.
    for _ in 0..3 {
        assert!(guarded(client.check(of("bob"))).await.is_ok());
        until(|| gate.in_use("slots") == 0).await;
    }
    let slots = gate.limit("slots");
    assert_eq!((slots.acquired, slots.returned), (4, 4));
}

#[tokio::test]
async fn calls_wait_in_line() {
    let slots = Limit::concurrent("slots", 1).wait(Duration::from_secs(60));
    let gate = Gate::new(Policy::new().limit(slots));
    let address = serve(gate.layer()).await;
    let mut first = client(address).await;
    let stream = guarded(first.watch(of("ann"))).await.unwrap();
    let mut second = client(address).await;
    let waits = tokio::spawn(async move { second.check(of("bob")).await });
    until(|| gate.waiting("slots") == 1).await;
    let mut third = client(address).await;
    let leaves = tokio::spawn(async move { third.check(of("cyd")).await });
    until(|| gate.waiting("slots") == 2).await;
    leaves.abort();
    until(|| gate.waiting("slots") == 1).await;
    drop(stream);
    assert!(guarded(waits).await.unwrap().is_ok());
    until(|| gate.in_use("slots") == 0).await;

    // One that waits in vain is told so as gRPC tells it.
    let _stream = guarded(first.watch(of("ann"))).await.unwrap();
    let mut second = client(address).await;
    let waits = tokio::spawn(async move { second.check(of("bob")).await });
    until(|| gate.waiting("slots") == 1).await;
    gate.time.advance(Duration::from_secs(60));
    let status = guarded(waits).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
}
