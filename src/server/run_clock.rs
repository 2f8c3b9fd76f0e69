//! The clock for client timeouts: it stands still while this process does not run.
//!
//! A process that is stopped (`SIGSTOP`, a frozen virtual machine, no CPU for seconds) reads nothing. By the system
//! clock every client would be overdue when the process continues, although its bytes wait unread in the socket. So
//! this clock is read several times a second, and a long gap between two readings counts as one tick.
//!
//! # Invariants
//!
//! - Time never goes back, and all readers of the clock read the same time.
//! - A pause counts for at most one [`TICK`], in any order of the tasks after it.
//!
//! The expiry of tokens is absolute and does not use this clock; the store's clock measures the age of messages.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior};

use crate::server::room::Tick;

/// The interval between two readings while the process runs.
const TICK: Duration = Duration::from_millis(100);

/// The longest time between two readings of a process that ran.
const LONGEST_GAP: Duration = Duration::from_millis(200);

/// A handle to a clock, cheap to clone.
#[derive(Clone, Debug)]
pub struct RunClock(Arc<RunClockState>);

#[derive(Debug)]
struct RunClockState {
    started: std::time::Instant,
    reading: Mutex<ClockReading>,
}

/// The last reading.
#[derive(Clone, Copy, Debug)]
struct ClockReading {
    /// The time of the reading, by the system clock.
    system: Instant,
    /// The time for which the process ran.
    elapsed: Duration,
    /// The time for which the process did not run.
    paused: Duration,
}

/// A future that is ready at a time of a [`RunClock`].
#[derive(Debug)]
pub struct RunSleep {
    clock: RunClock,
    deadline: Tick,
    timer: Pin<Box<tokio::time::Sleep>>,
}

impl RunClock {
    /// Returns a clock that starts now. It stands still unless [`RunClock::run`] is polled or the clock is read often.
    pub fn new() -> Self {
        let reading = ClockReading {
            system: Instant::now(),
            elapsed: Duration::ZERO,
            paused: Duration::ZERO,
        };

        Self(Arc::new(RunClockState {
            started: std::time::Instant::now(),
            reading: Mutex::new(reading),
        }))
    }

    /// Reads the clock at intervals, so that it advances. Runs until dropped.
    pub async fn run(self) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);

        loop {
            interval.tick().await;
            self.now();
        }
    }

    /// Returns the time for which the process has run.
    pub fn now(&self) -> Tick {
        let mut reading = self.0.reading.lock();

        let system = Instant::now();
        let gap = system.saturating_duration_since(reading.system);
        reading.system = system;
        let ran = if gap > LONGEST_GAP { TICK } else { gap };
        reading.elapsed += ran;
        reading.paused += gap - ran;

        Tick::after_start(reading.elapsed)
    }

    /// Returns the time for which the process has not run, as far as it was detected.
    pub fn paused(&self) -> Duration {
        let reading = self.0.reading.lock();

        reading.paused
    }

    /// Returns a future that is ready when the process has run for `duration`.
    pub fn sleep(&self, duration: Duration) -> RunSleep {
        self.sleep_until(self.now().after(duration))
    }

    /// Waits for `future` while the process runs for `limit`; `None` if it was not ready by then.
    pub async fn timeout<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            // First, because an output that was ready in time counts even if it is polled late.
            biased;
            output = future => Some(output),
            // Begins when it is polled: most futures here are ready at once, and need no timer.
            () = async { self.sleep(limit).await } => None,
        }
    }

    fn sleep_until(&self, deadline: Tick) -> RunSleep {
        let left = deadline.since(self.now());

        RunSleep {
            clock: self.clone(),
            deadline,
            timer: Box::pin(tokio::time::sleep(left)),
        }
    }
}

impl Default for RunClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Future for RunSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let left = self.deadline.since(self.clock.now());
            if left.is_zero() {
                return Poll::Ready(());
            }

            // The system timer also counts pauses. If it fires early for that reason, it is set again for the rest.
            ready!(self.timer.as_mut().poll(cx));
            self.timer.as_mut().reset(Instant::now() + left);
        }
    }
}

/// The same clock for hyper. Its [`std::time::Instant`]s are those of a process that never paused.
impl hyper::rt::Timer for RunClock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Self::sleep(self, duration))
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        let elapsed = deadline.saturating_duration_since(self.0.started);
        Box::pin(Self::sleep_until(self, Tick::after_start(elapsed)))
    }

    fn now(&self) -> std::time::Instant {
        self.0.started + Self::now(self).since(Tick::default())
    }
}

impl hyper::rt::Sleep for RunSleep {}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// Lets `time` pass with the clock running.
    async fn run_for(time: Duration) {
        tokio::time::sleep(time).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_the_process_counts_for_one_tick() {
        let clock = RunClock::new();
        tokio::spawn(clock.clone().run());
        run_for(Duration::from_secs(3)).await;
        let before = clock.now();

        advance(Duration::from_secs(3600)).await;

        assert!(before.since(Tick::default()) >= Duration::from_secs(3));
        assert!(clock.now().since(before) <= TICK);
        assert!(clock.paused() >= Duration::from_secs(3600) - TICK);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_during_a_pause_is_postponed_by_it() {
        let clock = RunClock::new();
        tokio::spawn(clock.clone().run());
        let began = Instant::now();
        let deadline = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock
                    .timeout(Duration::from_secs(10), std::future::pending::<()>())
                    .await
            }
        });
        run_for(Duration::from_secs(1)).await;

        advance(Duration::from_secs(3600)).await;
        let output = deadline.await.expect("ended");

        assert_eq!(output, None);
        assert!(began.elapsed() >= Duration::from_secs(3600 + 9));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_of_hyper_is_postponed_by_a_pause() {
        let clock = RunClock::new();
        tokio::spawn(clock.clone().run());
        let began = Instant::now();
        let deadline = hyper::rt::Timer::now(&clock) + Duration::from_secs(10);
        let sleep = hyper::rt::Timer::sleep_until(&clock, deadline);
        run_for(Duration::from_secs(1)).await;

        advance(Duration::from_secs(3600)).await;
        sleep.await;

        assert!(began.elapsed() >= Duration::from_secs(3600 + 9));
    }

    #[tokio::test(start_paused = true)]
    async fn a_future_that_is_ready_after_a_pause_is_in_time() {
        let clock = RunClock::new();
        let limit = Duration::from_secs(10);

        let output = clock
            .timeout(limit, advance(Duration::from_secs(3600)))
            .await;

        assert_eq!(output, Some(()));
    }
}
