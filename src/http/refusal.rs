//! [`Refusals`]: a refusal as an HTTP response.
//!
//! Chooses the status and writes the body. Headers that state limits are in `headers`, gRPC
//! responses in `grpc`.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::decision::{Refused, Retry};
use crate::enforcer::Answers;

use super::headers::{HeaderStyle, retry_after};
use super::structured::is_plain;

/// How to answer refused requests: status, headers and body.
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
    unfit: StatusCode,
    shared_limits: Vec<String>,
    style: HeaderStyle,
    body: RefusalBody,
}

/// The body of a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalBody {
    /// `application/problem+json` (RFC 9457): `type` (`quota-exceeded`;
    /// `temporary-reduced-capacity` for shared capacity; `about:blank` for a request that cannot be
    /// decided as it is), `title`, `status`, `detail`, and `violated-policies` with the names of
    /// all limits that refuse.
    #[default]
    Problem,
    /// One sentence.
    Plain,
    /// No body.
    Empty,
}

impl Default for Refusals {
    fn default() -> Refusals {
        Refusals {
            own: StatusCode::TOO_MANY_REQUESTS,
            shared: StatusCode::SERVICE_UNAVAILABLE,
            unfit: StatusCode::BAD_REQUEST,
            shared_limits: Vec::new(),
            style: HeaderStyle::default(),
            body: RefusalBody::default(),
        }
    }
}

impl Refusals {
    /// The status if a limit of the caller's own refuses. Default: 429.
    #[must_use]
    pub fn own_status(self, own: StatusCode) -> Refusals {
        Refusals { own, ..self }
    }

    /// The status if shared capacity refuses. Default: 503.
    #[must_use]
    pub fn shared_status(self, shared: StatusCode) -> Refusals {
        Refusals { shared, ..self }
    }

    /// The status if a limit refuses the request as it is: a fact of its key is missing
    /// ([`Missing::Refuse`](crate::policy::Missing::Refuse)), or its cost is not a whole number.
    /// Default: 400.
    #[must_use]
    pub fn unfit_status(self, unfit: StatusCode) -> Refusals {
        Refusals { unfit, ..self }
    }

    /// Limits that are shared capacity although they have a key. Limits without a key always are.
    #[must_use]
    pub fn shared_limits<T: Into<String>>(self, names: impl IntoIterator<Item = T>) -> Refusals {
        Refusals { shared_limits: names.into_iter().map(Into::into).collect(), ..self }
    }

    /// The headers that state limits. Default: [`HeaderStyle::Draft`].
    #[must_use]
    pub fn style(self, style: HeaderStyle) -> Refusals {
        Refusals { style, ..self }
    }

    /// The kind of body. Default: [`RefusalBody::Problem`].
    #[must_use]
    pub fn body(self, body: RefusalBody) -> Refusals {
        Refusals { body, ..self }
    }

    /// The headers that state limits.
    #[cfg_attr(not(feature = "tower"), allow(dead_code))]
    pub(crate) fn header_style(&self) -> HeaderStyle {
        self.style
    }

    /// The status of a refusal, according to the first limit that refuses.
    pub fn status(&self, refused: &Refused, answers: &Answers) -> StatusCode {
        self.status_of(self.cause(refused, answers))
    }

    fn status_of(&self, cause: Cause) -> StatusCode {
        match cause {
            Cause::Own => self.own,
            Cause::Shared => self.shared,
            Cause::Unfit => self.unfit,
        }
    }

    /// A refusal as a response. If `answers` is empty, the body names only `refused.limit()`.
    pub fn response(&self, refused: &Refused, answers: &Answers) -> Response<Bytes> {
        self.response_with(refused, answers, |headers| self.style.add_to(headers, answers))
    }

