//! Facts of a request, as a policy names them, read from its head: [`AdmitLayer::fact`].
//!
//! [`AdmitLayer::fact`]: super::AdmitLayer::fact

use std::borrow::Cow;
use std::net::SocketAddr;

use http::header::HeaderName;
use http::request::Parts;

use crate::sync::{AtomicBool, Ordering};
use crate::telemetry;

use super::ClientAddress;

/// Where the value of a fact comes from. Ready ones: [`method`], [`path`], [`header`],
/// [`extension`], [`client_address`]; any other: [`from_fn`].
pub trait Fact: Send + Sync {
    /// The value; none, or an empty one, if the request has none. Then the policy's `missing` says
    /// what follows.
    fn value<'r>(&self, request: &'r Parts) -> Option<Cow<'r, str>>;
}

/// The method: `GET`.
pub fn method() -> impl Fact {
    from_fn(|request| Some(request.method.as_str().into()))
}

/// The path as requested, without its query: `/users/42`. (In access logs the fact `path` has the
/// query.) For a matched route, `/users/{id}`, take the extension that the router leaves, as
/// `extension(axum::extract::MatchedPath::as_str)`: there are fewer of these, and a client cannot
/// make up new ones.
pub fn path() -> impl Fact {
    from_fn(|request| Some(request.uri.path().into()))
}

/// The first header of this name, if it is text. A client sends what it likes, unless a proxy or a
/// layer further out replaces it.
///
/// # Panics
/// If it is no name of a header.
#[track_caller]
pub fn header(name: &str) -> impl Fact + use<> {
    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
        panic!("`{name}` is no name of a header");
    };
    from_fn(move |request| {
        let value = request.headers.get(&name)?;
        std::str::from_utf8(value.as_bytes()).ok().map(Cow::from)
    })
}

/// Text of what a layer further out, or the router, left with the request: of a `User`,
/// `extension(|user: &User| &*user.id)`.
///
/// Without one the fact is missing, and the limit's `missing` says what follows: by default all such
/// requests count together. In axum the layer that is added last runs first: what authenticates is
/// added after [`AdmitLayer`](super::AdmitLayer).
pub fn extension<T, F>(text: F) -> impl Fact
where
    T: Send + Sync + 'static,
    F: for<'r> Fn(&'r T) -> &'r str + Send + Sync,
{
    from_fn(move |request| request.extensions.get::<T>().map(|of| Cow::from(text(of))))
}

/// The address that the request came from, of the peer that the server left with it: with axum
/// `client_address(ClientAddress::peer(), |at: &ConnectInfo<SocketAddr>| at.0)`, of an app served by
/// `into_make_service_with_connect_info::<SocketAddr>()`.
///
/// Without a peer, and without a header that counts, the fact is missing, and the limit's `missing`
/// says what follows: by default all such requests count together.
pub fn client_address<T, P, F>(address: ClientAddress, peer: F) -> impl Fact
where
    T: Send + Sync + 'static,
    P: Into<Option<SocketAddr>>,
    F: Fn(&T) -> P + Send + Sync,
{
    let is_told = AtomicBool::new(false);
    from_fn(move |request| {
        let at = request.extensions.get::<T>();
        // Relaxed: nothing else goes with it.
        if at.is_none() && !is_told.swap(true, Ordering::Relaxed) {
            telemetry::no_peer(std::any::type_name::<T>());
        }
        let peer = at.and_then(|of| peer(of).into());
        let client = address.of(&request.headers, peer.map(|peer| peer.ip()))?;
        Some(client.as_str().to_owned().into())
    })
}

/// Any other: `from_fn(|request| request.uri.host().map(Cow::from))`.
pub fn from_fn<F>(value: F) -> impl Fact
where
    F: for<'r> Fn(&'r Parts) -> Option<Cow<'r, str>> + Send + Sync,
{
    FromFn(value)
}

struct FromFn<F>(F);

impl<F> Fact for FromFn<F>
where
    F: for<'r> Fn(&'r Parts) -> Option<Cow<'r, str>> + Send + Sync,
{
    fn value<'r>(&self, request: &'r Parts) -> Option<Cow<'r, str>> {
        (self.0)(request)
    }
}
