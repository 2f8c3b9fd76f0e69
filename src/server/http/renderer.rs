//! A bounded number of threads that render pages, apart from the threads that serve sockets.
//!
//! Rendering a page takes processor time for each message in it, and any client may store messages. On the threads of
//! the runtime, every connection of the server would pay for that time.
//!
//! # Invariants
//!
//! - Rendering never runs on a thread of the runtime.
//! - At most half of the processors render; the others are left for everything else.
//! - A bounded number of pages have their messages in memory; waiting requests hold only their head.
//! - Requests wait for a bounded time, and a bounded number of them waits, at most half of them from one address. All
//!   others are refused.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::server::http::error::ApiError;
use crate::server::http::shares::{AddressShare, MAX_WAITING_FOR_PAGES};
use crate::server::hub::Refusal;
use crate::server::run_clock::RunClock;

/// Most pages that are being read or rendered at once.
const MAX_PAGES: usize = 64;
/// Most requests that wait for one of the [`MAX_PAGES`]: enough for two lecture halls that open the page at once. No
/// address takes more than half of the queue.
const MAX_WAITING: usize = 2 * MAX_WAITING_FOR_PAGES;
/// Longest time that a request waits.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The error of a semaphore that was closed, or of a thread that was not started.
const STOPPING: ApiError = ApiError::Refused(Refusal::Draining);

/// The threads and the queue in front of them. A cheap handle.
#[derive(Clone, Debug)]
pub(super) struct Renderer {
    threads: Arc<Semaphore>,
    pages: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    clock: RunClock,
}

/// The right to render one page.
#[derive(Debug)]
pub(super) struct RenderPermit {
    threads: Arc<Semaphore>,
    page: OwnedSemaphorePermit,
}

impl Renderer {
    /// Creates a renderer that uses at most half of the processors, and `clock` for the time that requests wait.
    pub(super) fn new(clock: RunClock) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with((processors / 2).max(1), MAX_PAGES, clock)
    }

    fn with(threads: usize, pages: usize, clock: RunClock) -> Self {
        Self {
            threads: Arc::new(Semaphore::new(threads)),
            pages: Arc::new(Semaphore::new(pages)),
            queue: Arc::new(Semaphore::new(MAX_WAITING)),
            clock,
        }
    }

    /// Waits until a page may be rendered for a client with `share`. Read what the page shows after that.
    ///
    /// # Errors
    /// [`ApiError::TooManyPages`] if too many requests wait already, [`ApiError::PageTimeout`] if this one has waited too
    /// long.
    pub(super) async fn turn(&self, share: &AddressShare) -> Result<RenderPermit, ApiError> {
        let _of_address = share.wait_for_page().ok_or(ApiError::TooManyPages {
            limit: MAX_WAITING_FOR_PAGES,
            whose: "requests from this address",
        })?;
        let _of_all = self
            .queue
            .try_acquire()
            .map_err(|_full| ApiError::TooManyPages {
                limit: MAX_WAITING,
                whose: "requests",
            })?;

        let page = self.pages.clone().acquire_owned();
        let page = self.clock.timeout(MAX_WAIT, page).await;
        Ok(RenderPermit {
            threads: self.threads.clone(),
            page: page
                .ok_or(ApiError::PageTimeout { limit: MAX_WAIT })?
                .map_err(|_closed| STOPPING)?,
        })
    }
}

impl RenderPermit {
    /// Runs `render` on a thread where blocking is allowed.
    ///
    /// # Errors
    /// [`Refusal::Draining`] if the server shuts down meanwhile.
    pub(super) async fn render<T: Send + 'static>(
        self,
        render: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let Self { threads, page } = self;
        let thread = threads.acquire_owned().await.map_err(|_closed| STOPPING)?;

        // Both permits are held until rendering ends, even if the client has disconnected.
        let rendered = tokio::task::spawn_blocking(move || {
            let _taken = (thread, page);
            render()
        });

