//! The accept loop of a listener, and the task of each HTTP/1.1 connection.
//!
//! `axum::serve` has no time limit for request heads, so half a request would hold a socket forever. HTTP/2 is off, because
//! not all limits could be kept with it.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::response::Parts;
use axum::http::{Method, Request};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tracing::{debug, warn};

use crate::server::auth::Proxies;
use crate::server::http::connection_table::{ConnectionPermit, ConnectionTable};
use crate::server::http::malformed;
use crate::server::http::middleware::connection_limit::{
    ConnectionRateLimit, ConnectionRefusal, LogLimit,
};
use crate::server::http::middleware::request_limit::{
    MAX_HEAD_BYTES, MAX_HEADERS, RequestConnection, RequestLimit,
};
use crate::server::hub::Hub;
use crate::server::metrics;
use crate::server::run_clock::RunClock;
use crate::server::session::{IpBucket, Rate};
use crate::server::transport::{Activity, Handover, StallTimeout, StallTimeoutHandle, Tls};

/// The most HTTP connections of one listener, besides the WebSockets and streams that the Hub counts.
const MAX_HTTP_CONNECTIONS: usize = 4096;
/// The bytes of a head that hyper reads beyond the limit. Within this margin the answer names the limit; beyond it hyper
/// answers a bare 431.
const HEAD_MARGIN_BYTES: usize = 16 * 1024;
/// The same margin for the number of headers.
const HEADERS_MARGIN: usize = 100;
/// The time in which a client that connected before the server stopped may still send its first request, so that a stop
/// refuses no accepted connection.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_millis(500);
/// The pause after a failed `accept`, for example without file descriptors, so that the loop does not spin.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);
/// The reason in the log for a connection that was evicted.
const EVICTED: &str = "evicted: it did not read its response or not finish its request, and others need its place or \
                       its memory";
/// The shortest time between two log lines about a failing `accept`.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The settings of one listener.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// The time in which a connection must send a whole request head.
    pub header_timeout: Duration,
    /// The rate limit for new connections from one address.
    pub connect_rate: Rate,
    /// The proxies that are trusted to name the client of a request.
    pub proxies: Proxies,
    /// TLS, if enabled; otherwise plain HTTP.
    pub tls: Option<Tls>,
    /// The clock for timeouts of clients.
    pub clock: RunClock,
    /// The most connections that the file limit allows, including those of the Hub.
    pub max_sockets: usize,
    /// The most connections beyond that which are refused with a reason at once.
    pub max_refusals: usize,
    /// True if requests are answered although the memory budget is exceeded.
    pub is_for_operators: bool,
}

/// Marks a response that continues until the client closes its sending side. The server cannot detect whether such a
/// client still reads, so it counts as gone.
#[derive(Clone, Copy, Debug)]
pub(in crate::server::http) struct Endless;

/// Notifications from the requests of a connection to its task.
#[derive(Debug, Default)]
struct ConnectionSignals {
    /// A request head was read.
    request: Notify,
    /// The response is [`Endless`].
    endless: Notify,
    /// The handover of the socket after all earlier responses, with the head of its response.
    handover: Mutex<Option<(Parts, Handover)>>,
}

/// hyper's part of a connection, with the service `S`.
type HyperConnection<S> = http1::Connection<TokioIo<StallTimeout>, S>;

/// An HTTP connection that is being served.
struct ServedConnection {
    peer: SocketAddr,
    socket: StallTimeoutHandle,
    signals: Arc<ConnectionSignals>,
    activity: Arc<Activity>,
    rate_limit: Arc<ConnectionRateLimit>,
    clock: RunClock,
}

