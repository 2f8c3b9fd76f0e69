//! The accept loop: not too many connections at once, HTTP/1.1 with a deadline for each request head, and an orderly end.
//!
//! `axum::serve` has no such deadline, so half a request would hold a socket for ever. HTTP/2 is off: it has
//! floods of its own, and a WebSocket needs none of it.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1::{self, UpgradeableConnection};
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::server::auth::Proxies;
use crate::server::http::connection_table::{ConnectionPermit, ConnectionTable};
use crate::server::http::door::{ConnectionRateLimit, Refusal};
use crate::server::http::entrance::{MAX_HEAD_BYTES, MAX_HEADERS, RequestLimit};
use crate::server::http::malformed;
use crate::server::hub::Hub;
use crate::server::metrics;
use crate::server::run_clock::RunClock;
use crate::server::session::{IpBucket, Rate};
use crate::server::transport::{Activity, StallTimeout, StallTimeoutHandle, Tls};

/// Sockets that are (still) HTTP and that the Hub does not count, on one listener.
const MAX_HTTP_CONNECTIONS: usize = 4096;
/// How much more of a head is read than is allowed, so that whoever is not far above the bounds can be told what
/// they are: HTTP itself answers a bare 431 beyond that.
const HEAD_MARGIN_BYTES: usize = 16 * 1024;
/// The same for the number of headers.
const HEADERS_MARGIN: usize = 100;
/// How long a client that has connected and not asked yet may still ask when the server stops: nobody who was let in is
/// refused because of that.
const LAST_ASKED: Duration = Duration::from_millis(500);
/// Pause after a failed `accept`, perhaps for lack of file descriptors, so that the loop does not spin.
const FAILED_PAUSE: Duration = Duration::from_millis(50);
/// The reason in the log for a connection that was closed for others.
const EVICTED: &str =
    "evicted: it did not read, or not finish its request, and others need its place or its memory";
/// Time between two log lines about a failing `accept`.
const LOG_FAILURES_EVERY: Duration = Duration::from_secs(60);

/// The limits for clients of one listener.
#[derive(Clone, Debug)]
pub struct AcceptSettings {
    /// A connection that has not sent a whole request head by then is closed.
    pub header_timeout: Duration,
    /// New connections from one address.
    pub connect_rate: Rate,
    /// Peers that are trusted to name the client of a request.
    pub proxies: Proxies,
    /// TLS, if enabled; otherwise plain HTTP.
    pub tls: Option<Tls>,
    /// The time by which clients are judged.
    pub clock: RunClock,
    /// Most connections that the file limit allows, including those of the Hub.
    pub max_sockets: usize,
    /// Most connections beyond that which are refused with a reason at once.
    pub max_refusals: usize,
    /// Operators are answered although the memory budget is exceeded.
    pub is_for_operators: bool,
}

/// Marks an answer that continues until its reader leaves. A reader that closes its sending side counts as gone,
/// because the server cannot see whether it still reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Endless;

/// Notices from the requests of one connection to its task.
#[derive(Debug, Default)]
struct Signals {
    /// A request was read.
    asked: Notify,
    /// Its answer is [`Endless`].
    endless: Notify,
}

/// One HTTP connection.
struct Connection {
    peer: SocketAddr,
    socket: StallTimeoutHandle,
    signals: Arc<Signals>,
    activity: Arc<Activity>,
    door: Arc<ConnectionRateLimit>,
    clock: RunClock,
}

impl Connection {
    /// Serves `connection` until it ends; when the server stops, until the current request is answered.
    async fn run<S>(
        self,
        connection: UpgradeableConnection<TokioIo<StallTimeout>, S>,
        mut stop: watch::Receiver<bool>,
    ) where
        S: Service<Request<Incoming>, Response = Response, Error = Infallible>,
    {
        let mut connection = pin!(connection);
        let left = async {
            self.signals.endless.notified().await;
            self.socket.closed().await;
        };
        let served = async {
            tokio::select! {
                ended = connection.as_mut() => return ended,
                () = stopped(&mut stop) => {}
            }
            tokio::select! {
                ended = connection.as_mut() => return ended,
                _asked_or_late = self.clock.timeout(LAST_ASKED, self.signals.asked.notified()) => {}
            }
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        };

        let ended = tokio::select! {
            ended = served => ended,
            () = left => Ok(()),
            () = self.activity.evicted() => {
                metrics::count_refusal("evicted");
                self.door.log(self.peer.ip(), EVICTED);
                Ok(())
            }
        };
        // The connection is not dropped before this: its socket is open.
        if let Err(error) = ended {
            debug!(peer = %self.peer, %error, "HTTP connection ended");
            malformed::answer(&error, &self.socket, &self.clock).await;
        }
    }
}

