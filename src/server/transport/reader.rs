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

use crate::protocol::{
    ErrorCode, Json, Offset, Push, RoomName, RoomSelector, Signal, Token, UnsubscribeCode, UserId,
};
use crate::server::hub::{DeleteError, DeletionMark, Refusal, Resume, Room, TraceEvent};
use crate::server::jwks::Authenticator;
use crate::server::metrics;
use crate::server::room::{Dialect, Format, Tick};
use crate::server::session::{CloseReason, SendBuffer, Session, SessionAction, max_publish_bytes};
use crate::server::store::{Deleted, Limit, Page, Span, StoreError, now_millis};
use crate::server::transport::client_socket::ReceivedBytes;
use crate::server::transport::connection::Connection;
use crate::server::transport::connection_state::{ConnectionState, ReadStop, TransportError};
use crate::server::transport::permissions::{CurrentAccess, renewal};
use crate::server::transport::publishing::{UnfinishedPublishes, push_draft, refusal_code};
use crate::server::transport::{
    ClientSocket, ConnectionSettings, FrameSender, Permissions, unix_time,
};
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
                    let subscribing = async move { subscribe(&connection, room, resume).await };
                    self.subscribing = Some(subscribing.boxed());
                    return ControlFlow::Break(());
                }
                SessionAction::Unsubscribe(room) => {
                    unsubscribe(connection, room);
                    access = connection.access(instant);
                }
                SessionAction::History {
                    room,
                    before,
                    limit,
                } => {
                    // One at a time, so that a burst of requests does not queue as many pages.
                    if std::mem::replace(&mut connection.lock().is_reading_history, true) {
                        let message = ONE_HISTORY_AT_A_TIME.to_owned();
                        let code = ErrorCode::RateLimited;
                        let error = Push::room_error(code, message, room.into(), None);
                        answers.push(SessionAction::Push(error));
                    } else {
                        spawn_history(connection.clone(), room, before, limit);
                    }
                }
                SessionAction::Delete(room, offset) => {
                    spawn_delete(connection.clone(), room, offset)
                }
                SessionAction::Signal(signal) => send_signal(connection, signal),
                SessionAction::SetState(room, state) => {
                    set_state(connection, room, self.session.id(), state);
                }
                SessionAction::Renew(token) => {
                    renew_token(connection, &self.authenticator, self.session.id(), token);
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

/// The relation of a new subscription to those that a connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SubscriptionBegins {
    /// There are no others.
    First,
    /// There are others, to other rooms.
    Further,
    /// A replacement of the one to the same room or pattern.
    Again,
}

/// Subscribes the client to `room`, from its position if it has one. The client gets an error frame if that is not
/// possible.
async fn subscribe(
    connection: &Arc<Connection<ClientSocket>>,
    room: RoomSelector,
    resume: Option<Resume>,
) {
    if let Err((code, message)) = try_subscribe(connection, &room, resume.as_ref()).await {
        connection.send_error(code, message, room);
    }
}

