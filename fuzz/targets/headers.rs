//! Whatever limits are called and allow, their headers are what another's parser reads, and a
//! refusal is JSON, or gRPC, that says which limit it was.
//!
//! Each line is a limit: four bytes of numbers, and its name.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use sfv::{BareItem, ListEntry, Parser};
use tollgate::http::{HeaderStyle, Refusals, grpc_response, retry_after};
use tollgate::policy::Amount;
use tollgate::{Enforcer, Limit, Policy, Quota, VirtualClock};

const STYLES: [HeaderStyle; 5] = [
    HeaderStyle::Draft,
    HeaderStyle::Triple,
    HeaderStyle::XRateLimit,
    HeaderStyle::XSentry,
    HeaderStyle::None,
];

pub(crate) fn run(data: &[u8]) {
    let limits = data.split(|byte| *byte == b'\n').filter_map(limit).take(8);
    let policy = limits.fold(Policy::new(), Policy::limit);
    let time = VirtualClock::new();
    let Ok(enforcer) = Enforcer::builder(policy).clock(time.clock()).build() else { return };
    for byte in data.iter().take(16) {
        time.advance(Duration::from_nanos(1 << (byte % 40)));
        asked(&enforcer, (*byte).into());
    }
}

/// A limit of what a line says, with a key if the last number is odd.
fn limit(line: &[u8]) -> Option<Limit> {
    let ([count, per, burst, kind], name) = line.split_first_chunk()?;
    let name = String::from_utf8_lossy(name);
    let up_to = |byte: u8, bits: u8| 1_u64 << (byte % bits);
    let limit = if kind % 4 < 2 {
        let quota = Quota::new(up_to(*count, 37), Duration::from_nanos(up_to(*per, 62))).ok()?;
        Limit::new(name, quota.with_burst(up_to(*burst, 61) - 1).ok()?)
    } else {
        Limit::concurrent(name, (up_to(*count, 24) - 1).try_into().ok()?)
    };
    Some(if kind % 2 == 1 { limit.key(["user"]) } else { limit })
}

fn asked(enforcer: &Enforcer, cost: u64) {
    let facts = [("user", "ann \"é\"")];
    let (admitted, answers) = enforcer.admit_with_answers(&facts, cost);
    let answers = answers.with_keys(enforcer.explain(&facts, cost));
    for style in STYLES {
        let mut headers = HeaderMap::new();
        style.add_to(&mut headers, &answers);
        assert!(headers.values().all(|value| value.to_str().is_ok()), "{style}: {headers:?}");
    }
    let mut headers = HeaderMap::new();
    HeaderStyle::Draft.add_to(&mut headers, &answers);
    if !answers.limits.is_empty() {
        let (policy, left) = (list(&headers["ratelimit-policy"]), list(&headers["ratelimit"]));
        assert_eq!((policy.len(), left.len()), (answers.limits.len(), answers.limits.len()));
        for ((answer, policy), left) in answers.limits.iter().zip(policy).zip(left) {
            assert_eq!(policy.bare_item, left.bare_item);
            let name = policy.bare_item.as_string().expect("a name").as_str();
            let plain = answer.limit.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            assert_eq!(plain, name == answer.limit, "{name}");
            assert_eq!(policy.params.contains_key("w"), matches!(answer.amount, Amount::Quota(_)));
            assert!(matches!(left.params["r"], BareItem::Integer(_)));
            let key = answer.key.as_ref().expect("it was asked for");
            assert_eq!(left.params["pk"].as_byte_sequence(), Some(key.as_bytes()));
        }
    }
    let Err(refused) = admitted else { return assert_eq!(answers.retry(), None) };
    assert_eq!(answers.retry(), Some(refused.retry()));
    let response = Refusals::default().response(&refused, &answers);
    let problem: serde_json::Value = serde_json::from_slice(response.body()).expect("JSON");
    assert_eq!(problem["violated-policies"][0], refused.limit());
    let told = response.headers().get("retry-after").map(|secs| secs.to_str().expect("digits"));
    assert_eq!(told, retry_after(refused.retry()).map(|secs| secs.to_string()).as_deref());
    let grpc = grpc_response(&refused, &answers, HeaderStyle::Draft);
    assert_eq!(grpc.headers()["grpc-status"], "8");
    assert!(grpc.headers().values().all(|value| value.to_str().is_ok()));
}

fn list(value: &HeaderValue) -> Vec<sfv::Item> {
    let list: sfv::List = Parser::new(value.as_bytes()).parse().expect("a structured field");
    let item = |entry| match entry {
        ListEntry::Item(item) => item,
        ListEntry::InnerList(_) => panic!("an inner list"),
    };
    list.into_iter().map(item).collect()
}
