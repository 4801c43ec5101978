//! An axum service with limits for users, organizations and addresses, their headers, and metrics.
//! `cargo run --example axum --features metrics,policy,tokio,tower`
//!
//! ```text
//! curl -i -H 'x-user: ann' -H 'x-org: acme' localhost:3000/users/42
//! curl localhost:3000/metrics
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, MatchedPath, Path};
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tollgate::http::{AdmitLayer, ClientAddress, fact};
use tollgate::metrics::WAIT_BUCKETS;
use tollgate::{Clock, Enforcer, Policy};

const POLICY: &str = r#"
    [[limit]]
    name = "user"                     # without a user: the address
    key  = ["view", "user|ip"]
    rate = "5/s burst 10"

    [[limit]]
    name    = "org"
    key     = ["org"]
    rate    = "1000/s"
    missing = "skip"

    [[limit]]
    name = "ip"
    key  = ["ip"]
    rate = "100/s"

    [[limit]]
    name       = "reports"            # a shared back end: 50 at once, others wait a moment
    concurrent = 50
    lease      = "300s"
    wait       = "5s"
    when       = { view = "/reports/*" }
"#;

/// The service, its limits, and the endpoint for Prometheus.
pub fn app(enforcer: Arc<Enforcer>, recorder: PrometheusHandle) -> Router {
    let limits = AdmitLayer::new(enforcer.clone())
        .fact("view", fact::extension(MatchedPath::as_str))
        .fact("user", fact::header("x-user")) // in a real service: the authenticated user
        .fact("org", fact::header("x-org"))
        .fact(
            "ip",
            fact::client_address(ClientAddress::peer(), |at: &ConnectInfo<SocketAddr>| at.0),
        );
    let metrics = move || async move {
        enforcer.record_metrics();
        recorder.render()
    };
    Router::new()
        .route("/users/{id}", get(|Path(id): Path<u64>| async move { format!("user {id}\n") }))
        .route("/reports/{name}", get(|Path(name): Path<String>| async move { name }))
        .route_layer(limits) // applies to the routes above only
        .route("/metrics", get(metrics))
}

/// The enforcer of the policy above.
pub fn enforcer() -> Result<Arc<Enforcer>, Box<dyn Error>> {
    let policy = Policy::from_toml(POLICY)?;
    Ok(Arc::new(Enforcer::builder(policy).clock(Clock::tokio()).build()?)) // lets requests wait
}

/// The metrics recorder.
pub fn recorder() -> Result<PrometheusHandle, Box<dyn Error>> {
    let waits = Matcher::Full("tollgate_wait_seconds".to_owned());
    Ok(PrometheusBuilder::new().set_buckets_for_metric(waits, WAIT_BUCKETS)?.install_recorder()?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = app(enforcer()?, recorder()?).into_make_service_with_connect_info::<SocketAddr>();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 3000)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
