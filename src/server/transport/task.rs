//! The life of one connection, from its first byte to its last.

use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, field, info};

use crate::protocol::CloseCode;
use crate::protocol::Offset;
use crate::protocol::Push;
use crate::protocol::Recovery;
use crate::protocol::UserId;
use crate::protocol::Welcome;
use crate::server::auth::Verifier;
use crate::server::hub::{Admission, Hub, Membership, StartPosition};
use crate::server::metrics::{self, DisconnectReason};
use crate::server::room::{Dialect, Format};
use crate::server::run_clock::RunClock;
use crate::server::session::{CloseReason, Permissions, RateLimit, SendBuffer};
use crate::server::spans;
use crate::server::transport::connection::{Connection, TransportError};
use crate::server::transport::patient::half_close;
use crate::server::transport::reader::{FrameReader, ReadPause};
use crate::server::transport::upgrade::AcceptedSocket;
use crate::server::transport::{ConnectionSettings, Handshake};
use crate::server::wire;

/// Longest time for which a stopping server writes the rest of the log to a client.
pub(super) const LOG_GRACE: Duration = Duration::from_secs(1);

/// How long a client may take for what it has begun to take and our Close frame, and again to answer that, before its
/// socket is dropped.
const CLOSE_GRACE: Duration = Duration::from_secs(3);

/// How long a client may take to answer our Close frame when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// How much of what a client still sends is read and thrown away for it to see our Close frame, besides the
/// message that it may be in the middle of: not more, or a flood would cost most when it has been told to stop.
const MAX_DISCARDED_BYTES: usize = 4 * 1024 * 1024;

/// A WebSocket that has been agreed upon, about to be opened.
#[derive(Debug)]
pub struct PendingConnection {
    /// The place that it takes.
    pub admission: Admission,
    /// Where it is registered.
    pub hub: Hub,
    /// Who says so.
    pub id: UserId,
    /// The id that its token proves.
    pub proven: Option<UserId>,
    /// How fast it may say anything.
    pub pace: RateLimit,
    /// What it may do, and until when.
    pub lease: Permissions,
    /// Knows what its next token is worth.
    pub verifier: Verifier,
    /// Where it comes from.
    pub address: IpAddr,
    /// What it is held to.
    pub settings: Arc<ConnectionSettings>,
}

impl PendingConnection {
    /// Answers the handshake; the connection lives in a task of its own from then on.
    pub fn spawn(self, handshake: Handshake) -> axum::response::Response {
        let format = handshake.format();
        let (response, socket) = handshake.accept();
        tokio::spawn(async move {
            if let Some(socket) = socket.await {
                let registered = self.register(format, socket.stream);
                tokio::spawn(registered.begin(socket.early, socket.permit).run());
            }
        });
        response
    }

    /// Registers the connection in its room. Nothing is written to it yet, and from here on it misses nothing.
    pub(super) fn register(self, format: Format, stream: TcpStream) -> RegisteredConnection {
        let Self {
            admission,
            hub,
            id,
            proven,
            pace,
            lease,
            verifier,
            address,
            settings,
        } = self;
        let log = (admission.head(), admission.first());
        let start = admission.start().clone();
        let connection = Connection::new(stream, hub.clone(), &admission, format, lease, settings);
        let connection = Arc::new(connection);

        // Present before it is told so.
        let mut membership = hub.join(admission, Some(id.clone()), proven);
        let number = membership.number();
        info!(%id, room = %connection.room.name(), %address, number, "connected");
        membership.register(connection.clone());

        RegisteredConnection {
            connection,
            membership,
            format,
            id,
            pace,
            verifier,
            start,
            log,
        }
    }
}

/// A connection that is registered and was sent nothing yet. Members and deletions are read now; later changes are sent
/// to it.
pub(super) struct RegisteredConnection {
    pub(super) connection: Arc<Connection>,
    membership: Membership,
    format: Format,
    id: UserId,
    pace: RateLimit,
    verifier: Verifier,
    start: StartPosition,
    /// The newest and the oldest offset when it was admitted.
    log: (Offset, Offset),
}

