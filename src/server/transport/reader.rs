//! The reading half of a WebSocket: receives bytes, decodes frames and carries out the session's actions. All
//! connections of a thread share one receive buffer.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::FutureExt;
use rustix::net::RecvFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::protocol::{ErrorCode, Key, Offset, Push, RoomName};
use crate::server::auth::Verifier;
use crate::server::hub::{DeleteError, DeletionMark, Room, TraceEvent};
use crate::server::metrics;
use crate::server::room::{Dialect, Draft, Format, Tick};
use crate::server::session::{Action, CloseReason, SendBuffer, Session, max_publish_bytes};
use crate::server::store::{Page, Span, StoreError, StoreFuture, Stored};
use crate::server::transport::connection::{Connection, ConnectionState, TransportError};
use crate::server::transport::permissions::renew;
use crate::server::transport::{ConnectionSettings, FrameSender};
use crate::server::wire::{Decoder, Opcode};

/// The size of a thread's receive buffer: large enough for a burst to be published as one batch.
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;

/// Bytes of frames that a connection handles before it yields to other tasks. One read of compressed frames may
/// decode to a thousand times its size.
const BYTES_PER_TURN: usize = 256 * 1024;
/// The cost of a frame besides its payload, in bytes.
const BYTES_PER_FRAME: usize = 64;
/// The error for a `history` before the previous one was answered.
const ONE_HISTORY_AT_A_TIME: &str =
    "only one history request at a time; wait for the answer to the previous one";

thread_local! {
    static RECEIVE_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; RECEIVE_BUFFER_BYTES]);
}

/// The decoder and the session of one connection.
pub(super) struct FrameReader {
    decoder: Decoder,
    session: Session,
    /// Bytes that were received in an earlier turn and are not decoded yet.
    undecoded: Vec<u8>,
    /// Bytes of frames that were handled in this turn.
    handled: usize,
    /// Verifies the client's later tokens.
    verifier: Verifier,
    /// The pending publish. Boxed, because most connections publish rarely.
    publishing: Option<Box<PendingPublish>>,
    /// The time at which reading stopped because the store had not answered.
    stalled: Option<Tick>,
    /// The time for which the process had been suspended at the last read.
    paused: Duration,
}

/// The messages of a client that the store has not finished.
struct PendingPublish {
    keys: Vec<Option<Key>>,
    result: StoreFuture<Vec<Stored>>,
}

/// The reason for which a reader pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadPause {
    /// The connection closes or has failed.
    Ended,
    /// The ring no longer has the messages after this offset; they must be read from the store.
    Behind(Offset),
}

impl FrameReader {
    /// Creates the reader of the frames of `sender`.
    pub(super) fn new(
        connection: &Connection<TcpStream>,
        format: Format,
        sender: FrameSender,
    ) -> Self {
        let FrameSender {
            id,
            rate_limit,
            verifier,
        } = sender;
        let ConnectionSettings { max_message, .. } = *connection.settings;
        let dialect = format.dialect();
        let room = connection.room().name().clone();
        let max_frame = if dialect == Dialect::Plain {
            max_message
        } else {
            max_publish_bytes(max_message)
        };

        Self {
            decoder: Decoder::new(max_frame, format.is_deflated()),
            session: Session::new(
                dialect,
                id,
                room,
                rate_limit,
                max_message,
                connection.hub.now(),
            ),
            undecoded: Vec::new(),
            handled: 0,
            verifier,
            publishing: None,
            stalled: None,
            paused: connection.hub.clock().paused(),
        }
    }

