//! The task that keeps the page connected. [`ClientConnection`] decides when to open, probe and close a socket; the task has the
//! socket and the timers, and updates the [`PageState`].
//!
//! The socket opens with the shown room. After the welcome, the task subscribes to the other rooms of the page.
//!
//! There is one socket at a time: the old one is closed before a new one opens. The task ends with the page, or when the
//! server forbids a reconnect.

use std::pin::pin;
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::future::{Either, select};
use futures::{FutureExt, StreamExt};
use gloo_timers::future::TimeoutFuture;
use leptos::prelude::*;

use super::connection_status::ConnectionStatus;
use super::page_state::PageState;
use super::room_access::RoomAccess;
use super::room_presence::RoomPresence;
use super::token_renewal::TokenRenewal;
use crate::browser::clock;
use crate::browser::socket::{self, Socket};
use crate::client::{Action, ClientConnection, NO_CLOSE_FRAME};
use crate::protocol::{
    CloseCode, Command, ErrorCode, Member, Push, Recovery, RoomName, RoomSelector, Subscribed,
    UnsubscribeCode, UserId,
};

/// The minimum time between two batches: messages are drawn at most twenty times a second.
const BATCH_INTERVAL: Duration = Duration::from_millis(50);

/// The maximum number of frames in a batch, so that drawing leaves time for the user's input. A slow machine draws
/// this many rows in a twentieth of a second.
const MAX_BATCH: usize = 25;

/// The pause before another attempt if the server refuses subscriptions for now.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// A command of the page.
#[derive(Clone, Debug)]
pub(super) enum ConnectionCommand {
    /// Sends a command to the server. Without a connection the command is dropped.
    Send(Command),
    /// Opens a new connection at once.
    Connect,
    /// Probes the connection. Without one, the next attempt begins at once.
    Probe,
    /// Closes the connection. The next attempt follows after a pause.
    Disconnect,
}

/// Keeps `page` connected, and executes `commands`.
pub(super) async fn keep_connected(
    page: PageState,
    commands: UnboundedReceiver<ConnectionCommand>,
) {
    let mut task = Task {
        page,
        commands,
        connection: ClientConnection::new(clock::since_start()),
        renewal: TokenRenewal::new(page),
        batch_due: Duration::ZERO,
        first_room: None,
        retry_due: None,
        was_subscribed: false,
    };
    let mut socket = None;

    loop {
        let ended = match task.connection.poll(clock::since_start()) {
            Action::Open => {
                socket = task.open().await;
                None
            }
            Action::Ping => {
                if let Some(socket) = &mut socket {
                    socket.send(&Command::Ping);
                }
                None
            }
            Action::Close(_) => Some(CLOSED),
            Action::Stop(code) => return page.on_refused(code),
            Action::Wait(time) => match &mut socket {
                Some(socket) => task.converse(socket, time).await,
                None => {
                    task.pause(time).await;
                    None
                }
            },
        };

        if let Some(ended) = ended {
            // The old socket is closed before a new one opens.
            socket = None;
            task.on_end(ended);
        }
    }
}

/// An event of an open connection.
enum ConnectionEvent {
    /// A frame of the server.
    Received(Push),
    /// The end of the connection.
    Closed,
    /// A command of the page.
    Command(ConnectionCommand),
    /// The frame with a new token.
    Renewal(Command),
    /// The time is over.
    Timeout,
}

struct Task {
    page: PageState,
    commands: UnboundedReceiver<ConnectionCommand>,
    connection: ClientConnection,
    renewal: TokenRenewal,
    /// The time of the next batch.
    batch_due: Duration,
    /// The room in the URL of the socket.
    first_room: Option<RoomName>,
    /// The time at which subscriptions that were refused for now are requested again.
    retry_due: Option<Duration>,
    /// True after the first `subscribed`.
    was_subscribed: bool,
}

/// The close code of a connection that ended, and the pause before the next attempt if the page chose it.
type ConnectionEnd = (u16, Option<Duration>);

/// The end of a connection that the page closed.
const CLOSED: ConnectionEnd = (NO_CLOSE_FRAME, None);

/// The end of a connection that another one follows at once.
const REPLACED: ConnectionEnd = (NO_CLOSE_FRAME, Some(Duration::ZERO));

impl Task {
    async fn open(&mut self) -> Option<Socket> {
        self.page.connection.set(ConnectionStatus::Connecting);
        if !self.renewal.prepare().await {
            self.on_close(CLOSED);
            return None;
        }

        let (room, query) = self.page.query();
        self.first_room = room;
        let address = socket::address(&self.page.base(), &query);

        match Socket::open(&address, self.page.sign_in.token().as_ref()).await {
            Ok(socket) => {
                self.renewal.on_open();
                self.connection.on_open(clock::since_start());
                self.batch_due = Duration::ZERO;
                Some(socket)
            }
            Err(code) => {
                let url = self.page.url("/api/v1/openapi.json");
                self.page.sign_in.on_connection_failed(&url).await;
                self.on_close((code, None));
                None
            }
        }
    }

