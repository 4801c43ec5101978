//! The README's service: at most 15 lines, these, and they do what it says of them.

use std::error::Error;
use std::net::SocketAddr as Address;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

#[rustfmt::skip]
async fn serve(app: axum::Router, listener: tokio::net::TcpListener) -> Result<(), Box<dyn Error>> {
    // The README's, from here
    use std::{net::SocketAddr, sync::Arc};
    use axum::{extract::ConnectInfo, routing::get};
    use tollgate::{Enforcer, Limit, Policy, Quota, policy::Missing, http::{AdmitLayer, ClientAddress, fact}};

    let policy = Policy::new()
        .limit(Limit::new("user", Quota::per_second(50).burst(100)).key(["user|ip"]))
        .limit(Limit::new("org", Quota::per_second(1000)).key(["org"]).missing(Missing::Skip))
        .limit(Limit::new("ip", Quota::per_second(100)).key(["ip"]));
    let enforcer = Arc::new(Enforcer::builder(policy).build()?);
    let layer = AdmitLayer::new(enforcer.clone())
        .fact("user", fact::header("x-user")).fact("org", fact::header("x-org"))
        .fact("ip", fact::client_address(ClientAddress::peer(), |at: &ConnectInfo<SocketAddr>| at.0));
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder()?;
    let metrics = || async move { enforcer.record_metrics(); recorder.render() };
    let app = app.layer(layer).route("/metrics", get(metrics));
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    // to here.
    Ok(())
}

/// The lines between the marks, as a reader copies them.
fn lines(text: &str, from: &str, to: &str) -> Vec<String> {
    let after = text.split_once(from).unwrap().1.split_once('\n').unwrap().1;
    let between = after.split_once(to).unwrap().0;
    let lines = between.lines().filter(|line| !line.trim().is_empty());
    let lines: Vec<&str> = lines.collect();
    let indent = lines.iter().map(|line| line.len() - line.trim_start().len()).min().unwrap();
    lines.iter().map(|line| line[indent..].to_owned()).collect()
}

#[test]
fn the_readme_has_these_lines_and_they_are_few() {
    let here = lines(include_str!("readme_service.rs"), "README's, from here", "    // to here");
    let readme = lines(include_str!("../../README.md"), "<!-- service -->", "```\n");
    assert_eq!(readme[0], "```rust,ignore");
    assert_eq!(readme[1..], here);
    assert!(here.len() <= 15, "{} lines", here.len());
}

#[tokio::test]
async fn they_limit_and_say_so() {
    alone!(they_limit_and_say_so);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let at: Address = listener.local_addr().unwrap();
    let app = axum::Router::new().route("/", axum::routing::get(|| async { "hello" }));
    tokio::spawn(async move { serve(app, listener).await.unwrap() });
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let ask = async |path: &str| {
        let request = http::Request::get(format!("http://{at}{path}"));
        let request = request.header("x-user", "ann").header("x-org", "acme");
        let response = client.request(request.body(Empty::new()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        (head, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
    };
    let (head, body) = ask("/").await;
    assert_eq!((head.status.as_u16(), body.as_str()), (200, "hello"));
    assert_eq!(
        head.headers["ratelimit-policy"],
        r#""user";q=100;w=2, "org";q=1000;w=1, "ip";q=100;w=1"#
    );
    assert_eq!(head.headers["ratelimit"], r#""user";r=99;t=1, "org";r=999;t=1, "ip";r=99;t=1"#);
    let mut refused = None;
    for _ in 0..100_000 {
        let (head, body) = ask("/").await;
        if head.status != 200 {
            refused = Some((head, body));
            break;
        }
    }
    let (head, body) = refused.expect("a limit of 50 a second refuses");
    assert_eq!((head.status.as_u16(), head.headers["retry-after"].to_str().unwrap()), (429, "1"));
    assert!(body.contains("#quota-exceeded"), "{body}");
    let (_, metrics) = ask("/metrics").await;
    assert!(metrics.contains(r#"tollgate_checks_total{outcome="refused"} 1"#), "{metrics}");
}
