//! The reading half of a WebSocket: receives bytes, decodes frames and carries out the session's actions. All
//! connections of a thread share one receive buffer.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::protocol::Push;
use crate::server::hub::{Resume, TraceEvent};
use crate::server::jwks::Authenticator;
use crate::server::metrics;
use crate::server::room::{Dialect, Format, Tick};
use crate::server::session::{CloseReason, SendBuffer, Session, SessionAction, max_publish_bytes};
use crate::server::transport::client_socket::ReceivedBytes;
use crate::server::transport::connection::Connection;
use crate::server::transport::connection_state::{ReadStop, TransportError};
use crate::server::transport::permissions::CurrentAccess;
use crate::server::transport::publishing::{UnfinishedPublishes, push_draft};
use crate::server::transport::requests;
use crate::server::transport::{ClientSocket, ConnectionSettings, FrameSender};
use crate::server::wire::{Decoder, Opcode};

/// The size of a thread's receive buffer: large enough for a burst to be published as one batch.
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;

/// Bytes of frames that a connection handles before it yields to other tasks. One read of compressed frames may
/// decode to a thousand times its size.
const BYTES_PER_TURN: usize = 256 * 1024;
/// The cost of a frame besides its payload, in bytes.
const BYTES_PER_FRAME: usize = 64;
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
    authenticator: Arc<Authenticator>,
    /// The unfinished publishes. Boxed, because most connections publish rarely.
    publishing: Option<Box<UnfinishedPublishes>>,
    /// The unfinished subscription. Later frames are handled after it.
    subscribing: Option<BoxFuture<'static, ()>>,
    /// The time at which reading stopped because the store had not answered.
    stalled: Option<Tick>,
    /// The time for which the process had been suspended at the last read.
    paused: Duration,
}

impl FrameReader {
    /// Creates the reader of the frames of `sender`.
    pub(super) fn new(
        connection: &Connection<ClientSocket>,
        format: Format,
        sender: FrameSender,
    ) -> Self {
        let FrameSender {
            id,
            rate_limit,
            authenticator,
        } = sender;
        let ConnectionSettings { max_message, .. } = *connection.settings;
        let dialect = format.dialect();
        let max_frame = if dialect == Dialect::Plain {
            max_message
        } else {
            max_publish_bytes(max_message)
        };

        Self {
            decoder: Decoder::new(max_frame, format.is_deflated()),
            session: Session::new(dialect, id, rate_limit, connection.hub.now()),
            undecoded: Vec::new(),
            handled: 0,
            authenticator,
            publishing: None,
            subscribing: None,
            stalled: None,
            paused: connection.hub.clock().paused(),
        }
    }

