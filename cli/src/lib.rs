//! What the command `tollgate` is made of, for use from a program: [`replay`] runs a policy over a log,
//! [`suggest`] says which limits a log fits, [`simulate`] runs a service that does not exist on virtual time,
//! [`compare`] judges limiters side by side, one's own too.

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
