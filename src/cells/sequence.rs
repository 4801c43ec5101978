//! The sequence word of the numbers in force: their generation, and marks.

/// Callers wait in line for some key.
pub(super) const QUEUED: u64 = 1;
/// The numbers are being changed: the line is not to be read.
pub(super) const CHANGING: u64 = 2;
/// Time passes in steps.
pub(super) const STEPPED: u64 = 4;
/// The generation is counted from here on.
pub(super) const GENERATION_SHIFT: u32 = 3;

/// The generation of the numbers in force.
#[inline(always)]
pub(super) fn generation_of(sequence: u64) -> u64 {
    sequence >> GENERATION_SHIFT
}

/// Whether time passes in steps under the numbers in force.
#[inline(always)]
pub(super) fn is_stepped(sequence: u64) -> bool {
    sequence & STEPPED != 0
}