    /// Like [`response`](Self::response), for a caller with its own way to state limits.
    pub(crate) fn response_with(
        &self,
        refused: &Refused,
        answers: &Answers,
        say_limits: impl FnOnce(&mut HeaderMap),
    ) -> Response<Bytes> {
        let cause = self.cause(refused, answers);
        let status = self.status_of(cause);
        let (kind, body) = match self.body {
            RefusalBody::Problem => {
                ("application/problem+json", problem(refused, answers, cause, status))
            }
            RefusalBody::Plain => {
                let mut text = String::new();
                push_words(&mut text, refused, String::push_str);
                text.push('\n');
                ("text/plain; charset=utf-8", text)
            }
            RefusalBody::Empty => ("", String::new()),
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        say_limits(headers);
        if let Some(secs) = retry_after(refused.retry()) {
            headers.insert(RETRY_AFTER, secs.into());
        }
        if !kind.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        response
    }

    /// The response if the service only knows that it cannot serve.
    #[cfg_attr(not(feature = "tower"), allow(dead_code))]
    pub(crate) fn unavailable(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = self.shared;
        response
    }

    fn cause(&self, refused: &Refused, answers: &Answers) -> Cause {
        let answer = answers.limits.iter().find(|answer| answer.limit == refused.limit());
        if answer.is_some_and(|answer| answer.is_unfit) {
            return Cause::Unfit;
        }
        let is_named = self.shared_limits.iter().any(|name| name == refused.limit());
        if is_named || answer.is_some_and(|answer| answer.is_shared) {
            Cause::Shared
        } else {
            Cause::Own
        }
    }
}

/// The reason for a refusal.
#[derive(Clone, Copy)]
enum Cause {
    /// A limit of the caller's own.
    Own,
    /// Shared capacity.
    Shared,
    /// The request cannot be decided as it is.
    Unfit,
}

/// Appends a refusal in words to `text`, with the wait in whole seconds as in its headers.
fn push_words(text: &mut String, refused: &Refused, push_name: fn(&mut String, &str)) {
    // Avoids `format!`, since every refusal runs this.
    text.push_str("refused by limit ");
    push_name(text, refused.limit());
    match retry_after(refused.retry()) {
        Some(secs) => {
            text.push_str(", retry in ");
            text.push_str(itoa::Buffer::new().format(secs));
            text.push_str(" s");
        }
        None if refused.retry() == Retry::Never => text.push_str(", no wait helps"),
        None => text.push_str(", retry when a slot is free"),
    }
}

/// The start of a problem of each of the draft's two types. Constant, because escaping this text
/// took an eighth of the time of a refusal.
const OWN_BEGINNING: &str = concat!(
    r#"{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","#,
    r#""title":"Request cannot be satisfied as assigned quota has been exceeded","#,
);
const SHARED_BEGINNING: &str = concat!(
    r#"{"type":"https://iana.org/assignments/http-problem-types#temporary-reduced-capacity","#,
    r#""title":"Request cannot be satisfied due to temporary server capacity constraints","#,
);

/// Enough for a problem that names a few limits.
const PROBLEM_BYTES: usize = 384;

fn problem(refused: &Refused, answers: &Answers, cause: Cause, status: StatusCode) -> String {
    let mut text = String::with_capacity(PROBLEM_BYTES);
    match cause {
        Cause::Own => text.push_str(OWN_BEGINNING),
        Cause::Shared => text.push_str(SHARED_BEGINNING),
        // `about:blank` says no more than the status.
        Cause::Unfit => {
            text.push_str(r#"{"type":"about:blank","title":""#);
            push_json(&mut text, status.canonical_reason().unwrap_or_default());
            text.push_str(r#"","#);
        }
    }
    text.push_str(r#""status":"#);
    text.push_str(status.as_str());
    text.push_str(r#","detail":""#);
    match cause {
        Cause::Own | Cause::Shared => push_words(&mut text, refused, push_json),
        Cause::Unfit => {
            text.push_str("limit ");
            push_json(&mut text, refused.limit());
            text.push_str(" counts by what the request lacks, or cannot read what it costs");
        }
    }
    text.push_str(r#"","violated-policies":["#);
    let refuses = answers.limits.iter().filter(|answer| answer.answer.is_err());
    let mut refusing = refuses.map(|answer| answer.limit).peekable();
    let only = refusing.peek().is_none().then(|| refused.limit());
    for (nth, limit) in refusing.chain(only).enumerate() {
        text.push_str(if nth == 0 { "\"" } else { ",\"" });
        push_json(&mut text, limit);
        text.push('"');
    }
    text.push_str("]}");
    text
}

/// Appends the content of a JSON string, without its quotes. Most names need no escaping, which
/// takes ten times as long.
fn push_json(text: &mut String, string: &str) {
    if is_plain(string) {
        return text.push_str(string);
    }
    let quoted = serde_json::Value::from(string).to_string();
    let inner = quoted.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"'));
    text.push_str(inner.unwrap_or_default());
}