    /// Reads and handles frames until the socket has none left or the turn is over. Ready when the connection must
    /// catch up from the store or end.
    pub(super) fn poll(
        &mut self,
        connection: &Arc<Connection<TcpStream>>,
        cx: &mut Context<'_>,
    ) -> Poll<ReadPause> {
        connection.waker.register(cx.waker());
        self.handled = 0;
        loop {
            if self.handled >= BYTES_PER_TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }

            // Reading goes on while the kernel accepts no bytes.
            let _ = connection.poll_write(cx);

            self.poll_publish(connection, cx);

            let state = connection.lock();
            if state.error.is_some() || state.send_buffer.close_reason().is_some() {
                return Poll::Ready(ReadPause::Ended);
            }
            if let Some(after) = state.behind() {
                self.stalled.get_or_insert(connection.hub.now());
                return Poll::Ready(ReadPause::Behind(after));
            }
            // A client that does not read its answers is not read from.
            if state.send_buffer.queued_bytes() >= connection.settings.send_buffer {
                return Poll::Pending;
            }
            if state.is_publishing {
                self.stalled.get_or_insert(connection.hub.now());
                return Poll::Pending;
            }
            drop(state);

            if !self.undecoded.is_empty() {
                let mut bytes = std::mem::take(&mut self.undecoded);
                self.handle(connection, &mut bytes);
                continue;
            }

            // The read returns the same error.
            let _ = ready!(connection.output.poll_read_ready(cx));
            RECEIVE_BUFFER.with_borrow_mut(|buffer| match receive(&connection.output, buffer) {
                Ok(0) => connection.fail(TransportError::Disconnected),
                Ok(length) => self.handle(connection, &mut buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => connection.fail(TransportError::Disconnected),
            });
        }
    }

    /// Sends the results of the last publish, once the store has finished it.
    fn poll_publish(&mut self, connection: &Connection<TcpStream>, cx: &mut Context<'_>) {
        let Some(publishing) = &mut self.publishing else {
            return;
        };

        if let Poll::Ready(result) = publishing.result.poll_unpin(cx) {
            let keys = std::mem::take(&mut publishing.keys);
            self.publishing = None;
            let now = connection.hub.now();
            connection.publish_finished(now, |state| push_results(state, keys, result, now));
        }
    }

    /// Publishes `drafts`. Later polls wait for the result.
    fn publish(&mut self, connection: &Connection<TcpStream>, room: &Room, drafts: Vec<Draft>) {
        let keys = drafts.iter().map(|draft| draft.key().cloned()).collect();
        connection.lock().is_publishing = true;
        let result = room.publish(drafts);
        self.publishing = Some(Box::new(PendingPublish { keys, result }));
    }

    /// Credits the rate limits with the time until `now` in which nothing was read, although the client may have sent.
    fn credit_pause(&mut self, connection: &Connection<TcpStream>, now: Tick) {
        let paused = connection.hub.clock().paused();
        let since = self.stalled.take();

        if since.is_some() || paused > self.paused {
            let paused_since = paused - self.paused;
            self.session
                .credit_pause(since.unwrap_or(now), paused_since, now);
        }
        self.paused = paused;
    }

