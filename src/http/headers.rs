//! [`HeaderStyle`]: the state of limits as response headers.
//!
//! Builds and writes the headers of each style. The syntax of structured fields is in `structured`,
//! bodies and status codes in `refusal`.

use std::str::FromStr;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::decision::Retry;
use crate::enforcer::{Answers, LimitAnswer};
use crate::policy::{Amount, nearest};
use crate::quota::Quota;

use super::structured::List;

/// The response headers that state how limits stand. Can be parsed from a name: `"draft".parse()`.
///
/// The headers list only limits that the request asked for units or slots, not a limit that refuses
/// the request as it is ([`LimitAnswer::is_unfit`]). All times are whole seconds, rounded up; what
/// remains is rounded down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderStyle {
    /// `draft`: the IETF draft *RateLimit header fields for HTTP* (-10), for every limit.
    ///
    /// ```text
    /// RateLimit-Policy: "user";q=100;w=2, "queries";q=50;qu="concurrent-requests"
    /// RateLimit: "user";r=99;t=1, "queries";r=49
    /// ```
    ///
    /// `q` is the burst and `w` the time in which it refills, `r` what remains and `t` the time
    /// until the next unit; for each limit that refuses, `t` equals `Retry-After`. `t` is absent if
    /// nothing is missing, or if no time is known that helps. The name of a limit is an ASCII
    /// string: the bytes of other characters are written as `%XX`.
    #[default]
    Draft,
    /// `triple`: the drafts -03 to -07: `RateLimit-Limit`, `RateLimit-Remaining` and
    /// `RateLimit-Reset`, for one limit: the first limit that refuses, or else the rate with the
    /// least remaining. The reset is the time until the whole burst is available again; slots have
    /// none.
    Triple,
    /// `x-ratelimit`: the same values as `X-RateLimit-Limit`, `-Remaining` and `-Reset`. The reset
    /// is in seconds from now.
    XRateLimit,
    /// `x-sentry`: `X-Sentry-Rate-Limit-Limit`, `-Remaining` and `-Reset` of a rate, and
    /// `-ConcurrentLimit` and `-ConcurrentRemaining` of slots: of the first that refuses, or else
    /// the one with the least remaining. The reset is a time in seconds since 1970.
    XSentry,
    /// `none`: no headers. A refusal still has its `Retry-After`.
    None,
}

impl HeaderStyle {
    const NAMES: [(&str, HeaderStyle); 5] = [
        ("draft", HeaderStyle::Draft),
        ("triple", HeaderStyle::Triple),
        ("x-ratelimit", HeaderStyle::XRateLimit),
        ("x-sentry", HeaderStyle::XSentry),
        ("none", HeaderStyle::None),
    ];

    /// Adds the headers of `answers` to `headers`, and replaces headers of the same names.
    ///
    /// ```
    /// use tollgate::http::HeaderStyle;
    /// use tollgate::{Answers, LimitAnswer, Quota, RateLimiter};
    ///
    /// let limiter = RateLimiter::new(Quota::per_second(50).burst(100));
    /// let answer = LimitAnswer::of("user", &limiter, &42, limiter.check(&42));
    /// let answers = Answers::new(limiter.clock().now(), [answer]);
    ///
    /// let mut headers = http::HeaderMap::new();
    /// HeaderStyle::Draft.add_to(&mut headers, &answers);
    /// assert_eq!(headers["ratelimit-policy"], r#""user";q=100;w=2"#);
    /// assert_eq!(headers["ratelimit"], r#""user";r=99;t=1"#);
    /// ```
    pub fn add_to(self, headers: &mut HeaderMap, answers: &Answers) {
        match self {
            HeaderStyle::Draft => {
                if let Some(policy) = DraftPolicy::of(answers) {
                    draft(headers, answers, &policy);
                }
            }
            HeaderStyle::Triple => triple(headers, answers, TRIPLE),
            HeaderStyle::XRateLimit => triple(headers, answers, X_RATE_LIMIT),
            HeaderStyle::XSentry => x_sentry(headers, answers),
            HeaderStyle::None => {}
        }
    }
}

/// The error for a name that is not a header style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownStyle(String);

impl FromStr for HeaderStyle {
    type Err = UnknownStyle;

    fn from_str(text: &str) -> Result<HeaderStyle, UnknownStyle> {
        let found = HeaderStyle::NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        found.map(|(_, style)| *style).ok_or_else(|| UnknownStyle(text.to_owned()))
    }
}

impl std::fmt::Display for HeaderStyle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = HeaderStyle::NAMES.iter().find(|(_, style)| style == self);
        f.write_str(named.map_or("", |(name, _)| name))
    }
}

