//! The closing of a connection: its last bytes, its guards, and the wait until the client closes its side.

use std::future::poll_fn;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::protocol::CloseCode;
use crate::server::session::CloseReason;
use crate::server::transport::ClientSocket;
use crate::server::transport::connection::{Connection, OpenConnection};
use crate::server::transport::connection_state::{CloseCause, TransportError};

/// The time in which a client must receive the frames in its send buffer and the end of the connection, and again the time in
/// which it must close its own side. Then its socket is dropped.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The time in which a client must receive the rest of the log, and in which it must close its side when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The most bytes that are read and discarded after the end was sent, besides the rest of a message. The limit keeps a
/// client that floods the server from costing more after its close than before.
pub(super) const MAX_DISCARDED_BYTES: usize = 4 * 1024 * 1024;

/// Writes the rest of what `connection` must send, closes it, and waits until the client has closed it too. `permit` is the
/// permit to keep its socket open.
pub(super) async fn finish(
    connection: OpenConnection<ClientSocket>,
    permit: Option<OwnedSemaphorePermit>,
) {
    // The cause is taken after the last write, because it records the frames that were sent.
    let clock = connection.hub.clock();
    let written = clock.timeout(STOP_TIMEOUT + CLOSE_TIMEOUT, write_rest(&connection));
    if written.await.is_none() {
        connection.fail(TransportError::Stalled);
    }
    let Some((cause, guards)) = connection.end() else {
        return;
    };

    // The client leaves its rooms before it closes its side, unless the server stops: a stopping server waits until all
    // connections are gone.
    let is_stopping = cause == CloseCause::Closed(CloseReason::Local(CloseCode::GoingAway));
    let guards = is_stopping.then_some(guards);
    let timeout = if is_stopping {
        STOP_TIMEOUT
    } else {
        CLOSE_TIMEOUT
    };

    if let CloseCause::Closed(_) = cause {
        // The socket is dropped whether or not the client has closed its side.
        let _ = clock.timeout(timeout, wait_for_close(&connection)).await;
    }
    drop(guards);
    drop(permit);
}

/// Writes the send buffer, with the Close frame last. When the server stops, messages that the ring no longer has are
/// read from the store first.
async fn write_rest(connection: &Connection<ClientSocket>) {
    loop {
        poll_fn(|cx| connection.poll_write(cx)).await;

        if !connection.lock().is_behind() {
            return;
        }
        connection.catch_up().await;
    }
}

/// Closes the sending side, and waits until the client has closed its own.
async fn wait_for_close(connection: &Connection<ClientSocket>) {
    let discarded = connection
        .settings
        .max_message
        .saturating_add(MAX_DISCARDED_BYTES);
    // An error means that the client is gone.
    let _ = connection.output.half_close(discarded).await;
}
