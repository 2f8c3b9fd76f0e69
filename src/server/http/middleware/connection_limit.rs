//! The limit on the rate of connections from one address, and the refusal of connections over a limit.
//!
//! Connections are counted before a byte is read, so that a flood costs little. Requests from a trusted proxy name their
//! client in the head; each of them counts as a connection, because the proxy decides how many share one.

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
use crate::server::transport::{ClientSocket, StallTimeout, Tls};

/// The most refusals that are answered at once. In a flood, further connections are closed without an answer.
const MAX_REFUSALS: usize = 64;
/// The shortest time between two log lines about refusals.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The rate limit for connections, by address.
#[derive(Debug)]
pub(super) struct ConnectionRateLimit {
    clock: RunClock,
    rate: Rate,
    proxies: Proxies,
    /// The TLS settings, which refused connections use too.
    tls: Option<Tls>,
    /// A permit for each refusal that may be answered at once.
    refusals: Arc<Semaphore>,
    state: Mutex<ConnectionRateState>,
}

#[derive(Debug)]
struct ConnectionRateState {
    limiters: Limiters<IpBucket>,
    refusals: LogLimit,
}

/// The limit on log lines about events that may be frequent.
#[derive(Debug)]
pub(super) struct LogLimit {
    /// The shortest time between two lines.
    interval: Duration,
    /// Events since the last line.
    unlogged: u64,
    /// The time of the last line.
    logged: Option<Tick>,
}

impl LogLimit {
    pub(super) const fn new(interval: Duration) -> Self {
        Self {
            interval,
            unlogged: 0,
            logged: None,
        }
    }

    /// Counts an event at `now`. Returns the number of events since the last line if another line is due.
    pub(super) fn count(&mut self, now: Tick) -> Option<u64> {
        self.unlogged += 1;
        if self
            .logged
            .is_some_and(|logged| now.since(logged) < self.interval)
        {
            return None;
        }

        self.logged = Some(now);
        Some(std::mem::take(&mut self.unlogged))
    }
}

/// The reason for which a connection is refused.
#[derive(Clone, Copy, Debug)]
pub(super) enum ConnectionRefusal {
    /// The address connects too fast, and may connect again after this time.
    TooFast(Duration),
    /// A limit on HTTP connections is reached.
    Full(Full),
    /// No file descriptor is left; the value is the limit on connections.
    NoFileLeft(usize),
}

impl ConnectionRateLimit {
    /// Creates a limit of `rate` for each address, and for each client that `proxies` name. Up to `refusals` refusals are
    /// answered at once.
    pub(super) fn new(
        rate: Rate,
        proxies: Proxies,
        tls: Option<Tls>,
        refusals: usize,
        clock: RunClock,
    ) -> Self {
        let state = ConnectionRateState {
            limiters: Limiters::new(rate),
            refusals: LogLimit::new(LOG_INTERVAL),
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

    /// Returns the trusted proxies.
    pub(super) const fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// Counts a connection from `peer`, unless that is a trusted proxy.
    ///
    /// # Errors
    /// Returns an error if the address connects too fast.
    pub(super) fn check(&self, peer: IpAddr) -> Result<(), ConnectionRefusal> {
        if self.proxies.trusts(peer) {
            return Ok(());
        }
        self.count(peer)
    }

    /// Returns `stream` with a TLS session, if TLS is enabled, and with a timeout for its writes. `None` if the session
    /// could not be begun.
    pub(super) fn accept(&self, stream: TcpStream) -> Option<StallTimeout> {
        let client = match &self.tls {
            Some(tls) => tls
                .accept(stream)
                .inspect_err(|error| warn!(%error, "could not begin a TLS session"))
                .ok()?,
            None => ClientSocket::Plain(stream),
        };
        Some(StallTimeout::new(client, self.clock.clone()))
    }

    /// Counts a request of `client` from `peer` as a connection, if `peer` is a trusted proxy. Other clients were counted
    /// when they connected.
    ///
    /// # Errors
    /// Returns an error if the client connects too fast.
    pub(super) fn check_forwarded(&self, peer: IpAddr, client: IpAddr) -> Result<(), ApiError> {
        if !self.proxies.trusts(peer) {
            return Ok(());
        }
        self.count(client).map_err(|refusal| {
            let error = self.error(refusal);
            self.log(client, &error);
            error
        })
    }

    /// Counts a connection from `address`.
    fn count(&self, address: IpAddr) -> Result<(), ConnectionRefusal> {
        self.state
            .lock()
            .limiters
            .take(IpBucket::of(address), 1, self.clock.now())
            .map_err(ConnectionRefusal::TooFast)
    }

    /// Logs the refusal of `address`, with at most one line per interval, so that a flood does not fill the log.
    pub(super) fn log(&self, address: IpAddr, reason: impl fmt::Display) {
        let due = self.state.lock().refusals.count(self.clock.now());
        if let Some(refused) = due {
            info!(address = %address.to_canonical(), refused, %reason, "refused");
        }
    }

    /// Returns the error of the API for `refusal`.
    pub(super) fn error(&self, refusal: ConnectionRefusal) -> ApiError {
        match refusal {
            ConnectionRefusal::TooFast(wait) => ApiError::ConnectsTooFast {
                rate: self.rate,
                wait,
            },
            ConnectionRefusal::Full(Full::Address { limit }) => ApiError::TooManyAtOnce { limit },
            ConnectionRefusal::Full(Full::All { limit }) => {
                ApiError::TooManyHttpConnections { limit }
            }
            ConnectionRefusal::NoFileLeft(limit) => ApiError::NoFileLeft { limit },
        }
    }

    /// Answers the first request of `peer` with the reason; closes the connection at once if too many refusals are being
    /// answered.
    pub(super) fn refuse(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: IpAddr,
        refusal: ConnectionRefusal,
        http: &http1::Builder,
    ) {
        let error = self.error(refusal);
        let code = error.code();
        self.log(peer, error);

        let Ok(permit) = self.refusals.clone().try_acquire_owned() else {
            return metrics::count_refusal(code);
        };
        let Some(stream) = self.accept(stream) else {
            return metrics::count_refusal(code);
        };

        let limit = self.clone();
        let is_answered = Arc::new(AtomicBool::new(false));
        let answered = is_answered.clone();
        let service = service_fn(move |_| {
            answered.store(true, Ordering::Relaxed);
            // `into_response` counts the refusal.
            let response = limit.error(refusal).into_response();
            let response = headers::complete(response, headers::OWN_ONLY);
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let connection = http
            .clone()
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);

        tokio::spawn(async move {
            // The client may be gone before it is answered.
            let _ = connection.await;
            if !is_answered.load(Ordering::Relaxed) {
                metrics::count_refusal(code);
            }
            drop(permit);
        });
    }
}
