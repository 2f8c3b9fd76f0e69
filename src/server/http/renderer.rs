//! A bounded number of threads that render pages, apart from the threads that serve sockets.
//!
//! A page costs processor time for each message in it, and anybody may store messages. On the threads of the
//! runtime that time would be taken from every connection of the server.
//!
//! # Invariants
//!
//! - Rendering never runs on a thread of the runtime.
//! - At least half of the processors are left for everything else.
//! - Requests wait for a thread for a bounded time, and a bounded number of them waits, of each address a quarter at
//!   most; others are refused.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::server::http::error::ApiError;
use crate::server::session::Host;

/// Most requests that wait for a thread: about a second of rendering.
const MAX_WAITING: usize = 64;
/// Most requests from one address that wait, so that no client takes the whole queue.
const MAX_WAITING_PER_HOST: usize = 16;
/// Longest time that a request waits for a thread.
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
    queue: Queue,
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
            queue: Queue::default(),
        }
    }

    /// Runs `render`, for a client at `host`, on a thread where blocking is allowed, once one is free.
    ///
    /// # Errors
    /// [`ApiError::TooManyPages`] if too many requests wait already, or this one has waited too long.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        host: Host,
        render: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let place = self.queue.enter(host)?;
        let thread = tokio::time::timeout(MAX_WAIT, self.threads.clone().acquire_owned())
            .await
            .map_err(|_late| TOO_MANY)?
            .map_err(|_closed| TOO_MANY)?;
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
                Err(_cancelled) => TOO_MANY,
            })
    }
}

/// How many requests of each address wait.
#[derive(Clone, Debug, Default)]
struct Queue(Arc<Mutex<HashMap<Host, usize>>>);

/// A place in the queue, until it is dropped.
struct Place {
    queue: Queue,
    host: Host,
}

impl Queue {
    fn enter(&self, host: Host) -> Result<Place, ApiError> {
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

    fn lock(&self) -> MutexGuard<'_, HashMap<Host, usize>> {
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
    use tokio::task::JoinHandle;

    use super::*;

    fn host(number: u8) -> Host {
        Host::of(IpAddr::V4(Ipv4Addr::new(192, 0, 2, number)))
    }

    /// A page that is rendered until its sender is dropped.
    fn slow_page() -> (Sender<()>, impl FnOnce() -> &'static str + Send + 'static) {
        let (end, ended): (Sender<()>, Receiver<()>) = channel();
        let render = move || {
            // Always an error: nothing is sent.
            let _ = ended.recv();
            "a page"
        };
        (end, render)
    }

    /// A renderer whose only thread renders a page until the sender is dropped.
    async fn busy() -> (
        Renderer,
        Sender<()>,
        JoinHandle<Result<&'static str, ApiError>>,
    ) {
        let renderer = Renderer::with_threads(1);
        let (end, render) = slow_page();
        let rendering = tokio::spawn({
            let renderer = renderer.clone();
            async move { renderer.run(host(0), render).await }
        });
        while renderer.threads.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        (renderer, end, rendering)
    }

    #[tokio::test]
    async fn a_page_that_takes_long_stops_nothing_else_on_the_runtime() {
        let renderer = Renderer::with_threads(1);
        let (end, render) = slow_page();

        // Rendering on the only thread of this runtime, it would never come to the second of the two.
        let (page, ()) = tokio::join!(renderer.run(host(0), render), async { drop(end) });

        assert_eq!(page.ok(), Some("a page"));
    }

    #[tokio::test]
    async fn no_more_pages_are_rendered_at_once_than_there_are_threads() {
        let (renderer, end, first) = busy().await;

        let mut second = Box::pin(renderer.run(host(1), || "the second"));
        let is_rendered = second.as_mut().now_or_never().is_some();
        drop(end);

        assert!(!is_rendered, "the only thread is taken");
        assert_eq!(second.await.ok(), Some("the second"));
        assert_eq!(first.await.expect("no panic").ok(), Some("a page"));
    }

    #[tokio::test]
    async fn a_request_for_a_page_is_refused_when_too_many_wait() {
        let (renderer, end, _first) = busy().await;

        let hosts = (0..MAX_WAITING).map(|number| host(number as u8));
        let mut waiting = Box::pin(join_all(hosts.map(|host| renderer.run(host, || ()))));
        assert!(waiting.as_mut().now_or_never().is_none());
        let refused = renderer.run(host(200), || ()).await;
        drop(end);

        assert_eq!(refused.expect_err("it is one too many").code(), "busy");
        assert!(waiting.await.iter().all(Result::is_ok));
    }

    #[tokio::test]
    async fn one_address_does_not_take_the_whole_queue() {
        let (renderer, end, _first) = busy().await;

        let requests = (0..2 * MAX_WAITING_PER_HOST).map(|_| renderer.run(host(1), || ()));
        let mut flood = Box::pin(join_all(requests));
        assert!(flood.as_mut().now_or_never().is_none());
        let mut other = Box::pin(renderer.run(host(2), || "a page for another"));
        assert!(other.as_mut().now_or_never().is_none(), "it waits");
        drop(end);

        let rendered = flood.await.iter().filter(|page| page.is_ok()).count();
        assert_eq!(rendered, MAX_WAITING_PER_HOST);
        assert_eq!(other.await.ok(), Some("a page for another"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_for_a_page_is_refused_when_it_has_waited_too_long() {
        let renderer = Renderer::with_threads(0);

        let refused = renderer.run(host(0), || ()).await;

        assert_eq!(refused.expect_err("it waits in vain").code(), "busy");
    }
}
