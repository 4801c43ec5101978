//! Concurrent histories of the public methods, scheduled by shuttle and checked against a
//! sequential model: is there an order of the calls that respects real time, in which a single
//! thread would have got the same answers?
//!
//! The argument names the histories: `rates`, `slots`, `lines` or `admits`. `TOLLGATE_HISTORIES`
//! sets their number, `TOLLGATE_SEED` the seed.

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
