//! What a client sends: read, decoded, and acted upon, one scratch space for all connections of a thread.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

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
use crate::server::room::{Dialect, Draft, Format};
use crate::server::session::{Action, Farewell, Outbox, Pace, Session};
use crate::server::store::{StoreError, Stored};
use crate::server::transport::ConnectionSettings;
use crate::server::transport::connection::{Connection, Lost};
use crate::server::transport::history::{history, one_at_a_time};
use crate::server::transport::renewal::renew;
use crate::server::transport::trace;
use crate::server::wire::{Decoder, Opcode};

/// How much is read at once: enough for a burst to be published in one go.
const SCRATCH_BYTES: usize = 64 * 1024;

/// JSON may write one byte of text as six, like a control character's \\u0001.
const JSON_EXPANSION: usize = 6;
/// Room for everything in a `say` that is not its text: type, key, braces, spaces.
const JSON_AROUND_TEXT: usize = 1024;

/// How long a message of `max_message` bytes may be as JSON, with all that is around its text.
pub fn max_say_bytes(max_message: usize) -> usize {
    max_message
        .saturating_mul(JSON_EXPANSION)
        .saturating_add(JSON_AROUND_TEXT)
}

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// The reading half of one connection.
pub(super) struct Reader {
    decoder: Decoder,
    session: Session,
    /// Knows what another token of this client is worth.
    verifier: Verifier,
}

/// One thing after the other: what a client says while its last messages are on their way to the disk is read
/// together when they are there, and then is one read, one transaction and one pass, however many messages it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saying {
    /// Nothing that the store has not answered.
    Nothing,
    /// The store has not answered yet.
    Asked,
    /// The same, and the connection's task waits for it.
    Awaited,
}

/// Why a reader pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// The connection ends, or is lost.
    Ended,
    /// The ring has passed it: it needs what the store has after this offset.
    Behind(Offset),
}

impl Reader {
    pub(super) fn new(
        connection: &Connection,
        format: Format,
        id: UserId,
        pace: Pace,
        verifier: Verifier,
    ) -> Self {
        let ConnectionSettings { max_message, .. } = *connection.settings;
        let dialect = format.dialect();
        let max_frame = if dialect == Dialect::Plain {
            max_message
        } else {
            max_say_bytes(max_message)
        };
        Self {
            decoder: Decoder::new(max_frame, format.is_deflated()),
            session: Session::new(dialect, id, pace, max_message, connection.hub.now()),
            verifier,
        }
    }

