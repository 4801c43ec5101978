//! Nobody listens.

use std::fmt::Display;

pub(crate) const LOGS: bool = false;

pub(crate) fn refused(_limit: &'static str, _retry: &dyn Display, _nth: u64) {}

pub(crate) fn leases_expired(_limit: &'static str, _leases: u64) {}

pub(crate) fn overflowed(_limit: &'static str, _total: u64) {}

pub(crate) fn reload_failed(_why: &dyn Display) {}

#[cfg_attr(not(feature = "tower"), allow(dead_code))]
pub(crate) fn cannot_wait() {}
