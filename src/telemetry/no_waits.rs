//! The function of `waits` without the feature `metrics`: does nothing.
//!
//! The signature must stay equal to the one in `waits`.

use std::time::Duration;

pub(crate) fn waited(_limit: &'static str, _time: Duration, _admitted: bool) {}
