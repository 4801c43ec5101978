//! The function of `waits` without the feature `metrics`: does nothing.

use std::time::Duration;

pub(crate) fn waited(_limit: &'static str, _time: Duration, _admitted: bool) {}
