//! Every header style and every refusal, to the letter; read by parsers that are not ours.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use proptest::prelude::*;
use sfv::{BareItem, ListEntry, Parser};
use tollgate::http::{HeaderStyle, RefusalBody, Refusals, grpc_response, is_grpc, retry_after};
use tollgate::policy::Missing;
use tollgate::{
    Answers, Enforcer, Limit, LimitAnswer, Permit, Policy, Quota, RateLimiter, Refused, Retry,
    VirtualClock,
};
use tonic_types::StatusExt;

const STYLES: [HeaderStyle; 5] = [
    HeaderStyle::Draft,
    HeaderStyle::Triple,
    HeaderStyle::XRateLimit,
    HeaderStyle::XSentry,
    HeaderStyle::None,
];

struct Service {
    enforcer: Enforcer,
    time: VirtualClock,
}

impl Service {
    fn new(policy: Policy) -> Service {
        let time = VirtualClock::new();
        Service { enforcer: Enforcer::builder(policy).clock(time.clock()).build().unwrap(), time }
    }

    fn ask(&self, cost: u64) -> (Result<Permit, Refused>, Answers) {
        self.enforcer.admit_with_answers(&[("user", "a")], cost)
    }

    fn refused(&self, cost: u64) -> (Refused, Answers) {
        let (refused, answers) = self.ask(cost);
        (refused.unwrap_err(), answers)
    }
}

/// Headers as lines.
fn lines(headers: &HeaderMap) -> String {
    let mut pairs: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    pairs.sort_unstable();
    let lines: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    lines.join("\n")
}

fn headers(style: HeaderStyle, answers: &Answers) -> String {
    let mut headers = HeaderMap::new();
    style.add_to(&mut headers, answers);
    lines(&headers)
}

fn says(style: HeaderStyle, answers: &Answers, expected: &[&str]) {
    assert_eq!(headers(style, answers), expected.join("\n"), "{style}");
}

fn user(quota: Quota) -> Limit {
    Limit::new("user", quota).key(["user"])
}

fn three_limits() -> Service {
    Service::new(
        Policy::new()
            .limit(user(Quota::per_second(50).burst(100)))
            .limit(Limit::new("org", Quota::per_minute(1000)))
            .limit(Limit::concurrent("queries", 50)),
    )
}

#[test]
fn an_admitted_request_in_every_style() {
    let service = three_limits();
    service.time.advance(Duration::from_nanos(1_500_000_000));
    let (permit, answers) = service.ask(10);
    let _permit = permit.unwrap();
    says(
        HeaderStyle::Draft,
        &answers,
        &[
            r#"ratelimit: "user";r=90;t=1, "org";r=990;t=1, "queries";r=49"#,
            "ratelimit-policy: \"user\";q=100;w=2, \"org\";q=1000;w=60, \
             \"queries\";q=50;qu=\"concurrent-requests\"",
        ],
    );
    says(
        HeaderStyle::Triple,
        &answers,
        &["ratelimit-limit: 100", "ratelimit-remaining: 90", "ratelimit-reset: 1"],
    );
    says(
        HeaderStyle::XRateLimit,
        &answers,
        &["x-ratelimit-limit: 100", "x-ratelimit-remaining: 90", "x-ratelimit-reset: 1"],
    );
    says(
        HeaderStyle::XSentry,
        &answers,
        &[
            "x-sentry-rate-limit-concurrentlimit: 50",
            "x-sentry-rate-limit-concurrentremaining: 49",
            "x-sentry-rate-limit-limit: 100",
            "x-sentry-rate-limit-remaining: 90",
            // At 1.5 s since 1970 ten units are missing, which come back by 1.7 s.
            "x-sentry-rate-limit-reset: 2",
        ],
    );
    says(HeaderStyle::None, &answers, &[""]);
}

