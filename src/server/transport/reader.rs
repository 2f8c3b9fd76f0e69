//! What a client sends: read, decoded, and acted upon, one scratch space for all connections of a thread.

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

use crate::protocol::CloseCode;
use crate::protocol::ErrorCode;
use crate::protocol::Key;
use crate::protocol::Offset;
use crate::protocol::Push;
use crate::protocol::UserId;
use crate::server::auth::Verifier;
use crate::server::metrics;
use crate::server::room::{Dialect, Draft, Format, Tick};
use crate::server::session::{
    Action, CloseReason, RateLimit, SendBuffer, Session, max_publish_bytes,
};
use crate::server::store::{StoreError, StoreFuture, Stored};
use crate::server::transport::ConnectionSettings;
use crate::server::transport::connection::{Connection, TransportError};
use crate::server::transport::history::{history, one_at_a_time};
use crate::server::transport::renewal::renew;
use crate::server::transport::trace;
use crate::server::wire::{Decoder, Opcode};

/// How much is read at once: enough for a burst to be published in one go.
const SCRATCH_BYTES: usize = 64 * 1024;

/// Bytes of frames that one turn of a connection handles, after which other tasks of the thread have theirs. A
/// read of compressed frames may be a thousand times as many.
const BYTES_PER_TURN: usize = 256 * 1024;
/// Bytes that a frame counts for besides its own: the smallest costs something too.
const BYTES_PER_FRAME: usize = 64;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// The reading half of one connection.
pub(super) struct FrameReader {
    decoder: Decoder,
    session: Session,
    /// Bytes that were received in an earlier turn and are still to be decoded.
    rest: Vec<u8>,
    /// Bytes of frames that were handled in this turn.
    handled: usize,
    /// Knows what another token of this client is worth.
    verifier: Verifier,
    /// Boxed, as most connections publish seldom.
    publishing: Option<Box<Publishing>>,
    /// When reading stopped because the store had not answered.
    stalled: Option<Tick>,
    /// How long the process had paused when something was last read.
    paused: Duration,
}

/// The messages that a client has sent and the store has not finished.
struct Publishing {
    keys: Vec<Option<Key>>,
    result: StoreFuture<Vec<Stored>>,
}

/// Why a reader pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadPause {
    /// The connection ends, or is lost.
    Ended,
    /// The ring has passed it: it needs what the store has after this offset.
    Behind(Offset),
}

impl FrameReader {
    pub(super) fn new(
        connection: &Connection,
        format: Format,
        id: UserId,
        pace: RateLimit,
        verifier: Verifier,
    ) -> Self {
        let ConnectionSettings { max_message, .. } = *connection.settings;
        let dialect = format.dialect();
        let max_frame = if dialect == Dialect::Plain {
            max_message
        } else {
            max_publish_bytes(max_message)
        };
        Self {
            decoder: Decoder::new(max_frame, format.is_deflated()),
            session: Session::new(dialect, id, pace, max_message, connection.hub.now()),
            rest: Vec::new(),
            handled: 0,
            verifier,
            publishing: None,
            stalled: None,
            paused: connection.hub.clock().paused(),
        }
    }

