//! [`Config`]: the options of an [`AdmitLayer`](super::AdmitLayer), and how it decides a request.
//!
//! Reads the facts of a request, asks the enforcer, and builds the response to a refusal. The
//! futures are in `service`.

use std::borrow::Cow;
use std::hash::BuildHasher;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{Method, Response};
use smallvec::SmallVec;

use crate::decision::Refused;
use crate::enforcer::{AdmissionWithAnswers, Answers, Enforcer, Explanation, Permit};
use crate::queue::WaitError;
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::telemetry;

use super::body::HeldPermit;
use super::fact::Fact;
use super::policy_header::PolicyHeader;
use super::{HeaderStyle, Refusals, grpc_response, is_grpc};

/// The number of facts of a request that are read without allocating.
const INLINE: usize = 8;

pub(super) type Observe = dyn Fn(&Refused, &str) + Send + Sync;

pub(super) type Respond = dyn Fn(&Parts, &Refused, &Answers) -> Response<Bytes> + Send + Sync;

pub(super) struct Config<H> {
    pub(super) enforcer: Arc<Enforcer<H>>,
    pub(super) facts: Vec<(Box<str>, Arc<dyn Fact>)>,
    pub(super) refusals: Refusals,
    pub(super) respond: Option<Arc<Respond>>,
    pub(super) on_refused: Option<Arc<Observe>>,
    pub(super) shows_keys: bool,
    warned: Warned,
    policy_header: Arc<PolicyHeader>,
}

impl<H> Config<H> {
    pub(super) fn new(enforcer: Arc<Enforcer<H>>) -> Config<H> {
        Config {
            enforcer,
            facts: Vec::new(),
            refusals: Refusals::default(),
            respond: None,
            on_refused: None,
            warned: Warned::default(),
            shows_keys: false,
            policy_header: Arc::default(),
        }
    }
}

/// Makes a response the answer to `HEAD`, which states the length of the body. Servers omit the
/// body over HTTP/1, but not all do over HTTP/2.
fn without_body(response: &mut Response<Bytes>) {
    let body = std::mem::take(response.body_mut());
    if !body.is_empty() {
        response.headers_mut().insert(CONTENT_LENGTH, body.len().into());
    }
}

/// The facts that a request has, with their values.
type Values<'r> = SmallVec<[(&'r str, Cow<'r, str>); INLINE]>;

/// The decision on a request.
pub(super) enum Decided {
    Admitted(HeldPermit, Answers),
    Refused(Response<Bytes>),
    /// Boxed, because this case is rare and large.
    Waits(Box<AdmissionWithAnswers>),
}

impl<H: BuildHasher> Config<H> {
    /// Decides a request, or starts to wait.
    pub(super) fn decide(&self, request: &Parts) -> Decided {
        let mut values = Values::new();
        let facts = self.facts(request, &mut values);
        if self.enforcer.can_wait() {
            let admission = self.enforcer.admit_waiting(&facts, 1).with_answers();
            return Decided::Waits(Box::new(admission));
        }
        // `HeaderStyle::None` writes no headers, so only a refusal needs answers.
        let always = self.refusals.header_style() != HeaderStyle::None;
        let (admitted, answers) = self.enforcer.admit_boxed(&facts, 1, always);
        match admitted {
            Ok(permit) => self.admitted(request, permit, answers),
            Err(refused) => {
                self.warn_of_timer();
                self.ended(request, Err(WaitError::Denied(refused)), answers)
            }
        }
    }

    fn admitted(&self, request: &Parts, permit: Box<Permit>, answers: Answers) -> Decided {
        let held = HeldPermit::new(permit);
        Decided::Admitted(held, self.with_keys(request, answers))
    }