async fn try_subscribe(
    connection: &Arc<Connection<ClientSocket>>,
    room: &RoomSelector,
    resume: Option<&Resume>,
) -> Result<(), (ErrorCode, String)> {
    let begins = connection.check_subscription(room)?;
    let hub = &connection.hub;
    let entry = match (room, begins) {
        (RoomSelector::Room(name), SubscriptionBegins::Again) => {
            hub.enter_again(name, resume).await
        }
        (RoomSelector::Room(name), _) => hub.enter(name, resume).await,
        (RoomSelector::Pattern(pattern), _) => hub.enter_pattern(pattern, resume).await,
    };
    let entry = entry.map_err(refused)?;
    if begins != SubscriptionBegins::First {
        hub.wait_until_applied(entry.newest()).await;
    }

    connection.subscribe(vec![entry]);
    Ok(())
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

    /// Checks that the client may subscribe to `room`.
    ///
    /// # Errors
    /// The code and the message of the error frame.
    fn check_subscription(
        &self,
        room: &RoomSelector,
    ) -> Result<SubscriptionBegins, (ErrorCode, String)> {
        let max = self.settings.max_subscriptions;
        let state = self.lock();

        if !state.permissions.may_read(room) {
            let message = format!("the token does not grant read access to {room}");
            return Err((ErrorCode::NotAllowed, message));
        }
        if let RoomSelector::Room(name) = room {
            state.check_rules(name)?;
        }
        if state.subscriptions.find(room.as_str()).is_some() {
            return Ok(SubscriptionBegins::Again);
        }
        let count = state.subscriptions.len();
        if count >= max {
            let message = format!(
                "the connection has {count} subscriptions; the limit is {max} (--max-subscriptions)"
            );
            return Err((ErrorCode::TooManySubscriptions, message));
        }
        Ok(if count == 0 {
            SubscriptionBegins::First
        } else {
            SubscriptionBegins::Further
        })
    }

    /// Sends an error about `room`, and counts it.
    fn send_error(&self, code: ErrorCode, message: String, room: RoomSelector) {
        metrics::count_frame_error(code);
        let error = Push::room_error(code, message, room, None);
        self.update(|state| state.send_buffer.push_event(&error));
    }

    /// Returns the room `name`, which is opened if the client is not subscribed to it.
    ///
    /// # Errors
    /// The code and the message of the error frame, also if the rules keep the client out of the room.
    async fn room(&self, name: &RoomName) -> Result<Arc<Room>, (ErrorCode, String)> {
        let subscribed = {
            let state = self.lock();
            state.check_rules(name)?;
            state.subscriptions.room(name).cloned()
        };
        match subscribed {
            Some(room) => Ok(room),
            None => self.hub.room(name).await.map_err(refused),
        }
    }
}

/// Returns the code and the message of the error frame for `refusal`.
fn refused(refusal: Refusal) -> (ErrorCode, String) {
    (refusal_code(refusal), refusal.to_string())
}

/// Ends the subscription to `room` at the client's request.
fn unsubscribe(connection: &Connection<ClientSocket>, room: RoomSelector) {
    if !connection.end_subscription(room.clone(), UnsubscribeCode::Unsubscribed) {
        let message = format!("there is no subscription to {room}");
        connection.send_error(ErrorCode::NotSubscribed, message, room);
    }
}

/// Sends `signal` to the clients that are subscribed to its room, unless the rules keep the sender out of the room.
fn send_signal(connection: &Connection<ClientSocket>, signal: Signal) {
    let allowed = connection.lock().check_rules(&signal.room);
    match allowed {
        Ok(()) => connection.hub.send_signal(signal),
        Err((code, message)) => connection.send_error(code, message, signal.room.into()),
    }
}

/// Sets the state of the client `id` in the room `name`, to which it must be subscribed and which must have presence.
fn set_state(
    connection: &Connection<ClientSocket>,
    name: RoomName,
    id: &UserId,
    state: Option<Json>,
) {
    let room = connection.lock().subscriptions.room(&name).cloned();

    let (code, message) = match room {
        Some(room) if room.rules().has_presence() => {
            return connection.hub.set_state(&room, id, state);
        }
        Some(_) => {
            let message = format!("the room {name} has no presence (presence of its rule)");
            (ErrorCode::NotAllowed, message)
        }
        None => {
            let message = format!(
                "there is no subscription to the room {name}; presence shows the state of its members only"
            );
            (ErrorCode::NotSubscribed, message)
        }
    };

    connection.send_error(code, message, name.into());
}

/// Replaces the client's permissions by those of `token`, if it is valid. A token that needs a key which is not known is
/// verified by a task, which waits for new keys.
fn renew_token(
    connection: &Arc<Connection<ClientSocket>>,
    authenticator: &Arc<Authenticator>,
    id: &UserId,
    token: Token,
) {
    let verified = authenticator
        .verifier()
        .principal(Some(token.reveal()), unix_time().as_secs());

    match verified {
        Err(error) if authenticator.may_lack_key(&error) => {
            let (connection, authenticator) = (connection.clone(), authenticator.clone());
            let id = id.clone();

            tokio::spawn(async move {
                let now = || unix_time().as_secs();
                let verified = authenticator.principal(Some(token.reveal()), now).await;
                apply_renewal(&connection, renewal(verified, &id));
            });
        }
        verified => apply_renewal(connection, renewal(verified, id)),
    }
}

