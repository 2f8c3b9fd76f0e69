//! The connection to NATS: settings, login, errors and health. Each node has one connection, which the client library
//! restores after a failure.
//!
//! # Invariants
//!
//! - A node does not start if `max_payload` of NATS is smaller than its largest message.
//! - The store is ready only while the stream is consumed and the last write succeeded. A stream can be readable and
//!   reject writes, because its disk is full or most of its replicas are offline.
//! - A corrupt store stays corrupt.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::{Client, ConnectOptions, Event, ServerAddr, jetstream};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::server::room_rules::RoomRuleTable;
use crate::server::small_file;
use crate::server::store::{Health, Retention, StoreError};

/// The timeout of one request to NATS.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum size of a message header in bytes: JSON with an id and a key of 64 characters each, and some numbers.
const MAX_HEADER: usize = 1024;
/// The interval of pings; after two without a response the connection is closed.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// The longest pause between two attempts to reconnect.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The addresses of one NATS cluster, at least one: `nats://[USER:PASSWORD@|TOKEN@]HOST[:PORT]`, or `tls://…`.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsServers(Vec<ServerAddr>);

impl NatsServers {
    /// Parses comma-separated addresses. Only the first one must have a scheme, which is the default for the rest.
    /// Returns `None` if one of them is not an address, or has a path or a query.
    pub fn parse(text: &str) -> Option<Self> {
        let scheme = ["nats://", "tls://"]
            .into_iter()
            .find(|scheme| text.starts_with(scheme))?;

        let server = |part: &str| {
            let part = part.trim();
            let prefix = if part.contains("://") { "" } else { scheme };
            let address: ServerAddr = format!("{prefix}{part}").parse().ok()?;

            let url = address.clone().into_inner();
            let is_valid = matches!(url.scheme(), "nats" | "tls")
                && matches!(url.path(), "" | "/")
                && url.query().is_none()
                && !address.host().is_empty();
            is_valid.then_some(address)
        };
        text.split(',').map(server).collect::<Option<_>>().map(Self)
    }

    /// Returns the user and the password of the first address; a token is returned as the user without a password.
    fn login(&self) -> Option<(String, Option<String>)> {
        let first = self.0.first()?;
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        Some((decode(first.username()?), first.password().map(decode)))
    }
}

/// Formats the hosts and ports, never the passwords.
impl fmt::Display for NatsServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = |server: &ServerAddr| {
            let url = server.clone().into_inner();
            format!("{}:{}", url.host_str().unwrap_or_default(), server.port())
        };
        let addresses: Vec<_> = self.0.iter().map(address).collect();
        f.write_str(&addresses.join(","))
    }
}

impl fmt::Debug for NatsServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The source of the credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NatsLogin {
    /// The user and password, or the token, of the address, if there is one.
    Address,
    /// A credentials file with a JWT and the matching nkey seed.
    Credentials(PathBuf),
    /// A file with the seed of an nkey.
    Nkey(PathBuf),
}

impl NatsLogin {
    /// Adds the credentials to `options`.
    fn apply(
        &self,
        servers: &NatsServers,
        options: ConnectOptions,
    ) -> Result<ConnectOptions, NatsError> {
        Ok(match self {
            Self::Address => match servers.login() {
                Some((user, Some(password))) => options.user_and_password(user, password),
                Some((token, None)) => options.token(token),
                None => options,
            },
            Self::Credentials(path) => {
                let credentials = options.credentials(&read_text(path)?);
                credentials.map_err(|error| unreadable(path, error))?
            }
            Self::Nkey(path) => options.nkey(read_text(path)?.trim().to_owned()),
        })
    }
}

/// Reads a credentials file.
fn read_text(path: &Path) -> Result<String, NatsError> {
    let bytes = small_file::read(path, small_file::MAX_BYTES);
    let text = bytes.and_then(|bytes| {
        String::from_utf8(bytes).map_err(|_| io::Error::from(ErrorKind::InvalidData))
    });
    text.map_err(|error| unreadable(path, error))
}

fn unreadable(path: &Path, source: io::Error) -> NatsError {
    let path = path.to_owned();
    NatsError::File { path, source }
}

/// The configuration of a [`NatsStore`](super::NatsStore).
#[derive(Clone, Debug)]
pub struct NatsSettings {
    /// The servers.
    pub servers: NatsServers,
    /// The source of the credentials.
    pub login: NatsLogin,
    /// A PEM file of CA certificates to trust for TLS, in addition to those of the system.
    pub ca: Option<PathBuf>,
    /// The name of the stream, which is also the first token of its subjects.
    pub stream: String,
    /// The number of servers that store each message, 1 to 5.
    pub replicas: usize,
    /// The maximum size of a message that clients may send, in bytes.
    pub max_message: usize,
    /// The limits of what each room keeps.
    pub retention: Retention,
    /// The rules that set other limits for some rooms.
    pub rules: Arc<RoomRuleTable>,
}

