//! [`Fact`]: a value of a request, read from its head, by which a policy's limits count. Passed to
//! [`AdmitLayer::fact`].
//!
//! This file has the ready-made facts. Keys for client addresses are in `client_address`.
//!
//! [`AdmitLayer::fact`]: super::AdmitLayer::fact

use std::borrow::Cow;
use std::net::SocketAddr;

use http::header::HeaderName;
use http::request::Parts;

use crate::sync::{AtomicBool, Ordering};
use crate::telemetry;

use super::ClientAddress;

/// The source of a fact's value. Ready-made: [`method`], [`path`], [`header`], [`extension`],
/// [`client_address`]; otherwise [`from_fn`].
pub trait Fact: Send + Sync {
    /// The value, or `None` or an empty string if the request has none. The policy's `missing` then
    /// decides what happens.
    fn value<'r>(&self, request: &'r Parts) -> Option<Cow<'r, str>>;
}

/// The method, such as `GET`.
pub fn method() -> impl Fact {
    from_fn(|request| Some(request.method.as_str().into()))
}

/// The path as requested, without its query: `/users/42`. (In access logs the fact `path` includes
/// the query.) For a matched route, `/users/{id}`, use the extension that the router adds, as
/// `extension(axum::extract::MatchedPath::as_str)`: routes are fewer, and a client cannot invent
/// new ones.
pub fn path() -> impl Fact {
    from_fn(|request| Some(request.uri.path().into()))
}

/// The first header of this name, if it is text. A client can send any value, unless a proxy or an
/// outer layer replaces the header.
///
/// # Panics
/// If `name` is not a valid header name.
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

/// Text from an extension that an outer layer or the router added to the request: for a `User`,
/// `extension(|user: &User| &*user.id)`.
///
/// Without the extension the fact is missing, and the limit's `missing` decides what happens: by
/// default all such requests count together. In axum the layer that is added last runs first, so
/// add an authentication layer after [`AdmitLayer`](super::AdmitLayer).
pub fn extension<T, F>(text: F) -> impl Fact
where
    T: Send + Sync + 'static,
    F: for<'r> Fn(&'r T) -> &'r str + Send + Sync,
{
    from_fn(move |request| request.extensions.get::<T>().map(|of| Cow::from(text(of))))
}

/// The address that the request came from, given the peer that the server added to the request:
/// with axum `client_address(ClientAddress::peer(), |at: &ConnectInfo<SocketAddr>| at.0)`, for an
/// app served by `into_make_service_with_connect_info::<SocketAddr>()`.
///
/// Without a peer, and without a header that counts, the fact is missing, and the limit's `missing`
/// decides what happens: by default all such requests count together.
pub fn client_address<T, P, F>(address: ClientAddress, peer: F) -> impl Fact
where
    T: Send + Sync + 'static,
    P: Into<Option<SocketAddr>>,
    F: Fn(&T) -> P + Send + Sync,
{
    let is_logged = AtomicBool::new(false);
    from_fn(move |request| {
        let at = request.extensions.get::<T>();
        // Relaxed: pairs only with the swaps of other requests, and no other data depends on the
        // flag.
        if at.is_none() && !is_logged.swap(true, Ordering::Relaxed) {
            telemetry::no_peer(std::any::type_name::<T>());
        }
        let peer = at.and_then(|of| peer(of).into());
        let client = address.of(&request.headers, peer.map(|peer| peer.ip()))?;
        Some(client.as_str().to_owned().into())
    })
}

/// A fact from a function: `from_fn(|request| request.uri.host().map(Cow::from))`.
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