    fn on_end(&mut self, ended: ConnectionEnd) {
        // Waiting commands were intended for this connection.
        while self.commands.next().now_or_never().flatten().is_some() {}
        self.retry_due = None;
        self.page.on_disconnect();
        self.on_close(ended);
    }

    fn on_close(&mut self, (mut code, mut pause): ConnectionEnd) {
        // The server refused the room in the URL, and with it the connection. The other rooms need one without that room.
        if code == CloseCode::NotAllowed.number()
            && let Some(room) = self.first_room.take()
            && self.page.refuse(&room)
        {
            (code, pause) = REPLACED;
        }

        // The endpoint may have another token.
        if code == CloseCode::BadToken.number() && self.page.sign_in.on_token_refused() {
            (code, pause) = CLOSED;
        }

        let now = clock::since_start();
        self.connection
            .on_close(code, pause, now, crate::browser::random());
    }

    /// Exchanges frames and commands for at most `time`. Returns the end of the connection, if it ended.
    async fn converse(&mut self, socket: &mut Socket, time: Duration) -> Option<ConnectionEnd> {
        let until_retry = self
            .retry_due
            .map(|due| due.saturating_sub(clock::since_start()));
        let time = until_retry.map_or(time, |until| until.min(time));

        match self.next_event(socket, time).await {
            ConnectionEvent::Received(first) => return self.receive(first, socket).await,
            ConnectionEvent::Closed => return Some((socket.close_code(), None)),
            ConnectionEvent::Command(ConnectionCommand::Send(command)) => {
                self.connection.on_command(&command, clock::since_start());
                socket.send(&command);
            }
            ConnectionEvent::Command(ConnectionCommand::Probe) => {
                self.connection.request_probe(clock::since_start());
            }
            ConnectionEvent::Command(ConnectionCommand::Disconnect) => return Some(CLOSED),
            ConnectionEvent::Command(ConnectionCommand::Connect) => return Some(REPLACED),
            ConnectionEvent::Renewal(command) => socket.send(&command),
            ConnectionEvent::Timeout => self.retry_subscriptions(socket),
        }

        None
    }

    /// Waits for the next event of the connection, for at most `time`.
    async fn next_event(&mut self, socket: &mut Socket, time: Duration) -> ConnectionEvent {
        let commands = select(self.commands.next(), socket.next());
        let renewal = pin!(self.renewal.next());
        let timers = select(renewal, TimeoutFuture::new(millis(time)));

        match select(commands, timers).await {
            Either::Left((Either::Left((Some(command), _)), _)) => {
                ConnectionEvent::Command(command)
            }
            Either::Left((Either::Right((Some(push), _)), _)) => ConnectionEvent::Received(push),
            Either::Left((Either::Left((None, _)) | Either::Right((None, _)), _)) => {
                ConnectionEvent::Closed
            }
            Either::Right((Either::Left((command, _)), _)) => ConnectionEvent::Renewal(command),
            Either::Right((Either::Right(_), _)) => ConnectionEvent::Timeout,
        }
    }

    /// Requests the subscriptions again that were refused for now, once that is due.
    fn retry_subscriptions(&mut self, socket: &mut Socket) {
        let now = clock::since_start();
        if self.retry_due.take_if(|due| *due <= now).is_none() {
            return;
        }
        for command in self.page.pending_subscriptions() {
            socket.send(&command);
        }
    }

    /// Handles `first` and the frames that follow soon as one batch. Returns the end of the connection, if it ended.
    async fn receive(&mut self, first: Push, socket: &mut Socket) -> Option<ConnectionEnd> {
        let (pushes, is_over) = batch(first, socket, self.batch_due).await;
        let is_full = pushes.len() == MAX_BATCH;
        let now = clock::since_start();
        for push in &pushes {
            if let Push::Welcome(welcome) = push
                && self.page.on_welcome(welcome)
            {
                return Some(REPLACED);
            }
            self.connection.on_push(push, now);
            self.on_push(push, socket);
        }

        self.page.set_round_trip(self.connection.round_trip());
        self.page.receive(&pushes);

        self.batch_due = clock::since_start() + BATCH_INTERVAL;
        if is_over {
            return Some((socket.close_code(), None));
        }
        if is_full {
            // More frames may have arrived. The browser handles the user's input first.
            TimeoutFuture::new(0).await;
        }
        None
    }

