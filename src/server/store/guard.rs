//! Panics of threads and tasks that the store cannot do without, as text: somebody must learn of them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::FutureExt;

/// Runs `work` to its end.
///
/// # Errors
/// The message of its panic.
pub(super) fn run(work: impl FnOnce()) -> Result<(), String> {
    // What `work` leaves half done is not used again.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| message(&*panic))
}

/// Runs `work` to its end.
///
/// # Errors
/// The message of its panic.
pub async fn run_task(work: impl Future<Output = ()>) -> Result<(), String> {
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .map_err(|panic| message(&*panic))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_message_of_a_panic_is_returned() {
        assert_eq!(run(|| {}), Ok(()));
        assert_eq!(run(|| panic!("of a thread")), Err("of a thread".to_owned()));
        assert_eq!(
            run_task(async { panic!("number {}", 7) }).await,
            Err("number 7".to_owned())
        );
    }
}
