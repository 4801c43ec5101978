//! What an [`AdmitLayer`](super::AdmitLayer) was told to do, and how it decides a request by that.

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
use super::told_policy::ToldPolicy;
use super::{HeaderStyle, Refusals, grpc_response, is_grpc};

/// Facts of a request that are read without allocating.
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
    told_policy: Arc<ToldPolicy>,
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
            told_policy: Arc::default(),
        }
    }
}

/// As the answer to `HEAD`: it says how long the body would be. Over HTTP/1 servers leave it out by
/// themselves, over HTTP/2 not all do.
fn without_body(response: &mut Response<Bytes>) {
    let body = std::mem::take(response.body_mut());
    if !body.is_empty() {
        response.headers_mut().insert(CONTENT_LENGTH, body.len().into());
    }
}

/// Facts that a request has, and their values.
type Values<'r> = SmallVec<[(&'r str, Cow<'r, str>); INLINE]>;

/// What became of a request.
pub(super) enum Decided {
    Admitted(HeldPermit, Answers),
    Refused(Response<Bytes>),
    /// In a box: seldom, and large.
    Waits(Box<AdmissionWithAnswers>),
}

impl<H: BuildHasher> Config<H> {
    /// Decides a request, or begins to wait.
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
                self.told(request, Err(WaitError::Denied(refused)), answers)
            }
        }
    }

    fn admitted(&self, request: &Parts, permit: Box<Permit>, answers: Answers) -> Decided {
        let held = HeldPermit::new(permit);
        Decided::Admitted(held, self.with_keys(request, answers))
    }

    /// What follows from the end of a wait, or from a refusal without one.
    pub(super) fn told(
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
            // The enforcer is there as long as this is, and its clock had a timer.
            Err(_) => Decided::Refused(self.refusals.unavailable()),
        }
    }

    /// Says how limits stand.
    pub(super) fn add_headers(&self, headers: &mut http::HeaderMap, answers: &Answers) {
        match self.refusals.header_style() {
            HeaderStyle::Draft => self.told_policy.add_to(headers, answers),
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

    /// The facts of a request, of which `values` keeps the values.
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

    /// With keys in words, if they are to be shown.
    fn with_keys(&self, request: &Parts, answers: Answers) -> Answers {
        if self.shows_keys { answers.with_keys(self.explain(request)) } else { answers }
    }

    #[cold]
    fn key(&self, request: &Parts, refused: &Refused) -> String {
        let mut explained = self.explain(request).into_iter();
        // A reload may have dropped it just now.
        explained.find(|limit| limit.limit == refused.limit()).map_or(String::new(), |of| of.key)
    }

    fn explain(&self, request: &Parts) -> Vec<Explanation> {
        let mut values = Values::new();
        let facts = self.facts(request, &mut values);
        self.enforcer.explain(&facts, 1)
    }
}

/// What is warned of once.
#[derive(Default)]
struct Warned {
    of_facts: AtomicBool,
    of_timer: AtomicBool,
}

// Relaxed, twice: nothing else goes with it.
impl<H> Config<H> {
    pub(super) fn warn_of_facts(&self) {
        if !self.warned.of_facts.swap(true, Ordering::Relaxed) {
            let given: Vec<&str> = self.facts.iter().map(|(name, _)| &**name).collect();
            self.enforcer.log_facts(&given);
        }
    }

    /// A reload may bring a `wait`, too.
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
            told_policy: self.told_policy.clone(),
        }
    }
}
