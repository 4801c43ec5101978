//! What a reload did.

/// How a reload went: limiters kept with their keys, new ones, and those that went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    /// Limits and overrides that kept their keys and what these owe.
    pub kept: usize,
    /// Limits and overrides that start without any.
    pub fresh: usize,
    /// Limits and overrides that are gone.
    pub dropped: usize,
}
