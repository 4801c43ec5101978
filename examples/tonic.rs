//! A gRPC service with a rate for each user and a few slots that all users share: `cargo run
//! --example tonic --features tower,tokio`.
//!
//! Starts the server on a free port of this machine, calls it until it refuses, waits as long as
//! the refusal says, and is admitted again.

use std::error::Error;
use std::time::Duration;

use tokio::net::TcpListener;
use tollgate::http::{AdmitLayer, fact};
use tollgate::{Clock, Enforcer, Limit, Policy, Quota};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use tonic::{Code, Request};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let policy = Policy::new()
        .limit(Limit::new("user", Quota::per_second(2)).key(["user"]))
        // A request that finds no slot waits in line for a moment before it is refused.
        .limit(Limit::concurrent("calls", 4).wait(Duration::from_millis(100)));
    let enforcer = Enforcer::builder(policy).clock(Clock::tokio()).build()?;
    let layer = AdmitLayer::new(enforcer).fact("user", fact::header("x-user"));

    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("demo", ServingStatus::Serving).await;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = Server::builder().layer(layer).add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    let mut client = HealthClient::new(channel);
    let wait = loop {
        match client.check(call_of("ann")?).await {
            Ok(response) => println!("ann: admitted, {:?}", told(response.metadata())),
            Err(status) if status.code() == Code::ResourceExhausted => {
                println!("ann: {}, {:?}", status.message(), told(status.metadata()));
                break status.get_details_retry_info().and_then(|info| info.retry_delay);
            }
            Err(status) => return Err(status.into()),
        }
    };
    client.check(call_of("bob")?).await?;
    println!("bob: admitted, whose limit is another");

    tokio::time::sleep(wait.ok_or("a refusal that says how long to wait")?).await;
    client.check(call_of("ann")?).await?;
    println!("ann: admitted after {wait:?}");
    Ok(())
}

fn call_of(user: &str) -> Result<Request<HealthCheckRequest>, Box<dyn Error>> {
    let mut request = Request::new(HealthCheckRequest { service: "demo".to_owned() });
    request.metadata_mut().insert("x-user", user.parse()?);
    Ok(request)
}

/// Prints the counters of the limits.
fn told(metadata: &tonic::metadata::MetadataMap) -> Option<&str> {
    metadata.get("ratelimit")?.to_str().ok()
}
