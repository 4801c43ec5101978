//! Log events, by `tracing`, of the target `tollgate`.

use std::fmt::Display;

use tracing::{debug, warn};

use super::is_sampled;

/// Whether anybody may listen.
pub(crate) const LOGS: bool = true;

/// A request was refused, by `limit` about the `nth` time.
pub(crate) fn refused(limit: &'static str, retry: &dyn Display, nth: u64) {
    if is_sampled(nth) {
        debug!(target: "tollgate", limit, %retry, about = nth, "refused");
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

pub(crate) fn reload_failed(why: &dyn Display) {
    warn!(target: "tollgate", %why, "reload failed: the old policy stays");
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
