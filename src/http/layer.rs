//! [`AdmitLayer`]: every request of a service is decided by an enforcer.

use std::borrow::Cow;
use std::hash::BuildHasher;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{Method, Response};
use smallvec::SmallVec;
use tower_layer::Layer;

use crate::decision::Refused;
use crate::enforcer::{AdmissionWithAnswers, Answers, Enforcer, Explanation, Permit};
use crate::queue::WaitError;
use crate::sync::{Arc, AtomicBool, Ordering, RandomState};
use crate::telemetry;

use super::body::Held;
use super::fact::Fact;
use super::service::Admit;
use super::told_policy::ToldPolicy;
use super::{HeaderStyle, Refusals, grpc_response, is_grpc};

/// Facts of a request that are read without allocating.
const INLINE: usize = 8;

/// A layer that lets an [`Enforcer`] decide every request of a service, whatever it is made with:
/// axum, tonic, hyper.
///
/// ```
/// use tollgate::http::{AdmitLayer, fact};
/// use tollgate::{Enforcer, Limit, Policy, Quota};
///
/// let policy = Policy::new()
///     .limit(Limit::new("user", Quota::per_second(50).burst(100)).key(["user", "method"]));
/// let layer = AdmitLayer::new(Enforcer::builder(policy).build()?)
///     .fact("user", fact::header("x-user"))
///     .fact("method", fact::method());
/// // let app = axum::Router::new().route("/", get(handler)).layer(layer);
/// # Ok::<(), tollgate::PolicyError>(())
/// ```
///
/// All clones share the enforcer, and so do all connections. A request costs 1, or what the fact
/// says that a limit takes its cost from. Its permit is held until the body of the response has
/// ended, or the client is gone, the handler panics, or the service is dropped: whatever comes
/// first. (After an upgrade, as to a WebSocket, the response has no body: the permit ends there.)
/// A handler can [settle](super::Settle) the cost.
///
/// A request that is refused never reaches the service: it is answered at once as [`Refusals`] says,
/// and gRPC by its own rules. Where the policy lets it `wait`, it waits, holding nothing, and leaves
/// the line if its client goes away; that needs a clock with a timer, `Clock::tokio()`. On another
/// clock nobody waits.
///
/// A fact that a request lacks is the policy's `missing`, never an error. With the feature `tracing`
/// it is warned of, once, if the layer does not give a fact that the policy counts by, or a policy
/// has a `wait` and the clock no timer.
pub struct AdmitLayer<H = RandomState> {
    config: Arc<Config<H>>,
}

type Observe = dyn Fn(&Refused, &str) + Send + Sync;

type Respond = dyn Fn(&Parts, &Refused, &Answers) -> Response<Bytes> + Send + Sync;

pub(super) struct Config<H> {
    pub(super) enforcer: Arc<Enforcer<H>>,
    facts: Vec<(Box<str>, Arc<dyn Fact>)>,
    refusals: Refusals,
    respond: Option<Arc<Respond>>,
    on_refused: Option<Arc<Observe>>,
    shows_keys: bool,
    warned: Warned,
    told_policy: Arc<ToldPolicy>,
}

impl<H> AdmitLayer<H> {
    /// A layer over the enforcer, which may be shared: `enforcer.clone()` of an `Arc`.
    pub fn new(enforcer: impl Into<Arc<Enforcer<H>>>) -> AdmitLayer<H> {
        AdmitLayer {
            config: Arc::new(Config {
                enforcer: enforcer.into(),
                facts: Vec::new(),
                refusals: Refusals::default(),
                respond: None,
                on_refused: None,
                warned: Warned::default(),
                shows_keys: false,
                told_policy: Arc::default(),
            }),
        }
    }

    /// Gives each request the fact `name`. Of several of one name the first that a request has counts.
    #[must_use]
    pub fn fact(mut self, name: impl Into<Box<str>>, fact: impl Fact + 'static) -> AdmitLayer<H> {
        self.change().facts.push((name.into(), Arc::new(fact)));
        self
    }

    /// How refusals are told, and by which headers limits are. Default: [`Refusals::default`].
    #[must_use]
    pub fn refusals(mut self, refusals: Refusals) -> AdmitLayer<H> {
        self.change().refusals = refusals;
        self
    }

    /// The response to a refused request, in place of [`Refusals::response`] and gRPC's. Nothing is
    /// added to it, neither headers of limits nor `Retry-After`: begin with one of these two.
    #[must_use]
    pub fn respond<F>(mut self, respond: F) -> AdmitLayer<H>
    where
        F: Fn(&Parts, &Refused, &Answers) -> Response<Bytes> + Send + Sync + 'static,
    {
        self.change().respond = Some(Arc::new(respond));
        self
    }

    /// Is shown each refusal by a limit, and the request's key there in words: `ip=192.0.2.1`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollgate::http::AdmitLayer;
    /// use tollgate::{Busiest, Enforcer, Policy};
    ///
    /// let busiest = Arc::new(Busiest::new(20));
    /// let counted = busiest.clone();
    /// let layer = AdmitLayer::new(Enforcer::builder(Policy::new()).build()?)
    ///     .on_refused(move |refused, key| counted.count(refused.limit(), key));
    /// // And on a page of yours: busiest.top("user")
    /// # Ok::<(), tollgate::PolicyError>(())
    /// ```
    #[must_use]
    pub fn on_refused<F>(mut self, observe: F) -> AdmitLayer<H>
    where
        F: Fn(&Refused, &str) + Send + Sync + 'static,
    {
        self.change().on_refused = Some(Arc::new(observe));
        self
    }

    /// Has the headers of the draft say the key of each limit, as the parameter `pk`: the bytes of
    /// `ip=192.0.2.1`, in base64. A client then reads every fact that it is counted by. Keys of more
    /// than 256 bytes are left out.
    #[must_use]
    pub fn show_keys(mut self) -> AdmitLayer<H> {
        self.change().shows_keys = true;
        self
    }

    fn change(&mut self) -> &mut Config<H> {
        Arc::make_mut(&mut self.config)
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
    Admitted(Held, Answers),
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
        let held = Held::new(permit);
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
    fn warn_of_facts(&self) {
        if !self.warned.of_facts.swap(true, Ordering::Relaxed) {
            let given: Vec<&str> = self.facts.iter().map(|(name, _)| &**name).collect();
            self.enforcer.tell_facts(&given);
        }
    }

    /// A reload may bring a `wait`, too.
    fn warn_of_timer(&self) {
        if self.enforcer.lacks_timer() && !self.warned.of_timer.swap(true, Ordering::Relaxed) {
            telemetry::cannot_wait();
        }
    }
}

impl<H, Inner> Layer<Inner> for AdmitLayer<H> {
    type Service = Admit<Inner, H>;

    fn layer(&self, inner: Inner) -> Admit<Inner, H> {
        self.config.warn_of_facts();
        self.config.warn_of_timer();
        Admit::new(inner, self.config.clone())
    }
}

// By hand: nothing asks that the hasher can be cloned, or shown.
impl<H> Clone for AdmitLayer<H> {
    fn clone(&self) -> Self {
        AdmitLayer { config: self.config.clone() }
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

impl<H> std::fmt::Debug for AdmitLayer<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let facts: Vec<&str> = self.config.facts.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("AdmitLayer")
            .field("enforcer", &self.config.enforcer)
            .field("facts", &facts)
            .finish_non_exhaustive()
    }
}