    /// Updates the state of the connection, the access to the rooms and the users in them. The lists handle messages.
    fn on_push(&mut self, push: &Push, socket: &mut Socket) {
        let page = self.page;
        self.renewal.on_push(push);
        if let Push::Error {
            retry: true,
            key: None,
            room: Some(room),
            ..
        } = push
            && page
                .room(room.as_str())
                .is_some_and(|room| !room.is_subscribed())
        {
            self.retry_due = Some(clock::since_start() + RETRY_PAUSE);
        }

        match push {
            Push::Welcome(_) => {
                for command in page.subscriptions(self.first_room.as_ref()) {
                    socket.send(&command);
                }
            }
            Push::Subscribed(subscribed) => self.on_subscribed(subscribed),
            Push::Unsubscribed {
                room,
                code,
                message,
            } => self.on_unsubscribed(room.as_str(), *code, message, socket),
            Push::Presence {
                room,
                count,
                joined,
                left,
                ..
            } => self.on_presence(room.as_str(), *count, &ids(joined), left),
            Push::Error {
                code: ErrorCode::StoreUnavailable,
                key: None,
                ..
            } => page.connection.set(ConnectionStatus::Stalled),
            Push::Error {
                code: ErrorCode::NotAllowed,
                key: None,
                room,
                message,
                ..
            } => self.on_not_allowed(room.as_ref(), message),
            Push::Closed { room, .. } => {
                if let Some(room) = page.room(room.as_str()) {
                    room.access.set(RoomAccess::Ended);
                }
            }
            Push::Message(_) | Push::Ack { .. } => page.end_stall(),
            _ => {}
        }
    }

    fn on_presence(&self, name: &str, count: usize, joined: &[UserId], left: &[UserId]) {
        // The server sends presence again after an outage of the store.
        self.page.end_stall();
        if let Some(room) = self.page.room(name) {
            room.present.update(|present| {
                if let Some(present) = present {
                    present.update(count, joined, left);
                }
            });
        }
    }

    /// Records that the server refuses `room`, or the room in the URL.
    fn on_not_allowed(&self, room: Option<&RoomSelector>, message: &str) {
        let name = room.map(RoomSelector::as_str);
        let first = self.first_room.as_ref().map(RoomName::as_str);
        if let Some(room) = name.or(first).and_then(|name| self.page.room(name))
            && !room.is_subscribed()
        {
            room.on_refused(None, message);
        }
    }

    fn on_subscribed(&mut self, subscribed: &Subscribed) {
        let page = self.page;
        let Some(room) = page.room(subscribed.room.as_str()) else {
            return;
        };
        room.access.set(if subscribed.closed {
            RoomAccess::Ended
        } else {
            page.granted_access(&room.name())
        });
        room.present.set(Some(RoomPresence {
            count: subscribed.count,
            names: subscribed.members.as_ref().map(|members| ids(members)),
        }));

        // The first connection continues after the rendered history, which is not a reconnect.
        let is_first_room = self.first_room.as_ref() == Some(&room.name());
        if is_first_room {
            let is_first = !std::mem::replace(&mut self.was_subscribed, true);
            if subscribed.recovery != Recovery::Fresh && !is_first {
                page.stats.update(|stats| stats.resumes += 1);
            }
        }
    }

    fn on_unsubscribed(
        &mut self,
        name: &str,
        code: UnsubscribeCode,
        message: &str,
        socket: &mut Socket,
    ) {
        let Some(room) = self.page.room(name) else {
            // The user has left the room.
            return;
        };
        if code == UnsubscribeCode::RoomDeleted {
            return room.on_deleted();
        }
        room.on_refused(Some(code), message);

        // A client that was removed from a room may come back. The others get the reason of the operator.
        socket.send(&room.subscribe());
    }

    /// Waits for at most `time`: until the next second of the countdown, or a command.
    async fn pause(&mut self, time: Duration) {
        let seconds = time.as_secs_f64().ceil() as u32;
        let is_online = window().navigator().on_line();
        self.page.connection.set(if is_online {
            ConnectionStatus::Waiting { seconds }
        } else {
            ConnectionStatus::Offline
        });

        let rest = Duration::from_secs(u64::from(seconds.saturating_sub(1)));
        let timer = TimeoutFuture::new(millis(time.saturating_sub(rest)));
        if let Either::Left((Some(ConnectionCommand::Connect | ConnectionCommand::Probe), _)) =
            select(self.commands.next(), timer).await
        {
            self.connection.request_probe(clock::since_start());
        }
    }
}

/// Returns the ids of `members`.
fn ids(members: &[Member]) -> Vec<UserId> {
    members.iter().map(|member| member.id.clone()).collect()
}

/// Returns `first` and the frames that arrive until `due`, and true if the connection ended.
async fn batch(first: Push, socket: &mut Socket, due: Duration) -> (Vec<Push>, bool) {
    let mut pushes = vec![first];
    let left = due.saturating_sub(clock::since_start());
    let mut timer = (!left.is_zero()).then(|| TimeoutFuture::new(millis(left)));

    while pushes.len() < MAX_BATCH {
        let next = match &mut timer {
            Some(timer) => match select(socket.next(), timer).await {
                Either::Left((next, _)) => Some(next),
                Either::Right(_) => None,
            },
            None => socket.next().now_or_never(),
        };
        match next {
            Some(Some(push)) => pushes.push(push),
            Some(None) => return (pushes, true),
            None => break,
        }
    }
    (pushes, false)
}

/// Returns `time` in milliseconds for a timer of the browser, plus one so that it does not fire too early.
fn millis(time: Duration) -> u32 {
    time.as_millis() as u32 + 1
}
