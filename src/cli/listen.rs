//! `fanfare listen`: what is said in a room, a line for each message, for as long as anybody reads it.
//!
//! Standard output gets messages (with `--json` gaps too), standard error everything else. Whoever reads slowly
//! is a slow reader of the room: nothing is read from the server that was not yet written.

use std::io;

use clap::{Arg, ArgAction, ArgMatches, Command};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

use crate::cli::client::{
    Pass, ReconnectingSocket, Remote, SocketEvent, ca_flag, token_flag, url_flag,
};
use crate::cli::output::{OutputError, is_coloured, note};
use crate::cli::text::{self, Style};
use crate::cli::{Failure, Mistakes, interrupted, start};
use crate::client::{Cursor, ReadPosition, Update};
use crate::protocol::Push;
use crate::protocol::RoomName;

/// The subcommand's arguments.
pub(super) fn command() -> Command {
    Command::new("listen")
        .about("Print the messages of a room, one per line")
        .arg(Arg::new("room").value_name("ROOM").required(true).help("The room: 1 to 64 of a-z 0-9 - _ ."))
        .arg(Arg::new("after").long("after").value_name("POSITION").help(
            "Start after this OFFSET or EPOCH:OFFSET; 0 prints all stored messages [default: new messages only]",
        ))
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help(
            "Print each message and each gap as a JSON object of fanfare.v1",
        ))
        .arg(url_flag())
        .arg(ca_flag())
        .arg(token_flag())
        .after_help(
            "Reconnects by itself when the server restarts or the network fails, without losing or repeating a line. \
             Messages that the server no longer has are reported as a gap on standard error.\n\
             Exits 0 on Ctrl-C or when the reader of its output is gone, and 1 if the server refuses the connection \
             for good.\n\
             Colours are used on a terminal only, and not with NO_COLOR.",
        )
}

/// What to listen to, and how to show it.
struct Plan {
    server: Remote,
    pass: Option<Pass>,
    room: RoomName,
    position: Option<ReadPosition>,
    shown: Shown,
}

/// How a message is shown.
#[derive(Clone, Copy, Debug)]
enum Shown {
    Json,
    Line(Style),
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let plan = Plan::new(matches)?;
    start(listen(plan))
}

impl Plan {
    fn new(matches: &ArgMatches) -> Result<Self, Failure> {
        let mut mistakes = Mistakes::default();
        let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
        let server = Remote::given(matches, "--url", &mut mistakes);
        let room = mistakes.check("ROOM", text("room").unwrap_or_default(), RoomName::parse);
        let position = match text("after") {
            Some(after) => mistakes.check("--after", after, str::parse).map(Some),
            None => Some(None),
        };
        let shown = if matches.get_flag("json") {
            Shown::Json
        } else {
            let style = if is_coloured() {
                Style::Coloured
            } else {
                Style::Plain
            };
            Shown::Line(style)
        };
        let pass = Pass::given(matches, &mut mistakes);
        match (server, room, position, pass) {
            (Some(server), Some(room), Some(position), Some(pass)) => Ok(Self {
                server,
                pass,
                room,
                position,
                shown,
            }),
            _ => Err(mistakes.into()),
        }
    }
}

async fn listen(plan: Plan) -> anyhow::Result<()> {
    let mut socket = ReconnectingSocket::new(plan.server, plan.room, None, plan.pass);

    let result = tokio::select! {
        result = follow(&mut socket, Cursor::new(plan.position), plan.shown) => result,
        result = interrupted() => result,
        () = unread() => Ok(()),
    };

    socket.close().await;
    result
}

/// Writes each update until the server says not to reconnect, or standard output is closed.
async fn follow(
    socket: &mut ReconnectingSocket,
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
                    .filter_map(|update| show(update, shown))
                    .collect();
                let written = match out.write_all(lines.as_bytes()).await {
                    Ok(()) => out.flush().await,
                    failed => failed,
                };
                written.map_err(OutputError::new)?;
            }
            SocketEvent::Disconnected(reason) => {
                cursor.on_disconnect();
                // Once per outage, not once per attempt.
                if !std::mem::replace(&mut is_away, true) {
                    note(&format!("{reason}; trying again"));
                }
            }
        }
    }
}

/// Returns the line of `update` for standard output, and reports a gap on standard error.
fn show(update: Update, shown: Shown) -> Option<String> {
    let push = match (update, shown) {
        // A gap follows, and is reported.
        (Update::Restarted, _) => return None,
        (Update::Message(publication), Shown::Line(style)) => {
            return Some(text::message(&publication, style));
        }
        (Update::Message(publication), Shown::Json) => Push::Message(publication),
        (Update::Deleted { offset, .. }, Shown::Line(_)) => {
            note(&format!("message {offset} was deleted"));
            return None;
        }
        (Update::Deleted { offset, at }, Shown::Json) => Push::Deleted { offset, at },
        (
            Update::Gap {
                after,
                before,
                count,
                reason,
            },
            shown,
        ) => {
            note(&text::gap(count, reason));
            let Shown::Json = shown else { return None };
            Push::Gap {
                after,
                before,
                count,
                reason,
            }
        }
    };
    Some(text::escape_json(&push.encode()) + "\n")
}

/// Ends when whoever read our output is gone, also while nothing is said.
async fn unread() {
    let (gone, is_gone) = oneshot::channel();
    // Not joined: it may wait for ever, as it does for a file, which always takes more.
    std::thread::spawn(move || {
        // No event is asked for: errors and the end are told in any case.
        let out = io::stdout();
        let watch = || poll(&mut [PollFd::new(&out, PollFlags::empty())], None);
        if retry_on_intr(watch).is_ok() {
            let _listening_has_ended = gone.send(());
        }
    });
    if is_gone.await.is_err() {
        std::future::pending().await
    }
}
