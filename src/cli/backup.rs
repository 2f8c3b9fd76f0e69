//! `fanfare backup` and `fanfare restore`: copies the database, also while a server runs, and restores it.

use std::path::PathBuf;

use clap::{ArgMatches, Args};

use crate::cli::output::note;
use crate::cli::{Failure, settings};
use crate::server::store::{BackupReport, backup, restore};

/// The settings that locate the database.
pub(super) const SETTINGS: &[&str] = &["store", "data"];

/// The problem of a store that is not a file.
const NO_FILE: &str = "it is not a file; back up NATS with its own tools (nats stream backup)";

/// The arguments of `fanfare backup`.
#[derive(Debug, Args)]
#[command(
    about = "Copy the database to a file, also while a server runs",
    after_help = "The backup contains every message that was acknowledged before it began. It is one file, written as \
             FILE.part and renamed when it is complete. Publishing continues meanwhile.\n\
             The same over HTTP: curl -o fanfare.backup http://127.0.0.1:12346/api/v1/admin/backup"
)]
pub(super) struct BackupArgs {
    /// The backup; an earlier backup at this path is replaced
    file: PathBuf,
}

/// The arguments of `fanfare restore`.
#[derive(Debug, Args)]
#[command(
    about = "Replace the database with a backup; no server may have it open",
    after_help = "The backup is checked first. The replaced database is kept beside it, with .replaced-1 appended to its name. \
             A new epoch begins: clients that reconnect get `lost`, because messages newer than the backup are missing."
)]
pub(super) struct RestoreArgs {
    /// A backup made by fanfare backup
    file: PathBuf,
}

pub(super) fn run_backup(
    BackupArgs { file }: BackupArgs,
    matches: &ArgMatches,
) -> Result<(), Failure> {
    let database = settings::database(matches, NO_FILE)?.path;

    let report = backup(&database, &file).map_err(anyhow::Error::from)?;

    let BackupReport {
        bytes,
        messages,
        damage,
    } = report;
    let file = file.display();
    note(&format!("{messages} messages, {bytes} bytes in {file}"));
    match damage {
        None => Ok(()),
        Some(problem) => Err(anyhow::anyhow!(
            "the database {} is damaged, and so is its copy {file}: {problem}",
            database.display()
        )
        .into()),
    }
}

pub(super) fn run_restore(
    RestoreArgs { file }: RestoreArgs,
    matches: &ArgMatches,
) -> Result<(), Failure> {
    let database = settings::database(matches, NO_FILE)?.path;

    let restored = restore(&file, &database).map_err(anyhow::Error::from)?;

    let database = database.display();
    if let Some(replaced) = restored.replaced {
        note(&format!("the database of before is {}", replaced.display()));
    }
    let messages = restored.content.messages;
    note(&format!(
        "{messages} messages in {database}; a new epoch begins"
    ));
    Ok(())
}
