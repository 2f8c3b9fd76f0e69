//! The task that keeps the page connected. [`Connection`] decides when to open, probe and close a socket; the task has the
//! socket and the timers, and updates the [`RoomState`].
//!
//! There is one socket at a time: the old one is closed before a new one opens. The task ends with the page, or when the
//! server forbids a reconnect.

use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::future::{Either, select};
use futures::{FutureExt, StreamExt};
use gloo_timers::future::TimeoutFuture;
use leptos::prelude::*;

use super::{ConnectionStatus, RoomPresence, RoomState};
use crate::browser::clock;
use crate::browser::socket::{self, Socket};
use crate::client::{Action, Connection, NO_CLOSE_FRAME};
use crate::protocol::{
    Command, ErrorCode, Member, Push, Recovery, Subscribed, Token, UserId, Welcome,
};

/// The minimum time between two batches: messages are drawn at most twenty times a second.
const BATCH_INTERVAL: Duration = Duration::from_millis(50);

/// The maximum number of frames in a batch, so that drawing leaves time for the user's input. A slow machine draws
/// this many rows in a twentieth of a second.
const MAX_BATCH: usize = 25;

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

/// Keeps `live` connected, with `token` if there is one, and executes `commands`.
pub(super) async fn keep_connected(
    live: RoomState,
    token: Option<Token>,
    commands: UnboundedReceiver<ConnectionCommand>,
) {
    let mut task = Task {
        live,
        token,
        commands,
        connection: Connection::new(clock::since_start()),
        batch_due: Duration::ZERO,
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
            Action::Stop(code) => return live.on_refused(code),
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

struct Task {
    live: RoomState,
    token: Option<Token>,
    commands: UnboundedReceiver<ConnectionCommand>,
    connection: Connection,
    /// The time of the next batch.
    batch_due: Duration,
    /// True after the first `subscribed`.
    was_subscribed: bool,
}

/// The close code of a connection that ended, and the pause before the next attempt if the page chose it.
type ConnectionEnd = (u16, Option<Duration>);

/// The end of a connection that the page closed.
const CLOSED: ConnectionEnd = (NO_CLOSE_FRAME, None);

impl Task {
    async fn open(&mut self) -> Option<Socket> {
        self.live.connection.set(ConnectionStatus::Connecting);
        let address = socket::address(&self.live.base(), &self.live.query());

        match Socket::open(&address, self.token.as_ref()).await {
            Ok(socket) => {
                self.connection.on_open(clock::since_start());
                self.batch_due = Duration::ZERO;
                Some(socket)
            }
            Err(code) => {
                self.on_close((code, None));
                None
            }
        }
    }

    fn on_end(&mut self, ended: ConnectionEnd) {
        // Waiting commands were intended for this connection.
        while self.commands.next().now_or_never().flatten().is_some() {}
        self.live.on_disconnect();
        self.on_close(ended);
    }

    fn on_close(&mut self, (code, pause): ConnectionEnd) {
        let now = clock::since_start();
        self.connection
            .on_close(code, pause, now, crate::browser::random());
    }

    /// Exchanges frames and commands for at most `time`. Returns the end of the connection, if it ended.
    async fn converse(&mut self, socket: &mut Socket, time: Duration) -> Option<ConnectionEnd> {
        let next = select(self.commands.next(), socket.next());
        match select(next, TimeoutFuture::new(millis(time))).await {
            Either::Left((Either::Left((Some(command), _)), _)) => match command {
                ConnectionCommand::Send(command) => socket.send(&command),
                ConnectionCommand::Probe => self.connection.request_probe(clock::since_start()),
                ConnectionCommand::Disconnect => return Some(CLOSED),
                ConnectionCommand::Connect => return Some((NO_CLOSE_FRAME, Some(Duration::ZERO))),
            },
            Either::Left((Either::Right((Some(first), _)), _)) => {
                return self.receive(first, socket).await;
            }
            Either::Left((Either::Left((None, _)) | Either::Right((None, _)), _)) => {
                return Some((socket.close_code(), None));
            }
            Either::Right(_) => {}
        }

        None
    }

    /// Handles `first` and the frames that follow soon as one batch. Returns the end of the connection, if it ended.
    async fn receive(&mut self, first: Push, socket: &mut Socket) -> Option<ConnectionEnd> {
        let (pushes, is_over) = batch(first, socket, self.batch_due).await;
        let is_full = pushes.len() == MAX_BATCH;
        let now = clock::since_start();
        let mut ended = None;
        for push in &pushes {
            self.connection.on_push(push, now);
            self.on_push(push);
            // The page reads one room, so its connection ends with the subscription.
            if let Push::Unsubscribed { code, .. } = push {
                ended = Some((code.close_code().number(), None));
            }
        }

        self.live.set_round_trip(self.connection.round_trip());
        self.live.receive(pushes);

        self.batch_due = clock::since_start() + BATCH_INTERVAL;
        if is_over {
            return Some((socket.close_code(), None));
        }
        if ended.is_some() {
            return ended;
        }
        if is_full {
            // More frames may have arrived. The browser handles the user's input first.
            TimeoutFuture::new(0).await;
        }
        None
    }

    /// Updates the state of the connection and the users in the room. The list handles messages.
    fn on_push(&mut self, push: &Push) {
        let live = self.live;
        match push {
            Push::Welcome(welcome) => self.on_welcome(welcome),
            Push::Subscribed(subscribed) => self.on_subscribed(subscribed),
            Push::Presence {
                count,
                joined,
                left,
                ..
            } => {
                // The server sends presence again after an outage of the store.
                live.end_stall();
                live.present.update(|present| {
                    if let Some(present) = present {
                        present.update(*count, &ids(joined), left);
                    }
                });
            }
            Push::Error {
                code: ErrorCode::StoreUnavailable,
                key: None,
                ..
            } => live.connection.set(ConnectionStatus::Stalled),
            Push::Message(_) | Push::Ack { .. } => live.end_stall(),
            _ => {}
        }
    }

    fn on_welcome(&mut self, welcome: &Welcome) {
        let live = self.live;
        live.connection.set(ConnectionStatus::Live);
        if !live.is_open {
            live.me.set(Some(welcome.id.clone()));
        }
    }

    fn on_subscribed(&mut self, subscribed: &Subscribed) {
        let live = self.live;
        live.present.set(Some(RoomPresence {
            count: subscribed.count,
            names: subscribed.members.as_ref().map(|members| ids(members)),
        }));

        // The first connection continues after the rendered history, which is not a reconnect.
        let is_first = !std::mem::replace(&mut self.was_subscribed, true);
        if subscribed.recovery != Recovery::Fresh && !is_first {
            live.stats.update(|stats| stats.resumes += 1);
        }
    }

    /// Waits for at most `time`: until the next second of the countdown, or a command.
    async fn pause(&mut self, time: Duration) {
        let seconds = time.as_secs_f64().ceil() as u32;
        let is_online = window().navigator().on_line();
        self.live.connection.set(if is_online {
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

/// Returns `first` and the frames that arrive until `due`. Reports whether the connection ended.
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
