//! The integration with a service manager such as systemd: sockets that it passes, and notifications of the state.
//!
//! Sockets are passed as sd_listen_fds(3) specifies: the first replaces `--listen`, the second `--ops-listen`. They
//! outlive this process, so a restart refuses no connection: new ones wait in the kernel for the next process.
//! Notifications are sent as sd_notify(3) specifies: when the server is ready, when it stops, and periodically while
//! the runtime still runs tasks. Without a service manager this module does nothing.
//!
//! SO_REUSEPORT is deliberately not used, because two servers at a time would need the same database.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, ensure};
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tracing::warn;

use crate::server::Listeners;
use crate::server::config::{RawConfig, RawValue, SettingSource};

/// Returns the passed sockets, and replaces their addresses in `raw`.
pub(super) fn sockets(raw: &mut RawConfig) -> anyhow::Result<Listeners> {
    let mut passed = ListenFd::from_env();
    ensure!(
        passed.len() <= 2,
        "{} sockets were passed (LISTEN_FDS); allowed are one for --listen and one for --ops-listen",
        passed.len()
    );

    let mut take = |at: usize, setting: &'static str| -> anyhow::Result<Option<TcpListener>> {
        let socket = passed.take_tcp_listener(at).with_context(|| {
            format!("the socket passed for --{setting} does not listen for TCP")
        })?;
        if let Some(socket) = &socket {
            let text = socket
                .local_addr()
                .context("a socket was passed that has no address")?
                .to_string();
            let source = SettingSource::Supervisor;
            raw.replace(setting, RawValue { text, source });
        }

        Ok(socket)
    };

    Ok(Listeners {
        public: take(0, "listen")?,
        ops: take(1, "ops-listen")?,
    })
}

/// Sends `state` to the service manager, if there is one.
pub(super) fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "could not notify the service manager (NOTIFY_SOCKET)");
    }
}

/// Sends a watchdog notification twice per watchdog period, if the service manager requests it.
pub(super) async fn run_watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };

    let mut beat = tokio::time::interval((limit / 2).max(Duration::from_millis(1)));
    loop {
        beat.tick().await;
        notify(NotifyState::Watchdog);
    }
}
