//! Ctrl-C: noticed in the middle of any wait, so that cleaning up begins at once.

use std::cell::Cell;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::Failure;

/// Whether somebody asked us to end.
pub(crate) struct Interrupt {
    signals: Receiver<()>,
    raised: Cell<bool>,
}

impl Interrupt {
    /// From now on SIGINT, SIGTERM and SIGHUP do not end the process but are noticed here.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let mut signals =
            Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|error| Failure::new("cannot listen for Ctrl-C").because(error))?;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || signals.forever().take_while(|_| sender.send(()).is_ok()).for_each(drop));
        Ok(Self { signals: receiver, raised: Cell::new(false) })
    }

    /// One that no signal reaches, for tests; the sender stands for Ctrl-C.
    #[cfg(test)]
    pub(crate) fn deaf() -> (mpsc::Sender<()>, Self) {
        let (sender, signals) = mpsc::channel();
        (sender, Self { signals, raised: Cell::new(false) })
    }

    /// Waits for `time` or until somebody asks us to end, and says which.
    pub(crate) fn raised_within(&self, time: Duration) -> bool {
        if !self.raised.get() {
            self.raised.set(!matches!(self.signals.recv_timeout(time), Err(RecvTimeoutError::Timeout)));
        }
        self.raised.get()
    }

    /// Asks `ready` again and again until it answers, for `limit` at most and as long as `hopeful` has no objection. The last reason why not
    /// becomes part of the failure.
    pub(crate) fn until<T>(
        &self,
        limit: Duration,
        hopeful: impl Fn() -> Result<(), Failure>,
        mut ready: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        loop {
            hopeful()?;
            let why = match ready() {
                Ok(answer) => return Ok(answer),
                Err(why) => why,
            };
            if self.raised_within(PAUSE) {
                return Err(Failure::new("interrupted"));
            }
            if began.elapsed() > limit {
                return Err(Failure::new(format!("not within {} s", limit.as_secs())).because(why));
            }
        }
    }
}

const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_until_it_is_ready() {
        let (_sender, interrupt) = Interrupt::deaf();
        let mut asked = 0;
        let answer = interrupt.until(
            Duration::from_secs(10),
            || Ok(()),
            || {
                asked += 1;
                if asked == 3 { Ok(asked) } else { Err(Failure::new("not yet")) }
            },
        );
        assert_eq!(answer.unwrap(), 3);
    }

    #[test]
    fn gives_up_with_the_last_reason() {
        let (_sender, interrupt) = Interrupt::deaf();
        let failure = interrupt.until::<()>(Duration::ZERO, || Ok(()), || Err(Failure::new("connection refused"))).unwrap_err();
        assert_eq!(failure.chain(), "not within 0 s: connection refused");
    }

    #[test]
    fn does_not_wait_for_what_cannot_come() {
        let (_sender, interrupt) = Interrupt::deaf();
        let dead = || Err(Failure::new("the server has ended"));
        let failure = interrupt.until::<()>(Duration::from_secs(60), dead, || Err(Failure::new("not yet"))).unwrap_err();
        assert_eq!(failure.chain(), "the server has ended");
    }

    #[test]
    fn a_signal_ends_every_wait_from_then_on() {
        let (sender, interrupt) = Interrupt::deaf();
        sender.send(()).unwrap();
        let failure = interrupt.until::<()>(Duration::from_secs(60), || Ok(()), || Err(Failure::new("not yet"))).unwrap_err();
        assert_eq!(failure.chain(), "interrupted");
        assert!(interrupt.raised_within(Duration::from_secs(60)));
    }
}
