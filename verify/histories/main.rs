//! Concurrent histories of the public verbs, drawn by shuttle and checked against a sequential
//! model: is there an order of the calls, true to time, in which one thread would have had the
//! same answers?
//!
//! `TOLLGATE_HISTORIES` says how many, `TOLLGATE_SEED` which.

#[cfg(tollgate_shuttle)]
mod checker;
#[cfg(tollgate_shuttle)]
#[path = "../identity.rs"]
mod identity;
#[cfg(tollgate_shuttle)]
mod model;
#[cfg(tollgate_shuttle)]
mod scenario;

fn main() {
    #[cfg(tollgate_shuttle)]
    scenario::main();
    #[cfg(not(tollgate_shuttle))]
    println!("Nothing is checked: build with RUSTFLAGS=\"--cfg tollgate_shuttle\".");
}