    /// Handles `bytes` from the client until the turn is over, and keeps the undecoded rest.
    pub(super) fn handle(&mut self, connection: &Arc<Connection<TcpStream>>, bytes: &mut [u8]) {
        let now = connection.hub.now();
        let instant = Instant::now();
        self.credit_pause(connection, now);

        let state = connection.lock();
        let mut permissions = state.permissions;
        let room = state.subscription.room.clone();
        drop(state);
        let is_traced = connection.is_traced();
        let mut trace_events = Vec::new();
        let mut drafts = Vec::new();
        let mut answers = Vec::new();
        let handled = &mut self.handled;

        let decoded = self.decoder.decode(bytes, |incoming| {
            *handled += BYTES_PER_FRAME + incoming.payload_bytes();
            let action = self
                .session
                .handle(incoming, permissions.access(instant), now);
            if is_traced {
                trace_events.push(TraceEvent::Frame {
                    kind: incoming.kind(),
                    bytes: incoming.payload_bytes(),
                    led_to: action.name(),
                });
            }

            match action {
                Action::Nothing => {}
                Action::Publish(draft) => drafts.push(draft),
                Action::History { before, limit } => {
                    // One at a time, so that a burst of requests does not queue as many pages.
                    if std::mem::replace(&mut connection.lock().is_reading_history, true) {
                        let message = ONE_HISTORY_AT_A_TIME.to_owned();
                        let error = Push::room_error(
                            ErrorCode::RateLimited,
                            message,
                            room.name().clone(),
                            None,
                        );
                        answers.push(Action::Push(error));
                    } else {
                        spawn_history(connection.clone(), before, limit);
                    }
                }
                Action::Delete(offset) => spawn_delete(connection.clone(), offset),
                Action::Renew(token) => {
                    let id = self.session.id();
                    let (renewed, answer) = renew(&self.verifier, &token, id, &room);
                    if let Some(renewed) = renewed {
                        permissions = renewed;
                        connection.lock().permissions = renewed;
                    }
                    answers.push(Action::Push(answer));
                }
                answer @ Action::Close(_) => {
                    answers.push(answer);
                    return ControlFlow::Break(());
                }
                answer => answers.push(answer),
            }

            if *handled < BYTES_PER_TURN {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        connection.trace_frames(trace_events);

        match decoded {
            // Bytes after a Close frame are kept too, but never decoded.
            Ok(decoded) => self.undecoded = bytes[decoded..].to_vec(),
            Err(violation) => {
                answers.push(Action::Close(CloseReason::Local(violation.close_code())));
            }
        }

        if !drafts.is_empty() {
            let is_exempt = permissions.is_admin || !room.is_new();
            let allowed = if is_exempt {
                Ok(())
            } else {
                self.session.create_room(&drafts, now)
            };
            match allowed {
                Ok(()) => self.publish(connection, &room, drafts),
                Err(rejections) => answers.extend(rejections),
            }
        }

        let mut state = connection.lock();
        state.heartbeat.record_activity(now);
        let has_completed = self.decoder.has_completed();
        let is_partial = self.decoder.is_partial();
        state.arrival.on_read(has_completed, is_partial, now);
        state.partial = self.decoder.buffered_bytes() + self.undecoded.len();
        connection.count(&state);
        drop(state);

        if !answers.is_empty() {
            connection.update(|state| {
                answers
                    .into_iter()
                    .for_each(|answer| push_answer(&mut state.send_buffer, answer))
            });
        }
    }
}

/// Receives bytes from the client into `buffer`. Returns their number; 0 after the client closed its side.
///
/// A read that does not fill the buffer has emptied the socket (epoll(7), questions and answers, 9). Reporting
/// `WouldBlock` then clears tokio's readiness flag, which saves a second system call.
fn receive(stream: &TcpStream, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    let read = stream.try_io(Interest::READABLE, || {
        length = rustix::net::recv(stream, &mut *buffer, RecvFlags::empty())?.0;
        if (1..buffer.len()).contains(&length) {
            Err(ErrorKind::WouldBlock.into())
        } else {
            Ok(())
        }
    });

    match read {
        Err(error) if length == 0 => Err(error),
        _ => Ok(length),
    }
}

/// Queues `answer` for the client.
fn push_answer(send_buffer: &mut SendBuffer, answer: Action) {
    match answer {
        Action::Push(push) => {
            if let Push::Error { code, .. } = push {
                metrics::count_frame_error(code);
            }
            send_buffer.push_event(&push);
        }
        Action::Pong(payload) => send_buffer.push(Opcode::Pong, &payload),
        Action::Close(reason) => send_buffer.close(reason),
        Action::Nothing
        | Action::Publish(_)
        | Action::Delete(_)
        | Action::Renew(_)
        | Action::History { .. } => {}
    }
}

/// Queues an `ack` or an `error` for each draft with a key.
fn push_results(
    state: &mut ConnectionState,
    keys: Vec<Option<Key>>,
    result: Result<Vec<Stored>, StoreError>,
    now: Tick,
) {
    let room = state.subscription.room.name().clone();
    let send_buffer = &mut state.send_buffer;
    match result {
        Ok(stored) => {
            for (key, stored) in keys.into_iter().zip(stored) {
                if let Some(key) = key {
                    send_buffer.push_event(&ack(room.clone(), key, &stored));
                }
            }
        }

        // The plain dialect has no error frames.
        Err(_) if send_buffer.dialect() == Dialect::Plain => state.drain(Duration::ZERO, now),
        Err(error) => {
            for key in keys {
                send_buffer.push_event(&unavailable(&error, room.clone(), key));
            }
        }
    }
}

fn ack(room: RoomName, key: Key, stored: &Stored) -> Push {
    Push::Ack {
        room,
        key,
        offset: stored.offset(),
        duplicate: matches!(stored, Stored::Duplicate { .. }),
    }
}

/// Returns the error frame for `error`, and counts it.
fn unavailable(error: &StoreError, room: RoomName, key: Option<Key>) -> Push {
    let code = ErrorCode::StoreUnavailable;
    metrics::count_frame_error(code);
    Push::room_error(code, error.to_string(), room, key)
}

/// Spawns a task that deletes the message at `offset` if the client sent it. All readers, this client included, are
/// notified of the deletion; the client gets an error frame if there is none.
fn spawn_delete(connection: Arc<Connection<TcpStream>>, offset: Offset) {
    let state = connection.lock();
    let room = state.subscription.room.clone();
    let sender = state.subscription.proven_id().cloned();
    drop(state);

    tokio::spawn(async move {
        let Err(error) = room.delete_own(offset, sender.as_ref()).await else {
            return;
        };

        let code = match error {
            DeleteError::Unverified | DeleteError::OtherSender => ErrorCode::NotAllowed,
            DeleteError::NoMessage => ErrorCode::NoSuchMessage,
            DeleteError::Store(_) => ErrorCode::StoreUnavailable,
        };
        metrics::count_frame_error(code);
        let answer = Push::room_error(code, error.to_string(), room.name().clone(), None);
        connection.update(|state| state.send_buffer.push_event(&answer));
    });
}

/// Spawns a task that reads at most `limit` messages before `before`, or the newest ones, and sends them.
fn spawn_history(connection: Arc<Connection<TcpStream>>, before: Option<Offset>, limit: usize) {
    let span = before.map_or(Span::Newest, Span::Before);
    let room = connection.room();

    tokio::spawn(async move {
        let mut is_answered = false;
        while !is_answered {
            let page = room.read_page(span, limit).await;
            is_answered = connection.update(|state| push_page(&room, state, page));
        }
    });
}

/// Queues the answer, under the lock under which deletions are queued. Returns false if the page must be read again,
/// because more messages were deleted during the read than the room remembers.
pub(super) fn push_page(
    room: &Room,
    state: &mut ConnectionState,
    page: Result<(Page, DeletionMark), StoreError>,
) -> bool {
    let push = match page {
        Ok((mut page, mark)) => {
            if !room.redact_page(&mut page.frames, mark) {
                return false;
            }
            Push::History {
                room: room.name().clone(),
                messages: page
                    .frames
                    .iter()
                    .map(|frame| frame.publication())
                    .collect(),
                more: page.more,
            }
        }
        Err(error) => unavailable(&error, room.name().clone(), None),
    };

    // The client may request the next page as soon as it has this answer.
    state.is_reading_history = false;
    state.send_buffer.push_event(&push);

    true
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::task::Waker;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::server::hub::Hub;
    use crate::server::run_clock::RunClock;
    use crate::server::transport::connection::OpenConnection;
    use crate::server::transport::tests::{pending, sender};
    use crate::server::wire;

    const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// Returns a connection that negotiated compression, its reader, and the client's end.
    async fn connected() -> (OpenConnection<TcpStream>, FrameReader, TcpStream) {
        let listener = TcpListener::bind((LOCALHOST, 0)).await.expect("an address");
        let address = listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).await.expect("connected");
        let (stream, _) = listener.accept().await.expect("accepted");

        let hub = Hub::in_memory(10, RunClock::new());
        let admission = hub
            .admit(LOCALHOST, &RoomName::lobby(), None)
            .await
            .expect("admitted");
        let format = Format::deflated(Dialect::Typed);
        let connection = pending(admission).register(stream, format).begin();
        let reader = FrameReader::new(&connection, format, sender());
        (connection, reader, client)
    }

    /// Returns a compressed frame of a client, masked with zeros.
    fn compressed(text: &str) -> Vec<u8> {
        let mut frame = wire::encode_deflated(Opcode::Text, text.as_bytes()).to_vec();
        // A length of 126 means that two bytes with the length follow.
        let header = if frame[1] == 126 { 4 } else { 2 };

        frame[1] |= 0x80;
        frame.splice(header..header, [0; 4]);
        frame
    }

    #[tokio::test]
    async fn a_connection_with_frames_that_decompress_to_much_more_yields_after_each_turn() {
        let (connection, mut reader, mut client) = connected().await;
        let junk = format!(r#"{{"type":"ping","x":"{}"}}"#, "x".repeat(300_000));
        let frames = compressed(&junk).repeat(20);
        assert!(
            frames.len() < RECEIVE_BUFFER_BYTES,
            "the frames fit in one read"
        );

        client.write_all(&frames).await.expect("sent");
        connection.output.readable().await.expect("received");

        let mut turns = 0;
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            assert!(reader.poll(&connection, &mut cx).is_pending());
            assert!(reader.handled < BYTES_PER_TURN + junk.len() + BYTES_PER_FRAME);
            turns += 1;
            if reader.undecoded.is_empty() {
                break;
            }
        }

        assert!(turns >= 20, "{turns} turns for 20 frames of 300 kB");
    }
}
