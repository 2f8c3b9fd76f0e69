//! `fanfare serve`: checks the settings, starts the runtime and the server, and handles the signals that end it.

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

/// The maximum wait for a reader of the output: for the addresses at the start, and for the last log lines at the
/// end.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let mut raw = settings::collect(matches);
    let sockets = supervisor::sockets(&mut raw)?;
    let config = Config::check(&raw)?;
    let log = start_log(&config).context("cannot start the log")?;
    for unknown in environment::unknown() {
        warn!("{unknown}");
    }
    for warning in &config.warnings {
        warn!("{warning}");
    }

    let result = run_logged(config, sockets);
    log.finish(OUTPUT_TIMEOUT);
    Ok(result?)
}

/// Runs the server after the log was started.
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

    // The exporter ends last, so that the shutdown is traced too.
    if let Some(exporter) = exporter {
        exporter.finish();
    }
    // A drop would wait for tasks that still run for disconnected clients.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config, sockets: Listeners) -> anyhow::Result<()> {
    // Signals are handled before the server announces that it is ready, so that a signal after that ends in a drain.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;

    let server = Server::bind(config, sockets).await?;
    let mut terminal_closed = tokio::spawn(reload_on_hangup(
        hangup,
        server.keyring(),
        server.tls().cloned(),
    ));
    announce(&server)?;
    supervisor::notify(NotifyState::Ready);
    tokio::spawn(supervisor::run_watchdog());

    server
        .run(async {
            tokio::select! {
                _ = terminate.recv() => info!("SIGTERM"),
                _ = interrupt.recv() => info!("SIGINT"),
                Ok(()) = &mut terminal_closed => info!("SIGHUP: the terminal is gone"),
            }
            supervisor::notify(NotifyState::Stopping);
        })
        .await?;
    Ok(())
}

/// Reloads keys and certificate on every SIGHUP. Returns when a SIGHUP means that the terminal of the server was
/// closed.
async fn reload_on_hangup(mut hangup: Signal, keyring: Option<Keyring>, tls: Option<Tls>) {
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

    // No further signal can arrive. That is no reason to end.
    std::future::pending().await
}

/// Prints the server's addresses, for people and for scripts that use port 0. A failed write does not stop the
/// server.
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

/// Starts the log on standard error, which also contains panics. The tracing library escapes control characters.
pub(super) fn start_log(config: &Config) -> io::Result<LogWriter> {
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

/// Logs a panic. The standard hook writes to standard error itself, and could block on its reader.
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