/// Sends the answer to a token, and applies the new permissions. Ends the subscriptions that they do not allow.
fn apply_renewal(
    connection: &Connection<ClientSocket>,
    (renewed, answer): (Option<Permissions>, Push),
) {
    if let Push::Error { code, .. } = answer {
        metrics::count_frame_error(code);
    }

    let lost = connection.update(|state| {
        state.send_buffer.push_event(&answer);
        let Some(renewed) = renewed else {
            return Vec::new();
        };
        let rooms = state.subscriptions.iter().map(|one| one.source.selector());
        let lost = rooms.filter(|room| !renewed.may_read(room)).collect();
        state.permissions = renewed;
        lost
    });
    for room in lost {
        // The subscription may have ended in the meantime.
        let _ = connection.end_subscription(room, UnsubscribeCode::NotAllowed);
    }
}

/// Returns the error frame for `error`, and counts it.
fn unavailable(error: &impl ToString, room: &RoomName) -> Push {
    let code = ErrorCode::StoreUnavailable;
    metrics::count_frame_error(code);
    Push::room_error(code, error.to_string(), room.clone().into(), None)
}

/// Spawns a task that deletes the message at `offset` of the room `name` if the client sent it. All readers of the room are
/// notified of the deletion. The client always gets an answer, also if it does not read the room or the message was
/// deleted before.
fn spawn_delete(connection: Arc<Connection<ClientSocket>>, name: RoomName, offset: Offset) {
    let state = connection.lock();
    let sender = state
        .registration()
        .and_then(|one| one.info().proven().cloned());
    drop(state);

    tokio::spawn(async move {
        let result = match connection.room(&name).await {
            Ok(room) => room
                .delete_own(offset, sender.as_ref())
                .await
                .map_err(|error| (delete_code(&error), error.to_string())),
            Err(error) => Err(error),
        };

        match result {
            // The notification of all readers is the answer.
            Ok(Deleted::Now) if connection.lock().subscriptions.first_match(&name).is_some() => {}
            Ok(_) => {
                let (room, at) = (name, now_millis());
                let answer = Push::Deleted { room, offset, at };
                connection.update(|state| state.send_buffer.push_event(&answer));
            }
            Err((code, message)) => connection.send_error(code, message, name.into()),
        }
    });
}

/// Returns the code of the error frame for `error`.
const fn delete_code(error: &DeleteError) -> ErrorCode {
    match error {
        DeleteError::Unverified | DeleteError::OtherSender => ErrorCode::NotAllowed,
        DeleteError::NoMessage => ErrorCode::NoSuchMessage,
        DeleteError::Store(_) => ErrorCode::StoreUnavailable,
    }
}

/// Spawns a task that reads at most `limit` messages of the room `name` before `before`, or the newest ones, and sends
/// them.
fn spawn_history(
    connection: Arc<Connection<ClientSocket>>,
    name: RoomName,
    before: Option<Offset>,
    limit: usize,
) {
    let span = before.map_or(Span::Newest, Span::Before);

    tokio::spawn(async move {
        let room = match connection.room(&name).await {
            Ok(room) => room,
            Err((code, message)) => {
                connection.lock().is_reading_history = false;
                return connection.send_error(code, message, name.into());
            }
        };

        let mut is_answered = false;
        while !is_answered {
            let page = room.read_page(span, Limit::page(limit)).await;
            is_answered = connection.update(|state| push_page(&room, state, page));
        }
    });
}

/// Queues the answer, under the lock under which deletions are queued. Returns false if the page must be read again,
/// because more messages were deleted during the read than the room's feed remembers.
pub(super) fn push_page(
    room: &Room,
    state: &mut ConnectionState,
    page: Result<(Page, DeletionMark), StoreError>,
) -> bool {
    let push = match page {
        Ok((mut page, mark)) => {
            if !room.feed().redact_page(&mut page.frames, mark) {
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
        Err(error) => unavailable(&error, room.name()),
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
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::protocol::CloseCode;
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
