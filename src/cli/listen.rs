//! `fanfare listen`: prints the messages of rooms, one per line, until standard output or all rooms are closed.
//!
//! Messages go to standard output (with `--json` gaps too), everything else to standard error. A slow reader of the
//! output slows down the reading from the server: no frame is received before the previous one was written. With
//! `--exec`, a command handles the messages instead.

use std::io;
use std::path::PathBuf;

use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

use crate::cli::args::{ServerArgs, not_empty};
use crate::cli::client::{ReconnectingSocket, SocketEvent, SocketSubscriptions};
use crate::cli::cursor_file::CursorFile;
use crate::cli::format::{self, Style};
use crate::cli::handler::Handler;
use crate::cli::output::{OutputError, is_coloured, note};
use crate::cli::{Failure, interrupted, start};
use crate::client::{ReadPosition, Update};
use crate::protocol::{Push, RoomSelector};

/// The arguments of the command.
#[derive(Debug, Args)]
#[command(
    about = "Print the messages of rooms, one per line",
    after_help = "Reconnects by itself when the server restarts or the network fails, without losing or repeating a line. \
             Messages that the server no longer has are reported as a gap on standard error.\n\
             Exits 0 when all rooms are closed, on Ctrl-C or when the reader of its output is gone, and 1 if a room is \
             deleted or the server refuses the connection for good.\n\
             Colours are used on a terminal only, and not with NO_COLOR."
)]
pub(super) struct ListenArgs {
    #[arg(
        help = "The rooms: names of 1 to 128 of A-Z a-z 0-9 - _ . : @ ~ /, or patterns like 'builds-*'",
        value_name = "ROOM",
        required = true,
        value_parser = RoomSelector::parse
    )]
    rooms: Vec<RoomSelector>,
    /// Start after this OFFSET or EPOCH:OFFSET; 0 prints all stored messages [default: new messages only]
    #[arg(long, value_name = "POSITION")]
    after: Option<ReadPosition>,
    /// Print each message and each gap as a JSON object of fanfare.v1
    #[arg(long)]
    json: bool,
    /// Keep the position in FILE: continue there, and move it when messages were printed or handled
    #[arg(long, value_name = "FILE")]
    cursor: Option<PathBuf>,
    /// Run COMMAND in a shell for each batch of messages, with their lines on its standard input, instead of printing them;
    /// exit code 0 moves the cursor, any other repeats the batch after a pause
    #[arg(long, value_name = "COMMAND", requires = "cursor", value_parser = not_empty())]
    exec: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// The format of the output.
#[derive(Clone, Copy, Debug)]
enum OutputFormat {
    Json,
    Line(Style),
}

pub(super) fn run(args: ListenArgs) -> Result<(), Failure> {
    let (server, credentials) = args.server.open()?;
    let output = match (args.json, is_coloured()) {
        (true, _) => OutputFormat::Json,
        (false, true) => OutputFormat::Line(Style::Coloured),
        (false, false) => OutputFormat::Line(Style::Plain),
    };
    let cursor = args.cursor.map(CursorFile::open).transpose()?;
    let stored = cursor.as_ref().and_then(CursorFile::position);
    let subscriptions = SocketSubscriptions::new(args.rooms, stored.or(args.after.as_ref()));
    // A single room is in the URL, so that a refusal ends the command.
    let only = subscriptions.only_room().cloned();
    let socket = ReconnectingSocket::new(server, only, None, credentials);
    let sink = LineSink {
        handler: args.exec.map(Handler::new),
        cursor,
    };
    start(listen(socket, subscriptions, output, sink))
}

/// The destination of the lines, and the position up to which they got there.
struct LineSink {
    /// The command that handles them; `None` for standard output.
    handler: Option<Handler>,
    cursor: Option<CursorFile>,
}

impl LineSink {
    /// Writes `lines`, or has them handled, and then moves the cursor to `position`.
    async fn write(&mut self, lines: &str, position: Option<&ReadPosition>) -> anyhow::Result<()> {
        match &self.handler {
            Some(handler) if !lines.is_empty() => handler.handle(lines).await,
            Some(_) => {}
            None => {
                let mut out = tokio::io::stdout();
                let written = match out.write_all(lines.as_bytes()).await {
                    Ok(()) => out.flush().await,
                    failed => failed,
                };
                written.map_err(OutputError::new)?;
            }
        }

        match (&mut self.cursor, position) {
            (Some(cursor), Some(position)) => cursor.save(position),
            _ => Ok(()),
        }
    }
}