impl ServedConnection {
    /// Polls `connection` until it ends or leaves hyper; when the server stops, until the current request is answered.
    async fn run<S>(self, mut connection: HyperConnection<S>, mut stop: watch::Receiver<bool>)
    where
        S: Service<Request<Incoming>, Response = Response, Error = Infallible>,
    {
        let client_closed = async {
            self.signals.endless.notified().await;
            self.socket.closed().await;
        };
        let served = async {
            tokio::select! {
                result = self.serve(&mut connection) => return result,
                () = stopped(&mut stop) => {}
            }

            let first_request = self.signals.request.notified();
            tokio::select! {
                result = self.serve(&mut connection) => return result,
                _ = self.clock.timeout(FIRST_REQUEST_TIMEOUT, first_request) => {}
            }

            Pin::new(&mut connection).graceful_shutdown();
            self.serve(&mut connection).await
        };

        let result = tokio::select! {
            result = served => result,
            () = client_closed => Ok(None),
            () = self.activity.evicted() => {
                metrics::count_refusal("evicted");
                self.rate_limit.log(self.peer.ip(), EVICTED);
                Ok(None)
            }
        };

        match result {
            Ok(Some((head, handover))) => {
                let parts = connection.into_parts();
                handover.complete(&head, parts.io.into_inner(), &parts.read_buf);
            }
            Ok(None) => {}
            // `connection` still holds the socket open here.
            Err(error) => {
                debug!(peer = %self.peer, %error, "HTTP connection ended");
                malformed::answer(&error, &self.socket, &self.clock).await;
            }
        }
    }

    /// Polls `connection` until it ends, or until all responses before a handover are sent. Returns the handover.
    async fn serve<S>(
        &self,
        connection: &mut HyperConnection<S>,
    ) -> hyper::Result<Option<(Parts, Handover)>>
    where
        S: Service<Request<Incoming>, Response = Response, Error = Infallible>,
    {
        poll_fn(|cx| match Pin::new(&mut *connection).poll(cx) {
            Poll::Ready(result) => Poll::Ready(result.map(|()| None)),
            // If no bytes wait for the kernel, hyper has written all earlier responses.
            Poll::Pending if !self.socket.is_blocked() => {
                match self.signals.handover.lock().take() {
                    Some(handover) => Poll::Ready(Ok(Some(handover))),
                    None => Poll::Pending,
                }
            }
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

/// Serves `router` on `listener` until `stop` is set or its sender is dropped. Then accepts no more connections, and
/// returns when all requests that have begun are answered.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    hub: Hub,
    settings: ListenerSettings,
    mut stop: watch::Receiver<bool>,
) {
    let clock = settings.clock.clone();
    let mut http = http1::Builder::new();
    http.timer(clock.clone())
        .header_read_timeout(settings.header_timeout)
        // A client may close its sending side after its request, and wait for the answer (RFC 9112 section 9.6).
        .half_close(true)
        .max_buf_size(MAX_HEAD_BYTES + HEAD_MARGIN_BYTES)
        .max_headers(MAX_HEADERS + HEADERS_MARGIN);

    let limits = ConnectionLimits::new(hub, &settings, http);
    let request_limit = RequestLimit {
        connections: limits.rate_limit.clone(),
        is_for_operators: settings.is_for_operators,
    };

    let mut failures = LogLimit::new(LOG_INTERVAL);
    // Nothing is sent: the channel closes when every connection has dropped its sender.
    let (open, mut all_closed) = mpsc::channel::<Infallible>(1);

    loop {
        let (stream, peer) = tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = accept(&listener, &clock, &mut failures) => accepted,
        };
        let Some(AcceptedConnection {
            stream,
            permit,
            activity,
        }) = limits.admit(stream, peer)
        else {
            continue;
        };

        let http_connection = ServedConnection {
            peer,
            socket: stream.socket(),
            signals: Arc::default(),
            activity: activity.clone(),
            rate_limit: limits.rate_limit.clone(),
            clock: clock.clone(),
        };
        // Until a request is read, hyper only writes its answer to a malformed one, which `malformed` replaces.
        http_connection.socket.mute();

        let request_connection = RequestConnection {
            peer,
            permit: Arc::new(permit),
            activity: activity.clone(),
        };
        let request_limit = request_limit.clone();
        let router = router.clone();
        let socket = http_connection.socket.clone();
        let signals = http_connection.signals.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            socket.unmute();
            signals.request.notify_one();

            let is_head = request.method() == Method::HEAD;
            let version = request.version();
            let response = request_limit.clone().pass(
                request.map(Body::new),
                request_connection.clone(),
                router.clone(),
            );

            let signals = signals.clone();
            async move {
                let mut response = response.await;
                if let Some(handover) = response.extensions_mut().remove::<Handover>()
                    && !is_head
                {
                    let (head, _) = response.into_parts();
                    *signals.handover.lock() = Some((head, handover));
                    // hyper gets no response, so it sends nothing.
                    return pending().await;
                }
                if response.extensions().get::<Endless>().is_some() {
                    // For clients of HTTP/1.0, hyper adds `keep-alive` to the `Connection` of later versions.
                    *response.version_mut() = version;
                    signals.endless.notify_one();
                }
                Ok::<_, Infallible>(response)
            }
        });

        let connection = limits.http.serve_connection(TokioIo::new(stream), service);
        let tracked = limits.hub.memory().register(activity);
        let stop = stop.clone();
        let open = open.clone();
        tokio::spawn(async move {
            http_connection.run(connection, stop).await;
            drop((open, tracked));
        });
    }