/// An error of the NATS store. Operators see it when a node starts, clients when a request fails.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// A failed connection: no server can be reached or accepts the login.
    #[error("cannot connect to NATS at {servers}: {problem}")]
    Connect {
        /// The addresses of the servers.
        servers: String,
        /// The error of the client library.
        problem: String,
    },
    /// A credentials file that cannot be read.
    #[error("cannot read the NATS credentials in {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A stream of this name with other subjects.
    #[error(
        "NATS has a stream {name:?} that does not belong to Fanfare; choose another name with --nats-stream"
    )]
    Foreign {
        /// The name of the stream.
        name: String,
    },
    /// A `max_payload` of NATS that is smaller than the largest message of this node.
    #[error(
        "NATS accepts messages of {limit} bytes (max_payload), but one of --max-message can have {needed} with its \
         header; raise max_payload or lower --max-message"
    )]
    Payload {
        /// The limit of NATS in bytes.
        limit: usize,
        /// The size of the largest possible message with its header, in bytes.
        needed: usize,
    },
    /// A request that JetStream rejected or did not answer.
    #[error("a request to the NATS stream failed: {0}")]
    Request(String),
    /// A publish that NATS rejected for a reason that affects all publishes.
    #[error("NATS rejected the message: {0}")]
    Publish(String),
    /// A publish that NATS rejected because another message was stored first.
    #[error("another message was stored first; send it again")]
    Conflict,
    /// A publish that was not confirmed in time.
    #[error(
        "NATS did not confirm the message in time, so it may or may not be stored; send it again with the same key"
    )]
    Unconfirmed,
    /// A call that is rejected for another reason.
    #[error("{0}")]
    Rejected(String),
    /// A message for a room that accepts no more.
    #[error("the room is closed: it accepts no more messages")]
    Closed,
    /// A room that was released in the meantime.
    #[error("the room is not open; try again")]
    NotOpen,
    /// A stream that does not exist, for example while NATS starts.
    #[error("the stream does not exist")]
    Missing,
    /// A stream that was deleted or replaced, or has lost its newest messages.
    #[error("{0}")]
    Lost(&'static str),
}

impl NatsError {
    /// Creates the error of a failed request.
    pub(super) fn request(error: impl fmt::Display) -> Self {
        Self::Request(error.to_string())
    }
}

impl From<PublishError> for NatsError {
    fn from(error: PublishError) -> Self {
        use PublishErrorKind::{
            BrokenPipe, Other, StreamNotFound, TimedOut, WrongLastMessageId, WrongLastSequence,
        };

        // The source contains the cause; the error alone only states that the publish failed.
        let source = error.source();
        let reason =
            source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
        let is_too_large = source
            .and_then(|source| source.downcast_ref::<jetstream::Error>())
            .is_some_and(|source| source.error_code() == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM);

        match error.kind() {
            TimedOut => Self::Unconfirmed,
            WrongLastMessageId | WrongLastSequence => Self::Conflict,
            BrokenPipe | Other | StreamNotFound if !is_too_large => Self::Publish(reason),
            _ => Self::Rejected(format!("NATS rejected the message: {reason}")),
        }
    }
}

impl From<NatsError> for StoreError {
    fn from(error: NatsError) -> Self {
        match error {
            NatsError::Closed => Self::RoomClosed,
            error => Self::Unavailable(error.to_string()),
        }
    }
}

/// An open connection.
#[derive(Clone)]
pub(super) struct NatsConnection {
    pub(super) client: Client,
    /// The number of times that the connection was opened.
    pub(super) connected: watch::Receiver<u64>,
}

impl NatsConnection {
    /// Connects. Fails if no server can be reached or accepts the login, or if `max_payload` of NATS is too small.
    pub(super) async fn connect(settings: &NatsSettings) -> Result<Self, NatsError> {
        let (opened, connected) = watch::channel(0);
        let options = ConnectOptions::new()
            .name("fanfare")
            .ping_interval(PING_INTERVAL)
            .connection_timeout(REQUEST_TIMEOUT)
            .request_timeout(Some(REQUEST_TIMEOUT))
            .reconnect_delay_callback(pause)
            .event_callback(move |event| {
                on_event(&event, &opened);
                std::future::ready(())
            });

        let mut options = settings.login.apply(&settings.servers, options)?;
        if let Some(ca) = &settings.ca {
            options = options.add_root_certificates(ca.clone());
        }

        let client = options
            .connect(settings.servers.0.as_slice())
            .await
            .map_err(|error| NatsError::Connect {
                servers: settings.servers.to_string(),
                problem: error.to_string(),
            })?;

        let info = client.server_info();
        let (limit, needed) = (info.max_payload, settings.max_message + MAX_HEADER);
        if limit < needed {
            return Err(NatsError::Payload { limit, needed });
        }

        info!(server = %settings.servers, version = info.version, "connected to NATS");
        Ok(Self { client, connected })
    }
}

/// Returns the pause before the next attempt: exponential backoff with a random factor, which spreads the nodes.
fn pause(attempts: usize) -> Duration {
    let doubled = Duration::from_millis(50) * 2u32.saturating_pow(attempts.min(10) as u32);
    doubled.min(MAX_PAUSE).mul_f64(0.5 + fastrand::f64() / 2.0)
}

