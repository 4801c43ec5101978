//! The functions of `logs` without the feature `tracing`: all do nothing.
//!
//! The signatures must stay equal to those in `logs`.

use std::fmt::{Debug, Display};

pub(crate) const LOGS: bool = false;

pub(crate) fn refused(_limit: &'static str, _retry: &dyn Debug, _nth: u64) {}

pub(crate) fn leases_expired(_limit: &'static str, _leases: u64) {}

pub(crate) fn overflowed(_limit: &'static str, _total: u64) {}

pub(crate) fn reloaded(_reload: &dyn Debug) {}

pub(crate) fn reload_failed(_why: &dyn Display) {}

#[cfg_attr(not(feature = "tower"), allow(dead_code))]
pub(crate) fn facts_differ(_lacking: &[&str], _unknown: &[&str]) {}

#[cfg_attr(not(feature = "tower"), allow(dead_code))]
pub(crate) fn no_peer(_wanted: &'static str) {}

#[cfg_attr(not(feature = "tower"), allow(dead_code))]
pub(crate) fn cannot_wait() {}
