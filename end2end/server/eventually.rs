//! Waiting for asynchronous effects of a server.
//!
//! [`soon`] bounds the wait for a future. [`eventually`] polls a value until it meets a condition. Both fail the test
//! when [`PATIENCE`] is over, so no test hangs.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// The longest wait of a test. It is long enough for a busy machine: reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The time between two polls of [`eventually`].
const PAUSE: Duration = Duration::from_millis(10);

/// Waits for `future` and returns its output.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("the future is not ready after {PATIENCE:?}"))
}

/// Polls `probe` until its value meets `condition`, and returns that value.
///
/// The panic after [`PATIENCE`] shows the last value.
pub(crate) async fn eventually<T: Debug>(
    mut probe: impl AsyncFnMut() -> T,
    condition: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + PATIENCE;

    loop {
        let value = soon(probe()).await;
        if condition(&value) {
            return value;
        }

        assert!(
            Instant::now() < deadline,
            "the condition is not met after {PATIENCE:?}; the last value is {value:?}"
        );
        sleep(PAUSE).await;
    }
}
