//! [`AdmitLayer`]: every request of a service is decided by an enforcer.

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use tower_layer::Layer;

use crate::decision::Refused;
use crate::enforcer::{Answers, Enforcer};
use crate::sync::{Arc, RandomState};

use super::Refusals;
use super::config::Config;
use super::fact::Fact;
use super::service::Admit;

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

impl<H> AdmitLayer<H> {
    /// A layer over the enforcer, which may be shared: `enforcer.clone()` of an `Arc`.
    pub fn new(enforcer: impl Into<Arc<Enforcer<H>>>) -> AdmitLayer<H> {
        AdmitLayer { config: Arc::new(Config::new(enforcer.into())) }
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

impl<H> std::fmt::Debug for AdmitLayer<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let facts: Vec<&str> = self.config.facts.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("AdmitLayer")
            .field("enforcer", &self.config.enforcer)
            .field("facts", &facts)
            .finish_non_exhaustive()
    }
}
