//! The command line: arguments to a subcommand, its verdict to an exit code.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong use.

mod archive;
mod bench;
mod check_config;
mod serve;
mod settings;

use std::process::ExitCode;

use clap::Command;
use clap::error::ErrorKind;

use crate::server::config::Mistake;

/// Wrong use, in the customary number.
const WRONG_USE: u8 = 2;

/// What a subcommand can fail with.
enum Failure {
    /// The settings are wrong; nothing was started.
    Settings(Vec<Mistake>),
    /// Anything else, with its causes.
    Other(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl From<Vec<Mistake>> for Failure {
    fn from(mistakes: Vec<Mistake>) -> Self {
        Self::Settings(mistakes)
    }
}

/// Runs what the process's arguments ask for.
pub fn run() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // A closed pipe (`fanfare --help | head -1`) is no failure.
            let _closed = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(WRONG_USE),
            };
        }
    };
    let result = match matches.subcommand() {
        Some(("bench", matches)) => bench::run(matches),
        Some(("check-config", matches)) => check_config::run(matches),
        Some(("export", matches)) => archive::run_export(matches),
        Some(("import", matches)) => archive::run_import(matches),
        Some((_, matches)) => serve::run(matches),
        None => serve::run(&matches),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Settings(mistakes)) => {
            for mistake in mistakes {
                eprintln!("error: {mistake}");
            }
            ExitCode::from(WRONG_USE)
        }
        Err(Failure::Other(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    let serve = Command::new("serve").about("Start the server (also without a subcommand)");
    let check = Command::new("check-config").about("Print the settings in effect, or every mistake in them");
    settings::add_to(Command::new("fanfare"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("Everyone in a room sees the same messages in the same order, live.")
        .after_help(
            "A flag beats its environment variable, that beats its key in the file, that beats the default.\n\
             Open the page in two windows, or: npx wscat -c 'ws://127.0.0.1:12345/ws?id=ann'",
        )
        .args_conflicts_with_subcommands(true)
        .subcommand(settings::add_to(serve))
        .subcommand(settings::add_to(check))
        .subcommand(archive::export_command())
        .subcommand(archive::import_command())
        .subcommand(bench::command())
}
