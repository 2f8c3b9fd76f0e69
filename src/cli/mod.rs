//! The command line: parses the arguments, runs a subcommand, and turns its result into an exit code.
//!
//! Exit codes: 0 success, 1 failure, 2 wrong usage.

mod admin;
mod archive;
mod backup;
mod args;
mod bench;
mod check_config;
mod client;
mod completions;
mod cursor_file;
mod demo;
mod doctor;
mod environment;
mod file_size;
mod format;
mod handler;
mod listen;
mod load_rooms;
mod man;
mod output;
mod send;
mod serve;
mod settings;
mod supervisor;
mod token;
mod verify;

use std::fmt::Display;
use std::process::ExitCode;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::output::OutputError;
use crate::server::config::ConfigError;
use crate::server::version;

/// The exit code of a usage error.
const WRONG_USE: u8 = 2;

/// The failure of a subcommand.
enum Failure {
    /// Invalid settings or arguments. Nothing was started.
    Settings(Vec<ConfigError>),
    /// Any other error, with its causes.
    Other(anyhow::Error),
}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Self {
        Self::Other(error.into())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl Failure {
    /// Creates the failure of an invalid argument.
    fn argument(name: &str, problem: impl Display) -> Self {
        Self::Settings(vec![ConfigError::new(format!("{name}: {problem}"))])
    }
}

impl From<Vec<ConfigError>> for Failure {
    fn from(errors: Vec<ConfigError>) -> Self {
        Self::Settings(errors)
    }
}

/// Runs the subcommand that the process arguments select.
pub fn run() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return print_usage(&error),
    };
    if let Err(error) = file_size::survive_limit() {
        output::fail([format!("cannot handle SIGXFSZ: {error}")]);
        return ExitCode::FAILURE;
    }

    let result = match matches.subcommand() {
        Some(("admin", matches)) => parse(matches).and_then(admin::run),
        Some(("backup", matches)) => {
            parse(matches).and_then(|args| backup::run_backup(args, matches))
        }
        Some(("bench", matches)) => parse(matches).and_then(bench::run),
        Some(("check-config", matches)) => {
            parse(matches).and_then(|args| check_config::run(args, matches))
        }
        Some(("completions", matches)) => parse(matches).and_then(completions::run),
        Some(("demo", matches)) => parse(matches).and_then(demo::run),
        Some(("doctor", matches)) => parse(matches).and_then(|args| doctor::run(args, matches)),
        Some(("export", matches)) => {
            parse(matches).and_then(|args| archive::run_export(args, matches))
        }
        Some(("import", matches)) => {
            parse(matches).and_then(|args| archive::run_import(args, matches))
        }
        Some(("listen", matches)) => parse(matches).and_then(listen::run),
        Some(("man", matches)) => parse(matches).and_then(man::run),
        Some(("restore", matches)) => {
            parse(matches).and_then(|args| backup::run_restore(args, matches))
        }
        Some(("send", matches)) => parse(matches).and_then(send::run),
        Some(("token", matches)) => parse(matches).and_then(token::run),
        Some(("verify", matches)) => parse(matches).and_then(verify::run),
        Some((_, matches)) => serve::run(matches),
        None => serve::run(&matches),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Settings(errors)) => {
            output::fail(errors.iter().map(ToString::to_string));
            ExitCode::from(WRONG_USE)
        }
        Err(Failure::Other(error)) => fail(&error),
    }
}

/// Returns the parsed arguments of a subcommand.
fn parse<T: FromArgMatches>(matches: &ArgMatches) -> Result<T, Failure> {
    T::from_arg_matches(matches).map_err(|error| Failure::Other(error.into()))
}

/// Reports `error` and returns its exit code. A closed standard output is not a failure.
fn fail(error: &anyhow::Error) -> ExitCode {
    if error
        .downcast_ref::<OutputError>()
        .is_some_and(OutputError::is_closed)
    {
        return ExitCode::SUCCESS;
    }

    output::fail([format!("{error:#}")]);
    ExitCode::FAILURE
}

/// Prints the help, the version or the usage error in `error`.
fn print_usage(error: &clap::Error) -> ExitCode {
    if !matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        // A failed write to standard error has no consequences.
        let _ = error.print();
        return ExitCode::from(WRONG_USE);
    }

    let text = error.render();
    let printed = if output::is_coloured() {
        output::print(text.ansi().to_string())
    } else {
        output::print(text.to_string())
    };
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.into()),
    }
}

/// Returns the subcommand `name` with the arguments `T` and the flags of `settings`.
fn with_settings<T: Args>(name: &'static str, settings: &[&str]) -> Command {
    T::augment_args(settings::add_some(Command::new(name), settings))
}

/// Makes the URL of the server in `command` a positional argument.
fn with_positional_url(command: Command) -> Command {
    command.mut_arg("url", |url| url.long(None::<&str>))
}

fn command() -> Command {
    let serve = Command::new("serve").about("Start the server (the default without a subcommand)");
    let check = check_config::CheckConfigArgs::augment_args(Command::new("check-config"));

    settings::add_to(Command::new("fanfare"))
        .version(version::describe())
        .about("A server that gives all clients in a room the same messages in the same order, live.")
        .after_help(
            "A flag overrides its environment variable, the variable overrides the key in the file, and the key overrides the \
             default.\n\
             To try it: fanfare demo",
        )
        .args_conflicts_with_subcommands(true)
        .subcommand(settings::add_to(serve))
        .subcommand(settings::add_to(check))
        .subcommand(demo::DemoArgs::augment_args(Command::new("demo")))
        .subcommand(with_settings::<archive::ExportArgs>("export", archive::SETTINGS))
        .subcommand(with_settings::<archive::ImportArgs>("import", archive::SETTINGS))
        .subcommand(with_settings::<backup::BackupArgs>("backup", backup::SETTINGS))
        .subcommand(with_settings::<backup::RestoreArgs>("restore", backup::SETTINGS))
        .subcommand(send::SendArgs::augment_args(Command::new("send")))
        .subcommand(listen::ListenArgs::augment_args(Command::new("listen")))
        .subcommand(admin::AdminArgs::command())
        .subcommand(bench::BenchArgs::augment_args(Command::new("bench")))
        .subcommand(doctor::command())
        .subcommand(token::TokenArgs::augment_args(Command::new("token")))
        .subcommand(with_positional_url(verify::VerifyArgs::augment_args(
            Command::new("verify"),
        )))
        .subcommand(completions::CompletionsArgs::augment_args(Command::new(
            "completions",
        )))
        .subcommand(man::ManArgs::augment_args(Command::new("man")))
}

/// Runs a client until it ends. One thread is enough for one connection.
fn start(client: impl Future<Output = anyhow::Result<()>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(client);
    // A blocked write must not keep the program running.
    runtime.shutdown_background();
    Ok(result?)
}

/// Returns a future that waits for SIGINT or SIGTERM, which no longer end the process by themselves.
fn on_interrupt() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;

    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Waits for SIGINT or SIGTERM.
async fn interrupted() -> anyhow::Result<()> {
    on_interrupt()?.await;
    Ok(())
}