    /// Reads and acts until the client is silent. Ready when there is more to do than that.
    pub(super) fn poll(
        &mut self,
        connection: &Arc<Connection>,
        cx: &mut Context<'_>,
    ) -> Poll<Pause> {
        connection.waker.register(cx.waker());
        loop {
            let _writable = connection.poll_write(cx);
            let mut state = connection.lock();
            // Let go of when it is known whether there is more.
            let _due = state.due.take();
            if state.saying == Saying::Awaited {
                state.saying = Saying::Asked;
            }
            if state.lost.is_some() || state.outbox.farewell().is_some() {
                return Poll::Ready(Pause::Ended);
            }
            if let Some(after) = state.outbox.behind() {
                return Poll::Ready(Pause::Behind(after));
            }
            // Whoever does not read the answers is not asked for more questions.
            if state.outbox.waiting() >= connection.settings.send_buffer {
                return Poll::Pending;
            }
            if state.saying == Saying::Asked {
                state.saying = Saying::Awaited;
                return Poll::Pending;
            }
            drop(state);
            ready!(connection.stream.poll_read_ready(cx)).ok();
            SCRATCH.with_borrow_mut(|scratch| match receive(&connection.stream, scratch) {
                Ok(0) => connection.lock().lost = Some(Lost::Disconnected),
                Ok(length) => self.take(connection, &mut scratch[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => connection.lock().lost = Some(Lost::Disconnected),
            });
        }
    }

    /// Acts upon `bytes` from the client.
    pub(super) fn take(&mut self, connection: &Arc<Connection>, bytes: &mut [u8]) {
        let now = connection.hub.now();
        let mut lease = connection.lock().lease;
        let mut drafts = Vec::new();
        let mut answers = Vec::new();
        let (is_traced, mut frames) = (connection.is_traced(), Vec::new());
        let result = self.decoder.decode(bytes, |incoming| {
            let action = self.session.on(incoming, &lease, now);
            if is_traced {
                frames.push(trace::frame(&incoming, &action));
            }
            match action {
                Action::Nothing => ControlFlow::Continue(()),
                Action::Publish(draft) => {
                    drafts.push(draft);
                    ControlFlow::Continue(())
                }
                Action::History { before, limit } => {
                    // Or one read of many questions would make as many pages wait.
                    if std::mem::replace(&mut connection.lock().is_asking, true) {
                        answers.push(Action::Push(one_at_a_time()));
                    } else {
                        history(connection.clone(), before, limit);
                    }
                    ControlFlow::Continue(())
                }
                Action::Renew(token) => {
                    let id = self.session.id();
                    let (renewed, answer) = renew(
                        &self.verifier,
                        &token,
                        id,
                        &connection.room,
                        &connection.hub,
                    );
                    if let Some(renewed) = renewed {
                        lease = renewed;
                        connection.lock().lease = renewed;
                    }
                    answers.push(Action::Push(answer));
                    ControlFlow::Continue(())
                }
                answer @ Action::Close(_) => {
                    answers.push(answer);
                    ControlFlow::Break(())
                }
                answer => {
                    answers.push(answer);
                    ControlFlow::Continue(())
                }
            }
        });
        connection.trace_frames(frames);
        if let Err(violation) = result {
            answers.push(Action::Close(Farewell::Ours(violation.close_code())));
        }
        if !drafts.is_empty() {
            publish(connection, drafts);
        }
        let mut state = connection.lock();
        state.heartbeat.seen(now);
        if self.decoder.is_unfinished() {
            state.unfinished.get_or_insert(now);
        } else {
            state.unfinished = None;
        }
        state.partial = self.decoder.held();
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

fn answer_with(outbox: &mut Outbox, answer: Action) {
    match answer {
        Action::Push(push) => {
            if let Push::Error { code, .. } = push {
                metrics::frame_refused(code);
            }
            outbox.say(&push);
        }
        Action::Pong(payload) => outbox.push(Opcode::Pong, &payload),
        Action::Close(farewell) => outbox.close(farewell),
        Action::Nothing | Action::Publish(_) | Action::Renew(_) | Action::History { .. } => {}
    }
}

/// Publishes, and answers each keyed draft with an `ack` or an `error` once the store has spoken.
fn publish(connection: &Arc<Connection>, drafts: Vec<Draft>) {
    let keys: Vec<Option<Key>> = drafts.iter().map(|draft| draft.key().cloned()).collect();
    let sender = connection.clone();
    connection.lock().saying = Saying::Asked;
    connection
        .hub
        .publish(&connection.room, drafts, move |result, due| {
            answer(&sender, keys, result);
            let mut state = sender.lock();
            let is_awaited =
                std::mem::replace(&mut state.saying, Saying::Nothing) == Saying::Awaited;
            if is_awaited {
                state.due = Some(due);
                drop(state);
                sender.waker.wake();
            }
        });
}

/// Answers each keyed draft with an `ack` or an `error`.
fn answer(sender: &Connection, keys: Vec<Option<Key>>, result: Result<Vec<Stored>, StoreError>) {
    match result {
        Ok(stored) => {
            let acks: Vec<Push> = keys
                .into_iter()
                .zip(stored)
                .filter_map(|(key, stored)| Some(ack(key?, &stored)))
                .collect();
            if !acks.is_empty() {
                sender.with_outbox(|outbox| acks.iter().for_each(|ack| outbox.say(ack)));
            }
        }
        Err(error) => sender.with_outbox(|outbox| {
            if outbox.dialect() == Dialect::Plain {
                // Nothing else can be said to a plain client.
                outbox.close(Farewell::Ours(CloseCode::GoingAway));
            } else {
                keys.into_iter()
                    .for_each(|key| outbox.say(&unavailable(&error, key)));
            }
        }),
    }
}

fn ack(key: Key, stored: &Stored) -> Push {
    let (offset, duplicate) = match stored {
        Stored::New(frame) => (frame.offset(), false),
        Stored::Duplicate { offset, .. } => (*offset, true),
    };
    Push::Ack {
        key,
        offset,
        duplicate,
    }
}

pub(super) fn unavailable(error: &StoreError, key: Option<Key>) -> Push {
    let code = ErrorCode::StoreUnavailable;
    metrics::frame_refused(code);
    Push::Error {
        code,
        message: error.to_string(),
        retry: code.invites_retry(),
        key,
    }
}
