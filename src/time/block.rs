//! Blocks a thread until a clock reaches a moment.
//!
//! [`InSimulation`] is the error of all calls that block. Waits under `.await` are in `sleep`.

use std::fmt;

use crate::sync::{Arc, Signal};

use super::virtual_clock::{Due, VirtualTime, is_simulated};
use super::{Clock, Timestamp};

/// The error of a call that blocks its thread on a thread that runs a simulation: no other thread
/// would move its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InSimulation;

impl Due for Signal {
    fn due(&self, _: Timestamp) {
        self.set();
    }
}

/// Blocks this thread until `time` reaches `until`. May return early.
fn wait(time: &VirtualTime, until: Timestamp) {
    let signal = Arc::new(Signal::default());
    let alarm = time.set_alarm(until, Arc::downgrade(&(signal.clone() as Arc<dyn Due>)));
    // Read the time after the alarm is set: this sees every move that missed the alarm.
    if time.now() < until.as_nanos() {
        signal.wait(None);
    }
    time.cancel(alarm);
}

impl InSimulation {
    /// Fails inside a simulation, before a call that may block, even if the call would not.
    pub(crate) fn check() -> Result<(), InSimulation> {
        if is_simulated() { Err(InSimulation) } else { Ok(()) }
    }
}

impl Clock {
    /// Blocks this thread until the clock has reached `at`. On a virtual clock another thread must
    /// move the time there.
    pub(crate) fn block_until(&self, at: Timestamp) -> Result<(), InSimulation> {
        InSimulation::check()?;
        loop {
            let left = at.since(self.now());
            if left.is_zero() {
                return Ok(());
            }
            match self.virtual_time() {
                Some(time) => wait(time, at),
                None => Signal::default().wait(Some(left)),
            }
        }
    }
}

impl fmt::Display for InSimulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a call that blocks its thread was made inside a simulation, which would never move \
             its time again: use the one to `.await`",
        )
    }
}

impl std::error::Error for InSimulation {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VirtualClock;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_blocked_thread_goes_on_when_another_moves_the_time_there() {
        let time = VirtualClock::new();
        let clock = time.clock();
        let until = Timestamp::from_secs(2);
        let thread = thread::spawn(move || {
            clock.block_until(until).unwrap();
            clock.now()
        });
        let is_unwatched = || time.clock().virtual_time().unwrap().is_unwatched();
        while is_unwatched() && !thread.is_finished() {
            thread::yield_now();
        }
        time.advance(Duration::from_secs(1));
        assert!(!is_unwatched(), "still blocked at 1 s");
        time.advance(Duration::from_secs(1));
        assert_eq!(thread.join().unwrap(), until);
        assert!(is_unwatched());
    }

    #[test]
    fn a_moment_that_has_come_does_not_block() {
        let time = VirtualClock::starting_at(Timestamp::from_secs(5));
        let clock = time.clock();
        assert_eq!(clock.block_until(Timestamp::from_secs(5)), Ok(()));
        // The same if the time comes while the thread prepares to wait; and the alarm is removed.
        let time = clock.virtual_time().unwrap();
        wait(time, Timestamp::from_secs(5));
        assert!(time.is_unwatched());
        assert_eq!(Clock::monotonic().block_until(Timestamp::ZERO), Ok(()));
    }
}
