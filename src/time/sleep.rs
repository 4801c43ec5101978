//! [`Sleep`], a future that waits for a moment of a clock, and the timers of the clocks.
//!
//! Waits that block a thread are in `block`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::sync::{Arc, Mutex};

use super::virtual_clock::{Alarm, Due, VirtualClock, VirtualTime};
use super::{Clock, ClockKind, Timed, Timestamp};

/// The error of a wait under `.await` on a clock that has no timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTimer;

/// A future that completes when its clock has reached a moment: [`Clock::sleep_until`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct Sleep(How);

enum How {
    Virtual {
        time: Arc<VirtualTime>,
        until: Timestamp,
        alarm: Option<Alarm>,
        sleeper: Arc<Sleeper>,
    },
    #[cfg(feature = "tokio")]
    Tokio(Pin<Box<tokio::time::Sleep>>),
    Timed {
        timer: Arc<Timed>,
        until: Timestamp,
        sleep: Pin<Box<dyn Future<Output = ()> + Send>>,
    },
}

/// The task to wake, if the future was polled.
#[derive(Default)]
struct Sleeper {
    waker: Mutex<Option<Waker>>,
}

impl Due for Sleeper {
    fn due(&self, _: Timestamp) {
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Clock {
    /// A future that completes when this clock has reached `at`.
    ///
    /// # Errors
    /// If the clock has no timer, or is tokio's and the call is outside a runtime.
    pub fn sleep_until(&self, at: Timestamp) -> Result<Sleep, NoTimer> {
        match &self.0 {
            ClockKind::Virtual(time) => Ok(Sleep::on(time, at)),
            #[cfg(feature = "tokio")]
            ClockKind::Tokio(anchor) => match tokio::runtime::Handle::try_current() {
                Ok(_) => Ok(Sleep(How::Tokio(Box::pin(tokio::time::sleep_until(
                    anchor.tokio_instant(at),
                ))))),
                Err(_) => Err(NoTimer),
            },
            ClockKind::Timed(timer) => {
                let sleep = (timer.sleep_until)(at);
                Ok(Sleep(How::Timed { timer: timer.clone(), until: at, sleep }))
            }
            _ => Err(NoTimer),
        }
    }

    /// A future that completes when this clock has moved on by `by`.
    ///
    /// # Errors
    /// As [`sleep_until`](Self::sleep_until).
    pub fn sleep(&self, by: Duration) -> Result<Sleep, NoTimer> {
        self.sleep_until(self.now() + by)
    }

    /// Whether a caller can wait on this clock under `.await`, here and now.
    pub(crate) fn has_timer(&self) -> bool {
        match &self.0 {
            ClockKind::Virtual(_) | ClockKind::Timed(_) => true,
            #[cfg(feature = "tokio")]
            ClockKind::Tokio(_) => tokio::runtime::Handle::try_current().is_ok(),
            _ => false,
        }
    }

    /// The virtual time that keeps this clock's waits, if the clock is virtual.
    pub(crate) fn virtual_time(&self) -> Option<&Arc<VirtualTime>> {
        match &self.0 {
            ClockKind::Virtual(time) => Some(time),
            _ => None,
        }
    }
}

impl VirtualClock {
    /// A future that completes when the time has moved on by `by`.
    pub fn sleep(&self, by: Duration) -> Sleep {
        Sleep::on(&self.time, self.now() + by)
    }
}

impl Sleep {
    fn on(time: &Arc<VirtualTime>, until: Timestamp) -> Sleep {
        let sleeper = Arc::new(Sleeper::default());
        Sleep(How::Virtual { time: time.clone(), until, alarm: None, sleeper })
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            How::Virtual { time, until, alarm, sleeper } => {
                // Outside the lock: cloning or dropping a waker runs foreign code.
                let waker = cx.waker().clone();
                let old = sleeper.waker.lock().replace(waker);
                drop(old);
                // The alarm may have fired and the clock been set back since.
                if time.now() < until.as_nanos() && alarm.is_none_or(|alarm| !time.is_set(alarm)) {
                    let due = Arc::downgrade(&(sleeper.clone() as Arc<dyn Due>));
                    *alarm = Some(time.set_alarm(*until, due));
                }
                // Read the time after the alarm is set: this sees every move that missed the alarm.
                if time.now() >= until.as_nanos() { Poll::Ready(()) } else { Poll::Pending }
            }
            #[cfg(feature = "tokio")]
            How::Tokio(sleep) => sleep.as_mut().poll(cx),
            How::Timed { timer, until, sleep } => {
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                if timer.clock.now() >= *until {
                    return Poll::Ready(());
                }
                // The timer ended early: start it again, after other tasks had a chance to run.
                *sleep = (timer.sleep_until)(*until);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let How::Virtual { time, alarm: Some(alarm), .. } = &self.0 {
            time.cancel(*alarm);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").finish_non_exhaustive()
    }
}

impl fmt::Display for NoTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this clock has no timer to wait under `.await` with: use `Clock::tokio()` (feature \
             `tokio`) within a tokio runtime, a virtual clock, or give it one by \
             `clock.with_timer(sleep_until)`; `acquire_blocking` needs none",
        )
    }
}

impl std::error::Error for NoTimer {}