impl RegisteredConnection {
    /// Sends what comes first, and acts upon what came with the handshake.
    pub(super) fn begin(
        self,
        mut early: Vec<u8>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> ConnectionTask {
        let opening = self.opening();
        let Self {
            connection,
            membership,
            format,
            id,
            pace,
            verifier,
            ..
        } = self;

        // With what was said between the handshake and now.
        connection.with_outbox(|outbox| outbox.uncork(opening));

        let mut reader = FrameReader::new(&connection, format, id, pace, verifier);
        if !early.is_empty() {
            reader.take(&connection, &mut early);
        }

        ConnectionTask {
            connection,
            membership,
            reader,
            socket: permit,
        }
    }

    /// Returns the frames that come before any other, if the dialect has any.
    fn opening(&self) -> Vec<u8> {
        let Self {
            connection, start, ..
        } = self;
        let dialect = self.format.dialect();
        if dialect != Dialect::Typed {
            return Vec::new();
        }

        let number = self.membership.number();
        let welcome = welcome(connection, &self.id, number, self.log, start.recovery);
        if let Some(gap) = &start.gap {
            metrics::count_gap(gap.reason);
        }
        let gap = start.gap.clone().map(Push::from);
        let deleted = match start.recovery {
            Recovery::Resumed => connection.room.deleted(start.cursor),
            Recovery::Fresh | Recovery::Lost => Vec::new(),
        };

        let mut frames = Vec::new();
        for push in [Some(welcome), gap].iter().flatten().chain(&deleted) {
            dialect.encode_into(push, &mut frames);
        }
        frames
    }
}

/// A connection in its room. Its task holds this as long as it is open, so what is seldom needed is boxed.
pub(super) struct ConnectionTask {
    connection: Arc<Connection>,
    membership: Membership,
    reader: FrameReader,
    /// The permit to keep its socket open.
    socket: Option<OwnedSemaphorePermit>,
}

impl ConnectionTask {
    pub(super) async fn run(self) {
        let Self {
            connection,
            membership,
            mut reader,
            socket: _socket,
        } = self;
        while let ReadPause::Behind(after) = poll_fn(|cx| reader.poll(&connection, cx)).await {
            Box::pin(catch_up(&connection, after)).await;
        }
        drop(reader);
        connection.forget_partial();

        // Before it is counted: what counts is what was sent.
        let clock = connection.hub.clock();
        let written = Box::pin(clock.timeout(LOG_GRACE, write_rest(&connection))).await;
        if written.is_none() {
            connection.with_outbox(SendBuffer::end_log);
            // `Ending` records what was sent, whether or not this ended in time.
            let _ = Box::pin(clock.timeout(CLOSE_GRACE, write_rest(&connection))).await;
        }
        let ending = CloseCause::of(&connection);
        ending.record(&connection, &membership);

        // The room is left at once; the client's answer may take a moment. A server that stops waits for that.
        let is_stopping = matches!(
            ending,
            CloseCause::Handshake(CloseReason::Local(CloseCode::GoingAway))
        );
        let (grace, membership) = if is_stopping {
            (STOP_GRACE, Some(membership))
        } else {
            drop(membership);
            (CLOSE_GRACE, None)
        };
        if matches!(ending, CloseCause::Handshake(_)) {
            let answer = wait_for_close(&connection);
            // Late or lost: either way the socket goes now.
            let _ = Box::pin(clock.timeout(grace, answer)).await;
        }
        drop(membership);
    }
}

fn welcome(
    connection: &Connection,
    id: &UserId,
    number: u64,
    log: (Offset, Offset),
    recovery: Recovery,
) -> Push {
    let (head, first) = log;
    let ConnectionSettings {
        heartbeat,
        max_message,
        rate,
        ..
    } = *connection.settings;
    let (count, members) = connection.room.members();
    Push::Welcome(Welcome {
        room: connection.room.name().clone(),
        id: id.clone(),
        connection: number,
        epoch: connection.room.epoch().clone(),
        head,
        first,
        recovery,
        heartbeat_ms: heartbeat.ping_after.as_millis() as u64,
        expire_ms: heartbeat.expire_after.as_millis() as u64,
        max_message,
        message_rate: Some(rate.per_second),
        message_burst: Some(rate.burst),
        count,
        members,
    })
}

/// Continues from the store, for a reader that the ring has passed. If too much was deleted meanwhile, it stays behind.
async fn catch_up(connection: &Connection, after: Offset) {
    let missed = connection.hub.catch_up(&connection.room, after).await;
    connection.with_outbox(|outbox| match missed {
        Ok((mut page, mark)) => {
            // Under the lock under which deletions are queued.
            if connection.room.redact(&mut page.frames, mark) {
                outbox
                    .on_caught_up(&page)
                    .into_iter()
                    .for_each(metrics::count_gap);
            }
        }
        // The client resumes from its position when it reconnects.
        Err(error) => {
            debug!(%error, room = %connection.room.name(), "could not read from the store");
            outbox.end_log();
            outbox.close(CloseReason::Local(CloseCode::TryAgainLater));
        }
    });
}

/// Answers the handshake only to say `push`, if the client's dialect has words for it, and close with `code`, so
/// that a browser's page can see why.
pub fn reject(
    handshake: Handshake,
    push: Option<&Push>,
    code: CloseCode,
    clock: RunClock,
) -> axum::response::Response {
    let mut last_words = Vec::new();
    push.iter().for_each(|push| {
        handshake
            .format()
            .dialect()
            .encode_into(push, &mut last_words)
    });
    last_words.extend_from_slice(&wire::close_frame(code));
    let (response, socket) = handshake.accept();

    tokio::spawn(async move {
        let Some(AcceptedSocket {
            stream,
            permit: _permit,
            ..
        }) = socket.await
        else {
            return metrics::count_disconnect(DisconnectReason::Lost);
        };

        // In one piece: they fit into the buffer of a new socket.
        let write = async {
            stream.writable().await?;
            stream.try_write(&last_words)
        };
        let written = clock.timeout(CLOSE_GRACE, write).await;
        let is_sent = matches!(written, Some(Ok(length)) if length == last_words.len());
        metrics::count_disconnect(if is_sent {
            DisconnectReason::Closed(code)
        } else {
            DisconnectReason::Lost
        });

        let goodbye = half_close(&stream, MAX_DISCARDED_BYTES);
        // Late or lost: either way the socket goes now.
        let _ = clock.timeout(CLOSE_GRACE, goodbye).await;
    });

    response
}

/// Writes what waits, the Close frame last; when the server stops, first what the store has for a reader that the ring
/// has passed.
async fn write_rest(connection: &Connection) {
    loop {
        poll_fn(|cx| connection.poll_write(cx)).await;

        let Some(after) = connection.lock().behind() else {
            return;
        };
        catch_up(connection, after).await;
    }
}

/// Waits until the client has taken our Close frame.
async fn wait_for_close(connection: &Connection) {
    let discarded = connection
        .settings
        .max_message
        .saturating_add(MAX_DISCARDED_BYTES);
    // An error means that the client is gone.
    let _ = half_close(&connection.stream, discarded).await;
}

/// Why a connection ended, for the log.
enum CloseCause {
    Handshake(CloseReason),
    Lost(TransportError),
}

impl CloseCause {
    /// Returns how `connection` ended, as the client saw it: without the frames that could not be sent.
    fn of(connection: &Connection) -> Self {
        let state = connection.lock();
        match (state.outbox.close_reason(), state.lost) {
            (Some(farewell), _) if state.outbox.is_finished() => Self::Handshake(farewell),
            (_, Some(lost)) => Self::Lost(lost),
            // The kernel accepts no bytes, so the Close frame does not reach the client either.
            (Some(_), None) if state.outbox.blocked().is_some() => {
                Self::Lost(TransportError::Stuck)
            }
            (_, None) => Self::Lost(TransportError::Disconnected),
        }
    }

