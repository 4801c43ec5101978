//! [`AdmittedBody`]: a response's body, which holds the permit of its request until it ends.
//!
//! [`Settle`] lets a handler correct the cost. The future that creates the body is in `service`.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::enforcer::Permit;

/// The final cost of a request. A handler adds it to the extensions of its response (with axum
/// `(Extension(Settle(5)), body)`). When the response has ended, the permit is
/// [settled](crate::Permit::settle) at this cost: in the limits that take their cost from a fact,
/// or if there are none, in all limits that charged the request. A cost above the burst makes debt,
/// which must be repaid before anything else is admitted. The response's own headers still state
/// the original charge.
///
/// ```
/// # use tollgate::http::Settle;
/// let mut response = http::Response::new("the answer");
/// response.extensions_mut().insert(Settle(1_234));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settle(pub u64);

/// The permit of an admitted request. Dropping it gives the permit back.
pub(super) struct HeldPermit {
    /// Boxed, so that moves of the future and the body do not copy it.
    permit: Option<Box<Permit>>,
    settle: Option<Settle>,
}

impl HeldPermit {
    pub(super) fn new(permit: Box<Permit>) -> HeldPermit {
        HeldPermit { permit: Some(permit), settle: None }
    }

    /// Takes the final cost from `response`; the body then holds the permit until it ends.
    pub(super) fn until_end(self, response: &mut response::Parts) -> HeldPermit {
        let mut held = self;
        held.settle = response.extensions.remove::<Settle>();
        held
    }
}

impl Drop for HeldPermit {
    fn drop(&mut self) {
        if let (Some(Settle(cost)), Some(permit)) = (self.settle, self.permit.take()) {
            permit.settle(cost);
        }
    }
}

pin_project! {
    /// The body of a response: a service's own, or that of a refusal.
    pub struct AdmittedBody<B> {
        #[pin]
        body: Kind<B>,
        held: Option<HeldPermit>,
    }
}

pin_project! {
    #[project = KindNow]
    enum Kind<B> {
        Inner { #[pin] body: B },
        Refusal { bytes: Option<Bytes> },
    }
}

impl<B> AdmittedBody<B> {
    pub(super) fn inner(body: B, held: Option<HeldPermit>) -> AdmittedBody<B> {
        AdmittedBody { body: Kind::Inner { body }, held }
    }

    pub(super) fn refusal(bytes: Bytes) -> AdmittedBody<B> {
        let bytes = Some(bytes).filter(|bytes| !bytes.is_empty());
        AdmittedBody { body: Kind::Refusal { bytes }, held: None }
    }
}

impl<B: Body> Body for AdmittedBody<B>
where
    B::Data: From<Bytes>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        match this.body.as_mut().project() {
            KindNow::Inner { mut body } => {
                let frame = ready!(body.as_mut().poll_frame(cx));
                let goes_on = matches!(frame, Some(Ok(_))) && !body.is_end_stream();
                if !goes_on {
                    *this.held = None;
                }
                Poll::Ready(frame)
            }
            KindNow::Refusal { bytes } => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes.into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Refusal { bytes } => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Kind::Inner { body } => body.size_hint(),
            Kind::Refusal { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
        }
    }
}

impl<B> std::fmt::Debug for AdmittedBody<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdmittedBody").field("holds", &self.held.is_some()).finish_non_exhaustive()
    }
}