fn on_event(event: &Event, opened: &watch::Sender<u64>) {
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

/// The health of the connection. The consumer and the publisher report faults, and the server reads the resulting
/// [`Health`].
#[derive(Debug, Default)]
pub(super) struct HealthTracker {
    health: watch::Sender<Health>,
    faults: Mutex<Faults>,
}

/// The current faults; a field is `None` if that part works.
#[derive(Debug, Default)]
struct Faults {
    consumer: Option<String>,
    /// The error of the last write.
    writes: Option<String>,
    /// The reason why the store is corrupt, which is permanent.
    corrupt: Option<String>,
}

impl HealthTracker {
    pub(super) fn watch(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Returns an error if writes are rejected.
    pub(super) fn check_writable(&self) -> Result<(), NatsError> {
        match self.health.borrow().reason() {
            None => Ok(()),
            Some(reason) => Err(NatsError::Rejected(reason.to_owned())),
        }
    }

    /// Returns an error if reads are impossible.
    pub(super) fn check_readable(&self) -> Result<(), NatsError> {
        if matches!(*self.health.borrow(), Health::ReadOnly(_)) {
            return Ok(());
        }
        self.check_writable()
    }

    /// Records that the consumer works, or the error that stopped it.
    pub(super) fn set_consumer(&self, state: Result<(), String>) {
        self.change(|faults| faults.consumer = state.err());
    }

    /// Records the outcome of a write.
    pub(super) fn set_writes(&self, state: Result<(), String>) {
        if state.is_err() || *self.health.borrow() != Health::Ready {
            self.change(|faults| faults.writes = state.err());
        }
    }

    /// Marks the store as corrupt.
    pub(super) fn set_corrupt(&self, reason: impl Into<String>) {
        self.change(|faults| faults.corrupt = Some(reason.into()));
    }

    fn change(&self, change: impl FnOnce(&mut Faults)) {
        let mut faults = self.faults.lock();
        change(&mut faults);

        let health = match &*faults {
            Faults {
                corrupt: Some(reason),
                ..
            } => Health::Corrupt(reason.clone()),
            Faults {
                consumer: Some(reason),
                ..
            } => Health::Unreachable(reason.clone()),
            Faults {
                writes: Some(reason),
                ..
            } => Health::ReadOnly(reason.clone()),
            _ => Health::Ready,
        };

        // The update happens under the lock, so that receivers see the changes in order.
        let previous = self.health.borrow().clone();
        if previous == health {
            return;
        }
        self.health.send_replace(health.clone());

        match (previous, health) {
            (Health::Ready, Health::Unreachable(reason)) => {
                warn!(
                    reason,
                    "NATS is unreachable; publishes are rejected until the connection is restored"
                )
            }
            (Health::Ready, Health::ReadOnly(reason)) => {
                warn!(
                    reason,
                    "NATS is rejecting writes; publishes are rejected until a test write succeeds"
                )
            }
            (Health::Unreachable(_) | Health::ReadOnly(_), Health::Ready) => {
                info!("NATS is available again")
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_addresses_are_displayed_without_passwords() {
        for (text, displayed) in [
            ("nats://localhost", "localhost:4222"),
            (
                "nats://10.0.0.1:4222,10.0.0.2:4333",
                "10.0.0.1:4222,10.0.0.2:4333",
            ),
            ("tls://ann:secret@nats.example.org", "nats.example.org:4222"),
            ("nats://t0k3n@[::1]:4222", "[::1]:4222"),
        ] {
            let servers = NatsServers::parse(text).expect("servers");
            assert_eq!(servers.to_string(), displayed);
        }

        let servers = NatsServers::parse("nats://ann:s%20t@h").expect("servers");
        let login = ("ann".to_owned(), Some("s t".to_owned()));
        assert_eq!(servers.login(), Some(login));
    }

    #[test]
    fn invalid_server_addresses_are_rejected() {
        for text in [
            "",
            "nats:",
            "nats://",
            "localhost:4222",
            "nats://a,,b",
            "nats://a:b:c",
            "nats://a/b",
            "ws://a",
        ] {
            assert_eq!(NatsServers::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_store_is_ready_only_while_it_is_consumed_and_writable() {
        let tracker = HealthTracker::default();
        let fault = |reason: &str| Err(reason.to_owned());
        let health = tracker.watch();

        tracker.set_writes(fault("full"));
        assert_eq!(*health.borrow(), Health::ReadOnly("full".to_owned()));
        assert!(tracker.check_readable().is_ok());

        tracker.set_consumer(fault("cut off"));
        assert_eq!(*health.borrow(), Health::Unreachable("cut off".to_owned()));
        assert!(tracker.check_readable().is_err());

        tracker.set_consumer(Ok(()));
        assert!(tracker.check_writable().is_err(), "writes still fail");
        tracker.set_writes(Ok(()));
        assert_eq!(*health.borrow(), Health::Ready);

        tracker.set_corrupt("deleted");
        tracker.set_consumer(Ok(()));
        tracker.set_writes(Ok(()));
        assert_eq!(*health.borrow(), Health::Corrupt("deleted".to_owned()));
    }
}
