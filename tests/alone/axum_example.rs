//! The example for axum as a new user runs it: over a socket, refused in the end, and measured.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

#[allow(dead_code, unreachable_pub)]
#[path = "../../examples/axum.rs"]
mod example;

type Response = (http::StatusCode, http::HeaderMap, String);

async fn ask(at: SocketAddr, path: &str, user: Option<&str>) -> Response {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let mut request = http::Request::get(format!("http://{at}{path}"));
    if let Some(user) = user {
        request = request.header("x-user", user);
    }
    let response = client.request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn it_limits_and_says_so() {
    alone!(it_limits_and_says_so);
    let app = example::app(example::enforcer().unwrap(), example::recorder().unwrap());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });

    let (status, headers, body) = ask(at, "/users/42", Some("ann")).await;
    assert_eq!((status.as_u16(), body.as_str()), (200, "user 42\n"));
    let policy = headers["ratelimit-policy"].to_str().unwrap();
    assert_eq!(policy, r#""user";q=10;w=2, "ip";q=100;w=1"#);
    assert!(headers["ratelimit"].to_str().unwrap().starts_with(r#""user";r=9;t=1, "ip";r=99"#));

    // Real time passes: at the latest when far more than the burst were asked for at once.
    let mut refused = None;
    for _ in 0..10_000 {
        let (status, headers, body) = ask(at, "/users/42", Some("ann")).await;
        if status != 200 {
            refused = Some((status, headers, body));
            break;
        }
    }
    let (status, headers, body) = refused.expect("a limit of 5 a second refuses");
    assert_eq!(status, 429);
    assert_eq!(headers["retry-after"], "1");
    assert!(body.contains(r#""violated-policies":["user"]"#), "{body}");
    // Another user has a quota of its own; a request without a user is counted by its address.
    assert_eq!(ask(at, "/users/42", Some("bob")).await.0, 200);
    assert_eq!(ask(at, "/users/42", None).await.0, 200);
    let (_, headers, _) = ask(at, "/reports/weekly", Some("ann")).await;
    let left = headers["ratelimit"].to_str().unwrap();
    assert!(left.contains(r#""reports";r=49"#), "{left}");

    let (status, headers, body) = ask(at, "/metrics", None).await;
    assert_eq!(status, 200);
    assert!(!headers.contains_key("ratelimit"), "it is not limited itself");
    for line in [
        r#"tollgate_checks_total{outcome="refused"} 1"#,
        r#"tollgate_limit_refusals_total{limit="user"} 1"#,
        r#"tollgate_slots_acquired_total{limit="reports"} 1"#,
        r#"tollgate_slots_in_flight{limit="reports"} 0"#,
    ] {
        assert!(body.contains(line), "{line} in {body}");
    }
    assert!(!body.contains("ann") && !body.contains("127.0.0.1"), "no key is a label");
}
