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

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::server::http::error::ApiError;
use crate::server::session::IpBucket;

/// Most pages that are being read or rendered at once.
const MAX_PAGES: usize = 64;
/// Most requests that wait for one of the [`MAX_PAGES`]: enough for two lecture halls that open the page at once.
const MAX_WAITING: usize = 2048;
/// Most requests from one address that wait, so that no client takes the whole queue.
const MAX_WAITING_PER_HOST: usize = MAX_WAITING / 2;
/// Longest time that a request waits.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The answer to a request that finds the queue full, or has waited too long.
const TOO_MANY: ApiError = ApiError::TooManyPages {
    limit: MAX_WAITING,
    whose: "requests",
};

/// The threads and the queue in front of them. A cheap handle.
#[derive(Clone, Debug)]
pub(super) struct Renderer {
    threads: Arc<Semaphore>,
    pages: Arc<Semaphore>,
    queue: Queue,
}

/// The right to render one page.
#[derive(Debug)]
pub(super) struct RenderPermit {
    threads: Arc<Semaphore>,
    page: OwnedSemaphorePermit,
}

impl Renderer {
    /// Creates a renderer that uses at most half of the processors.
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with((processors / 2).max(1), MAX_PAGES)
    }

    fn with(threads: usize, pages: usize) -> Self {
        Self {
            threads: Arc::new(Semaphore::new(threads)),
            pages: Arc::new(Semaphore::new(pages)),
            queue: Queue::default(),
        }
    }

    /// Waits until a page may be rendered for a client at `host`. Read what the page shows after that.
    ///
    /// # Errors
    /// [`ApiError::TooManyPages`] if too many requests wait already, or this one has waited too long.
    pub(super) async fn turn(&self, host: IpBucket) -> Result<RenderPermit, ApiError> {
        let _place = self.queue.enter(host)?;
        let page = tokio::time::timeout(MAX_WAIT, self.pages.clone().acquire_owned())
            .await
            .map_err(|_late| TOO_MANY)?
            .map_err(|_closed| TOO_MANY)?;

        Ok(RenderPermit {
            threads: self.threads.clone(),
            page,
        })
    }
}

impl RenderPermit {
    /// Runs `render` on a thread where blocking is allowed.
    ///
    /// # Errors
    /// [`ApiError::TooManyPages`] if the server shuts down meanwhile.
    pub(super) async fn render<T: Send + 'static>(
        self,
        render: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let Self { threads, page } = self;
        let thread = threads.acquire_owned().await.map_err(|_closed| TOO_MANY)?;

        // Both permits are held until rendering ends, even if the client has disconnected.
        let rendered = tokio::task::spawn_blocking(move || {
            let _taken = (thread, page);
            render()
        });

        rendered
            .await
            .map_err(|error| match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_cancelled) => TOO_MANY,
            })
    }
}

/// The number of waiting requests of each address.
#[derive(Clone, Debug, Default)]
struct Queue(Arc<Mutex<HashMap<IpBucket, usize>>>);

/// A place in the queue, until it is dropped.
struct Place {
    queue: Queue,
    host: IpBucket,
}

impl Queue {
    fn enter(&self, host: IpBucket) -> Result<Place, ApiError> {
        let mut waiting = self.lock();
        if waiting.values().sum::<usize>() >= MAX_WAITING {
            return Err(TOO_MANY);
        }

        let here = waiting.entry(host).or_default();
        if *here >= MAX_WAITING_PER_HOST {
            return Err(ApiError::TooManyPages {
                limit: MAX_WAITING_PER_HOST,
                whose: "requests from this address",
            });
        }
        *here += 1;
        drop(waiting);

        Ok(Place {
            queue: self.clone(),
            host,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpBucket, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        if let Some(here) = waiting.get_mut(&self.host) {
            *here -= 1;
            if *here == 0 {
                waiting.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use futures::FutureExt;
    use futures::future::join_all;

    use super::*;

    fn host(number: u8) -> IpBucket {
        IpBucket::of(IpAddr::V4(Ipv4Addr::new(192, 0, 2, number)))
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
        let turn = Renderer::with(1, 1).turn(host(0)).await.expect("a turn");
        let (end, render) = slow_page();

        // Rendering on the only thread of this runtime, it would never come to the second of the two.
        let (page, ()) = tokio::join!(turn.render(render), async { drop(end) });

        assert_eq!(page.ok(), Some("a page"));
    }

    #[tokio::test]
    async fn no_more_pages_are_rendered_at_once_than_there_are_threads() {
        let renderer = Renderer::with(1, 2);
        let (end, render) = slow_page();
        let first = renderer.turn(host(1)).await.expect("a turn");
        let second = renderer.turn(host(1)).await.expect("a turn");

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
        let renderer = Renderer::with(1, 1);
        let first = renderer.turn(host(1)).await.expect("a turn");

        let mut second = Box::pin(renderer.turn(host(2)));
        assert!(second.as_mut().now_or_never().is_none());
        first.render(|| ()).await.expect("rendered");

        assert!(second.await.is_ok());
    }

    #[tokio::test]
    async fn one_address_does_not_take_the_whole_queue_and_two_do_not_wait_without_end() {
        let renderer = Renderer::with(1, 1);
        let first = renderer.turn(host(0)).await.expect("a turn");

        let requests = |number| (0..=MAX_WAITING_PER_HOST).map(move |_| number);
        let flood = requests(1).map(|number| renderer.turn(host(number)));
        let mut flood = Box::pin(join_all(flood));
        assert!(flood.as_mut().now_or_never().is_none());
        assert_eq!(
            renderer.queue.lock().get(&host(1)),
            Some(&MAX_WAITING_PER_HOST)
        );

        let others = requests(2).map(|number| renderer.turn(host(number)));
        let mut others = Box::pin(join_all(others));
        assert!(others.as_mut().now_or_never().is_none());
        let refused = renderer.turn(host(3)).await;
        assert_eq!(refused.expect_err("the queue is full").code(), "busy");

        drop((flood, others, first));
        assert!(
            renderer.turn(host(3)).await.is_ok(),
            "all have left the queue"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_for_a_page_is_refused_when_it_has_waited_too_long() {
        let renderer = Renderer::with(1, 0);

        let refused = renderer.turn(host(0)).await;

        assert_eq!(refused.expect_err("it waits in vain").code(), "busy");
    }
}
