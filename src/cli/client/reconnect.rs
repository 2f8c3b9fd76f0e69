//! A WebSocket that reconnects. [`ClientConnection`] decides when to connect; this module has the socket and the timers.
//!
//! The caller's polling limits the speed of reading. A client that does not poll is a slow reader for the server,
//! because nothing is buffered here.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use anyhow::bail;
use futures::future::BoxFuture;
use futures::{FutureExt, Sink, SinkExt, StreamExt};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Credentials;
use super::endpoint::{Endpoint, ServerSocket, SocketError};
use super::frame::{SocketEnd, SocketFrame};
use crate::client::{Action, ClientConnection, Cursor, NO_CLOSE_FRAME};
use crate::protocol::{CloseCode, Command, Push, RoomName, UserId};

/// The timeout of the closing handshake at the end of the program.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The maximum number of frames in a batch, so that a flood is processed while it arrives.
const MAX_BATCH: usize = 256;

/// A socket that reconnects after each failure.
pub(in crate::cli) struct ReconnectingSocket {
    server: Endpoint,
    /// The room to which it is subscribed from the start; `None` if the caller subscribes after each welcome.
    room: Option<RoomName>,
    /// The requested id; `None` if the server or the token chooses it.
    id: Option<UserId>,
    credentials: Option<Credentials>,
    /// The start of [`Self::now`].
    started: Instant,
    connection: ClientConnection,
    opening: Option<BoxFuture<'static, Result<ServerSocket, SocketError>>>,
    socket: Option<ServerSocket>,
    /// The end of `socket`, which is returned after all earlier frames.
    ended: Option<SocketEnd>,
}

/// A change of the connection.
#[derive(Debug)]
pub(in crate::cli) enum SocketEvent {
    /// Frames were received, at least one.
    Received(Vec<Push>),
    /// The connection ended or could not be opened, for this reason. Another attempt follows.
    Disconnected(String),
}

impl ReconnectingSocket {
    /// Creates a socket of `id`, which is subscribed to `room` if there is one, and connects when [`Self::next`] is polled.
    pub(in crate::cli) fn new(
        server: Endpoint,
        room: impl Into<Option<RoomName>>,
        id: Option<UserId>,
        credentials: Option<Credentials>,
    ) -> Self {
        Self {
            server,
            room: room.into(),
            id,
            credentials,
            started: Instant::now(),
            connection: ClientConnection::new(Duration::ZERO),
            opening: None,
            socket: None,
            ended: None,
        }
    }

    /// Returns true if it is subscribed to a room from the start.
    pub(in crate::cli) const fn has_room(&self) -> bool {
        self.room.is_some()
    }

    /// Returns the time since the socket was created. The cursor and the outbox of the socket use this clock.
    pub(in crate::cli) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns the next event. A new connection continues at `cursor` in the room of the socket. Cancel-safe.
    ///
    /// # Errors
    /// If the server forbids a reconnect.
    pub(in crate::cli) async fn next(&mut self, cursor: &Cursor) -> anyhow::Result<SocketEvent> {
        loop {
            if let Some(opening) = &mut self.opening {
                let opened = opening.await;
                self.opening = None;
                match opened {
                    Ok(socket) => {
                        self.connection.on_open(self.now());
                        self.socket = Some(socket);
                    }
                    Err(SocketError::Later { why, pause }) => {
                        self.on_close(NO_CLOSE_FRAME, pause);
                        let reason = format!("cannot connect to {}: {why}", self.server);
                        return Ok(SocketEvent::Disconnected(reason));
                    }
                    Err(SocketError::Never(why)) => {
                        bail!("cannot connect to {}: {why}", self.server)
                    }
                }
            }

            if let Some(SocketEnd { code, reason }) = self.ended.take() {
                self.on_close(code, None);
                if !CloseCode::allows_reconnect(code) {
                    bail!("the server closed the connection for good: {reason}");
                }
                return Ok(SocketEvent::Disconnected(format!(
                    "connection lost: {reason}"
                )));
            }

            match self.connection.poll(self.now()) {
                Action::Open => self.opening = Some(self.open(cursor)),
                Action::Ping => self.send(&Command::Ping),
                Action::Close(silence) => {
                    let code = NO_CLOSE_FRAME;
                    let reason = format!("no sign of life for {silence:?}");
                    self.ended = Some(SocketEnd { code, reason });
                }
                Action::Stop(code) => bail!("the server closed the connection with code {code}"),
                Action::Wait(time) if self.socket.is_none() => sleep(time).await,
                Action::Wait(time) => {
                    // The connection's watchdog handles the timeout.
                    let Ok(frame) = timeout(time, self.frame()).await else {
                        continue;
                    };
                    let pushes = self.batch(frame);
                    if !pushes.is_empty() {
                        return Ok(SocketEvent::Received(pushes));
                    }
                }
            }
        }
    }

