//! Log events, by `tracing`, of the target `tollgate`.

use std::fmt::{Debug, Display};

use tracing::{debug, info, warn};

use super::is_sampled;

/// Whether anybody may listen.
pub(crate) const LOGS: bool = true;

/// A request was refused, by `limit` about the `nth` time.
pub(crate) fn refused(limit: &'static str, retry: &dyn Debug, nth: u64) {
    if is_sampled(nth) {
        debug!(target: "tollgate", limit, ?retry, nth, "refused");
    }
}

/// `leases` of a limit ran out instead of being given back.
pub(crate) fn leases_expired(limit: &'static str, leases: u64) {
    warn!(target: "tollgate", limit, leases, "lease expired: it was not given back in time");
}

/// For keys of a limit there was no room, `total` times so far.
pub(crate) fn overflowed(limit: &'static str, total: u64) {
    warn!(target: "tollgate", limit, total, "overflow: more keys are in debt than `max_keys`");
}

pub(crate) fn reloaded(reload: &dyn Debug) {
    info!(target: "tollgate", ?reload, "policy replaced");
}

pub(crate) fn reload_failed(why: &dyn Display) {
    warn!(target: "tollgate", %why, "policy not replaced");
}

/// A layer does not give a fact that the policy counts by, or gives one that it does not know.
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

/// A request has no address of its peer.
#[cfg_attr(not(feature = "tower"), allow(dead_code))]
pub(crate) fn no_peer(wanted: &'static str) {
    warn!(
        target: "tollgate",
        wanted,
        "a request has no such extension, so its peer is unknown: with axum, serve \
         `app.into_make_service_with_connect_info::<SocketAddr>()`"
    );
}

/// A policy lets requests wait, and they cannot.
#[cfg_attr(not(feature = "tower"), allow(dead_code))]
pub(crate) fn cannot_wait() {
    warn!(
        target: "tollgate",
        "the policy has a `wait`, but the enforcer's clock has no timer: requests are refused at \
         once; build the enforcer on `Clock::tokio()`"
    );
}
