//! [`AdmitLayer`]: a tower layer in which an enforcer decides every request of a service.
//!
//! This file is the builder; `config` decides requests, and `service` runs them.

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

/// A layer in which an [`Enforcer`] decides every request of a service, whether built with axum,
/// tonic or hyper.
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
/// All clones of a layer and all connections share the enforcer. A request costs 1, or in a limit
/// that takes its cost from a fact, the value of that fact. The response holds the permit until its
/// body has ended, the client disconnects, the handler panics, or the service is dropped, whichever
/// comes first. (After an upgrade, such as to a WebSocket, the response has no body, and the permit
/// ends there.) A handler can [settle](super::Settle) the cost.
///
/// A refused request never reaches the service: the layer answers it immediately as configured by
/// [`Refusals`], and gRPC requests by gRPC's rules. If the policy lets it `wait`, the request waits
/// without holding anything, and leaves the line if its client disconnects. That needs a clock with
/// a timer, such as `Clock::tokio()`; on other clocks no request waits.
///
/// If a request lacks a fact, the policy's `missing` applies; that is never an error. With the
/// feature `tracing` the layer warns, once, if it does not give a fact that the policy counts by,
/// or if the policy has a `wait` and the clock has no timer.
pub struct AdmitLayer<H = RandomState> {
    config: Arc<Config<H>>,
}

impl<H> AdmitLayer<H> {
    /// A layer with this enforcer, which may be shared: `enforcer.clone()` of an `Arc`.
    pub fn new(enforcer: impl Into<Arc<Enforcer<H>>>) -> AdmitLayer<H> {
        AdmitLayer { config: Arc::new(Config::new(enforcer.into())) }
    }

    /// Gives each request the fact `name`. If several facts have the same name, the first with a
    /// value counts.
    #[must_use]
    pub fn fact(mut self, name: impl Into<Box<str>>, fact: impl Fact + 'static) -> AdmitLayer<H> {
        self.change().facts.push((name.into(), Arc::new(fact)));
        self
    }

    /// How the layer answers refused requests, and the headers that state limits. Default:
    /// [`Refusals::default`].
    #[must_use]
    pub fn refusals(mut self, refusals: Refusals) -> AdmitLayer<H> {
        self.change().refusals = refusals;
        self
    }

    /// The response to a refused request, instead of [`Refusals::response`] and gRPC's response.
    /// The layer adds nothing to it, neither headers of limits nor `Retry-After`: start from one of
    /// these two.
    #[must_use]
    pub fn respond<F>(mut self, respond: F) -> AdmitLayer<H>
    where
        F: Fn(&Parts, &Refused, &Answers) -> Response<Bytes> + Send + Sync + 'static,
    {
        self.change().respond = Some(Arc::new(respond));
        self
    }

    /// A callback for each refusal by a limit, with the request's key in that limit as text:
    /// `ip=192.0.2.1`.
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

    /// Makes the headers of the draft state the key of each limit, as the parameter `pk`: the bytes
    /// of `ip=192.0.2.1`, in base64. A client can then read every fact that it is counted by. Keys
    /// of more than 256 bytes are left out.
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

// By hand, because the derives would require `H: Clone` and `H: Debug`.
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
