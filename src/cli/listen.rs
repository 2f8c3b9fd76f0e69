//! `fanfare listen`: prints the messages of a room, one per line, until standard output is closed.
//!
//! Messages go to standard output (with `--json` gaps too), everything else to standard error. A slow reader of the
//! output slows down the reading from the server: no frame is received before the previous one was written.

use std::io;

use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

use crate::cli::args::ServerArgs;
use crate::cli::client::{ReconnectingSocket, SocketEvent};
use crate::cli::format::{self, Style};
use crate::cli::output::{OutputError, is_coloured, note};
use crate::cli::{Failure, interrupted, start};
use crate::client::{Cursor, ReadPosition, Update};
use crate::protocol::{Push, RoomName};

/// The arguments of the command.
#[derive(Debug, Args)]
#[command(
    about = "Print the messages of a room, one per line",
    after_help = "Reconnects by itself when the server restarts or the network fails, without losing or repeating a line. \
             Messages that the server no longer has are reported as a gap on standard error.\n\
             Exits 0 on Ctrl-C or when the reader of its output is gone, and 1 if the server refuses the connection \
             for good.\n\
             Colours are used on a terminal only, and not with NO_COLOR."
)]
pub(super) struct ListenArgs {
    #[arg(help = "The room: 1 to 128 of A-Z a-z 0-9 - _ . : @ ~ /", value_parser = RoomName::parse)]
    room: RoomName,
    /// Start after this OFFSET or EPOCH:OFFSET; 0 prints all stored messages [default: new messages only]
    #[arg(long, value_name = "POSITION")]
    after: Option<ReadPosition>,
    /// Print each message and each gap as a JSON object of fanfare.v1
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// The format of the output.
#[derive(Clone, Copy, Debug)]
enum Shown {
    Json,
    Line(Style),
}

pub(super) fn run(args: ListenArgs) -> Result<(), Failure> {
    let (server, credentials) = args.server.open()?;
    let socket = ReconnectingSocket::new(server, args.room.clone(), None, credentials);
    let shown = match (args.json, is_coloured()) {
        (true, _) => Shown::Json,
        (false, true) => Shown::Line(Style::Coloured),
        (false, false) => Shown::Line(Style::Plain),
    };
    start(listen(socket, args.room, Cursor::new(args.after), shown))
}

async fn listen(
    mut socket: ReconnectingSocket,
    room: RoomName,
    cursor: Cursor,
    shown: Shown,
) -> anyhow::Result<()> {
    let result = tokio::select! {
        result = follow(&mut socket, &room, cursor, shown) => result,
        result = interrupted() => result,
        () = unread() => Ok(()),
    };

    socket.close().await;
    result
}

/// Writes each update, until the server forbids a reconnect or standard output is closed.
async fn follow(
    socket: &mut ReconnectingSocket,
    room: &RoomName,
    mut cursor: Cursor,
    shown: Shown,
) -> anyhow::Result<()> {
    let mut out = tokio::io::stdout();
    let mut is_away = false;
    loop {
        match socket.next(&cursor).await? {
            SocketEvent::Received(pushes) => {
                if std::mem::take(&mut is_away) {
                    note("connected again");
                }

                let lines: String = pushes
                    .iter()
                    .flat_map(|push| cursor.on_push(push))
                    .filter_map(|update| show(room, update, shown))
                    .collect();
                let written = match out.write_all(lines.as_bytes()).await {
                    Ok(()) => out.flush().await,
                    failed => failed,
                };
                written.map_err(OutputError::new)?;
            }
            SocketEvent::Disconnected(reason) => {
                cursor.on_disconnect();
                // The message is printed once per outage, not once per attempt.
                if !std::mem::replace(&mut is_away, true) {
                    note(&format!("{reason}; trying again"));
                }
            }
        }
    }
}

/// Returns the line of `update` in `room` for standard output, and reports gaps on standard error.
fn show(room: &RoomName, update: Update, shown: Shown) -> Option<String> {
    let push = match (update, shown) {
        // A gap follows, and is reported.
        (Update::Restarted, _) => return None,
        (Update::Message(publication), Shown::Line(style)) => {
            return Some(format::message(&publication, style));
        }
        (Update::Message(publication), Shown::Json) => Push::Message(publication),
        (Update::Deleted { offset, .. }, Shown::Line(_)) => {
            note(&format!("message {offset} was deleted"));
            return None;
        }
        (Update::Deleted { offset, at }, Shown::Json) => Push::Deleted {
            room: room.clone(),
            offset,
            at,
        },
        (
            Update::Gap {
                after,
                before,
                count,
                reason,
            },
            shown,
        ) => {
            note(&format::gap(count, reason));
            let Shown::Json = shown else { return None };
            Push::Gap {
                room: room.clone().into(),
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
async fn unread() {
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
