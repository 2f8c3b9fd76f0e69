//! `fanfare export` and `fanfare import`: the messages of a room as lines of JSON.

use std::io::{BufRead, BufWriter, Write};

use anyhow::Context;
use clap::{ArgMatches, Args};

use crate::cli::output::{OutputError, note};
use crate::cli::{Failure, format, settings};
use crate::protocol::{RoomName, has_bom};
use crate::server::store::{ExportError, Exported, ImportLine, export, import, now_millis};

/// The settings that determine the path and the retention of the database.
pub(super) const SETTINGS: &[&str] = &[
    "store",
    "data",
    "durability",
    "history-messages",
    "history-age",
    "history-bytes",
    "max-rooms",
    "quick-check",
];

/// The problem of a store that is not a file.
const NO_FILE: &str = "it leaves no file to read or write; name one: sqlite:FILE";

/// The arguments of `fanfare export`.
#[derive(Debug, Args)]
#[command(
    about = "Print all stored messages of a room, one JSON object per line",
    after_help = "Reads a consistent snapshot of the database, also while a server writes to it.\n\
         Each line is a message in the format of the HTTP API: offset, prev, at, from; text, json or data; kind, key, \
         reply_to, edits."
)]
pub(super) struct ExportArgs {
    /// The room's name
    #[arg(value_parser = RoomName::parse)]
    room: RoomName,
}

/// The arguments of `fanfare import`.
#[derive(Debug, Args)]
#[command(
    about = "Add messages to a room, one JSON object per line of standard input",
    after_help = "The lines have the format of export; only text (or json, or data in base64) is required. The messages are \
             appended with new offsets. reply_to and edits are adapted to them, and left out if the message they name is not \
             in the input. All lines are checked before the first message is stored.\n\
             A database that a server has open is refused. Publish to that server instead, for example:\n  \
             curl -H 'content-type: application/x-ndjson' --data-binary @lines.ndjson \
             http://127.0.0.1:12345/api/v1/rooms/lobby/messages"
)]
pub(super) struct ImportArgs {
    /// The room's name; created if missing
    #[arg(value_parser = RoomName::parse)]
    room: RoomName,
}

pub(super) fn run_export(args: ExportArgs, matches: &ArgMatches) -> Result<(), Failure> {
    let ExportArgs { room } = args;
    let settings = settings::database(matches, NO_FILE)?;
    let mut out = BufWriter::new(std::io::stdout().lock());

    let written = export(&settings.path, &room, |frame| {
        let json = serde_json::to_string(&frame.publication())?;
        writeln!(out, "{}", format::escape_json(&json))
    })
    .and_then(|exported| Ok(out.flush().map(|()| exported)?));

    match written {
        Ok(Exported {
            messages,
            damaged,
            problem,
        }) if damaged > 0 => Err(anyhow::anyhow!(
            "{messages} messages of {room}; {damaged} more cannot be read because the database {} is damaged ({})",
            settings.path.display(),
            problem.unwrap_or_default(),
        )
        .into()),
        Ok(Exported { messages, .. }) => {
            note(&format!("{messages} messages of {room}"));
            Ok(())
        }
        Err(ExportError::Write(error)) => Err(OutputError::new(error).into()),
        Err(error) => Err(anyhow::Error::from(error).into()),
    }
}

pub(super) fn run_import(args: ImportArgs, matches: &ArgMatches) -> Result<(), Failure> {
    let ImportArgs { room } = args;
    let settings = settings::database(matches, NO_FILE)?;
    let mut entries = Vec::new();

    for (at, line) in std::io::stdin().lock().lines().enumerate() {
        let mut line = line.context("cannot read standard input")?;
        if at == 0 && has_bom(line.as_bytes()) {
            line.remove(0);
        }
        if line.trim().is_empty() {
            continue;
        }
        let entry: ImportLine = serde_json::from_str(&line).with_context(|| {
            format!(
                "line {} is no message like {{\"from\":\"ann\",\"text\":\"hello\"}}; nothing was stored",
                at + 1
            )
        })?;
        entries.push((at + 1, entry));
    }

    let now = now_millis();
    let imported = import(&settings, &room, entries, now).map_err(anyhow::Error::from)?;
    note(&format!(
        "{} messages stored in {room}, {} were there already",
        imported.stored, imported.duplicates
    ));
    Ok(())
}
