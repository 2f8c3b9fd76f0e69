//! `fanfare serve`: checked settings, a runtime, a server, and the signals that end it.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;
use std::time::Duration;

use anyhow::Context;
use clap::ArgMatches;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::cli::{Failure, environment, settings, supervisor};
use crate::server::config::{Config, LogFormat};
use crate::server::log_writer::{LogWriter, write_within};
use crate::server::spans::Exporter;
use crate::server::version;
use crate::server::{Keyring, Listeners, Server, Tls};

/// Longest wait for a reader of our output: for the addresses at the start, and for the last log lines at the end.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let mut raw = settings::collect(matches);
    let sockets = supervisor::sockets(&mut raw)?;
    let config = Config::check(&raw)?;
    let log = start_log(&config).context("cannot start the log")?;
    for unknown in environment::unknown() {
        warn!("{unknown}");
    }

    let result = run_logged(config, sockets);
    log.finish(OUTPUT_TIMEOUT);
    Ok(result?)
}

/// Runs a server whose log has begun.
fn run_logged(config: Config, sockets: Listeners) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let start = |settings| Exporter::start(settings, version::VERSION, runtime.handle().clone());
    let exporter = config
        .spans
        .as_ref()
        .map(start)
        .transpose()
        .context("cannot export spans (OTEL_…)")?;
    let served = runtime.block_on(serve(config, sockets));
    // Last: the end is traced too.
    if let Some(exporter) = exporter {
        exporter.finish();
    }
    // Not dropped: that would wait for work that is still running for disconnected clients.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config, sockets: Listeners) -> anyhow::Result<()> {
    // Before anything is said to be ready: a signal from then on must end in a drain.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let server = Server::bind(config, sockets).await?;
    let mut forsaken = tokio::spawn(heed(hangup, server.keyring(), server.tls().cloned()));
    announce(&server)?;
    supervisor::tell(NotifyState::Ready);
    tokio::spawn(supervisor::keep_telling());
    server
        .run(async {
            tokio::select! {
                _ = terminate.recv() => info!("SIGTERM"),
                _ = interrupt.recv() => info!("SIGINT"),
                Ok(()) = &mut forsaken => info!("SIGHUP: the terminal is gone"),
            }
            supervisor::tell(NotifyState::Stopping);
        })
        .await?;
    Ok(())
}

/// On every SIGHUP reads again what may have changed. Ends when one says that the terminal we were started in is gone.
async fn heed(mut hangup: Signal, keyring: Option<Keyring>, tls: Option<Tls>) {
    let had_terminal = std::io::stdin().is_terminal();
    while hangup.recv().await.is_some() {
        if had_terminal && !std::io::stdin().is_terminal() {
            return;
        }
        if keyring.is_none() && tls.is_none() {
            info!("SIGHUP: nothing to read again, neither keys nor a certificate");
        }
        keyring.iter().for_each(Keyring::reload);
        tls.iter().for_each(Tls::reload);
    }
    // No signal can come any more; that is no reason to end.
    std::future::pending().await
}

/// Prints the server's addresses, for people and for scripts that asked for port 0. Where standard output takes
/// nothing, the server serves all the same.
fn announce(server: &Server) -> anyhow::Result<()> {
    let address = server.address()?;
    let scheme = if server.tls().is_some() {
        "https"
    } else {
        "http"
    };
    let mut lines = format!("listening on {scheme}://{address}\n");
    if let Some(ops) = server.ops_address()? {
        lines.push_str(&format!("ops on http://{ops}\n"));
    }

    write_within(&io::stdout(), lines, OUTPUT_TIMEOUT);
    Ok(())
}

/// Starts the log, which goes to standard error; tracing escapes control characters in it. Panics are lines of it too.
fn start_log(config: &Config) -> io::Result<LogWriter> {
    let writer = LogWriter::start(&io::stderr())?;
    writer.install();

    let make_writer = {
        let writer = writer.clone();
        move || writer.clone()
    };
    let builder = tracing_subscriber::fmt()
        .with_writer(make_writer)
        .with_ansi(io::stderr().is_terminal())
        .with_max_level(config.log_level);
    match config.log_format {
        LogFormat::Pretty => builder.with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    std::panic::set_hook(Box::new(log_panic));
    Ok(writer)
}

/// Logs a panic. The standard hook would write to standard error itself, and could block on its reader.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name();
    let location = panic.location().map(tracing::field::display);
    let message = panic.payload_as_str().unwrap_or("no message");
    let backtrace = Backtrace::capture();
    let backtrace =
        (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());

    error!(thread, location, backtrace, "panicked: {message}");
}
