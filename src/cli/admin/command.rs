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
        .help("Print JSON objects, one a line");
    Command::new("admin")
        .about("See who is connected to a running server, and act")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args([call::url_flag(), ca_flag().global(true), token_flag().global(true), json])
        .subcommands(lists())
        .subcommands(acts())
        .after_help(
            "It ends with 0 when it is done, 1 when the server refuses or is not there, 2 when it is used wrongly.",
        )
}

fn lists() -> [Command; 4] {
    let prefix = Arg::new("prefix")
        .value_name("PREFIX")
        .help("Only rooms whose names begin so");
    [
        Command::new("rooms")
            .about("List the rooms in memory")
            .arg(prefix),
        Command::new("connections")
            .about("List the connections")
            .args(which()),
        Command::new("trace")
            .about("Watch what passes over a connection: sizes and kinds, never what was said")
            .arg(
                Arg::new("number")
                    .value_name("NUMBER")
                    .required(true)
                    .help("The connection's number"),
            ),
        Command::new("bans").about("List who is kept out, and which rooms are closed"),
    ]
}

fn acts() -> [Command; 6] {
    let number = Arg::new("number")
        .value_name("NUMBER")
        .help("A connection's number, from the list or the log");
    let offset = Arg::new("offset")
        .value_name("OFFSET")
        .required(true)
        .help("The message's number");
    let time = Arg::new("for")
        .long("for")
        .value_name("TIME")
        .help("For so long, like 10m or 2h; else until it is lifted");
    [
        Command::new("kick")
            .about("End a connection (4003), or all that fit; they may come back")
            .arg(number.conflicts_with_all(["room", "id", "address"]))
            .args(which()),
        Command::new("ban")
            .about("Keep an id or an address out (4501), of one room or of all")
            .args(which())
            .args([time, reason()]),
        Command::new("unban").about("Lift a ban").args(which()),
        Command::new("delete")
            .about("Delete a message; its place stays, so that no reader sees a gap")
            .args([room(), offset]),
        Command::new("close")
            .about("Close a room: everyone out, nobody in, until it is opened")
            .args([room(), reason()]),
        Command::new("open")
            .about("Open a room that was closed")
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
        .help("Why; whoever is kept out reads it")
}

/// The flags that say which connections.
fn which() -> [Arg; 3] {
    let flag = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    [
        flag("room", "ROOM", "In this room"),
        flag("id", "ID", "Of this id"),
        flag("address", "ADDRESS", "From this address (IPv6: its /64)"),
    ]
}