impl std::fmt::Display for UnknownStyle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = || HeaderStyle::NAMES.iter().map(|(name, _)| *name);
        write!(f, "there is no header style `{}`; there are ", self.0)?;
        f.write_str(&names().collect::<Vec<_>>().join(", "))?;
        match nearest(&self.0, names()) {
            Some(name) => write!(f, "; did you mean `{name}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for UnknownStyle {}

/// The longest key that the headers state, in bytes: clients choose keys, and reject headers that
/// are too long.
const MAX_KEY: usize = 256;

/// Whole seconds, rounded up.
pub(super) fn secs_up(time: Duration) -> u64 {
    time.as_secs().saturating_add((time.subsec_nanos() > 0).into())
}

/// The value of `Retry-After`: whole seconds, rounded up, at least 1. `None` if no wait is known
/// that helps.
pub fn retry_after(retry: Retry) -> Option<u64> {
    retry.after().map(|wait| secs_up(wait).max(1))
}

/// The time in which the whole burst refills; for a burst of 0, the period.
fn window(quota: &Quota) -> u64 {
    let units = if quota.burst_size() == 0 { quota.count() } else { quota.burst_size() };
    let nanos = u128::from(units) * quota.period().as_nanos();
    let secs = nanos.div_ceil(u128::from(quota.count()) * 1_000_000_000);
    u64::try_from(secs).unwrap_or(u64::MAX)
}

/// The part of the draft's headers that is the same in every response for the same limits.
#[derive(Clone)]
pub(super) struct DraftPolicy {
    /// The value of `RateLimit-Policy`.
    policy: HeaderValue,
    /// The start of each member of `RateLimit`, up to what remains.
    members: Vec<Box<[u8]>>,
}

impl DraftPolicy {
    /// `None` if the request asked no limit for anything.
    pub(super) fn of(answers: &Answers) -> Option<DraftPolicy> {
        let mut policy = List::with_room(answers.limits.len());
        let mut members = Vec::new();
        for answer in asked(answers) {
            policy.string(answer.limit);
            match &answer.amount {
                Amount::Quota(quota) => {
                    policy.integer(";q=", quota.burst_size());
                    policy.integer(";w=", window(quota));
                }
                Amount::Cap(cap) => {
                    policy.integer(";q=", (*cap).into());
                    policy.word(";qu=", "concurrent-requests");
                }
            }
            if let Some(key) = policy_key(answer) {
                policy.bytes(";pk=", key);
            }
            let mut member = List::with_room(1);
            member.string(answer.limit);
            members.push(member.into_bytes());
        }
        (!members.is_empty()).then_some(DraftPolicy { policy: policy.into_value()?, members })
    }
}

/// All answers except those of limits that refused without deciding.
fn asked(answers: &Answers) -> impl Iterator<Item = &LimitAnswer> {
    answers.limits.iter().filter(|answer| !answer.is_unfit)
}

/// The key, if the headers state it.
fn policy_key(answer: &LimitAnswer) -> Option<&[u8]> {
    answer.key.as_ref().map(String::as_bytes).filter(|key| key.len() <= MAX_KEY)
}

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT: HeaderName = HeaderName::from_static("ratelimit");

/// Adds the headers of the draft. `policy` is for the same limits as `answers`.
pub(super) fn draft(headers: &mut HeaderMap, answers: &Answers, policy: &DraftPolicy) {
    let mut left = List::with_room(answers.limits.len());
    let refused = answers.retry();
    for (answer, member) in asked(answers).zip(&policy.members) {
        left.member(member);
        left.integer(";r=", answer.remaining());
        let next = match answer.answer {
            Ok(_) => answer.next.map(secs_up),
            Err(_) => refused.and_then(retry_after),
        };
        if let Some(next) = next {
            left.integer(";t=", next);
        }
        if let Some(key) = policy_key(answer) {
            left.bytes(";pk=", key);
        }
    }
    if let Some(left) = left.into_value() {
        headers.insert(POLICY, policy.policy.clone());
        headers.insert(LEFT, left);
    }
}

const TRIPLE: [HeaderName; 3] = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
];

const X_RATE_LIMIT: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];

fn triple(headers: &mut HeaderMap, answers: &Answers, [limit, remaining, reset]: [HeaderName; 3]) {
    let refusing = asked(answers).find(|answer| answer.answer.is_err());
    let Some(answer) = refusing.or_else(|| tightest(answers, is_rate)).or(asked(answers).next())
    else {
        return;
    };
    headers.insert(limit, units(answer).into());
    headers.insert(remaining, answer.remaining().into());
    if is_rate(answer) {
        headers.insert(reset, secs_up(answer.reset_after()).into());
    }
}

fn x_sentry(headers: &mut HeaderMap, answers: &Answers) {
    if let Some(rate) = tightest(answers, is_rate) {
        let reset = answers.at + rate.reset_after();
        headers.insert("x-sentry-rate-limit-limit", units(rate).into());
        headers.insert("x-sentry-rate-limit-remaining", rate.remaining().into());
        let reset = reset.as_nanos().div_ceil(1_000_000_000);
        headers.insert("x-sentry-rate-limit-reset", reset.into());
    }
    if let Some(slots) = tightest(answers, |answer| !is_rate(answer)) {
        headers.insert("x-sentry-rate-limit-concurrentlimit", units(slots).into());
        headers.insert("x-sentry-rate-limit-concurrentremaining", slots.remaining().into());
    }
}

fn is_rate(answer: &LimitAnswer) -> bool {
    matches!(answer.amount, Amount::Quota(_))
}

fn units(answer: &LimitAnswer) -> u64 {
    match &answer.amount {
        Amount::Quota(quota) => quota.burst_size(),
        Amount::Cap(cap) => (*cap).into(),
    }
}

/// The first limit that refuses, or else the one with the least remaining.
fn tightest(answers: &Answers, of: impl Fn(&LimitAnswer) -> bool) -> Option<&LimitAnswer> {
    let kind = || asked(answers).filter(|answer| of(answer));
    let refusing = kind().find(|answer| answer.answer.is_err());
    refusing.or_else(|| kind().min_by_key(|answer| answer.remaining()))
}

pub(super) fn set_text(headers: &mut HeaderMap, name: HeaderName, text: String) {
    // The text consists of printable ASCII.
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}
