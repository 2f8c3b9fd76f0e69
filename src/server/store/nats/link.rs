//! The connection to NATS. Each node has one, and the client library reconnects it.
//!
//! A node does not start if `max_payload` of NATS is smaller than its largest message.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::settings::{NatsLogin, NatsSettings};
use super::{NatsError, WAIT};
use crate::server::small_file;

/// The maximum size of a message header in bytes: JSON with an id and a key of 64 characters each, and some numbers.
const MAX_HEADER: usize = 1024;
/// The interval of pings; after two without a response the connection is closed.
const PING_EVERY: Duration = Duration::from_secs(2);
/// The longest pause between two attempts to reconnect.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// An open connection.
pub(super) struct NatsConnection {
    pub(super) client: Client,
    /// The number of times that the connection was opened.
    pub(super) connected: watch::Receiver<u64>,
}

impl NatsConnection {
    /// Connects. Fails if no server can be reached or accepts the login, or if `max_payload` of NATS is too small.
    pub(super) async fn connect(settings: &NatsSettings) -> Result<Self, NatsError> {
        let (opened, connected) = watch::channel(0);
        let mut options = ConnectOptions::new()
            .name("fanfare")
            .ping_interval(PING_EVERY)
            .connection_timeout(WAIT)
            .request_timeout(Some(WAIT))
            .reconnect_delay_callback(pause)
            .event_callback(move |event| {
                tell(&event, &opened);
                std::future::ready(())
            });

        if let Some(ca) = &settings.ca {
            options = options.add_root_certificates(ca.clone());
        }

        let unreadable = |path: &Path, source| NatsError::File {
            path: path.to_owned(),
            source,
        };
        options = match &settings.login {
            NatsLogin::Address => match settings.servers.login() {
                Some((user, Some(password))) => options.user_and_password(user, password),
                Some((token, None)) => options.token(token),
                None => options,
            },
            NatsLogin::Credentials(path) => read_text(path)
                .and_then(|text| options.credentials(&text))
                .map_err(|source| unreadable(path, source))?,
            NatsLogin::Nkey(path) => {
                let seed = read_text(path).map_err(|source| unreadable(path, source))?;
                options.nkey(seed.trim().to_owned())
            }
        };

        let client = options
            .connect(settings.servers.addresses())
            .await
            .map_err(|error| NatsError::Connect {
                servers: settings.servers.to_string(),
                problem: error.to_string(),
            })?;

        let info = client.server_info();
        let needed = settings.max_message + MAX_HEADER;
        if info.max_payload < needed {
            return Err(NatsError::Payload {
                most: info.max_payload,
                needed,
            });
        }

        info!(server = %settings.servers, version = info.version, "connected to NATS");
        Ok(Self { client, connected })
    }
}

/// Reads a credentials file.
fn read_text(path: &Path) -> io::Result<String> {
    let bytes = small_file::read(path, small_file::MAX_BYTES)?;
    String::from_utf8(bytes).map_err(|_| ErrorKind::InvalidData.into())
}

/// Returns the pause before the next attempt: exponential backoff with a random factor, which spreads the nodes.
fn pause(attempts: usize) -> Duration {
    let doubled = Duration::from_millis(50) * 2u32.saturating_pow(attempts.min(10) as u32);
    doubled.min(MAX_PAUSE).mul_f64(0.5 + fastrand::f64() / 2.0)
}

fn tell(event: &Event, opened: &watch::Sender<u64>) {
    match event {
        Event::Connected => {
            debug!("NATS: connected");
            opened.send_modify(|times| *times += 1);
        }
        Event::ServerError(_) | Event::ClientError(_) | Event::SlowConsumer(_) => {
            warn!("NATS: {event}")
        }
        _ => debug!("NATS: {event}"),
    }
}