/// Serves `router` on `listener` until `stop` is set (or its sender is gone); then takes no new connection
/// and returns when the requests that have begun are answered.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    hub: Hub,
    settings: AcceptSettings,
    mut stop: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    let clock = settings.clock.clone();
    http.timer(clock.clone())
        .header_read_timeout(settings.header_timeout)
        // A client that has sent its request may close its sending side and wait for the answer (RFC 9112 section 9.6).
        .half_close(true)
        .max_buf_size(MAX_HEAD_BYTES + HEAD_MARGIN_BYTES)
        .max_headers(MAX_HEADERS + HEADERS_MARGIN);
    let limits = ConnectionLimits::new(hub, &settings, http);
    let mut failures = AcceptFailures::default();
    // Never sent on: it ends when every connection has dropped its sender.
    let (open, mut all_ended) = mpsc::channel::<Infallible>(1);

    loop {
        let (stream, peer) = tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = accept(&listener, &mut failures) => accepted,
        };
        let Some(Admitted {
            stream,
            permit,
            activity,
        }) = limits.admit(stream, peer)
        else {
            continue;
        };

        let entrance = RequestLimit {
            door: limits.door.clone(),
            router: router.clone(),
            peer,
            permit: Arc::new(permit),
            activity: activity.clone(),
            is_for_operators: settings.is_for_operators,
        };
        let talk = Connection {
            peer,
            socket: stream.socket(),
            signals: Arc::default(),
            activity: activity.clone(),
            door: limits.door.clone(),
            clock: clock.clone(),
        };
        // Until a request is read, HTTP itself writes only what a malformed one is answered.
        talk.socket.mute();
        let (socket, signals) = (talk.socket.clone(), talk.signals.clone());
        let service = service_fn(move |request| {
            socket.unmute();
            signals.asked.notify_one();
            let (entrance, signals) = (entrance.clone(), signals.clone());
            async move {
                let response = entrance.answer(request).await;
                if response.extensions().get::<Endless>().is_some() {
                    signals.endless.notify_one();
                }
                Ok::<_, Infallible>(response)
            }
        });
        let connection = limits
            .http
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let tracked = limits.hub.memory().register(activity);
        let (stop, open) = (stop.clone(), open.clone());
        tokio::spawn(async move {
            talk.run(connection, stop).await;
            drop((open, tracked));
        });
    }
    drop((listener, open));
    // Nothing is sent: the channel closes when the last connection ends.
    let _ = all_ended.recv().await;
}

/// The limits that a new connection must pass before it is served: files, rate and connections.
struct ConnectionLimits {
    door: Arc<ConnectionRateLimit>,
    clock: RunClock,
    hub: Hub,
    table: Arc<ConnectionTable>,
    http: http1::Builder,
    /// A permit for each socket that may be open.
    sockets: Arc<Semaphore>,
    max_sockets: usize,
}

/// A connection that may be served.
struct Admitted {
    stream: StallTimeout,
    permit: ConnectionPermit,
    activity: Arc<Activity>,
}

impl ConnectionLimits {
    fn new(hub: Hub, settings: &AcceptSettings, http: http1::Builder) -> Self {
        let AcceptSettings {
            connect_rate,
            proxies,
            tls,
            max_sockets,
            max_refusals,
            clock,
            ..
        } = settings.clone();

        // An unlimited rate means that all clients are trusted.
        let per_address = match connect_rate.per_second {
            0 => MAX_HTTP_CONNECTIONS,
            _ => MAX_HTTP_CONNECTIONS / 2,
        };
        let table = ConnectionTable::new(hub.clone(), MAX_HTTP_CONNECTIONS, per_address);

        Self {
            door: Arc::new(ConnectionRateLimit::new(
                connect_rate,
                proxies,
                tls,
                max_refusals,
                clock.clone(),
            )),
            clock,
            hub,
            table: Arc::new(table),
            http,
            sockets: Arc::new(Semaphore::new(max_sockets.min(Semaphore::MAX_PERMITS))),
            max_sockets,
        }
    }

    /// Admits the connection `stream`, or refuses it.
    fn admit(&self, stream: TcpStream, peer: SocketAddr) -> Option<Admitted> {
        let activity = Arc::new(Activity::new(&self.hub));
        let (socket, permit) = match self.check(peer, &activity) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                self.door.refuse(stream, peer.ip(), refusal, &self.http);
                return None;
            }
        };

        let stream = StallTimeout::new(self.door.open(stream)?, self.clock.clone());
        let stream = stream.reporting_to(activity.clone(), socket);
        Some(Admitted {
            stream,
            permit,
            activity,
        })
    }

    fn check(
        &self,
        peer: SocketAddr,
        activity: &Arc<Activity>,
    ) -> Result<(OwnedSemaphorePermit, ConnectionPermit), Refusal> {
        let socket = self
            .sockets
            .clone()
            .try_acquire_owned()
            .map_err(|_| Refusal::NoFileLeft(self.max_sockets))?;
        self.door.admit(peer.ip())?;
        let is_proxy = self.door.proxies().trusts(peer.ip());
        let permit = self
            .table
            .enter(IpBucket::of(peer.ip()), is_proxy, activity.clone())
            .map_err(Refusal::Full)?;
        Ok((socket, permit))
    }
}

/// Failures of `accept`, which are logged at intervals.
#[derive(Debug, Default)]
struct AcceptFailures {
    unlogged: u64,
    logged: Option<Instant>,
}

impl AcceptFailures {
    fn log(&mut self, error: &std::io::Error) {
        self.unlogged += 1;
        if self
            .logged
            .is_none_or(|logged| logged.elapsed() >= LOG_FAILURES_EVERY)
        {
            let failures = self.unlogged;
            warn!(%error, failures, "cannot accept connections");
            (self.unlogged, self.logged) = (0, Some(Instant::now()));
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which ends the server too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Waits for the next connection.
async fn accept(listener: &TcpListener, failures: &mut AcceptFailures) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The client was gone before we got to it.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
                ) => {}
            Err(error) => {
                failures.log(&error);
                tokio::time::sleep(FAILED_PAUSE).await;
            }
        }
    }
}