async fn listen(
    mut socket: ReconnectingSocket,
    subscriptions: SocketSubscriptions,
    output: OutputFormat,
    sink: LineSink,
) -> anyhow::Result<()> {
    let is_printed = sink.handler.is_none();
    let result = tokio::select! {
        result = follow(&mut socket, subscriptions, output, sink) => result,
        result = interrupted() => result,
        () = output_closed(), if is_printed => Ok(()),
    };

    socket.close().await;
    result
}

/// Writes each update, until all rooms are closed, the server forbids a reconnect, or standard output is closed.
async fn follow(
    socket: &mut ReconnectingSocket,
    mut subscriptions: SocketSubscriptions,
    output: OutputFormat,
    mut sink: LineSink,
) -> anyhow::Result<()> {
    let are_several = subscriptions.len() > 1;
    let mut is_disconnected = false;
    loop {
        match socket.next(subscriptions.first()).await? {
            SocketEvent::Received(pushes) => {
                if std::mem::take(&mut is_disconnected) {
                    note("connected again");
                }

                let mut lines = String::new();
                for push in &pushes {
                    let updates = subscriptions.on_push(socket, push)?.into_iter();
                    lines.extend(
                        updates
                            .filter_map(|(room, update)| show(&room, update, output, are_several)),
                    );
                    if let Push::Closed { room, .. } = push {
                        note(&format!("the room {room} is closed"));
                        if let OutputFormat::Json = output {
                            lines.push_str(&(format::escape_json(&push.encode()) + "\n"));
                        }
                    }
                }
                sink.write(&lines, subscriptions.position()).await?;
                if subscriptions.are_closed() {
                    return Ok(());
                }
            }
            SocketEvent::Disconnected(reason) => {
                subscriptions.on_disconnect();
                // The message is printed once per outage, not once per attempt.
                if !std::mem::replace(&mut is_disconnected, true) {
                    note(&format!("{reason}; trying again"));
                }
            }
        }
    }
}

/// Returns the line of `update` in `room` for standard output, and reports gaps on standard error. The line of a message
/// begins with its room if there `are_several`.
fn show(
    room: &RoomSelector,
    update: Update,
    output: OutputFormat,
    are_several: bool,
) -> Option<String> {
    let push = match (update, output) {
        // A gap follows, and is reported.
        (Update::Restarted, _) => return None,
        (Update::Message(publication), OutputFormat::Line(style)) => {
            let line = format::message(&publication, style);
            let is_named = are_several || matches!(room, RoomSelector::Pattern(_));

            return Some(if is_named {
                format!("{} {line}", publication.room)
            } else {
                line
            });
        }
        (Update::Message(publication), OutputFormat::Json) => Push::Message(publication),
        (Update::Deleted { offset, .. }, OutputFormat::Line(_)) => {
            note(&format!("message {offset} was deleted"));
            return None;
        }
        (Update::Deleted { room, offset, at }, OutputFormat::Json) => {
            Push::Deleted { room, offset, at }
        }
        (
            Update::Gap {
                after,
                before,
                count,
                reason,
            },
            output,
        ) => {
            note(&format::gap(count, reason));
            let OutputFormat::Json = output else {
                return None;
            };

            Push::Gap {
                room: room.clone(),
                after,
                before,
                count,
                reason,
            }
        }
    };

    Some(format::escape_json(&push.encode()) + "\n")
}

/// Waits until standard output is closed, even while there are no messages.
async fn output_closed() {
    let (gone, is_gone) = oneshot::channel();
    // The thread is not joined, because it waits for ever if the output is a file.
    std::thread::spawn(move || {
        // No event is requested, because errors and hang-ups are always reported.
        let out = io::stdout();
        let watch = || poll(&mut [PollFd::new(&out, PollFlags::empty())], None);
        if retry_on_intr(watch).is_ok() {
            // Fails only if the command has ended.
            let _ = gone.send(());
        }
    });

    if is_gone.await.is_err() {
        std::future::pending().await
    }
}
