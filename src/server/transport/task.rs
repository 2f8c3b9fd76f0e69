//! The task of one WebSocket: register, send the welcome, read until the end, and close.

use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, field, info};

use crate::protocol::{CloseCode, Offset, Push, Recovery, UserId, Welcome};
use crate::server::auth::Verifier;
use crate::server::hub::{Admission, Hub, Membership, StartPosition};
use crate::server::metrics::{self, DisconnectReason};
use crate::server::room::{Dialect, Format};
use crate::server::run_clock::RunClock;
use crate::server::session::{CloseReason, Permissions, RateLimit, SendBuffer};
use crate::server::spans;
use crate::server::transport::connection::{Connection, TransportError};
use crate::server::transport::reader::{FrameReader, ReadPause};
use crate::server::transport::stall_timeout::half_close;
use crate::server::transport::upgrade::AcceptedSocket;
use crate::server::transport::{ConnectionSettings, Handshake};
use crate::server::wire;

/// The longest time for which a stopping server writes the rest of the log to a client.
pub(super) const LOG_TIMEOUT: Duration = Duration::from_secs(1);

/// The time in which a client must receive the frames in its send buffer and the Close frame, and again the time in
/// which it must answer the Close frame. Then its socket is dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The time in which a client must answer the Close frame when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The most bytes that are read and discarded after the Close frame was sent, besides the rest of a message. The limit
/// keeps a client that floods the server from costing more after its close than before.
const MAX_DISCARDED_BYTES: usize = 4 * 1024 * 1024;

/// A WebSocket whose request was accepted and whose handshake was not answered yet.
#[derive(Debug)]
pub struct PendingConnection {
    /// The admission to its room.
    pub admission: Admission,
    /// The hub in which it is registered.
    pub hub: Hub,
    /// The sender of its messages.
    pub id: UserId,
    /// The user id that its token proves.
    pub proven: Option<UserId>,
    /// The limits on its messages.
    pub rate_limit: RateLimit,
    /// The client's rights, and their expiry.
    pub permissions: Permissions,
    /// Verifies the client's later tokens.
    pub verifier: Verifier,
    /// The client's IP address.
    pub address: IpAddr,
    /// The limits and timeouts of all connections.
    pub settings: Arc<ConnectionSettings>,
}

impl PendingConnection {
    /// Returns the answer to the handshake, and spawns the connection's task.
    pub fn spawn(self, handshake: Handshake) -> axum::response::Response {
        let format = handshake.format();
        let (response, socket) = handshake.accept();

        tokio::spawn(async move {
            if let Some(socket) = socket.await {
                let registered = self.register(format, socket.stream);
                // A task of its own, because the size of a task is that of its largest future.
                tokio::spawn(registered.begin(socket.early, socket.permit).run());
            }
        });

        response
    }

    /// Registers the connection in its room. From here on it receives every message, once [`RegisteredConnection::begin`]
    /// has sent the first frames.
    pub(super) fn register(self, format: Format, stream: TcpStream) -> RegisteredConnection {
        let Self {
            admission,
            hub,
            id,
            proven,
            rate_limit,
            permissions,
            verifier,
            address,
            settings,
        } = self;
        let log = (admission.head(), admission.first());
        let start = admission.start().clone();
        let connection = Connection::new(
            stream,
            hub.clone(),
            &admission,
            format,
            permissions,
            settings,
        );
        let connection = Arc::new(connection);

        // The welcome lists the members, so the client must be one by then.
        let mut membership = admission.join(Some(id.clone()), proven);
        let number = membership.number();
        info!(%id, room = %connection.room.name(), %address, number, "connected");
        membership.register(connection.clone());

        RegisteredConnection {
            connection,
            membership,
            format,
            id,
            rate_limit,
            verifier,
            start,
            log,
        }
    }
}

/// A connection that is registered and was sent nothing yet. Its welcome contains the members and deletions of now;
/// later changes are queued behind it.
pub(super) struct RegisteredConnection {
    pub(super) connection: Arc<Connection>,
    membership: Membership,
    format: Format,
    id: UserId,
    rate_limit: RateLimit,
    verifier: Verifier,
    start: StartPosition,
    /// The newest and the oldest offset when it was admitted.
    log: (Offset, Offset),
}

impl RegisteredConnection {
    /// Sends the first frames, and handles the bytes that arrived together with the handshake (`early`).
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
            rate_limit,
            verifier,
            ..
        } = self;

        // Frames that were queued since the registration follow the opening.
        connection.with_send_buffer(|send_buffer| send_buffer.uncork(opening));

        let mut reader = FrameReader::new(&connection, format, id, rate_limit, verifier);
        if !early.is_empty() {
            reader.handle(&connection, &mut early);
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

/// An open connection. Its task holds this until the end, so futures that are rarely needed are boxed.
pub(super) struct ConnectionTask {
    connection: Arc<Connection>,
    membership: Membership,
    reader: FrameReader,
    /// The permit to keep its socket open.
    socket: Option<OwnedSemaphorePermit>,
}

impl ConnectionTask {
    /// Runs until the connection is closed.
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
        connection.release_partial();

        // The cause is taken after the last write, because it records the frames that were sent.
        let clock = connection.hub.clock();
        let written = Box::pin(clock.timeout(LOG_TIMEOUT, write_rest(&connection))).await;
        if written.is_none() {
            connection.with_send_buffer(SendBuffer::end_log);
            // The cause records the frames that were sent, also after a timeout.
            let _ = Box::pin(clock.timeout(CLOSE_TIMEOUT, write_rest(&connection))).await;
        }
        let cause = CloseCause::of(&connection);
        cause.record(&connection, &membership);

        // The client leaves the room before it answers the Close frame, unless the server stops: a stopping server
        // waits until all memberships are dropped.
        let is_stopping = matches!(
            cause,
            CloseCause::Handshake(CloseReason::Local(CloseCode::GoingAway))
        );
        let (timeout, membership) = if is_stopping {
            (STOP_TIMEOUT, Some(membership))
        } else {
            drop(membership);
            (CLOSE_TIMEOUT, None)
        };

        if matches!(cause, CloseCause::Handshake(_)) {
            let answer = wait_for_close(&connection);
            // The socket is dropped with or without an answer.
            let _ = Box::pin(clock.timeout(timeout, answer)).await;
        }
        drop(membership);
    }
}

