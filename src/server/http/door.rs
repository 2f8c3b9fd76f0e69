//! Keeps those out who connect too fast: before a byte is read of them, so that a storm costs little.
//!
//! Whom a trusted proxy asks for is only in the head of each request. There each request counts as a connection:
//! how many of them share one is the proxy's affair.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::response::IntoResponse;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tracing::info;

use crate::server::auth::Proxies;
use crate::server::http::error::ApiError;
use crate::server::metrics;
use crate::server::room::Moment;
use crate::server::session::{Host, Limiters, Rate};

/// Clients that are told at once that they connect too fast; in a storm, the others find the socket closed.
const MAX_REFUSALS: usize = 64;
/// How often the log says how many were refused.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// See the [module docs](self).
#[derive(Debug)]
pub(super) struct Door {
    opened: Instant,
    rate: Rate,
    proxies: Proxies,
    /// Places for those who are told why.
    refusals: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limiters: Limiters<Host>,
    /// How many were refused since the log said so, and when that was.
    untold: u64,
    told: Option<Moment>,
}

impl Door {
    /// Lets every address in at `rate`, and every one that `proxies` ask for.
    pub(super) fn new(rate: Rate, proxies: Proxies) -> Self {
        let state = State { limiters: Limiters::new(rate), untold: 0, told: None };
        Self {
            opened: Instant::now(),
            rate,
            proxies,
            refusals: Arc::new(Semaphore::new(MAX_REFUSALS)),
            state: Mutex::new(state),
        }
    }

    /// Which proxies are believed.
    pub(super) const fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// Whether `peer` may come in; if not, its `stream` is refused.
    pub(super) fn admit(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        http: &http1::Builder,
    ) -> Option<TcpStream> {
        if self.proxies.trusts(peer.ip()) {
            return Some(stream);
        }
        let Err(wait) = self.count(peer.ip()) else { return Some(stream) };
        self.refuse(stream, wait, http);
        None
    }

    /// Whether a request of `client` may pass that came from `peer`. Whoever asks for itself was counted when it
    /// connected.
    pub(super) fn let_through(&self, peer: IpAddr, client: IpAddr) -> Result<(), ApiError> {
        if !self.proxies.trusts(peer) {
            return Ok(());
        }
        self.count(client).map_err(|wait| ApiError::ConnectsTooFast { rate: self.rate, wait })
    }

    /// Counts a connection from `address`, or says how long it must wait.
    fn count(&self, address: IpAddr) -> Result<(), Duration> {
        let now = Moment::after_start(self.opened.elapsed());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = match state.limiters.take(Host::of(address), 1, now) {
            Ok(()) => return Ok(()),
            Err(wait) => wait,
        };
        state.untold += 1;
        // Not a line for each: a storm of them would be one of lines.
        if state.told.is_none_or(|told| now.since(told) >= TELL_EVERY) {
            info!(address = %address.to_canonical(), refused = state.untold, "refused: connects too fast");
            (state.untold, state.told) = (0, Some(now));
        }
        Err(wait)
    }

    /// Answers whatever is asked with 429, if there is a place for that; else just closes.
    fn refuse(&self, stream: TcpStream, wait: Duration, http: &http1::Builder) {
        let Ok(place) = self.refusals.clone().try_acquire_owned() else {
            return metrics::refused("connects_too_fast");
        };
        let rate = self.rate;
        let refusal = move || ApiError::ConnectsTooFast { rate, wait }.into_response();
        let service = service_fn(move |_| std::future::ready(Ok::<_, Infallible>(refusal())));
        let connection = http.clone().keep_alive(false).serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            let _ended = connection.await;
            drop(place);
        });
    }
}