        rendered
            .await
            .map_err(|error| match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_cancelled) => STOPPING,
            })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use futures::FutureExt;
    use futures::future::join_all;

    use super::*;
    use crate::server::http::shares::AddressShares;
    use crate::server::session::IpBucket;

    fn renderer(threads: usize, pages: usize) -> Renderer {
        Renderer::with(threads, pages, RunClock::new())
    }

    /// Returns the share of another address for each `number`.
    fn share(number: u8) -> Arc<AddressShare> {
        AddressShares::default().of(IpBucket::of(IpAddr::V4(Ipv4Addr::new(192, 0, 2, number))))
    }

    /// Returns a page whose rendering ends when its sender is dropped.
    fn slow_page() -> (Sender<()>, impl FnOnce() -> &'static str + Send + 'static) {
        let (end, ended): (Sender<()>, Receiver<()>) = channel();
        let render = move || {
            // Always an error: nothing is sent.
            let _ = ended.recv();
            "a page"
        };
        (end, render)
    }

    #[tokio::test]
    async fn a_page_that_takes_long_stops_nothing_else_on_the_runtime() {
        let turn = renderer(1, 1).turn(&share(0)).await.expect("a turn");
        let (end, render) = slow_page();

        // Rendering on the only thread of this runtime, it would never come to the second of the two.
        let (page, ()) = tokio::join!(turn.render(render), async { drop(end) });

        assert_eq!(page.ok(), Some("a page"));
    }

    #[tokio::test]
    async fn no_more_pages_are_rendered_at_once_than_there_are_threads() {
        let renderer = renderer(1, 2);
        let (end, render) = slow_page();
        let first = renderer.turn(&share(1)).await.expect("a turn");
        let second = renderer.turn(&share(1)).await.expect("a turn");

        let mut first = Box::pin(first.render(render));
        let mut second = Box::pin(second.render(|| "another page"));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(renderer.threads.available_permits(), 0);
        drop(end);

        assert_eq!(first.await.ok(), Some("a page"));
        assert_eq!(second.await.ok(), Some("another page"));
    }

    #[tokio::test]
    async fn a_request_waits_until_one_of_the_pages_is_rendered() {
        let renderer = renderer(1, 1);
        let first = renderer.turn(&share(1)).await.expect("a turn");

        let other = share(2);
        let mut second = Box::pin(renderer.turn(&other));
        assert!(second.as_mut().now_or_never().is_none());
        first.render(|| ()).await.expect("rendered");

        assert!(second.await.is_ok());
    }

    #[tokio::test]
    async fn one_address_does_not_take_the_whole_queue_and_two_do_not_wait_without_end() {
        let renderer = renderer(1, 1);
        let first = renderer.turn(&share(0)).await.expect("a turn");
        let [one, other] = [share(1), share(2)];
        let turns = |share| (0..=MAX_WAITING_FOR_PAGES).map(move |_| share);

        let flood = turns(&one).map(|share| renderer.turn(share));
        let mut flood = Box::pin(join_all(flood));
        assert!(flood.as_mut().now_or_never().is_none());
        assert_eq!(renderer.queue.available_permits(), MAX_WAITING_FOR_PAGES);

        let others = turns(&other).map(|share| renderer.turn(share));
        let mut others = Box::pin(join_all(others));
        assert!(others.as_mut().now_or_never().is_none());
        let refused = renderer.turn(&share(3)).await.expect_err("a full queue");
        assert_eq!(
            refused.to_string(),
            "the server renders as many pages as it can now, and 2048 requests wait; try again"
        );

        drop((flood, others, first));
        assert!(
            renderer.turn(&share(3)).await.is_ok(),
            "all have left the queue"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_for_a_page_is_refused_when_it_has_waited_too_long() {
        let renderer = renderer(1, 0);
        tokio::spawn(renderer.clock.clone().run());

        let refused = renderer.turn(&share(0)).await.expect_err("no page");

        assert_eq!(
            refused.to_string(),
            "the server renders as many pages as it can now, and none of them was done in 5 s; try again"
        );
    }
}