    /// Reads and acts until the client is silent or has had its turn. Ready when there is more to do than that.
    pub(super) fn poll(
        &mut self,
        connection: &Arc<Connection>,
        cx: &mut Context<'_>,
    ) -> Poll<ReadPause> {
        connection.waker.register(cx.waker());
        self.handled = 0;
        loop {
            if self.handled >= BYTES_PER_TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let _writable = connection.poll_write(cx);
            self.poll_publish(connection, cx);

            let state = connection.lock();
            if state.lost.is_some() || state.outbox.close_reason().is_some() {
                return Poll::Ready(ReadPause::Ended);
            }
            if let Some(after) = state.outbox.behind() {
                self.stalled.get_or_insert(connection.hub.now());
                return Poll::Ready(ReadPause::Behind(after));
            }
            // Whoever does not read the answers is not asked for more questions.
            if state.outbox.waiting() >= connection.settings.send_buffer {
                return Poll::Pending;
            }
            if state.is_publishing {
                self.stalled.get_or_insert(connection.hub.now());
                return Poll::Pending;
            }
            drop(state);

            if !self.rest.is_empty() {
                let mut rest = std::mem::take(&mut self.rest);
                self.take(connection, &mut rest);
                continue;
            }
            ready!(connection.stream.poll_read_ready(cx)).ok();
            SCRATCH.with_borrow_mut(|scratch| match receive(&connection.stream, scratch) {
                Ok(0) => connection.lock().lost = Some(TransportError::Disconnected),
                Ok(length) => self.take(connection, &mut scratch[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => connection.lock().lost = Some(TransportError::Disconnected),
            });
        }
    }

    /// Sends the results of the last publish, once the store has finished it.
    fn poll_publish(&mut self, connection: &Connection, cx: &mut Context<'_>) {
        let Some(publishing) = &mut self.publishing else {
            return;
        };
        if let Poll::Ready(result) = publishing.result.poll_unpin(cx) {
            let keys = std::mem::take(&mut publishing.keys);
            self.publishing = None;
            connection.publish_finished(|outbox| answer(outbox, keys, result));
        }
    }

    /// Makes up to the client for the time until `now` in which nothing was read, although it may have sent.
    fn credit_pause(&mut self, connection: &Connection, now: Tick) {
        let paused = connection.hub.clock().paused();
        let since = self.stalled.take();

        if since.is_some() || paused > self.paused {
            let paused_since = paused - self.paused;
            self.session
                .credit_pause(since.unwrap_or(now), paused_since, now);
        }
        self.paused = paused;
    }

    /// Publishes `drafts`. The next poll waits for the result.
    fn publish(&mut self, connection: &Connection, drafts: Vec<Draft>) {
        let keys = drafts.iter().map(|draft| draft.key().cloned()).collect();
        connection.lock().is_publishing = true;
        let result = connection.hub.publish(&connection.room, drafts);
        self.publishing = Some(Box::new(Publishing { keys, result }));
    }

    /// Handles `bytes` from the client until its turn is over; keeps the rest.
    pub(super) fn take(&mut self, connection: &Arc<Connection>, bytes: &mut [u8]) {
        let (now, instant) = (connection.hub.now(), Instant::now());
        self.credit_pause(connection, now);
        let mut lease = connection.lock().lease;
        let mut drafts = Vec::new();
        let mut answers = Vec::new();
        let (is_traced, mut frames) = (connection.is_traced(), Vec::new());
        let handled = &mut self.handled;
        let decoded = self.decoder.decode(bytes, |incoming| {
            *handled += BYTES_PER_FRAME + incoming.payload_bytes();
            let action = self.session.handle(incoming, lease.access(instant), now);
            if is_traced {
                frames.push(trace::frame(&incoming, &action));
            }
            match action {
                Action::Nothing => {}
                Action::Publish(draft) => drafts.push(draft),
                Action::History { before, limit } => {
                    // Or one read of many questions would make as many pages wait.
                    if std::mem::replace(&mut connection.lock().is_asking, true) {
                        answers.push(Action::Push(one_at_a_time()));
                    } else {
                        history(connection.clone(), before, limit);
                    }
                }
                Action::Renew(token) => {
                    let id = self.session.id();
                    let (renewed, answer) = renew(&self.verifier, &token, id, &connection.room);
                    if let Some(renewed) = renewed {
                        lease = renewed;
                        connection.lock().lease = renewed;
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
        connection.trace_frames(frames);
        match decoded {
            // After a Close frame there may be a rest too, which is never read.
            Ok(decoded) => self.rest = bytes[decoded..].to_vec(),
            Err(violation) => {
                answers.push(Action::Close(CloseReason::Local(violation.close_code())));
            }
        }
        if !drafts.is_empty() {
            let (hub, room) = (&connection.hub, &connection.room);
            let created = if lease.is_admin || !hub.is_new(room) {
                Ok(())
            } else {
                self.session.create_room(&drafts, now)
            };
            match created {
                Ok(()) => self.publish(connection, drafts),
                Err(refused) => answers.extend(refused),
            }
        }
        let mut state = connection.lock();
        state.heartbeat.record_activity(now);
        let (has_completed, is_partial) = (self.decoder.has_completed(), self.decoder.is_partial());
        state.arrival.on_read(has_completed, is_partial, now);
        state.partial = self.decoder.held() + self.rest.len();
        connection.count(&state);
        drop(state);
        if !answers.is_empty() {
            connection.with_outbox(|outbox| {
                answers
                    .into_iter()
                    .for_each(|answer| answer_with(outbox, answer))
            });
        }
    }
}

/// Reads what the client sent into `scratch`; 0 bytes when it sends nothing more.
///
/// Where there is less than `scratch` holds, that was all (epoll(7), questions and answers, 9). So tokio is told
/// that the socket would block, and need not find that out by asking once more.
fn receive(stream: &TcpStream, scratch: &mut [u8]) -> std::io::Result<usize> {
    let mut taken = 0;
    let read = stream.try_io(Interest::READABLE, || {
        taken = rustix::net::recv(stream, &mut *scratch, RecvFlags::empty())?.0;
        if (1..scratch.len()).contains(&taken) {
            Err(ErrorKind::WouldBlock.into())
        } else {
            Ok(())
        }
    });
    match read {
        Err(error) if taken == 0 => Err(error),
        _ => Ok(taken),
    }
}

fn answer_with(outbox: &mut SendBuffer, answer: Action) {
    match answer {
        Action::Push(push) => {
            if let Push::Error { code, .. } = push {
                metrics::count_frame_error(code);
            }
            outbox.push_event(&push);
        }
        Action::Pong(payload) => outbox.push(Opcode::Pong, &payload),
        Action::Close(farewell) => outbox.close(farewell),
        Action::Nothing | Action::Publish(_) | Action::Renew(_) | Action::History { .. } => {}
    }
}

/// Queues an `ack` or an `error` for each draft that has a key.
fn answer(
    outbox: &mut SendBuffer,
    keys: Vec<Option<Key>>,
    result: Result<Vec<Stored>, StoreError>,
) {
    match result {
        Ok(stored) => {
            for (key, stored) in keys.into_iter().zip(stored) {
                if let Some(key) = key {
                    outbox.push_event(&ack(key, &stored));
                }
            }
        }
        // A plain client has no frame for an error.
        Err(_) if outbox.dialect() == Dialect::Plain => {
            outbox.close(CloseReason::Local(CloseCode::GoingAway));
        }
        Err(error) => {
            for key in keys {
                outbox.push_event(&unavailable(&error, key));
            }
        }
    }
}

fn ack(key: Key, stored: &Stored) -> Push {
    Push::Ack {
        key,
        offset: stored.offset(),
        duplicate: matches!(stored, Stored::Duplicate { .. }),
    }
}

pub(super) fn unavailable(error: &StoreError, key: Option<Key>) -> Push {
    let code = ErrorCode::StoreUnavailable;
    metrics::count_frame_error(code);
    Push::Error {
        code,
        message: error.to_string(),
        retry: code.invites_retry(),
        key,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::task::Waker;
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::protocol::RoomName;
    use crate::server::hub::Hub;
    use crate::server::session::{
        HeartbeatSettings, IpBucket, Permissions, QuotaRates, Quotas, Rate, RateLimitKey,
    };
    use crate::server::wire;

    const FOREVER: Duration = Duration::from_secs(3600);
    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const MAX_MESSAGE: usize = 64 * 1024;

    /// Returns a connection that negotiated compression, its reader, and the client's end.
    async fn connected() -> (Arc<Connection>, FrameReader, TcpStream) {
        let listener = TcpListener::bind((HOME, 0)).await.expect("an address");
        let address = listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).await.expect("connected");
        let (stream, _) = listener.accept().await.expect("accepted");

        let hub = Hub::in_memory();
        let admission = hub
            .admit(HOME, &RoomName::lobby(), None)
            .await
            .expect("admitted");
        let format = Format::deflated(Dialect::Typed);
        let lease = Permissions {
            may_write: true,
            is_admin: false,
            expires_at: None,
        };
        let settings = Arc::new(ConnectionSettings {
            max_message: MAX_MESSAGE,
            send_buffer: 1 << 20,
            heartbeat: HeartbeatSettings {
                ping_after: FOREVER,
                expire_after: FOREVER,
            },
            rate: Rate::UNLIMITED,
            compression: true,
        });
        let connection = Connection::new(stream, hub, &admission, format, lease, settings);
        let connection = Arc::new(connection);

        let id = UserId::guest(1);
        let host = IpBucket::of(HOME);
        let quotas = Arc::new(Quotas::new(QuotaRates::UNLIMITED));
        let speaker = RateLimitKey::claimed(id.clone(), host);
        let now = connection.hub.now();
        let pace = RateLimit::new(Rate::UNLIMITED, quotas, speaker, host, now);
        let reader = FrameReader::new(&connection, format, id, pace, Verifier::open());
        (connection, reader, client)
    }

    /// Returns a compressed frame of a client, masked with zeros.
    fn compressed(text: &str) -> Vec<u8> {
        let frame = wire::deflated(&wire::encode(Opcode::Text, text.as_bytes()));
        let header = frame.len() - wire::payload(&frame).len();

        let mut masked = frame.to_vec();
        masked[1] |= 0x80;
        masked.splice(header..header, [0; 4]);
        masked
    }

    #[tokio::test]
    async fn a_client_whose_few_bytes_become_many_has_its_turn_and_then_others_have_theirs() {
        let (connection, mut reader, mut client) = connected().await;
        let junk = format!(r#"{{"type":"ping","x":"{}"}}"#, "x".repeat(300_000));
        let frames = compressed(&junk).repeat(20);
        assert!(frames.len() < SCRATCH_BYTES, "one read takes all of them");

        client.write_all(&frames).await.expect("sent");
        connection.stream.readable().await.expect("received");
        let mut turns = 0;
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            assert!(reader.poll(&connection, &mut cx).is_pending());
            assert!(reader.handled < BYTES_PER_TURN + junk.len() + BYTES_PER_FRAME);
            turns += 1;
            if reader.rest.is_empty() {
                break;
            }
        }

        assert!(turns >= 20, "{turns} turns for 20 frames of 300 kB");
    }
}
