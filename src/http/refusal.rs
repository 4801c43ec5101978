//! A refusal as a response.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::decision::Refused;
use crate::enforcer::Answers;

use super::headers::{HeaderStyle, retry_after};

/// How refusals are told: status, headers and body.
///
/// ```
/// use http::StatusCode;
/// use tollgate::http::Refusals;
/// use tollgate::{Enforcer, Limit, Policy, Quota};
///
/// let all = Limit::new("all", Quota::per_minute(1));
/// let enforcer = Enforcer::builder(Policy::new().limit(all)).build()?;
/// let (permit, _) = enforcer.admit_with_answers(&[("user", "42")], 1);
/// assert!(permit.is_ok());
///
/// let (refused, answers) = enforcer.admit_with_answers(&[("user", "42")], 1);
/// let response = Refusals::default().response(&refused.unwrap_err(), &answers);
/// assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE); // all requests share it
/// assert_eq!(response.headers()["retry-after"], "60");
/// # Ok::<(), tollgate::PolicyError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Refusals {
    own: StatusCode,
    shared: StatusCode,
    shared_limits: Vec<String>,
    style: HeaderStyle,
    body: RefusalBody,
}

/// What a refusal says in its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalBody {
    /// `application/problem+json` (RFC 9457): `type` (`quota-exceeded`, or
    /// `temporary-reduced-capacity` of shared capacity), `title`, `status`, `detail`, and as
    /// `violated-policies` the names of all limits that refuse.
    #[default]
    Problem,
    /// A sentence.
    Plain,
    /// Nothing.
    Empty,
}

impl Default for Refusals {
    fn default() -> Refusals {
        Refusals {
            own: StatusCode::TOO_MANY_REQUESTS,
            shared: StatusCode::SERVICE_UNAVAILABLE,
            shared_limits: Vec::new(),
            style: HeaderStyle::default(),
            body: RefusalBody::default(),
        }
    }
}

impl Refusals {
    /// The status where a limit refuses that is the caller's own. Default: 429.
    #[must_use]
    pub fn own_status(self, own: StatusCode) -> Refusals {
        Refusals { own, ..self }
    }

    /// The status where capacity refuses that is shared. Default: 503.
    #[must_use]
    pub fn shared_status(self, shared: StatusCode) -> Refusals {
        Refusals { shared, ..self }
    }

    /// Limits that are shared capacity though they have a key. Those without a key always are.
    #[must_use]
    pub fn shared_limits<T: Into<String>>(self, names: impl IntoIterator<Item = T>) -> Refusals {
        Refusals { shared_limits: names.into_iter().map(Into::into).collect(), ..self }
    }

    /// Which headers say how limits stand. Default: [`HeaderStyle::Draft`].
    #[must_use]
    pub fn style(self, style: HeaderStyle) -> Refusals {
        Refusals { style, ..self }
    }

    /// What the body says. Default: [`RefusalBody::Problem`].
    #[must_use]
    pub fn body(self, body: RefusalBody) -> Refusals {
        Refusals { body, ..self }
    }

    /// Which headers say how limits stand.
    #[cfg_attr(not(feature = "tower"), allow(dead_code))]
    pub(crate) fn header_style(&self) -> HeaderStyle {
        self.style
    }

    /// The status of a refusal: by the first limit that refuses.
    pub fn status(&self, refused: &Refused, answers: &Answers) -> StatusCode {
        if self.is_shared(refused, answers) { self.shared } else { self.own }
    }

    /// A refusal as a response. Without answers it names the first limit alone.
    pub fn response(&self, refused: &Refused, answers: &Answers) -> Response<Bytes> {
        let status = self.status(refused, answers);
        let (kind, body) = match self.body {
            RefusalBody::Problem => {
                let shared = self.is_shared(refused, answers);
                ("application/problem+json", problem(refused, answers, shared, status))
            }
            RefusalBody::Plain => ("text/plain; charset=utf-8", format!("{refused}\n").into()),
            RefusalBody::Empty => ("", Bytes::new()),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        self.style.add_to(headers, answers);
        if let Some(secs) = retry_after(refused.retry()) {
            headers.insert(RETRY_AFTER, secs.into());
        }
        if !kind.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        response
    }

    /// Where the service can say no more than that it cannot serve.
    #[cfg_attr(not(feature = "tower"), allow(dead_code))]
    pub(crate) fn unavailable(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = self.shared;
        response
    }

    fn is_shared(&self, refused: &Refused, answers: &Answers) -> bool {
        let named = |name: &String| name == refused.limit();
        let answer = answers.limits.iter().find(|answer| answer.limit == refused.limit());
        answer.is_some_and(|answer| answer.is_shared) || self.shared_limits.iter().any(named)
    }
}

/// A problem detail object, with the types that the draft of the headers defines.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(rename = "violated-policies")]
    violated_policies: Vec<&'a str>,
}

/// Room for a problem of a few limits.
const PROBLEM_BYTES: usize = 384;

fn problem(refused: &Refused, answers: &Answers, shared: bool, status: StatusCode) -> Bytes {
    let (r#type, title) = if shared {
        (
            "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
            "Request cannot be satisfied due to temporary server capacity constraints",
        )
    } else {
        (
            "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "Request cannot be satisfied as assigned quota has been exceeded",
        )
    };
    let refuses = answers.limits.iter().filter(|answer| answer.answer.is_err());
    let mut violated_policies: Vec<&str> = refuses.map(|answer| answer.limit).collect();
    if violated_policies.is_empty() {
        violated_policies.push(refused.limit());
    }
    let detail = refused.to_string();
    let problem = Problem { r#type, title, status: status.as_u16(), detail, violated_policies };
    let mut text = Vec::with_capacity(PROBLEM_BYTES);
    // It has neither maps nor numbers that JSON lacks.
    let _ = serde_json::to_writer(&mut text, &problem);
    text.into()
}
