//! A bounded number of threads that render pages, apart from the threads that serve sockets.
//!
//! A page costs processor time for each message in it, and anybody may store messages. On the threads of the
//! runtime that time would be taken from every connection of the server.
//!
//! # Invariants
//!
//! - Rendering never runs on a thread of the runtime.
//! - At least half of the processors are left for everything else.
//! - Requests wait for a thread for a bounded time, and a bounded number of them waits; others are refused.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::server::http::error::ApiError;

/// Most requests that wait for a thread: about a second of rendering.
const MAX_WAITING: usize = 64;
/// Longest time that a request waits for a thread.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The threads and the queue in front of them. A cheap handle.
#[derive(Clone, Debug)]
pub(super) struct Renderer {
    threads: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

impl Renderer {
    /// Creates a renderer that uses at most half of the processors.
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_threads((processors / 2).max(1))
    }

    fn with_threads(threads: usize) -> Self {
        Self {
            threads: Arc::new(Semaphore::new(threads)),
            queue: Arc::new(Semaphore::new(MAX_WAITING)),
        }
    }

    /// Runs `render` on a thread where blocking is allowed, once one is free.
    ///
    /// # Errors
    /// [`ApiError::TooManyPages`] if too many requests wait already, or this one has waited too long.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        render: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let refused = || ApiError::TooManyPages { limit: MAX_WAITING };

        let place = self.queue.try_acquire().map_err(|_full| refused())?;
        let thread = tokio::time::timeout(MAX_WAIT, self.threads.clone().acquire_owned())
            .await
            .map_err(|_late| refused())?
            .map_err(|_closed| refused())?;
        drop(place);

        // The thread is taken until rendering ends, even if the client has gone.
        let rendered = tokio::task::spawn_blocking(move || {
            let _thread = thread;
            render()
        });
        rendered
            .await
            .map_err(|error| match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_cancelled) => refused(),
            })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use futures::FutureExt;
    use futures::future::join_all;

    use super::*;

    /// A page that is rendered until its sender sends or is dropped.
    fn slow_page() -> (Sender<()>, impl FnOnce() -> &'static str + Send + 'static) {
        let (end, ended): (Sender<()>, Receiver<()>) = channel();
        let render = move || {
            // An error means that the sender was dropped, which ends it too.
            let _ = ended.recv();
            "a page"
        };
        (end, render)
    }

    #[tokio::test]
    async fn a_page_that_takes_long_stops_nothing_else_on_the_runtime() {
        let renderer = Renderer::with_threads(1);
        let (end, render) = slow_page();

        // Rendering on the only thread of this runtime, it would never come to the second of the two.
        let (page, ()) = tokio::join!(renderer.run(render), async { drop(end) });

        assert_eq!(page.ok(), Some("a page"));
    }

    #[tokio::test]
    async fn no_more_pages_are_rendered_at_once_than_there_are_threads() {
        let renderer = Renderer::with_threads(1);
        let (end_first, first) = slow_page();
        let first = tokio::spawn({
            let renderer = renderer.clone();
            async move { renderer.run(first).await }
        });
        while renderer.threads.available_permits() > 0 {
            tokio::task::yield_now().await;
        }

        let mut second = Box::pin(renderer.run(|| "the second"));
        let is_rendered = second.as_mut().now_or_never().is_some();
        drop(end_first);

        assert!(!is_rendered, "the only thread is taken");
        assert_eq!(second.await.ok(), Some("the second"));
        assert_eq!(first.await.expect("no panic").ok(), Some("a page"));
    }

    #[tokio::test]
    async fn a_request_for_a_page_is_refused_when_too_many_wait() {
        let renderer = Renderer::with_threads(1);
        let (end, render) = slow_page();
        let rendering = tokio::spawn({
            let renderer = renderer.clone();
            async move { renderer.run(render).await }
        });
        while renderer.threads.available_permits() > 0 {
            tokio::task::yield_now().await;
        }

        let waiting = join_all((0..MAX_WAITING).map(|_| renderer.run(|| ())));
        let mut waiting = Box::pin(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        let refused = renderer.run(|| ()).await;
        drop(end);

        assert!(matches!(
            refused,
            Err(ApiError::TooManyPages { limit: MAX_WAITING })
        ));
        assert!(waiting.await.iter().all(Result::is_ok));
        assert!(rendering.await.expect("no panic").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_for_a_page_is_refused_when_it_has_waited_too_long() {
        let renderer = Renderer::with_threads(0);

        let refused = renderer.run(|| ()).await;

        assert!(matches!(refused, Err(ApiError::TooManyPages { .. })));
    }
}
