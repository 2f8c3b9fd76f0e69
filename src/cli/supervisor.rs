//! What started us, where that is a service manager such as systemd: the sockets that it opened for us, and what it
//! wants to be told.
//!
//! Sockets come as sd_listen_fds(3) says: the first is in the place of `--listen`, the second of `--ops-listen`.
//! They outlast this process, so a restart refuses nobody: who connects meanwhile waits in the kernel for the next
//! one. Words go where sd_notify(3) says: when it can be used, when it stops, and that it is alive, for as long as
//! the runtime still runs what it is given. Without a service manager none of this happens.
//!
//! Deliberately absent: SO_REUSEPORT. Two servers side by side would need the one database at once.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, ensure};
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tracing::warn;

use crate::server::Listeners;
use crate::server::config::{RawConfig, RawValue, Source};

/// The sockets that it opened for us, which are then what `raw` says of their addresses.
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
            raw.replace(
                setting,
                RawValue {
                    text,
                    source: Source::Supervisor,
                },
            );
        }
        Ok(socket)
    };
    Ok(Listeners {
        public: take(0, "listen")?,
        ops: take(1, "ops-listen")?,
    })
}

/// Tells it `state`, if it wants to know.
pub(super) fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "the service manager cannot be told (NOTIFY_SOCKET)");
    }
}

/// Tells it again and again that we are alive, if it wants to know; twice in the time after which it would doubt it.
pub(super) async fn keep_telling() {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut beat = tokio::time::interval((limit / 2).max(Duration::from_millis(1)));
    loop {
        beat.tick().await;
        tell(NotifyState::Watchdog);
    }
}
