//! What the command `tollgate` is made of, for use from a program: [`replay`] runs a policy over a log,
//! [`suggest`] says which limits a log fits, [`compare`] judges limiters side by side, one's own too.

#![forbid(unsafe_code)]

pub mod compare;
pub mod replay;
pub mod suggest;
