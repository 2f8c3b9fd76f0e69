//! `fanfare send`: sends one message, or each line of standard input. Each is stored once and in order.

mod lines;
mod report;

use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::Args;
use tokio::sync::mpsc::Receiver;
use tokio::time::sleep;

use self::lines::Line;
use self::report::SendReport;
use crate::cli::args::ServerArgs;
use crate::cli::client::{ReconnectingSocket, SocketEvent};
use crate::cli::output::note;
use crate::cli::{Failure, interrupted, start};
use crate::client::{Cursor, Outbox, OutgoingMessage, SendMode, SendStep, Settled};
use crate::protocol::{Body, Json, Key, Kind, Push, RoomName, UserId};
use crate::server::config::duration;

/// The arguments of the command.
#[derive(Debug, Args)]
#[command(
    about = "Publish to a room: one message, or one for each line of standard input",
    after_help = "Each message has its own key and is sent again until the server acknowledges it. When the server restarts or \
             the network fails, no message is lost, duplicated or reordered. Messages are sent as fast as the \
             server's rate limit allows.\n\
             A line that is empty, too long for the server, not UTF-8 or (with --parse-json) not JSON is reported on standard \
             error and skipped. \
             --timeout also limits the first connection.\n\
             Exits 0 if every line is stored, else 1."
)]
pub(super) struct SendArgs {
    #[arg(help = "The room: 1 to 128 of A-Z a-z 0-9 - _ . : @ ~ /", value_parser = RoomName::parse)]
    room: RoomName,
    /// The message [default: each line of standard input is a message]
    #[arg(value_parser = parse_text)]
    text: Option<String>,
    /// Id of the sender, 1 to 64 characters [default: the sub of the token, or anonymous]
    #[arg(long, value_name = "ID", value_parser = UserId::parse)]
    from: Option<UserId>,
    /// The application's own type of the messages: 1 to 64 of A-Z a-z 0-9 . _ : -
    #[arg(long, value_parser = Kind::parse)]
    kind: Option<Kind>,
    /// Send each message as the JSON value that it is, not as text
    #[arg(long)]
    parse_json: bool,
    /// Give up if no message was stored for this time, like 30s or 5m; 0 never gives up
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_timeout)]
    timeout: Duration,
    /// Print the ack of each stored message as a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Parses the text of a message.
fn parse_text(text: &str) -> Result<String, &'static str> {
    match text {
        "" => Err("a message is not empty"),
        text => Ok(text.to_owned()),
    }
}

/// Parses a timeout. The longest duration stands for none.
fn parse_timeout(text: &str) -> Result<Duration, String> {
    match text {
        "0" => Ok(Duration::MAX),
        text => duration(text).map_err(|allowed| format!("allowed is {allowed}, or 0 for never")),
    }
}

pub(super) fn run(args: SendArgs) -> Result<(), Failure> {
    let (server, credentials) = args.server.open()?;
    let from = match (args.from, &credentials) {
        (Some(from), _) => from,
        (None, Some(credentials)) => credentials.id.clone(),
        (None, None) => UserId::anonymous(),
    };

    let socket =
        ReconnectingSocket::new(server, args.room.clone(), Some(from.clone()), credentials);
    let sender = Sender {
        cursor: Cursor::new(None),
        outbox: Outbox::new(SendMode::Bulk),
        from,
        kind: args.kind,
        parses_json: args.parse_json,
        report: SendReport::new(args.room, args.text.is_none(), args.json),
        input: Input::Waiting { text: args.text },
        timeout: args.timeout,
        progress: Duration::ZERO,
        disconnect_reason: None,
    };
    start(send(socket, sender))
}

async fn send(mut socket: ReconnectingSocket, mut sender: Sender) -> anyhow::Result<()> {
    let result = tokio::select! {
        result = sender.run(&mut socket) => result,
        result = interrupted() => result.and_then(|()| match sender.unsettled() {
            None => Ok(()),
            Some(open) => Err(anyhow!("interrupted: {open}")),
        }),
    };

    socket.close().await;
    result.and_then(|()| sender.report.verdict())
}

/// The state of the command: messages read, in flight and reported.
struct Sender {
    cursor: Cursor,
    outbox: Outbox,
    from: UserId,
    kind: Option<Kind>,
    /// True if each line is a JSON value.
    parses_json: bool,
    input: Input,
    report: SendReport,
    /// The timeout without progress.
    timeout: Duration,
    /// The time of the last progress: a message was settled, or the outbox was empty.
    progress: Duration,
    /// The reason why there is no connection; `None` while connected.
    disconnect_reason: Option<String>,
}

/// The source of messages.
enum Input {
    /// The state before a server has announced its maximum message size. No input is read.
    Waiting {
        text: Option<String>,
    },
    Open(Receiver<Line>),
    Ended,
}