    /// The result of a wait, or of a refusal without a wait.
    pub(super) fn ended(
        &self,
        request: &Parts,
        admitted: Result<Permit, WaitError<Refused>>,
        answers: Answers,
    ) -> Decided {
        match admitted {
            Ok(permit) => self.admitted(request, Box::new(permit), answers),
            Err(WaitError::Denied(refused)) => {
                let answers = self.with_keys(request, answers);
                if let Some(observe) = &self.on_refused {
                    observe(&refused, &self.key(request, &refused));
                }
                Decided::Refused(self.response(request, &refused, &answers))
            }
            // Not expected: `self` keeps the enforcer alive, and its clock had a timer.
            Err(_) => Decided::Refused(self.refusals.unavailable()),
        }
    }

    /// Adds the headers that state limits.
    pub(super) fn add_headers(&self, headers: &mut http::HeaderMap, answers: &Answers) {
        match self.refusals.header_style() {
            HeaderStyle::Draft => self.policy_header.add_to(headers, answers),
            style => style.add_to(headers, answers),
        }
    }

    fn response(&self, request: &Parts, refused: &Refused, answers: &Answers) -> Response<Bytes> {
        let mut response = match &self.respond {
            Some(respond) => respond(request, refused, answers),
            None if is_grpc(&request.headers) => {
                grpc_response(refused, answers, self.refusals.header_style())
            }
            None => {
                let say_limits = |headers: &mut _| self.add_headers(headers, answers);
                self.refusals.response_with(refused, answers, say_limits)
            }
        };
        if request.method == Method::HEAD {
            without_body(&mut response);
        }
        response
    }

    /// The facts of a request. `values` owns their values.
    #[inline(always)]
    fn facts<'v, 'r: 'v>(
        &'r self,
        request: &'r Parts,
        values: &'v mut Values<'r>,
    ) -> SmallVec<[(&'v str, &'v str); INLINE]> {
        for (name, fact) in &self.facts {
            if let Some(value) = fact.value(request) {
                values.push((name, value));
            }
        }
        let mut facts = SmallVec::new();
        for (name, value) in values.iter() {
            facts.push((*name, &**value));
        }
        facts
    }

    /// Adds keys as text, if the layer shows them.
    fn with_keys(&self, request: &Parts, answers: Answers) -> Answers {
        if self.shows_keys { answers.with_keys(self.explain(request)) } else { answers }
    }

    #[cold]
    fn key(&self, request: &Parts, refused: &Refused) -> String {
        let mut explained = self.explain(request).into_iter();
        // A reload may have dropped the limit meanwhile.
        explained.find(|limit| limit.limit == refused.limit()).map_or(String::new(), |of| of.key)
    }

    fn explain(&self, request: &Parts) -> Vec<Explanation> {
        let mut values = Values::new();
        let facts = self.facts(request, &mut values);
        self.enforcer.explain(&facts, 1)
    }
}

/// The warnings already given; each is given once.
#[derive(Default)]
struct Warned {
    of_facts: AtomicBool,
    of_timer: AtomicBool,
}

// Relaxed, in both methods: pairs only with the swaps of other threads, and no other data depends
// on the flags.
impl<H> Config<H> {
    pub(super) fn warn_of_facts(&self) {
        if !self.warned.of_facts.swap(true, Ordering::Relaxed) {
            let given: Vec<&str> = self.facts.iter().map(|(name, _)| &**name).collect();
            self.enforcer.log_facts(&given);
        }
    }

    /// Checked again after each refusal, since a reload may add a `wait`.
    pub(super) fn warn_of_timer(&self) {
        if self.enforcer.lacks_timer() && !self.warned.of_timer.swap(true, Ordering::Relaxed) {
            telemetry::cannot_wait();
        }
    }
}

impl<H> Clone for Config<H> {
    fn clone(&self) -> Self {
        Config {
            enforcer: self.enforcer.clone(),
            facts: self.facts.clone(),
            refusals: self.refusals.clone(),
            respond: self.respond.clone(),
            on_refused: self.on_refused.clone(),
            warned: Warned::default(),
            shows_keys: self.shows_keys,
            policy_header: self.policy_header.clone(),
        }
    }
}
