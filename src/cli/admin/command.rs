//! The subcommands of `fanfare admin`, and their arguments.

use clap::{Arg, ArgAction, Command};

use super::call;
use crate::cli::client::{ca_flag, token_flag};

/// The subcommand's arguments.
pub(in crate::cli) fn command() -> Command {
    let json = Arg::new("json")
        .long("json")
        .action(ArgAction::SetTrue)
        .global(true)
        .help("Print JSON objects, one per line");
    Command::new("admin")
        .about("List and control the rooms, connections and bans of a running server")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args([
            call::url_flag(),
            ca_flag().global(true),
            token_flag().global(true),
            json,
        ])
        .subcommands(lists())
        .subcommands(acts())
        .after_help(
            "Exits 0 on success, 1 if the server refuses or cannot be reached, 2 on wrong usage.",
        )
}

fn lists() -> [Command; 4] {
    let prefix = Arg::new("prefix")
        .value_name("PREFIX")
        .help("List only rooms whose names begin with PREFIX");
    [
        Command::new("rooms")
            .about("List the rooms in memory")
            .arg(prefix),
        Command::new("connections")
            .about("List the connections")
            .args(which()),
        Command::new("trace")
            .about("Show one connection's frames live: type and size, never content")
            .arg(
                Arg::new("number")
                    .value_name("NUMBER")
                    .required(true)
                    .help("Number of the connection"),
            ),
        Command::new("bans").about("List bans and closed rooms"),
    ]
}

fn acts() -> [Command; 6] {
    let number = Arg::new("number")
        .value_name("NUMBER")
        .help("Number of the connection, from the list of connections or the log");
    let offset = Arg::new("offset")
        .value_name("OFFSET")
        .required(true)
        .help("Offset of the message");
    let time = Arg::new("for")
        .long("for")
        .value_name("TIME")
        .help("Duration of the ban, like 10m or 2h [default: until it is lifted]");
    [
        Command::new("kick")
            .about("Disconnect a connection (4003), or all that match; clients may reconnect")
            .arg(number.conflicts_with_all(["room", "id", "address"]))
            .args(which()),
        Command::new("ban")
            .about("Ban an id or an address (4501) from one room, or from all")
            .args(which())
            .args([time, reason()]),
        Command::new("unban").about("Lift a ban").args(which()),
        Command::new("delete")
            .about("Delete a message; its offset stays, so readers see no gap")
            .args([room(), offset]),
        Command::new("close")
            .about("Close a room: disconnect everyone, and refuse joins and messages until it is opened")
            .args([room(), reason()]),
        Command::new("open")
            .about("Open a closed room")
            .arg(room()),
    ]
}

fn room() -> Arg {
    Arg::new("room")
        .value_name("ROOM")
        .required(true)
        .help("The room")
}

fn reason() -> Arg {
    Arg::new("reason")
        .long("reason")
        .value_name("WORDS")
        .help("Reason, which is shown to the clients that are refused")
}

/// The flags that say which connections.
fn which() -> [Arg; 3] {
    let flag = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    [
        flag("room", "ROOM", "In this room"),
        flag("id", "ID", "With this id"),
        flag("address", "ADDRESS", "From this address (IPv6: its /64)"),
    ]
}