impl Sender {
    /// Runs until every message is settled.
    async fn run(&mut self, socket: &mut ReconnectingSocket) -> anyhow::Result<()> {
        while !matches!(self.input, Input::Ended) || !self.outbox.is_empty() {
            let wake = self.dispatch(socket);
            let deadline = self.deadline(socket.now());
            tokio::select! {
                event = socket.next(&self.cursor) => self.on_event(event?, socket.now()),
                line = next_line(&mut self.input), if self.outbox.has_capacity() => self.on_line(line, socket.now())?,
                () = sleep(wake.unwrap_or_default()), if wake.is_some() => {}
                () = sleep(deadline.unwrap_or_default()), if deadline.is_some() => bail!(self.gave_up()),
            }
        }
        Ok(())
    }

    /// Sends the messages that may be sent now. Returns the time until the next one.
    fn dispatch(&mut self, socket: &mut ReconnectingSocket) -> Option<Duration> {
        loop {
            match self.outbox.next(&self.cursor, socket.now()) {
                SendStep::Send(command) => socket.send(&command),
                SendStep::Settled(settled) => self.on_settled(settled, socket.now()),
                SendStep::Wait(time) => return Some(time),
                SendStep::Idle => return None,
            }
        }
    }

    fn on_event(&mut self, event: SocketEvent, now: Duration) {
        let pushes = match event {
            SocketEvent::Received(pushes) => pushes,
            SocketEvent::Disconnected(reason) => {
                self.cursor.on_disconnect();
                self.outbox.on_disconnect();
                // The reason is printed once per outage, not once per attempt.
                if self.disconnect_reason.is_none() {
                    note(&format!("{reason}; trying again"));
                }
                self.disconnect_reason = Some(reason);
                return;
            }
        };

        for push in &pushes {
            match push {
                Push::Welcome(welcome) => {
                    if self.disconnect_reason.take().is_some() {
                        note("connected again");
                    }
                    self.input.open(welcome.max_message);
                }
                Push::Subscribed(subscribed) => self.report.enter(&subscribed.epoch),
                _ => {}
            }
            // Received messages are not printed, but they move the position from which the next connection continues.
            let _ = self.cursor.on_push(push);
            if let Some(settled) = self.outbox.on_push(push, now) {
                self.on_settled(settled, now);
            }
        }
    }

    fn on_settled(&mut self, settled: Settled, now: Duration) {
        self.progress = now;
        self.report.settled(settled);
    }

    fn on_line(&mut self, line: Option<Line>, now: Duration) -> anyhow::Result<()> {
        let Some(Line { number, content }) = line else {
            self.input = Input::Ended;
            return Ok(());
        };

        if self.outbox.is_empty() {
            self.progress = now;
        }
        let body = match content {
            Ok(text) if self.parses_json => Json::parse(&text)
                .map(Body::Json)
                .map_err(|error| format!("{error}: not sent")),
            Ok(text) => Ok(Body::Text(text)),
            Err(error) => Err(error.to_string()),
        };
        match body {
            Ok(body) => self.outbox.enqueue(OutgoingMessage {
                id: number,
                // The key is random, and long enough to be unique.
                key: Key::parse(&format!("{:032x}", fastrand::u128(..)))?,
                from: self.from.clone(),
                body,
                kind: self.kind.clone(),
                reply_to: None,
                edits: None,
            }),
            Err(problem) => self.report.failed(number, &problem),
        }
        Ok(())
    }

    /// Returns the time until the command gives up, if a message is not settled.
    fn deadline(&self, now: Duration) -> Option<Duration> {
        let waits = !self.outbox.is_empty() || matches!(self.input, Input::Waiting { .. });
        let deadline = self.progress.checked_add(self.timeout).filter(|_| waits)?;
        Some(deadline.saturating_sub(now))
    }

    fn gave_up(&self) -> String {
        let open = self.unsettled().unwrap_or_default();
        let why = self
            .disconnect_reason
            .as_deref()
            .unwrap_or("the server is up but is not storing messages");
        format!("gave up after {:?}: {open}; {why}", self.timeout)
    }

    /// Describes the messages that are not settled.
    fn unsettled(&self) -> Option<String> {
        match (&self.input, self.outbox.len()) {
            (Input::Waiting { .. }, _) => Some("nothing was sent".to_owned()),
            (_, 0) => None,
            (_, 1) => Some("1 message is not acknowledged".to_owned()),
            (_, count) => Some(format!("{count} messages are not acknowledged")),
        }
    }
}

impl Input {
    /// Opens the input, once the server has announced `limit`, the maximum message size in bytes.
    fn open(&mut self, limit: usize) {
        if let Self::Waiting { text } = self {
            *self = Self::Open(match text.take() {
                Some(text) => lines::of_text(text, limit),
                None => lines::of_stdin(limit),
            });
        }
    }
}

/// Returns the next line, or `None` at the end. Waits for ever before the input is open.
async fn next_line(input: &mut Input) -> Option<Line> {
    match input {
        Input::Open(lines) => lines.recv().await,
        Input::Waiting { .. } | Input::Ended => std::future::pending().await,
    }
}