/// Returns the first frame of a typed connection. `log` is the newest and the oldest offset at admission.
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

/// Reads the messages after `after` from the store, because the ring no longer has them. The connection stays behind if
/// more messages were deleted during the read than the room remembers.
async fn catch_up(connection: &Connection, after: Offset) {
    let missed = connection.room.catch_up(after).await;

    connection.with_send_buffer(|send_buffer| match missed {
        Ok((mut page, mark)) => {
            // Deletions are queued under the same lock.
            if connection.room.redact_page(&mut page.frames, mark) {
                send_buffer
                    .on_caught_up(&page)
                    .into_iter()
                    .for_each(metrics::count_gap);
            }
        }
        // The client resumes from its position when it reconnects.
        Err(error) => {
            debug!(%error, room = %connection.room.name(), "could not read from the store");
            send_buffer.end_log();
            send_buffer.close(CloseReason::Local(CloseCode::TryAgainLater));
        }
    });
}

/// Accepts the handshake, sends `push` if the client's dialect has such a frame, and closes with `code`. A page in a
/// browser sees the close code, but not the status of a rejected handshake.
pub fn reject(
    handshake: Handshake,
    push: Option<&Push>,
    code: CloseCode,
    clock: RunClock,
) -> axum::response::Response {
    let mut frames = Vec::new();
    if let Some(push) = push {
        handshake.format().dialect().encode_into(push, &mut frames);
    }
    frames.extend_from_slice(&wire::close_frame(code));

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

        // One write is enough: the frames fit in the buffer of a new socket.
        let write = async {
            stream.writable().await?;
            stream.try_write(&frames)
        };
        let written = clock.timeout(CLOSE_TIMEOUT, write).await;
        let is_sent = matches!(written, Some(Ok(length)) if length == frames.len());
        metrics::count_disconnect(if is_sent {
            DisconnectReason::Closed(code)
        } else {
            DisconnectReason::Lost
        });

        // The socket is dropped with or without an answer.
        let closed = half_close(&stream, MAX_DISCARDED_BYTES);
        let _ = clock.timeout(CLOSE_TIMEOUT, closed).await;
    });

    response
}

/// Writes the send buffer, with the Close frame last. When the server stops, messages that the ring no longer has are
/// read from the store first.
async fn write_rest(connection: &Connection) {
    loop {
        poll_fn(|cx| connection.poll_write(cx)).await;

        let Some(after) = connection.lock().behind() else {
            return;
        };
        catch_up(connection, after).await;
    }
}

/// Waits until the client has answered the Close frame.
async fn wait_for_close(connection: &Connection) {
    let discarded = connection
        .settings
        .max_message
        .saturating_add(MAX_DISCARDED_BYTES);
    // An error means that the client is gone.
    let _ = half_close(&connection.stream, discarded).await;
}

/// The cause of a connection's end, for the log, the metrics and the span.
enum CloseCause {
    /// A Close frame was sent.
    Handshake(CloseReason),
    /// No Close frame was sent.
    Lost(TransportError),
}

impl CloseCause {
    /// Returns the cause as the client saw it: a Close frame that was not sent does not count.
    fn of(connection: &Connection) -> Self {
        let state = connection.lock();
        match (state.send_buffer.close_reason(), state.error) {
            (Some(reason), _) if state.send_buffer.is_finished() => Self::Handshake(reason),
            (_, Some(error)) => Self::Lost(error),
            // The kernel accepts no bytes, so the Close frame was not sent.
            (Some(_), None) if state.send_buffer.blocked().is_some() => {
                Self::Lost(TransportError::Stalled)
            }
            (_, None) => Self::Lost(TransportError::Disconnected),
        }
    }

    /// Records the end of `connection` in the log, the metrics and the traces.
    fn record(&self, connection: &Connection, membership: &Membership) {
        let id = membership.id().map(field::display);
        let room = connection.room.name();
        let address = membership.address();
        let number = membership.number();
        info!(id, %room, %address, number, reason = %self, "disconnected");

        metrics::count_disconnect(self.disconnect_reason());
        spans::ConnectionSpan {
            protocol: "websocket",
            number,
            room,
            address,
            since: membership.since(),
        }
        .finish(self.disconnect_reason());
    }

    const fn disconnect_reason(&self) -> DisconnectReason {
        match self {
            Self::Handshake(CloseReason::Local(code)) => DisconnectReason::Closed(*code),
            Self::Handshake(CloseReason::Echo(_)) => DisconnectReason::Client,
            Self::Lost(TransportError::Stalled) => DisconnectReason::Closed(CloseCode::TooSlow),
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
            Self::Lost(TransportError::Stalled) => {
                let code = CloseCode::TooSlow;
                write!(f, "{} {}", code.number(), code.reason())
            }
        }
    }
}
