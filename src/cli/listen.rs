//! `fanfare listen`: prints the messages of rooms, one per line, until standard output is closed.
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
use crate::protocol::{Push, RoomName, RoomSelector};

/// The arguments of the command.
#[derive(Debug, Args)]
#[command(
    about = "Print the messages of rooms, one per line",
    after_help = "Reconnects by itself when the server restarts or the network fails, without losing or repeating a line. \
             Messages that the server no longer has are reported as a gap on standard error.\n\
             Exits 0 on Ctrl-C or when the reader of its output is gone, and 1 if the server refuses the connection \
             for good.\n\
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
    #[command(flatten)]
    server: ServerArgs,
}

/// A room or pattern, and the position in it.
struct Reading {
    room: RoomSelector,
    cursor: Cursor,
}

/// The format of the output.
#[derive(Clone, Copy, Debug)]
enum Shown {
    Json,
    Line(Style),
}

pub(super) fn run(args: ListenArgs) -> Result<(), Failure> {
    let (server, credentials) = args.server.open()?;
    let shown = match (args.json, is_coloured()) {
        (true, _) => Shown::Json,
        (false, true) => Shown::Line(Style::Coloured),
        (false, false) => Shown::Line(Style::Plain),
    };
    let rooms = args.rooms.into_iter();
    let rooms: Vec<Reading> = rooms
        .map(|room| Reading::new(room, args.after.clone()))
        .collect();
    // A single room is in the URL, so that a refusal ends the command.
    let only = match rooms.as_slice() {
        [
            Reading {
                room: RoomSelector::Room(room),
                ..
            },
        ] => Some(room.clone()),
        _ => None,
    };
    let socket = ReconnectingSocket::new(server, only, None, credentials);
    start(listen(socket, rooms, shown))
}

async fn listen(
    mut socket: ReconnectingSocket,
    rooms: Vec<Reading>,
    shown: Shown,
) -> anyhow::Result<()> {
    let result = tokio::select! {
        result = follow(&mut socket, rooms, shown) => result,
        result = interrupted() => result,
        () = unread() => Ok(()),
    };

    socket.close().await;
    result
}

/// Writes each update, until the server forbids a reconnect or standard output is closed.
async fn follow(
    socket: &mut ReconnectingSocket,
    mut rooms: Vec<Reading>,
    shown: Shown,
) -> anyhow::Result<()> {
    let mut out = tokio::io::stdout();
    let mut is_away = false;
    loop {
        match socket.next(&rooms[0].cursor).await? {
            SocketEvent::Received(pushes) => {
                if std::mem::take(&mut is_away) {
                    note("connected again");
                }

                let mut lines = String::new();
                for push in &pushes {
                    on_push(socket, &rooms, push)?;
                    lines.extend(
                        updates(&mut rooms, push)
                            .into_iter()
                            .filter_map(|(room, update)| {
                                show(&room, update, shown, rooms.len() > 1)
                            }),
                    );
                }
                let written = match out.write_all(lines.as_bytes()).await {
                    Ok(()) => out.flush().await,
                    failed => failed,
                };
                written.map_err(OutputError::new)?;
            }
            SocketEvent::Disconnected(reason) => {
                rooms.iter_mut().for_each(|one| one.cursor.on_disconnect());
                // The message is printed once per outage, not once per attempt.
                if !std::mem::replace(&mut is_away, true) {
                    note(&format!("{reason}; trying again"));
                }
            }
        }
    }
}

/// Subscribes to the rooms after a welcome, unless the URL has the only one.
///
/// # Errors
/// If the server refuses or ends a subscription.
fn on_push(socket: &mut ReconnectingSocket, rooms: &[Reading], push: &Push) -> anyhow::Result<()> {
    match push {
        Push::Welcome(_) if !socket.has_room() => {
            for Reading { room, cursor } in rooms {
                socket.send(&cursor.subscribe(room.clone()));
            }
        }
        Push::Error {
            message,
            retry: false,
            room: Some(room),
            ..
        } if !socket.has_room() => anyhow::bail!("cannot read {room}: {message}"),
        Push::Unsubscribed { room, message, .. } if !socket.has_room() => {
            anyhow::bail!("cannot read {room}: {message}")
        }
        _ => {}
    }
    Ok(())
}

/// Returns what `push` changes, each with its room. A message of several subscriptions is returned once.
fn updates(rooms: &mut [Reading], push: &Push) -> Vec<(RoomSelector, Update)> {
    let Some(name) = push.room() else {
        return Vec::new();
    };

    let mut updates = Vec::new();
    for Reading { room, cursor } in rooms.iter_mut().filter(|one| one.has(name)) {
        let of_room = cursor.on_push(push);
        if updates.is_empty() {
            updates = of_room
                .into_iter()
                .map(|update| (room.clone(), update))
                .collect();
        }
    }
    updates
}

impl Reading {
    fn new(room: RoomSelector, position: Option<ReadPosition>) -> Self {
        let cursor = match room {
            RoomSelector::Room(_) => Cursor::new(position),
            RoomSelector::Pattern(_) => Cursor::in_pattern(position),
        };
        Self { room, cursor }
    }

    /// Returns true if a frame about `name`, a room or a pattern, concerns this reading.
    fn has(&self, name: &str) -> bool {
        self.room.as_str() == name
            || RoomName::parse(name).is_ok_and(|name| self.room.matches(&name))
    }
}

/// Returns the line of `update` in `room` for standard output, and reports gaps on standard error. The line of a message
/// begins with its room if there `are_several`.
fn show(room: &RoomSelector, update: Update, shown: Shown, are_several: bool) -> Option<String> {
    let push = match (update, shown) {
        // A gap follows, and is reported.
        (Update::Restarted, _) => return None,
        (Update::Message(publication), Shown::Line(style)) => {
            let line = format::message(&publication, style);
            let is_named = are_several || matches!(room, RoomSelector::Pattern(_));
            return Some(if is_named {
                format!("{} {line}", publication.room)
            } else {
                line
            });
        }
        (Update::Message(publication), Shown::Json) => Push::Message(publication),
        (Update::Deleted { offset, .. }, Shown::Line(_)) => {
            note(&format!("message {offset} was deleted"));
            return None;
        }
        (Update::Deleted { room, offset, at }, Shown::Json) => Push::Deleted { room, offset, at },
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
