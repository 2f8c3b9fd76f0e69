//! Conversion of panics into error messages, for the threads and tasks that the store depends on. A panic must be
//! reported, because the store cannot work without them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::FutureExt;

/// Runs `work` to completion.
///
/// # Errors
/// The message of the panic, if `work` panics.
pub(super) fn run(work: impl FnOnce()) -> Result<(), String> {
    // State that `work` leaves inconsistent is not used again.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| message(&*panic))
}

/// Runs `work` to completion.
///
/// # Errors
/// The message of the panic, if `work` panics.
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
