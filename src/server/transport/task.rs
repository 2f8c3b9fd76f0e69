//! The life of one connection, from its first byte to its last.

use std::fmt;
use std::future::poll_fn;
use std::net::{IpAddr, Shutdown};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tracing::info;

use crate::protocol::CloseCode;
use crate::protocol::UserId;
use crate::server::hub::{Admission, Hub, Outlet};
use crate::server::session::Farewell;
use crate::server::transport::connection::{Connection, Lost};
use crate::server::transport::reader::Reader;
use crate::server::transport::{ConnectionSettings, Handshake};
use crate::server::wire;

/// How long a client may take to answer our Close frame before its socket is dropped.
const CLOSE_GRACE: Duration = Duration::from_secs(3);

/// How much of what a client still sends is read and thrown away for it to see our Close frame.
const MAX_DISCARDED_BYTES: usize = 64 * 1024 * 1024;

/// A WebSocket that has been agreed upon, about to be opened.
#[derive(Debug)]
pub struct Opened {
    /// The place that it takes.
    pub admission: Admission,
    /// Where it is registered.
    pub hub: Hub,
    /// Who says so.
    pub id: UserId,
    /// Where it comes from.
    pub address: IpAddr,
    /// What it is held to.
    pub settings: Arc<ConnectionSettings>,
}

impl Opened {
    /// Answers the handshake; the connection lives in a task of its own from then on.
    pub fn spawn(self, handshake: Handshake) -> axum::response::Response {
        let (response, socket) = handshake.accept();
        tokio::spawn(async move {
            if let Some((stream, early)) = socket.await {
                self.live(stream, early).await;
            }
        });
        response
    }

    async fn live(self, stream: TcpStream, mut early: Vec<u8>) {
        let Self { admission, hub, id, address, settings } = self;
        // Small messages must leave at once; a failure would only make them late.
        let _ = stream.set_nodelay(true);
        let connection = Arc::new(Connection::new(stream, hub.clone(), &admission, settings));
        let membership = hub.register(admission, connection.clone());
        // What was said between the handshake and now was fanned out without this connection.
        connection.flush(&mut connection.room.reel());
        info!(%id, room = %connection.room.name(), %address, "connected");
        let mut reader = Reader::new(&connection);
        if !early.is_empty() {
            reader.take(&connection, &mut early);
        }
        drop(early);
        poll_fn(|cx| reader.poll(&connection, cx)).await;
        drop(reader);
        let ending = Ending::of(&connection);
        info!(%id, room = %connection.room.name(), %address, reason = %ending, "disconnected");
        if matches!(ending, Ending::Handshake(_)) {
            // The room is left at once; the last bytes may take a moment.
            drop(membership);
            let _late = tokio::time::timeout(CLOSE_GRACE, finish(&connection)).await;
        }
    }
}

/// Answers the handshake only to close with `code`, so that a browser's page can see why.
pub fn turn_away(handshake: Handshake, code: CloseCode) -> axum::response::Response {
    let (response, socket) = handshake.accept();
    tokio::spawn(async move {
        let Some((stream, _)) = socket.await else { return };
        let goodbye = async {
            stream.writable().await?;
            stream.try_write(&wire::close_frame(code))?;
            half_close(&stream).await
        };
        let _late_or_lost = tokio::time::timeout(CLOSE_GRACE, goodbye).await;
    });
    response
}

/// Writes the rest, the Close frame last, and waits until the client has taken it.
async fn finish(connection: &Connection) {
    poll_fn(|cx| connection.poll_write(cx)).await;
    if connection.lock().lost.is_none() {
        let _lost = half_close(&connection.stream).await;
    }
}

/// Says that nothing more comes and reads until the client says so too: closing at once, with bytes of the
/// client unread, would make its kernel throw away the Close frame (RFC 9293 section 3.10.7.1, reset).
async fn half_close(stream: &TcpStream) -> std::io::Result<()> {
    SockRef::from(stream).shutdown(Shutdown::Write)?;
    // On the heap, or every connection's task would have room for it all its life.
    let mut discarded = vec![0; 16 * 1024];
    let mut left = MAX_DISCARDED_BYTES;
    while left > 0 {
        poll_fn(|cx| stream.poll_read_ready(cx)).await?;
        match stream.try_read(&mut discarded) {
            Ok(0) => return Ok(()),
            Ok(length) => left = left.saturating_sub(length),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Why a connection ended, for the log.
enum Ending {
    Handshake(Farewell),
    Lost(Lost),
}

impl Ending {
    fn of(connection: &Connection) -> Self {
        let state = connection.lock();
        match (state.lost, state.outbox.farewell()) {
            (Some(lost), _) => Self::Lost(lost),
            (None, Some(farewell)) => Self::Handshake(farewell),
            (None, None) => Self::Lost(Lost::Disconnected),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake(Farewell::Ours(code)) => write!(f, "{} {}", code.number(), code.reason()),
            Self::Handshake(Farewell::Echo(Some(code))) => write!(f, "client closed with {code}"),
            Self::Handshake(Farewell::Echo(None)) => f.write_str("client closed"),
            Self::Lost(Lost::Disconnected) => f.write_str("connection lost"),
            Self::Lost(Lost::Stuck) => {
                write!(f, "{} {}", CloseCode::TooSlow.number(), CloseCode::TooSlow.reason())
            }
        }
    }
}
