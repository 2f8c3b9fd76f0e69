//! The accept loop: not too many at once from one address, HTTP/1.1 with a deadline for each request head, and
//! an orderly end.
//!
//! `axum::serve` has no such deadline, so half a request would hold a socket for ever. HTTP/2 is off: it has
//! floods of its own, and a WebSocket needs none of it.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt;
use tracing::{debug, info, warn};

use crate::server::auth::ConnectLimiter;
use crate::server::http::error::ApiError;
use crate::server::room::Moment;
use crate::server::session::Rate;

/// Sockets that are (still) HTTP, on one listener. More wait in the kernel's queue.
const MAX_HTTP_CONNECTIONS: u32 = 4096;
/// Longest request head, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Most headers in a request.
const MAX_HEADERS: usize = 64;
/// Pause when the process has no file descriptor left: spinning would help nobody.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Clients that are told at once that they connect too fast; in a storm, the others find the socket closed.
const MAX_REFUSALS: usize = 64;
/// How often the log says how many were refused.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What a client that asks over HTTP is held to.
#[derive(Clone, Copy, Debug)]
pub struct AcceptSettings {
    /// A connection that has not sent a whole request head by then is closed.
    pub header_timeout: Duration,
    /// New connections from one address.
    pub connect_rate: Rate,
}

/// Serves `router` on `listener` until `stop` says so (or its sender is gone); then takes no new connection
/// and returns when the requests that have begun are answered.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: AcceptSettings,
    mut stop: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS);
    let places = Arc::new(Semaphore::new(MAX_HTTP_CONNECTIONS as usize));
    let mut door = Door::new(settings.connect_rate);
    loop {
        let (stream, peer, place) = tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = accept(&listener, &places) => accepted,
        };
        if !door.lets_in(peer) {
            door.refuse(stream, &http);
            continue;
        }
        let router = router.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().oneshot(request)
        });
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut stop = stop.clone();
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stopped(&mut stop) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                debug!(%peer, %error, "HTTP connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    // All places free means that all connections have ended.
    let _closed = places.acquire_many(MAX_HTTP_CONNECTIONS).await;
}

/// Keeps those out who connect too fast: before a byte is read of them, so that a storm costs little.
struct Door {
    opened: Instant,
    limiter: ConnectLimiter,
    /// Places for those who are told why.
    refusals: Arc<Semaphore>,
    /// How many were refused since the log said so, and when that was.
    untold: u64,
    told: Option<Moment>,
}

impl Door {
    fn new(rate: Rate) -> Self {
        Self {
            opened: Instant::now(),
            limiter: ConnectLimiter::new(rate),
            refusals: Arc::new(Semaphore::new(MAX_REFUSALS)),
            untold: 0,
            told: None,
        }
    }

    fn lets_in(&mut self, peer: SocketAddr) -> bool {
        let now = Moment::after_start(self.opened.elapsed());
        if self.limiter.allows(peer.ip(), now) {
            return true;
        }
        self.untold += 1;
        // Not a line for each: a storm of them would be one of lines.
        if self.told.is_none_or(|told| now.since(told) >= TELL_EVERY) {
            info!(address = %peer.ip().to_canonical(), refused = self.untold, "refused: connects too fast");
            (self.untold, self.told) = (0, Some(now));
        }
        false
    }

    /// Answers whatever is asked with 429, if there is a place for that; else just closes.
    fn refuse(&self, stream: TcpStream, http: &http1::Builder) {
        let Ok(place) = self.refusals.clone().try_acquire_owned() else { return };
        let service = service_fn(async |_| Ok::<_, Infallible>(ApiError::ConnectsTooFast.into_response()));
        let connection = http.clone().keep_alive(false).serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            let _ended = connection.await;
            drop(place);
        });
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _sender_is_gone = stop.wait_for(|stop| *stop).await;
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    // An error means that the semaphore was closed, which nobody does.
    let place = places.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, place),
            // The client was gone before we got to it.
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                warn!(%error, "cannot accept");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}