    /// Writes it to the log, the metrics and the traces.
    fn record(&self, connection: &Connection, membership: &Membership) {
        let (id, address) = (membership.id().map(field::display), membership.address());
        let (number, since) = (membership.number(), membership.since());
        let room = connection.room.name();
        info!(id, %room, %address, number, reason = %self, "disconnected");

        metrics::count_disconnect(self.counted());
        spans::ConnectionSpan {
            protocol: "websocket",
            number,
            room,
            address,
            since,
        }
        .finish(self.counted());
    }

    const fn counted(&self) -> DisconnectReason {
        match self {
            Self::Handshake(CloseReason::Local(code)) => DisconnectReason::Closed(*code),
            Self::Handshake(CloseReason::Echo(_)) => DisconnectReason::Client,
            Self::Lost(TransportError::Stuck) => DisconnectReason::Closed(CloseCode::TooSlow),
            Self::Lost(TransportError::Disconnected) => DisconnectReason::Lost,
        }
    }
}

impl fmt::Display for CloseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake(CloseReason::Local(code)) => {
                write!(f, "{} {}", code.number(), code.reason())
            }
            Self::Handshake(CloseReason::Echo(Some(code))) => {
                write!(f, "client closed with {code}")
            }
            Self::Handshake(CloseReason::Echo(None)) => f.write_str("client closed"),
            Self::Lost(TransportError::Disconnected) => f.write_str("connection lost"),
            Self::Lost(TransportError::Stuck) => {
                write!(
                    f,
                    "{} {}",
                    CloseCode::TooSlow.number(),
                    CloseCode::TooSlow.reason()
                )
            }
        }
    }
}
