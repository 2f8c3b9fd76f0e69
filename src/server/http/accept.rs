//! The accept loop: not too many at once from one address, HTTP/1.1 with a deadline for each request head, and an
//! orderly end.
//!
//! `axum::serve` has no such deadline, so half a request would hold a socket for ever. HTTP/2 is off: it has
//! floods of its own, and a WebSocket needs none of it.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
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
use tracing::{debug, warn};

use crate::server::auth::Proxies;
use crate::server::http::door::{Door, Visit};
use crate::server::http::entrance::{Entrance, MAX_HEAD_BYTES, MAX_HEADERS};
use crate::server::http::malformed;
use crate::server::run_clock::RunClock;
use crate::server::session::Rate;
use crate::server::transport::{Patient, PatientSocket, Tls};

/// Sockets that are (still) HTTP and that the Hub does not count, on one listener. More wait in the kernel's queue.
const MAX_HTTP_CONNECTIONS: u32 = 4096;
/// How much more of a head is read than is allowed, so that whoever is not far above the bounds can be told what
/// they are: HTTP itself answers a bare 431 beyond that.
const HEAD_MARGIN_BYTES: usize = 16 * 1024;
/// The same for the number of headers.
const HEADERS_MARGIN: usize = 100;
/// How long a client that has connected and not asked yet may still ask when the server stops: nobody who was let in is
/// refused because of that.
const LAST_ASKED: Duration = Duration::from_millis(500);
/// Pause when the process has no file descriptor left: spinning would help nobody.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// What a client that asks over HTTP is held to.
#[derive(Clone, Debug)]
pub struct AcceptSettings {
    /// A connection that has not sent a whole request head by then is closed.
    pub header_timeout: Duration,
    /// New connections from one address.
    pub connect_rate: Rate,
    /// Who is believed when it says for whom it asks.
    pub proxies: Proxies,
    /// What is spoken; `None`: HTTP in the clear.
    pub tls: Option<Tls>,
    /// The time by which clients are judged.
    pub clock: RunClock,
}

/// One of the [`MAX_HTTP_CONNECTIONS`] places of a listener, held by a connection while it is open.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<Mutex<Option<Held>>>);

/// What holds a place: among all, and among those of one address.
type Held = (Option<OwnedSemaphorePermit>, Option<Visit>);

impl Place {
    fn new(held: Held) -> Self {
        Self(Arc::new(Mutex::new(Some(held))))
    }

    /// Frees it for another connection: the Hub counts this one from now on.
    pub(super) fn give_back(&self) {
        let place = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(place);
    }
}

/// Marks an answer that goes on until its reader leaves. A reader that closes its sending side has left: whether it still
/// reads could not be told apart from that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Endless;

/// What the requests of one connection tell its task.
#[derive(Debug, Default)]
struct Signals {
    /// A request was read.
    asked: Notify,
    /// Its answer is [`Endless`].
    endless: Notify,
}

/// One HTTP connection.
struct Talk {
    peer: SocketAddr,
    socket: PatientSocket,
    signals: Arc<Signals>,
    clock: RunClock,
}

impl Talk {
    /// Serves `connection` until it ends; when the server stops, until what was asked is answered.
    async fn run<S>(
        self,
        connection: UpgradeableConnection<TokioIo<Patient>, S>,
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
        };
        // The connection is not dropped before this: its socket is open.
        if let Err(error) = ended {
            debug!(peer = %self.peer, %error, "HTTP connection ended");
            malformed::answer(&error, &self.socket, &self.clock).await;
        }
    }
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
    let clock = settings.clock;
    http.timer(clock.clone())
        .header_read_timeout(settings.header_timeout)
        // A client that has sent its request may close its sending side and wait for the answer (RFC 9112 section 9.6).
        .half_close(true)
        .max_buf_size(MAX_HEAD_BYTES + HEAD_MARGIN_BYTES)
        .max_headers(MAX_HEADERS + HEADERS_MARGIN);
    let places = Arc::new(Semaphore::new(MAX_HTTP_CONNECTIONS as usize));
    let most = MAX_HTTP_CONNECTIONS as usize;
    let door = Arc::new(Door::new(
        settings.connect_rate,
        settings.proxies,
        most,
        settings.tls,
        clock.clone(),
    ));
    // Never sent on: it ends when every connection has dropped its sender.
    let (open, mut all_ended) = mpsc::channel::<Infallible>(1);
    loop {
        let (stream, peer, place) = tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, visit)) = door.admit(stream, peer, &http) else {
            continue;
        };
        // Small messages must leave at once; a failure would only make them late.
        let _ = stream.set_nodelay(true);
        let place = Place::new((place, visit));
        let entrance = Entrance {
            door: door.clone(),
            router: router.clone(),
            peer,
            place,
        };
        let stream = Patient::new(stream, clock.clone());
        let talk = Talk {
            peer,
            socket: stream.socket(),
            signals: Arc::default(),
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
        let connection = http
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let (stop, open) = (stop.clone(), open.clone());
        tokio::spawn(async move {
            talk.run(connection, stop).await;
            drop(open);
        });
    }
    drop((listener, open));
    let _none = all_ended.recv().await;
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
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
                ) => {}
            Err(error) => {
                warn!(%error, "cannot accept");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}
