//! Limits how fast clients connect, before a byte of them is read, so that a storm costs little; and refuses those that
//! are over a limit.
//!
//! Requests from a trusted proxy name their client in the head. There each request counts as a connection: how many of
//! them share one is up to the proxy.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::response::IntoResponse;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::server::auth::Proxies;
use crate::server::http::connection_table::Full;
use crate::server::http::error::ApiError;
use crate::server::http::headers;
use crate::server::metrics;
use crate::server::room::Tick;
use crate::server::run_clock::RunClock;
use crate::server::session::{IpBucket, Limiters, Rate};
use crate::server::transport::Tls;

/// Clients that are told at once that they connect too fast; in a storm, the others find the socket closed.
const MAX_REFUSALS: usize = 64;
/// How often the log says how many were refused.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// See the [module docs](self).
#[derive(Debug)]
pub(super) struct ConnectionRateLimit {
    clock: RunClock,
    rate: Rate,
    proxies: Proxies,
    /// The protocol to use with clients, including refused ones.
    tls: Option<Tls>,
    /// Most clients that are sent the reason of their refusal at once.
    refusals: Arc<Semaphore>,
    state: Mutex<ConnectionRateState>,
}

#[derive(Debug)]
struct ConnectionRateState {
    limiters: Limiters<IpBucket>,
    /// How many were refused since the log said so, and when that was.
    unlogged: u64,
    logged: Option<Tick>,
}

/// The reason why a connection was refused.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    /// It may come again after this.
    TooFast(Duration),
    /// There are too many connections that ask over HTTP.
    Full(Full),
    /// There is no file descriptor for it; there are for this many connections.
    NoFileLeft(usize),
}

impl ConnectionRateLimit {
    /// Admits every address at `rate`, and every one that `proxies` ask for. Up to `refusals` clients are told at once
    /// that they are refused.
    pub(super) fn new(
        rate: Rate,
        proxies: Proxies,
        tls: Option<Tls>,
        refusals: usize,
        clock: RunClock,
    ) -> Self {
        let state = ConnectionRateState {
            limiters: Limiters::new(rate),
            unlogged: 0,
            logged: None,
        };
        Self {
            clock,
            rate,
            proxies,
            tls,
            refusals: Arc::new(Semaphore::new(refusals.min(MAX_REFUSALS))),
            state: Mutex::new(state),
        }
    }

    /// Which proxies are believed.
    pub(super) const fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// Counts a connection from `peer`, unless that is a trusted proxy.
    ///
    /// # Errors
    /// If its address connects too fast.
    pub(super) fn admit(&self, peer: IpAddr) -> Result<(), Refusal> {
        if self.proxies.trusts(peer) {
            return Ok(());
        }
        self.count(peer)
    }

    /// The socket where HTTP is spoken with the client of `stream`; none if there is no room for one.
    pub(super) fn open(&self, stream: TcpStream) -> Option<TcpStream> {
        let Some(tls) = &self.tls else {
            return Some(stream);
        };
        tls.accept(stream, self.clock.clone())
            .inspect_err(|error| warn!(%error, "cannot speak TLS"))
            .ok()
    }

    /// Whether a request of `client` may pass that came from `peer`. Whoever asks for itself was counted when it
    /// connected.
    pub(super) fn let_through(&self, peer: IpAddr, client: IpAddr) -> Result<(), ApiError> {
        if !self.proxies.trusts(peer) {
            return Ok(());
        }
        self.count(client).map_err(|refusal| {
            let error = self.error(refusal);
            self.log(client, &error);
            error
        })
    }

    /// Counts a connection from `address`, or says how long it must wait.
    fn count(&self, address: IpAddr) -> Result<(), Refusal> {
        self.state
            .lock()
            .limiters
            .take(IpBucket::of(address), 1, self.now())
            .map_err(Refusal::TooFast)
    }

    /// Logs that `address` was refused, at most one line per interval, so that a storm of them does not flood the log.
    pub(super) fn log(&self, address: IpAddr, reason: impl fmt::Display) {
        let now = self.now();
        let mut state = self.state.lock();
        state.unlogged += 1;
        if state
            .logged
            .is_none_or(|logged| now.since(logged) >= LOG_EVERY)
        {
            info!(address = %address.to_canonical(), refused = state.unlogged, %reason, "refused");
            (state.unlogged, state.logged) = (0, Some(now));
        }
    }

    fn now(&self) -> Tick {
        self.clock.now()
    }

    pub(super) fn error(&self, refusal: Refusal) -> ApiError {
        match refusal {
            Refusal::TooFast(wait) => ApiError::ConnectsTooFast {
                rate: self.rate,
                wait,
            },
            Refusal::Full(Full::Address { limit }) => ApiError::TooManyAtOnce { limit },
            Refusal::Full(Full::All { limit }) => ApiError::TooManyHttpConnections { limit },
            Refusal::NoFileLeft(limit) => ApiError::NoFileLeft { limit },
        }
    }

    /// Answers the first request of `peer` with the reason, if there is room for that; else just closes.
    pub(super) fn refuse(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: IpAddr,
        refusal: Refusal,
        http: &http1::Builder,
    ) {
        self.log(peer, self.error(refusal));
        let Ok(place) = self.refusals.clone().try_acquire_owned() else {
            return metrics::count_refusal(self.error(refusal).code());
        };
        let Some(stream) = self.open(stream) else {
            return metrics::count_refusal(self.error(refusal).code());
        };

        let (door, is_answered) = (self.clone(), Arc::new(AtomicBool::new(false)));
        let answers = is_answered.clone();
        let answer = move |_| {
            answers.store(true, Ordering::Relaxed);
            // Counted where it becomes an answer.
            let answer = door.error(refusal).into_response();
            std::future::ready(Ok::<_, Infallible>(headers::complete(
                answer,
                headers::OWN_ONLY,
            )))
        };
        let connection = http
            .clone()
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service_fn(answer));
        let code = self.error(refusal).code();
        tokio::spawn(async move {
            let _ended = connection.await;
            if !is_answered.load(Ordering::Relaxed) {
                metrics::count_refusal(code);
            }
            drop(place);
        });
    }
}