    /// Reads and handles frames until the socket has none left or the turn is over. Ready when the connection must
    /// catch up from the store or end.
    pub(super) fn poll(
        &mut self,
        connection: &Arc<Connection<ClientSocket>>,
        cx: &mut Context<'_>,
    ) -> Poll<ReadStop> {
        connection.waker.register(cx.waker());
        self.handled = 0;
        loop {
            if self.handled >= BYTES_PER_TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }

            // Reading goes on while the kernel accepts no bytes.
            let _ = connection.poll_write(cx);

            self.poll_requests(connection, cx);

            let state = connection.lock();
            if let Some(stop) = state.read_stop() {
                self.stalled.get_or_insert(connection.hub.now());
                return Poll::Ready(stop);
            }
            // A client that does not read its answers is not read from.
            if state.send_buffer.queued_bytes() >= connection.settings.send_buffer {
                return Poll::Pending;
            }
            if state.is_publishing || state.is_subscribing {
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
            RECEIVE_BUFFER.with_borrow_mut(|buffer| match connection.output.receive(buffer) {
                Ok(ReceivedBytes { payload, overhead }) => {
                    self.handled += overhead;
                    self.handle(connection, &mut buffer[..payload]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => connection.fail(TransportError::Disconnected),
            });
        }
    }

    /// Continues the unfinished publishes and the unfinished subscription.
    fn poll_requests(&mut self, connection: &Connection<ClientSocket>, cx: &mut Context<'_>) {
        if let Some(publishing) = &mut self.publishing
            && publishing.poll(connection, &self.session, cx).is_ready()
        {
            self.publishing = None;
        }
        if let Some(subscribing) = &mut self.subscribing
            && subscribing.poll_unpin(cx).is_ready()
        {
            self.subscribing = None;
            connection.lock().is_subscribing = false;
        }
    }

    /// Credits the rate limits with the time until `now` in which nothing was read, although the client may have sent.
    fn credit_pause(&mut self, connection: &Connection<ClientSocket>, now: Tick) {
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
    pub(super) fn handle(&mut self, connection: &Arc<Connection<ClientSocket>>, bytes: &mut [u8]) {
        let now = connection.hub.now();
        let instant = Instant::now();
        self.credit_pause(connection, now);

        let mut access = connection.access(instant);
        let is_traced = connection.is_traced();
        let mut trace_events = Vec::new();
        let mut batches = Vec::new();
        let mut answers = Vec::new();
        let handled = &mut self.handled;

        let decoded = self.decoder.decode(bytes, |incoming| {
            *handled += BYTES_PER_FRAME + incoming.payload_bytes();
            let action = self.session.handle(incoming, &access, now);
            if is_traced {
                trace_events.push(TraceEvent::Frame {
                    kind: incoming.kind(),
                    bytes: incoming.payload_bytes(),
                    led_to: action.name(),
                });
            }

            match action {
                SessionAction::Nothing => {}
                SessionAction::Publish(room, draft) => push_draft(&mut batches, room, draft),
                SessionAction::Subscribe { room, after, epoch } => {
                    let resume = after.map(|after| Resume { after, epoch });
                    connection.lock().is_subscribing = true;
                    let connection = connection.clone();
                    let subscribing =
                        async move { requests::subscribe(&connection, room, resume).await };
                    self.subscribing = Some(subscribing.boxed());
                    return ControlFlow::Break(());
                }
                SessionAction::Unsubscribe(room) => {
                    requests::unsubscribe(connection, room);
                    access = connection.access(instant);
                }
                SessionAction::History {
                    room,
                    before,
                    limit,
                } => {
                    let refusal = requests::read_history(connection, room, before, limit);
                    answers.extend(refusal.map(SessionAction::Push));
                }
                SessionAction::Delete(room, offset) => {
                    requests::spawn_delete(connection.clone(), room, offset)
                }
                SessionAction::Signal(signal) => requests::send_signal(connection, signal),
                SessionAction::SetState(room, state) => {
                    requests::set_state(connection, room, self.session.id(), state);
                }
                SessionAction::Renew(token) => {
                    requests::renew_token(
                        connection,
                        &self.authenticator,
                        self.session.id(),
                        token,
                    );
                    access = connection.access(instant);
                }
                answer @ SessionAction::Close(_) => {
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
                answers.push(SessionAction::Close(CloseReason::Local(
                    violation.close_code(),
                )));
            }
        }

        if !batches.is_empty() {
            let publishing = UnfinishedPublishes::begin(connection, &self.session, batches, now);
            self.publishing = Some(Box::new(publishing));
        }

        let mut state = connection.lock();
        state.heartbeat.record_activity(now);
        let has_completed = self.decoder.has_completed();
        let is_partial = self.decoder.is_partial() || connection.output.is_record_partial();
        state.arrival.on_read(has_completed, is_partial, now);
        state.partial = self.decoder.buffered_bytes() + self.undecoded.len();
        state.count_memory();
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

impl Connection<ClientSocket> {
    /// Returns the rights of the client at `now`.
    fn access(&self, now: Instant) -> CurrentAccess {
        let state = self.lock();
        CurrentAccess {
            permissions: state.permissions.clone(),
            only_room: state.subscriptions.only_room().cloned(),
            rules: self.hub.rules().clone(),
            now,
        }
    }
}

/// Queues `answer` for the client.
fn push_answer(send_buffer: &mut SendBuffer, answer: SessionAction) {
    match answer {
        SessionAction::Push(push) => {
            if let Push::Error { code, .. } = push {
                metrics::count_frame_error(code);
            }

            send_buffer.push_event(&push);
        }
        SessionAction::Pong(payload) => send_buffer.push(Opcode::Pong, &payload),
        SessionAction::Close(reason) => send_buffer.close(reason),
        SessionAction::Nothing
        | SessionAction::Publish(..)
        | SessionAction::Subscribe { .. }
        | SessionAction::Unsubscribe(_)
        | SessionAction::Delete(..)
        | SessionAction::Signal(_)
        | SessionAction::SetState(..)
        | SessionAction::Renew(_)
        | SessionAction::History { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::task::Waker;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::protocol::{CloseCode, RoomName};
    use crate::server::hub::{Hub, Subscriber};
    use crate::server::run_clock::RunClock;
    use crate::server::transport::connection::OpenConnection;
    use crate::server::transport::tests::{pending, sender};
    use crate::server::wire;

    const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// Returns a connection that negotiated compression, its reader, and the client's end.
    async fn connected() -> (OpenConnection<ClientSocket>, FrameReader, TcpStream) {
        let listener = TcpListener::bind((LOCALHOST, 0)).await.expect("an address");
        let address = listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).await.expect("connected");
        let (stream, _) = listener.accept().await.expect("accepted");

        let hub = Hub::in_memory(10, RunClock::new());
        let admission = hub.admit(LOCALHOST).expect("admitted");
        let entry = hub.enter(&RoomName::lobby(), None).await.expect("admitted");
        let format = Format::deflated(Dialect::Typed);
        let connection =
            pending(admission, vec![entry]).open(ClientSocket::Plain(stream), format, &[]);
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
    async fn a_client_does_not_expire_while_its_subscription_is_prepared() {
        let (connection, mut reader, _client) = connected().await;
        let expiry = connection.settings.heartbeat.expire_after;
        let later = connection.hub.now().after(expiry);
        let close_reason = || connection.lock().send_buffer.close_reason();

        let mut subscribe = compressed(r#"{"type":"subscribe","room":"other"}"#);
        reader.handle(&connection, &mut subscribe);
        connection.tick(later);
        let meanwhile = close_reason();
        while connection.lock().is_reading_paused() {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(reader.poll(&connection, &mut cx).is_pending());
        }
        connection.tick(later.after(expiry));

        assert_eq!(meanwhile, None);
        let expired = CloseReason::Local(CloseCode::Expired);
        assert_eq!(close_reason(), Some(expired));
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
        connection
            .output
            .stream()
            .readable()
            .await
            .expect("received");

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
