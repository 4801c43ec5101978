//! Log events by `tracing`, with the target `tollgate`.
//!
//! Compiled with the feature `tracing`; otherwise `no_logs` takes its place.

use std::fmt::{Debug, Display};

use tracing::{debug, info, warn};

use super::is_sampled;

/// Whether a subscriber may exist.
pub(crate) const LOGS: bool = true;

/// Logs a refusal by `limit`, if `nth`, a rough count of its refusals, is sampled.
pub(crate) fn refused(limit: &'static str, retry: &dyn Debug, nth: u64) {
    if is_sampled(nth) {
        debug!(target: "tollgate", limit, ?retry, nth, "refused");
    }
}

/// `leases` of a limit ran out instead of being given back.
pub(crate) fn leases_expired(limit: &'static str, leases: u64) {
    warn!(target: "tollgate", limit, leases, "lease expired: it was not given back in time");
}

/// A limit had no room for a key, `total` times so far.
pub(crate) fn overflowed(limit: &'static str, total: u64) {
    warn!(target: "tollgate", limit, total, "overflow: more keys are in debt than `max_keys`");
}

pub(crate) fn reloaded(reload: &dyn Debug) {
    info!(target: "tollgate", ?reload, "policy replaced");
}

pub(crate) fn reload_failed(why: &dyn Display) {
    warn!(target: "tollgate", %why, "policy not replaced");
}

/// A layer lacks facts that the policy counts by, or gives facts that the policy does not name.
#[cfg_attr(not(feature = "tower"), allow(dead_code))]
pub(crate) fn facts_differ(lacking: &[&str], unknown: &[&str]) {
    warn!(
        target: "tollgate",
        ?lacking,
        ?unknown,
        "the layer does not give facts that the policy counts by, and requests without them count \
         together (`missing`); or it gives facts that the policy does not name"
    );
}

/// A request has no extension with its peer's address.
#[cfg_attr(not(feature = "tower"), allow(dead_code))]
pub(crate) fn no_peer(wanted: &'static str) {
    warn!(
        target: "tollgate",
        wanted,
        "a request has no such extension, so its peer is unknown: with axum, serve \
         `app.into_make_service_with_connect_info::<SocketAddr>()`"
    );
}

/// A policy lets requests wait, but the clock has no timer.
#[cfg_attr(not(feature = "tower"), allow(dead_code))]
pub(crate) fn cannot_wait() {
    warn!(
        target: "tollgate",
        "the policy has a `wait`, but the enforcer's clock has no timer: requests are refused at \
         once; build the enforcer on `Clock::tokio()`"
    );
}
