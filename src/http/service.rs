//! [`Admit`]: a service whose requests an enforcer decides, and [`Admitted`], the future of a
//! response.
//!
//! The decision is in `config`; the body of the response, which holds the permit, in `body`.

use std::future::Future;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::enforcer::{AdmissionWithAnswers, Answers};
use crate::sync::{Arc, RandomState};

use super::body::{AdmittedBody, HeldPermit};
use super::config::{Config, Decided};

/// The service that [`AdmitLayer`](super::AdmitLayer) wraps around another service.
pub struct Admit<Inner, H = RandomState> {
    inner: Inner,
    config: Arc<Config<H>>,
}

impl<Inner, H> Admit<Inner, H> {
    pub(super) fn new(inner: Inner, config: Arc<Config<H>>) -> Self {
        Admit { inner, config }
    }
}

impl<Inner, H, B, R> Service<Request<B>> for Admit<Inner, H>
where
    Inner: Service<Request<B>, Response = Response<R>> + Clone,
    H: BuildHasher,
    R: Body,
    R::Data: From<Bytes>,
{
    type Response = Response<AdmittedBody<R>>;
    type Error = Inner::Error;
    type Future = Admitted<Inner, H, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Inner::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let config = self.config.clone();
        let stage = match self.config.decide(&parts) {
            Decided::Admitted(held, answers) => {
                let future = self.inner.call(Request::from_parts(parts, body));
                Stage::Runs { future, held: Some(held), answers }
            }
            Decided::Refused(response) => Stage::Refused { response: Some(response) },
            Decided::Waits(admission) => {
                // Call the instance that `poll_ready` made ready, and keep the clone for the next
                // request.
                let next = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, next);
                Stage::Waits { admission, call: Some((ready, parts, body)) }
            }
        };
        Admitted { stage, config }
    }
}

pin_project! {
    /// The response future of [`Admit`].
    #[must_use = "a future does nothing unless it is awaited"]
    pub struct Admitted<Inner, H, B>
    where
        Inner: Service<Request<B>>,
    {
        #[pin]
        stage: Stage<Inner, Inner::Future, B>,
        config: Arc<Config<H>>,
    }
}

pin_project! {
    #[project = StageNow]
    enum Stage<Inner, F, B> {
        Waits { admission: Box<AdmissionWithAnswers>, call: Option<(Inner, Parts, B)> },
        Runs { #[pin] future: F, held: Option<HeldPermit>, answers: Answers },
        Refused { response: Option<Response<Bytes>> },
    }
}

impl<Inner, H, B, R> Future for Admitted<Inner, H, B>
where
    Inner: Service<Request<B>, Response = Response<R>>,
    H: BuildHasher,
    R: Body,
    R::Data: From<Bytes>,
{
    type Output = Result<Response<AdmittedBody<R>>, Inner::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.stage.as_mut().project() {
                StageNow::Waits { admission, call } => {
                    let (admitted, answers) = ready!(Pin::new(admission).poll(cx));
                    // Polled again after completion.
                    let Some((mut inner, parts, body)) = call.take() else { return Poll::Pending };
                    match this.config.ended(&parts, admitted, answers) {
                        Decided::Admitted(held, answers) => {
                            let future = inner.call(Request::from_parts(parts, body));
                            Stage::Runs { future, held: Some(held), answers }
                        }
                        Decided::Refused(response) => Stage::Refused { response: Some(response) },
                        Decided::Waits(_) => return Poll::Pending,
                    }
                }
                StageNow::Runs { future, held, answers } => {
                    let response = ready!(future.poll(cx))?;
                    let (mut parts, body) = response.into_parts();
                    this.config.add_headers(&mut parts.headers, answers);
                    let held = held.take().map(|held| held.until_end(&mut parts));
                    let body = AdmittedBody::inner(body, held);
                    return Poll::Ready(Ok(Response::from_parts(parts, body)));
                }
                StageNow::Refused { response } => {
                    let Some(response) = response.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(response.map(AdmittedBody::refusal)));
                }
            };
            this.stage.set(next);
        }
    }
}

impl<Inner: Clone, H> Clone for Admit<Inner, H> {
    fn clone(&self) -> Self {
        Admit { inner: self.inner.clone(), config: self.config.clone() }
    }
}

impl<Inner: std::fmt::Debug, H> std::fmt::Debug for Admit<Inner, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admit").field("inner", &self.inner).finish_non_exhaustive()
    }
}
