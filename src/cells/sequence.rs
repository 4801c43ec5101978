//! The sequence word of the parameters in force: their generation, and three marks below it. It is
//! read and written in `published`.

/// Mark: callers wait in line for some key.
pub(super) const QUEUED: u64 = 1;
/// Mark: the parameters are being changed, so the line must not be read.
pub(super) const CHANGING: u64 = 2;
/// Mark: time passes in steps.
pub(super) const STEPPED: u64 = 4;
/// The generation starts at this bit.
pub(super) const GENERATION_SHIFT: u32 = 3;

/// The generation of the parameters in force.
#[inline(always)]
pub(super) fn generation_of(sequence: u64) -> u64 {
    sequence >> GENERATION_SHIFT
}

/// Whether time passes in steps under the parameters in force.
#[inline(always)]
pub(super) fn is_stepped(sequence: u64) -> bool {
    sequence & STEPPED != 0
}