    drop((listener, open));
    // `None`, when all senders are dropped.
    let _ = all_closed.recv().await;
}

/// The limits that a connection must pass before it is served: files, rate and connections.
struct ConnectionLimits {
    rate_limit: Arc<ConnectionRateLimit>,
    hub: Hub,
    table: Arc<ConnectionTable>,
    http: http1::Builder,
    /// A permit for each socket that may be open.
    sockets: Arc<Semaphore>,
    max_sockets: usize,
}

/// A connection that may be served.
struct AcceptedConnection {
    stream: StallTimeout,
    permit: ConnectionPermit,
    activity: Arc<Activity>,
}

impl ConnectionLimits {
    fn new(hub: Hub, settings: &ListenerSettings, http: http1::Builder) -> Self {
        let ListenerSettings {
            connect_rate,
            proxies,
            tls,
            max_sockets,
            max_refusals,
            clock,
            ..
        } = settings.clone();

        // With an unlimited rate, all clients are trusted.
        let per_address = match connect_rate.per_second {
            0 => MAX_HTTP_CONNECTIONS,
            _ => MAX_HTTP_CONNECTIONS / 2,
        };
        let table = ConnectionTable::new(hub.clone(), MAX_HTTP_CONNECTIONS, per_address);
        let rate_limit = ConnectionRateLimit::new(connect_rate, proxies, tls, max_refusals, clock);

        Self {
            rate_limit: Arc::new(rate_limit),
            hub,
            table: Arc::new(table),
            http,
            sockets: Arc::new(Semaphore::new(max_sockets.min(Semaphore::MAX_PERMITS))),
            max_sockets,
        }
    }

    /// Checks the limits for the connection `stream`. Refuses it and returns `None` if one is reached.
    fn admit(&self, stream: TcpStream, peer: SocketAddr) -> Option<AcceptedConnection> {
        let activity = Arc::new(Activity::new(&self.hub));
        let (socket, permit) = match self.check(peer, &activity) {
            Ok(permits) => permits,
            Err(refusal) => {
                self.rate_limit
                    .refuse(stream, peer.ip(), refusal, &self.http);
                return None;
            }
        };

        let stream = self.rate_limit.accept(stream)?;
        let stream = stream.reporting_to(activity.clone(), socket);
        Some(AcceptedConnection {
            stream,
            permit,
            activity,
        })
    }

    fn check(
        &self,
        peer: SocketAddr,
        activity: &Arc<Activity>,
    ) -> Result<(OwnedSemaphorePermit, ConnectionPermit), ConnectionRefusal> {
        let socket = self
            .sockets
            .clone()
            .try_acquire_owned()
            .map_err(|_| ConnectionRefusal::NoFileLeft(self.max_sockets))?;
        self.rate_limit.check(peer.ip())?;

        let is_proxy = self.rate_limit.proxies().trusts(peer.ip());
        let permit = self
            .table
            .enter(IpBucket::of(peer.ip()), is_proxy, activity.clone())
            .map_err(ConnectionRefusal::Full)?;

        Ok((socket, permit))
    }
}

/// Waits until `stop` is set or its sender is dropped.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is dropped.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Waits for the next connection.
async fn accept(
    listener: &TcpListener,
    clock: &RunClock,
    failures: &mut LogLimit,
) -> (TcpStream, SocketAddr) {
    loop {
        let error = match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => error,
        };
        if let ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset = error.kind() {
            // The client has closed the connection before it was accepted.
            continue;
        }

        if let Some(failures) = failures.count(clock.now()) {
            warn!(%error, failures, "could not accept connections");
        }
        tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
    }
}
