//! Which NATS, and as whom.

use std::fmt;
use std::path::PathBuf;

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

use crate::server::store::Retention;

/// Servers of one NATS, at least one: `nats://[USER:PASSWORD@|TOKEN@]HOST[:PORT]`, or `tls://…`.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsServers(Vec<ServerAddr>);

/// A text that names no servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotServers;

impl NatsServers {
    /// Reads addresses that are parted by commas; the scheme may be left out after the first.
    ///
    /// # Errors
    /// If one of them is none, or has a path.
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

    /// User and password that the first address has, or its token alone.
    pub(super) fn login(&self) -> Option<(String, Option<String>)> {
        let first = self.0.first()?;
        let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        Some((plain(first.username()?), first.password().map(plain)))
    }
}

/// The hosts and ports, never the passwords.
impl fmt::Display for NatsServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, server) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let host = server.host();
            // An address of IPv6 comes without its brackets.
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

/// A file that says who we are, instead of the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NatsLogin {
    /// What the address says, if anything.
    Address,
    /// A credentials file: a JWT and the seed that signs for it.
    Credentials(PathBuf),
    /// A file with the seed of an nkey.
    Nkey(PathBuf),
}

/// How a [`NatsStore`](super::NatsStore) is connected.
#[derive(Clone, Debug)]
pub struct NatsSettings {
    /// The servers.
    pub servers: NatsServers,
    /// As whom.
    pub login: NatsLogin,
    /// Whom to trust for TLS besides the system's own, a PEM file.
    pub ca: Option<PathBuf>,
    /// The stream's name, which its subjects begin with.
    pub stream: String,
    /// On how many servers each message is kept, 1 to 5.
    pub replicas: usize,
    /// The longest message that anybody may send, in bytes.
    pub max_message: usize,
    /// What is kept. NATS has no limit of bytes by room, so [`Retention::bytes`] means nothing here.
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