#[test]
fn waits_of_0_9_s_and_1_0_s_and_more_are_whole_seconds_rounded_up() {
    // One every 2 s: what waits is told as of each moment.
    let service = Service::new(Policy::new().limit(user(Quota::new(1, secs(2)).unwrap())));
    assert!(service.ask(1).0.is_ok());
    for (elapsed, wait, told) in [
        (0, 2_000_000_000, 2),
        (999_999_999, 1_000_000_001, 2),
        (1_000_000_000, 1_000_000_000, 1),
        (1_100_000_000, 900_000_000, 1),
        (1_999_999_999, 1, 1),
    ] {
        service.time.set(tollgate::Timestamp::from_nanos(elapsed));
        let (refused, answers) = service.refused(1);
        assert_eq!(refused.retry(), Retry::After(Duration::from_nanos(wait)));
        assert_eq!(retry_after(refused.retry()), Some(told));
        says(
            HeaderStyle::Draft,
            &answers,
            &[&format!(r#"ratelimit: "user";r=0;t={told}"#), r#"ratelimit-policy: "user";q=1;w=2"#],
        );
        let response = Refusals::default().response(&refused, &answers);
        assert_eq!(response.headers()["retry-after"], told.to_string().as_str());
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        says(
            HeaderStyle::Triple,
            &answers,
            &["ratelimit-limit: 1", "ratelimit-remaining: 0", &format!("ratelimit-reset: {told}")],
        );
        says(
            HeaderStyle::XSentry,
            &answers,
            &[
                "x-sentry-rate-limit-limit: 1",
                "x-sentry-rate-limit-remaining: 0",
                "x-sentry-rate-limit-reset: 2",
            ],
        );
    }
    service.time.set(tollgate::Timestamp::from_secs(2));
    assert!(service.ask(1).0.is_ok());
}

#[test]
fn exactly_full_has_no_time_to_the_next_unit() {
    let service = Service::new(Policy::new().limit(user(Quota::per_second(50).burst(100))));
    let full = [r#"ratelimit: "user";r=100"#, r#"ratelimit-policy: "user";q=100;w=2"#];
    says(HeaderStyle::Draft, &service.ask(0).1, &full);
    assert!(service.ask(100).0.is_ok());
    service.time.advance(Duration::from_nanos(1_999_999_999));
    let (_, answers) = service.ask(0);
    assert_eq!(answers.limits[0].next, Some(Duration::from_nanos(1)));
    let almost = [r#"ratelimit: "user";r=99;t=1"#, r#"ratelimit-policy: "user";q=100;w=2"#];
    says(HeaderStyle::Draft, &answers, &almost);
    service.time.advance(Duration::from_nanos(1));
    says(HeaderStyle::Draft, &service.ask(0).1, &full);
    says(
        HeaderStyle::Triple,
        &service.ask(0).1,
        &["ratelimit-limit: 100", "ratelimit-remaining: 100", "ratelimit-reset: 0"],
    );
}

#[test]
fn where_no_wait_helps_none_is_told() {
    let service = Service::new(Policy::new().limit(user(Quota::per_second(5))));
    let (refused, answers) = service.refused(6);
    assert_eq!(refused.retry(), Retry::Never);
    says(
        HeaderStyle::Draft,
        &answers,
        &[r#"ratelimit: "user";r=5"#, r#"ratelimit-policy: "user";q=5;w=1"#],
    );
    for style in STYLES {
        let response = Refusals::default().style(style).response(&refused, &answers);
        assert!(!response.headers().contains_key("retry-after"), "{style}");
    }

    // A full concurrency limit: a slot has to be given back first.
    let service = Service::new(Policy::new().limit(Limit::concurrent("queries", 1).lease(secs(9))));
    let held = service.ask(1).0.unwrap();
    let (refused, answers) = service.refused(1);
    assert!(matches!(refused.retry(), Retry::Unknown { .. }));
    says(
        HeaderStyle::Draft,
        &answers,
        &[
            r#"ratelimit: "queries";r=0"#,
            r#"ratelimit-policy: "queries";q=1;qu="concurrent-requests""#,
        ],
    );
    says(HeaderStyle::Triple, &answers, &["ratelimit-limit: 1", "ratelimit-remaining: 0"]);
    let response = Refusals::default().response(&refused, &answers);
    assert!(!response.headers().contains_key("retry-after"));
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "all share it");
    drop(held);
}

#[test]
fn a_limit_of_nothing_has_its_period_as_window() {
    let service = Service::new(Policy::new().limit(user(Quota::per_minute(5).burst(0))));
    let (_, answers) = service.refused(1);
    says(
        HeaderStyle::Draft,
        &answers,
        &[r#"ratelimit: "user";r=0"#, r#"ratelimit-policy: "user";q=0;w=60"#],
    );
}

#[test]
fn a_number_too_large_for_a_header_is_the_largest_there_is() {
    let quota = "68719476736/s burst 1000000000000000".parse().unwrap();
    let service = Service::new(Policy::new().limit(user(quota)));
    let (_, answers) = service.ask(0);
    says(
        HeaderStyle::Draft,
        &answers,
        &[
            r#"ratelimit: "user";r=999999999999999"#,
            r#"ratelimit-policy: "user";q=999999999999999;w=14552"#,
        ],
    );
}

#[test]
fn windows_are_rounded_up() {
    for (quota, window) in [
        ("50/s burst 100", 2),
        ("50/s burst 101", 3),
        ("50/s burst 1", 1),
        ("100/10s", 10),
        ("7/m", 60),
        ("1/3650d", 315_360_000),
        ("3/10ns", 1),
    ] {
        let service = Service::new(Policy::new().limit(user(quota.parse().unwrap())));
        let (_, answers) = service.ask(0);
        let text = headers(HeaderStyle::Draft, &answers);
        assert!(text.ends_with(&format!(";w={window}")), "{quota}: {text}");
    }
}

#[test]
fn on_a_refusal_the_limit_that_refuses_is_told_and_all_that_do_are_named() {
    let service = Service::new(
        Policy::new()
            .limit(user(Quota::per_minute(60).burst(5)))
            .limit(Limit::new("wide", Quota::per_second(100)))
            .limit(Limit::new("org", Quota::per_minute(6).burst(5))),
    );
    assert!(service.ask(5).0.is_ok());
    let (refused, answers) = service.refused(1);
    assert_eq!((refused.limit(), retry_after(refused.retry())), ("user", Some(10)));
    says(
        HeaderStyle::Draft,
        &answers,
        &[
            // Both that refuse say what the call must wait, the other when it has one more.
            r#"ratelimit: "user";r=0;t=10, "wide";r=95;t=1, "org";r=0;t=10"#,
            r#"ratelimit-policy: "user";q=5;w=5, "wide";q=100;w=1, "org";q=5;w=50"#,
        ],
    );
    let response = Refusals::default().response(&refused, &answers);
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    let expected = serde_json::json!({
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "status": 429,
        "detail": "refused by limit user, retry in 10 s",
        "violated-policies": ["user", "org"],
    });
    assert_eq!(body, expected);
}

#[test]
fn status_and_body_are_a_choice() {
    let policy = Policy::new()
        .limit(Limit::concurrent("queries", 1).key(["user"]))
        .limit(Limit::new("all", Quota::per_second(2)));
    let service = Service::new(policy);
    let held = service.ask(1).0.unwrap();
    let (refused, answers) = service.refused(1);
    let status = |refusals: Refusals| refusals.status(&refused, &answers).as_u16();
    assert_eq!(status(Refusals::default()), 429, "it is the user's own");
    assert_eq!(status(Refusals::default().shared_limits(["queries"])), 503);
    assert_eq!(status(Refusals::default().own_status(StatusCode::PAYMENT_REQUIRED)), 402);
    drop(held);
    assert!(service.ask(1).0.is_ok());
    let (refused, answers) = service.refused(1);
    assert_eq!(refused.limit(), "all");
    let refusals = Refusals::default().shared_status(StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refusals.status(&refused, &answers), 429);
    let problem = Refusals::default().response(&refused, &answers).into_body();
    let problem: serde_json::Value = serde_json::from_slice(&problem).unwrap();
    assert!(problem["type"].as_str().unwrap().ends_with("#temporary-reduced-capacity"));
    assert_eq!(problem["status"], 503);

    let plain = Refusals::default().body(RefusalBody::Plain).response(&refused, &answers);
    assert_eq!(&plain.body()[..], b"refused by limit all, retry in 1 s\n");
    assert_eq!(plain.headers()["content-type"], "text/plain; charset=utf-8");
    let empty = Refusals::default().body(RefusalBody::Empty).response(&refused, &answers);
    assert!(empty.body().is_empty() && !empty.headers().contains_key("content-type"));
    // A refusal alone, without how limits stand.
    let bare = Refusals::default().response(&refused, &Answers::default());
    assert_eq!(lines(bare.headers()), "content-type: application/problem+json\nretry-after: 1");
    assert!(String::from_utf8_lossy(bare.body()).contains(r#""violated-policies":["all"]"#));
}

#[test]
fn keys_are_told_on_request() {
    let service = Service::new(Policy::new().limit(user(Quota::per_second(5))));
    let facts = [("user", "a\"é")];
    let (_, answers) = service.enforcer.admit_with_answers(&facts, 1);
    let answers = answers.with_keys(service.enforcer.explain(&facts, 1));
    let mut headers = HeaderMap::new();
    HeaderStyle::Draft.add_to(&mut headers, &answers);
    for name in ["ratelimit-policy", "ratelimit"] {
        let (_, parameters) = list(&headers, name).remove(0);
        assert_eq!(parameters["pk"], BareItem::ByteSequence("user=a\"é".into()));
    }
}

/// Clients choose keys, and no key may make headers that cannot be sent.
#[test]
fn long_keys_are_not_told() {
    let service = Service::new(Policy::new().limit(user(Quota::per_second(5))));
    // With `user=` 256 bytes, and one more.
    for (length, told) in [(251, true), (252, false)] {
        let user = "x".repeat(length);
        let facts = [("user", user.as_str())];
        let (_, answers) = service.enforcer.admit_with_answers(&facts, 1);
        let answers = answers.with_keys(service.enforcer.explain(&facts, 1));
        let mut headers = HeaderMap::new();
        HeaderStyle::Draft.add_to(&mut headers, &answers);
        let (_, parameters) = list(&headers, "ratelimit").remove(0);
        assert_eq!(parameters.contains_key("pk"), told, "{length}");
    }
}

#[test]
fn styles_go_by_name() {
    for style in STYLES {
        assert_eq!(style.to_string().parse(), Ok(style));
    }
    assert_eq!("X-RateLimit".parse(), Ok(HeaderStyle::XRateLimit));
    let unknown = "drafts".parse::<HeaderStyle>().unwrap_err().to_string();
    assert!(unknown.contains("did you mean `draft`?"), "{unknown}");
}

#[test]
fn headers_that_are_there_are_replaced() {
    let service = three_limits();
    let mut headers = HeaderMap::new();
    headers.append("ratelimit", "x".parse().unwrap());
    headers.append("ratelimit", "y".parse().unwrap());
    HeaderStyle::Draft.add_to(&mut headers, &service.ask(0).1);
    assert_eq!(headers.get_all("ratelimit").iter().count(), 1);
}

#[test]
fn grpc_is_told_by_its_content_type() {
    for (kind, grpc) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc;x=y", true),
        ("application/grpc-web", false),
        ("application/json", false),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", kind.parse().unwrap());
        assert_eq!(is_grpc(&headers), grpc, "{kind}");
    }
    assert!(!is_grpc(&HeaderMap::new()));
}

/// A gRPC refusal as another library reads it.
fn grpc(refused: &Refused, answers: &Answers) -> (tonic::Status, HeaderMap) {
    let response = grpc_response(refused, answers, HeaderStyle::None);
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    (tonic::Status::from_header_map(response.headers()).unwrap(), response.headers().clone())
}

#[test]
fn a_grpc_refusal_is_read_by_tonic() {
    let service = Service::new(
        Policy::new().limit(Limit::new("größe %", Quota::new(1, secs(700)).unwrap()).key(["user"])),
    );
    assert!(service.ask(1).0.is_ok());
    service.time.advance(Duration::new(1, 1));
    let (refused, answers) = service.refused(1);
    let (status, headers) = grpc(&refused, &answers);
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    assert_eq!(status.message(), "refused by limit größe %, retry in 698.999999999s");
    let delay = status.get_details_retry_info().unwrap().retry_delay;
    assert_eq!(delay, Some(Duration::new(698, 999_999_999)));
    assert_eq!(headers["grpc-retry-pushback-ms"], "699000");

    let (refused, answers) = service.refused(2);
    let (status, headers) = grpc(&refused, &answers);
    assert!(status.get_details_retry_info().is_none());
    assert_eq!(headers["grpc-retry-pushback-ms"], "-1");

    let service = Service::new(Policy::new().limit(Limit::concurrent("queries", 0)));
    let (refused, answers) = service.refused(1);
    assert_eq!(refused.retry(), Retry::Never);
    let (_, headers) = grpc(&refused, &answers);
    assert_eq!(headers["grpc-retry-pushback-ms"], "-1");
    let service = Service::new(Policy::new().limit(Limit::concurrent("queries", 1)));
    let _held = service.ask(1).0.unwrap();
    let (refused, answers) = service.refused(1);
    assert!(!grpc(&refused, &answers).1.contains_key("grpc-retry-pushback-ms"));
}

#[test]
fn a_request_that_lacks_what_a_limit_counts_by_has_not_used_up_its_quota() {
    let needs = user(Quota::per_second(1)).missing(Missing::Refuse);
    let service = Service::new(Policy::new().limit(needs).limit(Limit::concurrent("queries", 3)));
    let (refused, answers) = service.enforcer.admit_with_answers(&[("user", "")], 1);
    let refused = refused.unwrap_err();
    let response = Refusals::default().response(&refused, &answers);
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        lines(response.headers()),
        "content-type: application/problem+json\n\
         ratelimit: \"queries\";r=3\n\
         ratelimit-policy: \"queries\";q=3;qu=\"concurrent-requests\""
    );
    let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(
        (&problem["type"], &problem["title"]),
        (&"about:blank".into(), &"Bad Request".into())
    );
    assert!(problem["detail"].as_str().unwrap().starts_with("limit user counts by what"));
    let refusals = Refusals::default().unfit_status(StatusCode::FORBIDDEN);
    assert_eq!(refusals.status(&refused, &answers), StatusCode::FORBIDDEN);
    says(HeaderStyle::Triple, &answers, &["ratelimit-limit: 3", "ratelimit-remaining: 3"]);
    let alone =
        Service::new(Policy::new().limit(user(Quota::per_second(1)).missing(Missing::Refuse)));
    let (_, answers) = alone.enforcer.admit_with_answers(&[("user", "")], 1);
    STYLES.iter().for_each(|style| says(*style, &answers, &[""]));
}

type Parameters = std::collections::BTreeMap<String, BareItem>;

/// A list of strings with parameters, as a parser of structured fields reads it.
fn list(headers: &HeaderMap, name: &str) -> Vec<(String, Parameters)> {
    let list: sfv::List = Parser::new(headers[name].as_bytes()).parse().unwrap();
    let member = |entry: ListEntry| {
        let ListEntry::Item(item) = entry else { panic!("an inner list") };
        let name = item.bare_item.as_string().unwrap().as_str().to_owned();
        let parameters = item.params.into_iter().map(|(key, value)| (key.to_string(), value));
        (name, parameters.collect())
    };
    list.into_iter().map(member).collect()
}

fn integer(number: u64) -> BareItem {
    let largest = 999_999_999_999_999;
    BareItem::Integer(sfv::Integer::try_from(number.min(largest)).unwrap())
}

proptest! {
    /// Whatever the limits are, another's parser reads what they are and how they stand.
    #[test]
    fn every_header_is_a_structured_field(
        limits in prop::collection::vec(
            ("\\PC{1,12}", 1_u64..1 << 36, 1_u64..100_000, 0_u64..1 << 40, 0_u64..20),
            1..5,
        ),
    ) {
        let mut names: Vec<_> = limits.iter().map(|limit| limit.0.clone()).collect();
        names.sort();
        names.dedup();
        prop_assume!(names.len() == limits.len());
        let mut policy = Policy::new();
        for (name, count, per, burst, _) in &limits {
            let quota = Quota::new(*count, secs(*per)).and_then(|quota| quota.with_burst(*burst));
            prop_assume!(quota.is_ok());
            policy = policy.limit(Limit::new(name, quota.unwrap()));
        }
        prop_assume!(policy.check().is_ok());
        let service = Service::new(policy);
        for cost in limits.iter().map(|limit| limit.4) {
            let (admitted, answers) = service.ask(cost);
            let mut headers = HeaderMap::new();
            HeaderStyle::Draft.add_to(&mut headers, &answers);
            let (policy, left) = (list(&headers, "ratelimit-policy"), list(&headers, "ratelimit"));
            prop_assert_eq!(policy.len(), limits.len());
            for (((name, _, _, burst, _), policy), (left, answer)) in
                limits.iter().zip(&policy).zip(left.iter().zip(&answers.limits))
            {
                prop_assert_eq!(&policy.0, &left.0);
                prop_assert!(!name.is_ascii() || &policy.0 == name);
                prop_assert_eq!(&policy.1["q"], &integer(*burst));
                prop_assert!(policy.1.contains_key("w"));
                prop_assert_eq!(&left.1["r"], &integer(answer.remaining()));
                let refused = admitted.as_ref().err().map(|refused| refused.retry());
                match (answer.answer, refused) {
                    (Err(_), Some(retry)) => {
                        prop_assert_eq!(answers.retry(), Some(retry));
                        let told = retry_after(retry).map(integer);
                        prop_assert_eq!(left.1.get("t"), told.as_ref());
                    }
                    (Err(_), None) => prop_assert!(false, "admitted and denied"),
                    (Ok(_), _) => {}
                }
            }
        }
    }
}

#[test]
fn plain_limiters_have_headers_too() {
    let time = VirtualClock::new();
    let limiter = RateLimiter::builder(Quota::per_minute(5)).clock(time.clock()).build();
    let answer = LimitAnswer::of("logins", &limiter, "ann", limiter.check("ann"));
    let answers = Answers::new(time.now(), [answer]);
    says(
        HeaderStyle::Draft,
        &answers,
        &[r#"ratelimit: "logins";r=4;t=12"#, r#"ratelimit-policy: "logins";q=5;w=60"#],
    );
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