    /// Passes `command` to the socket, which sends it while [`Self::next`] is polled. Only a response proves that it
    /// arrived.
    pub(in crate::cli) fn send(&mut self, command: &Command) {
        if let Some(socket) = &mut self.socket {
            // An error means that the connection is ending. The next frame reports it.
            let _ = Pin::new(socket).start_send(Message::text(command.encode()));
        }
    }

    /// Drops the socket without a Close frame, like a network failure, and reconnects at once.
    pub(in crate::cli) fn reconnect(&mut self) {
        self.reconnect_after(Duration::ZERO);
    }

    /// Drops the socket without a Close frame, and reconnects after `pause`.
    pub(in crate::cli) fn reconnect_after(&mut self, pause: Duration) {
        self.socket = None;
        self.opening = None;
        self.ended = None;
        self.on_close(NO_CLOSE_FRAME, Some(pause));
    }

    /// Closes the connection, if there is one.
    pub(in crate::cli) async fn close(self) {
        let Some(mut socket) = self.socket else {
            return;
        };
        let done = CloseFrame {
            code: CloseCode::Done.number().into(),
            reason: CloseCode::Done.reason().into(),
        };

        let closing = async {
            socket.close(Some(done)).await?;
            while let Some(frame) = socket.next().await {
                frame?;
            }
            Ok::<(), Error>(())
        };
        // The program ends here, even if the server does not respond.
        let _ = timeout(CLOSE_TIMEOUT, closing).await;
    }

    fn open(&self, cursor: &Cursor) -> BoxFuture<'static, Result<ServerSocket, SocketError>> {
        let server = self.server.clone();
        let query = self
            .room
            .as_ref()
            .map(|room| cursor.query(room, self.id.as_ref()));
        let query = query.unwrap_or_default();
        let token = self
            .credentials
            .as_ref()
            .map(|credentials| credentials.token.clone());
        async move { server.open(&query, true, token.as_ref()).await }.boxed()
    }

    fn on_close(&mut self, code: u16, retry_after: Option<Duration>) {
        if let Some(mut socket) = self.socket.take() {
            // Sends the response to the server's Close frame, if the kernel accepts it at once.
            let _ = socket.flush().now_or_never();
        }
        self.connection
            .on_close(code, retry_after, self.started.elapsed(), fastrand::f64());
    }

    /// Returns the next frame. Commands are sent meanwhile. Otherwise two peers could wait for each other to read for
    /// ever.
    async fn frame(&mut self) -> Option<Result<Message, Error>> {
        let socket = self.socket.as_mut()?;
        poll_fn(|task| {
            // A failure also ends the stream, after the frames that the server has sent.
            let _ = socket.poll_flush_unpin(task);
            socket.poll_next_unpin(task)
        })
        .await
    }

    /// Returns the content of `first` and of the frames that have already arrived.
    fn batch(&mut self, first: Option<Result<Message, Error>>) -> Vec<Push> {
        let mut pushes = Vec::new();
        let mut frame = first;

        loop {
            pushes.extend(self.receive(frame));
            if pushes.len() == MAX_BATCH || self.ended.is_some() {
                return pushes;
            }
            match self.frame().now_or_never() {
                Some(next) => frame = next,
                None => return pushes,
            }
        }
    }

    /// Records `frame` as activity or as the end, and returns its content.
    fn receive(&mut self, frame: Option<Result<Message, Error>>) -> Option<Push> {
        match SocketFrame::from(frame) {
            SocketFrame::Push(push) => {
                self.connection.on_push(&push, self.started.elapsed());
                if let Push::Unsubscribed { code, message, .. } = &push
                    && self.has_room()
                {
                    self.ended = Some(SocketEnd {
                        code: code.close_code().number(),
                        reason: message.clone(),
                    });
                }
                return Some(push);
            }
            SocketFrame::Other => self.connection.on_frame(self.started.elapsed()),
            SocketFrame::End(end) => self.ended = Some(end),
        }
        None
    }
}
