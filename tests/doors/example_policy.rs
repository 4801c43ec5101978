//! The policy of the examples says what its comments say.

use std::time::Duration;

use tollgate::{Enforcer, Policy, VirtualClock};

const LIMITS: &str = include_str!("../../examples/limits.toml");

type Facts<'a> = &'a [(&'a str, &'a str)];

/// How many of `of` equal requests at one instant pass, and what refuses the next.
fn pass(enforcer: &Enforcer, of: usize, facts: Facts<'_>) -> (usize, Option<String>) {
    for passed in 0..of {
        if let Err(refused) = enforcer.admit(facts, 1) {
            return (passed, Some(refused.limit().to_owned()));
        }
    }
    (of, None)
}

fn enforcer(text: &str) -> Enforcer {
    let policy = Policy::from_toml(text).unwrap_or_else(|error| panic!("{error}"));
    Enforcer::builder(policy).clock(VirtualClock::new().clock()).build().unwrap()
}

#[test]
fn each_limit_refuses_what_it_is_for() {
    let refused = |by: &str, after: usize, facts: Facts<'_>| {
        let got = pass(&enforcer(LIMITS), 600, facts);
        assert_eq!(got, (after, Some(by.to_owned())), "{facts:?}");
    };
    let ip = ("ip", "192.0.2.1");
    refused("login", 5, &[ip, ("method", "POST"), ("path", "/login")]);
    refused("webhookpayload", 10, &[ip, ("method", "POST"), ("path", "/webhooks/github/17")]);
    refused("data-forwarding", 50, &[ip, ("path", "/forward/events")]);
    refused("anonymous", 10, &[ip, ("user", "anonymous"), ("path", "/")]);
    refused("user", 50, &[ip, ("user", "7"), ("method", "GET"), ("path", "/api/items")]);
    refused("user", 50, &[ip, ("method", "GET"), ("path", "/api/items")]);
    refused("ip", 100, &[ip, ("user", "system"), ("path", "/api/items")]);
    refused("ip", 100, &[ip, ("user", "1017"), ("method", "GET"), ("path", "/api/items")]);
    refused("user", 50, &[ip, ("user", "1017"), ("method", "PUT"), ("path", "/api/items")]);
    refused("ip", 0, &[("ip", "203.0.113.66"), ("path", "/api/items")]);
    refused("everything", 500, &[ip, ("user_agent", "Googlebot"), ("path", "/about")]);
}

#[test]
fn a_quarter_of_users_have_the_export_limit() {
    let policy = Policy::from_toml(LIMITS).unwrap();
    let time = VirtualClock::new();
    let enforcer = Enforcer::builder(policy).clock(time.clock()).build().unwrap();
    for user in 0..1000 {
        time.advance(Duration::from_secs(1));
        let user = format!("user{user}");
        drop(enforcer.admit(&[("user", user.as_str()), ("path", "/api/items/export")], 1).unwrap());
    }
    let limits = enforcer.limits();
    let export = limits.iter().find(|limit| limit.name == "export").unwrap();
    assert!((200..300).contains(&export.checked), "{}", export.checked);
}

/// The part that benchmarks use.
#[test]
fn three_limits_apply_to_six_facts() {
    let part = LIMITS.split("# {three}").nth(1).and_then(|rest| rest.split("# {/three}").next());
    let enforcer = enforcer(&format!("#{}", part.expect("it is marked")));
    let facts = [
        ("ip", "192.0.2.1"),
        ("user", "42"),
        ("org", "7"),
        ("view", "items"),
        ("method", "GET"),
        ("path", "/api/items"),
    ];
    drop(enforcer.admit(&facts, 1).unwrap());
    let checked: Vec<_> = enforcer
        .limits()
        .into_iter()
        .map(|limit| (limit.name.to_string(), limit.checked))
        .collect();
    let expected = ["user", "organization", "ip"].map(|name| (name.to_owned(), 1));
    assert_eq!(checked, expected);
}
