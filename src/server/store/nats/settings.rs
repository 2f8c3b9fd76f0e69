//! The settings of the connection to NATS: the servers, the login and the stream.

use std::fmt;
use std::path::PathBuf;

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

use crate::server::store::Retention;

/// The addresses of one NATS cluster, at least one: `nats://[USER:PASSWORD@|TOKEN@]HOST[:PORT]`, or `tls://…`.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsServers(Vec<ServerAddr>);

/// The error for a text that is not a list of server addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotServers;

impl NatsServers {
    /// Parses comma-separated addresses. Only the first one must have a scheme, which is the default for the rest.
    ///
    /// # Errors
    /// If one of them is not an address, or has a path or a query.
    pub fn parse(text: &str) -> Result<Self, NotServers> {
        let scheme = ["nats://", "tls://"]
            .into_iter()
            .find(|scheme| text.starts_with(scheme));
        let scheme = scheme.ok_or(NotServers)?;

        let server = |part: &str| {
            let part = part.trim();
            let whole = if part.contains("://") {
                part.to_owned()
            } else {
                format!("{scheme}{part}")
            };

            let known = whole.starts_with("nats://") || whole.starts_with("tls://");
            let address: ServerAddr = whole.parse().map_err(|_| NotServers)?;
            let url = address.clone().into_inner();
            let is_bare = matches!(url.path(), "" | "/")
                && url.query().is_none()
                && !address.host().is_empty();
            (known && is_bare).then_some(address).ok_or(NotServers)
        };

        text.split(',')
            .map(server)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(super) fn addresses(&self) -> &[ServerAddr] {
        &self.0
    }

    /// Returns the user and the password of the first address; a token is returned as the user without a password.
    pub(super) fn login(&self) -> Option<(String, Option<String>)> {
        let first = self.0.first()?;
        let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        Some((plain(first.username()?), first.password().map(plain)))
    }
}

/// Formats the hosts and ports, never the passwords.
impl fmt::Display for NatsServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, server) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let host = server.host();
            // `host` returns an IPv6 address without brackets.
            let host = if host.contains(':') {
                format!("[{host}]")
            } else {
                host.to_owned()
            };
            write!(f, "{comma}{host}:{}", server.port())?;
        }
        Ok(())
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
    /// The limits of what is kept. NATS has no limit of bytes per room, so [`Retention::bytes`] is ignored.
    pub retention: Retention,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_and_shown_without_their_passwords() {
        for (text, shown) in [
            ("nats://localhost", "localhost:4222"),
            (
                "nats://10.0.0.1:4222,10.0.0.2:4333",
                "10.0.0.1:4222,10.0.0.2:4333",
            ),
            ("tls://ann:secret@nats.example.org", "nats.example.org:4222"),
            ("nats://t0k3n@[::1]:4222", "[::1]:4222"),
        ] {
            assert_eq!(
                NatsServers::parse(text).map(|servers| servers.to_string()),
                Ok(shown.to_owned())
            );
        }

        let servers = NatsServers::parse("nats://ann:s%20t@h").expect("servers");
        assert_eq!(
            servers.login(),
            Some(("ann".to_owned(), Some("s t".to_owned())))
        );
    }

    #[test]
    fn what_names_no_server_is_refused() {
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
            assert_eq!(NatsServers::parse(text), Err(NotServers), "{text}");
        }
    }
}
