//! The parts of the command `tollgate`, for use from a program: [`replay`] runs a policy over a
//! log, [`suggest`] finds limits that fit a log, [`simulate`] runs a simulated service on virtual
//! time, [`compare`] judges limiters side by side, including the user's own.

#![forbid(unsafe_code)]

// Floor 0
pub mod compare;
pub mod replay;
// Floor 1
pub mod suggest;
mod text;
// Floor 2
pub mod simulate;
// Floor 3
mod command;

pub use command::main;
