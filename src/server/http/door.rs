//! Keeps those out who connect too fast: before a byte is read of them, so that a storm costs little.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::IntoResponse;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tracing::info;

use crate::server::http::error::ApiError;
use crate::server::metrics;
use crate::server::room::Moment;
use crate::server::session::{Limiters, Rate};

/// Clients that are told at once that they connect too fast; in a storm, the others find the socket closed.
const MAX_REFUSALS: usize = 64;
/// How often the log says how many were refused.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// See the [module docs](self).
pub(super) struct Door {
    opened: Instant,
    limiters: Limiters,
    /// Places for those who are told why.
    refusals: Arc<Semaphore>,
    /// How many were refused since the log said so, and when that was.
    untold: u64,
    told: Option<Moment>,
}

impl Door {
    /// Lets every address in at `rate`.
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            opened: Instant::now(),
            limiters: Limiters::new(rate),
            refusals: Arc::new(Semaphore::new(MAX_REFUSALS)),
            untold: 0,
            told: None,
        }
    }

    /// Whether `peer` may come in; if not, its `stream` is refused.
    pub(super) fn admit(
        &mut self,
        stream: TcpStream,
        peer: SocketAddr,
        http: &http1::Builder,
    ) -> Option<TcpStream> {
        let now = Moment::after_start(self.opened.elapsed());
        let Err(wait) = self.limiters.take(peer.ip(), 1, now) else { return Some(stream) };
        self.refuse(stream, wait, http);
        self.untold += 1;
        // Not a line for each: a storm of them would be one of lines.
        if self.told.is_none_or(|told| now.since(told) >= TELL_EVERY) {
            info!(address = %peer.ip().to_canonical(), refused = self.untold, "refused: connects too fast");
            (self.untold, self.told) = (0, Some(now));
        }
        None
    }

    /// Answers whatever is asked with 429, if there is a place for that; else just closes.
    fn refuse(&self, stream: TcpStream, wait: Duration, http: &http1::Builder) {
        let Ok(place) = self.refusals.clone().try_acquire_owned() else {
            return metrics::refused("connects_too_fast");
        };
        let rate = self.limiters.rate();
        let refusal = move || ApiError::ConnectsTooFast { rate, wait }.into_response();
        let service = service_fn(move |_| std::future::ready(Ok::<_, Infallible>(refusal())));
        let connection = http.clone().keep_alive(false).serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            let _ended = connection.await;
            drop(place);
        });
    }
}
