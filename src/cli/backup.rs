//! `fanfare backup` and `fanfare restore`: a copy of the database, made while a server runs, and back.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};

use crate::cli::output::note;
use crate::cli::{Failure, settings};
use crate::server::config::{Config, ConfigError};
use crate::server::store::{BackupReport, StoreSettings, backup, restore};

/// The settings that locate the database.
const SETTINGS: &[&str] = &["store", "data"];

pub(super) fn backup_command() -> Command {
    with_file("backup", "The backup; an earlier backup at this path is replaced")
        .about("Copy the database to a file, also while a server runs")
        .after_help(
            "The backup contains every message that was acknowledged before it began. It is one file, written as \
             FILE.part and renamed when it is complete. Publishing continues meanwhile.\n\
             The same over HTTP: curl -o fanfare.backup http://127.0.0.1:12346/api/v1/admin/backup",
        )
}

pub(super) fn restore_command() -> Command {
    with_file("restore", "A backup made by fanfare backup")
        .about("Replace the database with a backup; no server may have it open")
        .after_help(
            "The backup is checked first. The replaced database is kept beside it, with .replaced-1 appended to its name. \
             A new epoch begins: clients that reconnect get `lost`, because messages newer than the backup are missing.",
        )
}

fn with_file(name: &'static str, help: &'static str) -> Command {
    let file = Arg::new("file")
        .value_name("FILE")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help(help);
    settings::add_some(Command::new(name), SETTINGS).arg(file)
}

pub(super) fn run_backup(matches: &ArgMatches) -> Result<(), Failure> {
    let (database, file) = paths(matches)?;

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

pub(super) fn run_restore(matches: &ArgMatches) -> Result<(), Failure> {
    let (database, file) = paths(matches)?;

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

/// Returns the paths of the database and of the copy.
fn paths(matches: &ArgMatches) -> Result<(PathBuf, PathBuf), Failure> {
    let config = Config::check(&settings::collect(matches))?;
    let StoreSettings::Sqlite(settings) = config.store else {
        let sentence =
            "--store is not a file; back up NATS with its own tools (nats stream backup)";
        return Err(Failure::Settings(vec![ConfigError::new(
            sentence.to_owned(),
        )]));
    };
    let file = matches.get_one::<PathBuf>("file").cloned();
    Ok((settings.path, file.unwrap_or_default()))
}
