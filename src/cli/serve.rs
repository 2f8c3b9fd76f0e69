//! `fanfare serve`: checked settings, a runtime, a server, and the signals that end it.

use std::io::{IsTerminal, Write};

use anyhow::Context;
use clap::ArgMatches;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

use crate::cli::{Failure, settings, supervisor};
use crate::server::config::{Config, LogFormat};
use crate::server::release;
use crate::server::spans::Exporter;
use crate::server::{Keyring, Listeners, Server, Tls};

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let mut raw = settings::collect(matches)?;
    let sockets = supervisor::sockets(&mut raw)?;
    let config = Config::check(&raw)?;
    start_log(&config);
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let start = |settings| Exporter::start(settings, release::VERSION, runtime.handle().clone());
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
    Ok(served?)
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
        keyring.iter().for_each(Keyring::reread);
        tls.iter().for_each(Tls::reread);
    }
    // No signal can come any more; that is no reason to end.
    std::future::pending().await
}

/// Says on standard output where the server is, for people and for scripts that asked for port 0.
fn announce(server: &Server) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let address = server.address()?;
    // A closed standard output is no reason not to serve.
    let scheme = if server.tls().is_some() {
        "https"
    } else {
        "http"
    };
    let _closed = writeln!(out, "listening on {scheme}://{address}");
    if let Some(ops) = server.ops_address()? {
        let _closed = writeln!(out, "ops on http://{ops}");
    }
    let _closed = out.flush();
    Ok(())
}

/// Log lines go to standard error; tracing escapes control characters in them.
fn start_log(config: &Config) {
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(config.log_level);
    match config.log_format {
        LogFormat::Pretty => builder.with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
