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

/// The most pages that are read or rendered at once.
const MAX_PAGES: usize = 64;
/// The most requests that wait for one of the [`MAX_PAGES`]: enough for two lecture halls that open the page at once. No
/// address may use more than half of the queue.
const MAX_WAITING: usize = 2 * MAX_WAITING_FOR_PAGES;
/// The longest time that a request waits.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The error for a closed semaphore or a thread that was not started.
const STOPPING: ApiError = ApiError::Refused(Refusal::Draining);

/// A handle to the rendering threads and their queue, cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Renderer {
    threads: Arc<Semaphore>,
    pages: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    clock: RunClock,
}

/// The permit to render a page.
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

    /// Waits until a page may be rendered for a client with `share`. The content of the page should be read after that.
    ///
    /// # Errors
    /// Returns [`ApiError::TooManyPages`] if too many requests wait already, and [`ApiError::PageTimeout`] if this one has
    /// waited too long.
    pub(super) async fn acquire(&self, share: &AddressShare) -> Result<RenderPermit, ApiError> {
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
    /// Returns [`Refusal::Draining`] if the server stops meanwhile.
    pub(super) async fn render<T: Send + 'static>(
        self,
        render: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let Self { threads, page } = self;
        let thread = threads.acquire_owned().await.map_err(|_closed| STOPPING)?;

        // Both permits are held until rendering ends, even if the client has disconnected.
        let rendered = tokio::task::spawn_blocking(move || {
            let _permits = (thread, page);
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
    async fn a_slow_page_does_not_block_the_runtime() {
        let permit = renderer(1, 1).acquire(&share(0)).await.expect("a permit");
        let (end, render) = slow_page();

        // On the only thread of this runtime, the second future would never run.
        let (page, ()) = tokio::join!(permit.render(render), async { drop(end) });

        assert_eq!(page.ok(), Some("a page"));
    }

    #[tokio::test]
    async fn pages_rendered_at_once_are_limited_by_the_threads() {
        let renderer = renderer(1, 2);
        let (end, render) = slow_page();
        let first = renderer.acquire(&share(1)).await.expect("a permit");
        let second = renderer.acquire(&share(1)).await.expect("a permit");

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
    async fn a_request_waits_until_a_page_is_rendered() {
        let renderer = renderer(1, 1);
        let first = renderer.acquire(&share(1)).await.expect("a permit");

        let other = share(2);
        let mut second = Box::pin(renderer.acquire(&other));
        assert!(second.as_mut().now_or_never().is_none());
        first.render(|| ()).await.expect("rendered");

        assert!(second.await.is_ok());
    }

    #[tokio::test]
    async fn one_address_uses_at_most_half_of_the_queue_and_a_full_queue_refuses() {
        let renderer = renderer(1, 1);
        let first = renderer.acquire(&share(0)).await.expect("a permit");
        let [one, other] = [share(1), share(2)];
        let requests = |share| (0..=MAX_WAITING_FOR_PAGES).map(move |_| share);

        let flood = requests(&one).map(|share| renderer.acquire(share));
        let mut flood = Box::pin(join_all(flood));
        assert!(flood.as_mut().now_or_never().is_none());
        assert_eq!(renderer.queue.available_permits(), MAX_WAITING_FOR_PAGES);

        let others = requests(&other).map(|share| renderer.acquire(share));
        let mut others = Box::pin(join_all(others));
        assert!(others.as_mut().now_or_never().is_none());
        let refused = renderer.acquire(&share(3)).await.expect_err("a full queue");
        assert_eq!(
            refused.to_string(),
            "the server renders as many pages as it can now, and 2048 requests wait; try again"
        );

        drop((flood, others, first));
        assert!(
            renderer.acquire(&share(3)).await.is_ok(),
            "all have left the queue"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_for_a_page_is_refused_when_it_has_waited_too_long() {
        let renderer = renderer(1, 0);
        tokio::spawn(renderer.clock.clone().run());

        let refused = renderer.acquire(&share(0)).await.expect_err("no page");

        assert_eq!(
            refused.to_string(),
            "the server renders as many pages as it can now, and none of them was done in 5 s; try again"
        );
    }
}
