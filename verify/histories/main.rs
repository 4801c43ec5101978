//! Concurrent histories of the public verbs, drawn by shuttle and checked against a sequential
//! model: is there an order of the calls, true to time, in which one thread would have had the
//! same answers?
//!
//! The argument says of what: `rates`, `slots`, `lines` or `admits`. `TOLLGATE_HISTORIES` says how many,
//! `TOLLGATE_SEED` which.

#[cfg(tollgate_shuttle)]
mod admits;
#[cfg(tollgate_shuttle)]
mod checker;
#[cfg(tollgate_shuttle)]
mod draw;
#[cfg(tollgate_shuttle)]
#[path = "../identity.rs"]
mod identity;
#[cfg(tollgate_shuttle)]
mod lines;
#[cfg(tollgate_shuttle)]
mod rates;
#[cfg(tollgate_shuttle)]
mod slots;

#[cfg(tollgate_shuttle)]
fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("rates") => rates::main(),
        Some("slots") => slots::main(),
        Some("lines") => lines::main(),
        Some("admits") => admits::main(),
        other => panic!("rates, slots, lines or admits, not {other:?}"),
    }
}

#[cfg(not(tollgate_shuttle))]
fn main() {
    println!("Nothing is checked: build with RUSTFLAGS=\"--cfg tollgate_shuttle\".");
}
