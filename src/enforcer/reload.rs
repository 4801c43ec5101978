//! [`Reload`]: what a reload of the policy did. Returned by
//! [`Enforcer::reload`](crate::Enforcer::reload), which does it.

/// How many limits and overrides a reload kept, started fresh and dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    /// Limits and overrides that kept their keys and what the keys owe.
    pub kept: usize,
    /// Limits and overrides that started without keys.
    pub fresh: usize,
    /// Limits and overrides that were dropped or replaced.
    pub dropped: usize,
}
