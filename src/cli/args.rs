//! Arguments that several subcommands share, and their parsers.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{StringValueParser, TypedValueParser};

use crate::cli::Failure;
use crate::cli::client::{ClientTls, Credentials, Endpoint, ServerUrl};
use crate::server::config::duration;

/// Returns the parser of an argument that names a file, an address or a token.
///
/// An empty value is an error: a variable that a script left empty must not count as one that is not set.
pub(super) fn not_empty() -> impl TypedValueParser<Value = String> {
    StringValueParser::new().try_map(|text| {
        if text.trim().is_empty() {
            Err("it is empty; give it a value, or leave it out (its environment variable too)")
        } else {
            Ok(text)
        }
    })
}

/// Returns the parser of a server's URL.
pub(super) fn server_url() -> impl TypedValueParser<Value = ServerUrl> {
    not_empty().try_map(|url| ServerUrl::parse(&url))
}

/// Returns the parser of a number of things, at least one.
pub(super) fn count() -> impl TypedValueParser<Value = u32> {
    clap::value_parser!(u32).range(1..)
}

/// Parses a duration, like 10m or 2h.
///
/// # Errors
/// Returns the allowed format.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    duration(text).map_err(|allowed| format!("allowed is {allowed}"))
}

/// The certificates to trust and the token, for access to a server.
#[derive(Clone, Debug, Args)]
pub(super) struct AccessArgs {
    /// PEM file of CA certificates to trust with https://, instead of the system's
    #[arg(
        long,
        global = true,
        env = "FANFARE_CA",
        hide_env_values = true,
        value_name = "FILE",
        value_parser = not_empty().map(PathBuf::from)
    )]
    pub(super) ca: Option<PathBuf>,
    /// Token, if the server requires one; set the environment variable instead to hide it from other users
    #[arg(
        long,
        global = true,
        env = "FANFARE_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        value_parser = not_empty()
    )]
    pub(super) token: Option<String>,
}

impl AccessArgs {
    /// Returns the server at `url`.
    pub(super) fn server(&self, url: ServerUrl) -> Result<Endpoint, Failure> {
        // An invalid file is reported even if it is not needed.
        let named = self.ca.as_deref().map(|file| {
            let name = format!("--ca {}", file.display());
            ClientTls::of_file(file).map_err(|error| Failure::argument(&name, error))
        });
        let tls = match named.transpose()? {
            _ if !url.is_secure() => None,
            Some(tls) => Some(tls),
            None => Some(
                ClientTls::of_system()
                    .map_err(|error| Failure::argument(&url.to_string(), error))?,
            ),
        };
        Ok(Endpoint::new(url, tls))
    }

    /// Returns the credentials, if there is a token.
    pub(super) fn credentials(&self) -> Result<Option<Credentials>, Failure> {
        // The error does not contain the token.
        let credentials = self.token.as_deref().map(Credentials::parse).transpose();
        credentials.map_err(|error| Failure::argument("--token", error))
    }
}

/// The URL of a server, and the access to it.
#[derive(Clone, Debug, Args)]
pub(super) struct ServerArgs {
    /// URL of the server [env: FANFARE_URL]
    #[arg(
        long,
        env = "FANFARE_URL",
        hide_env = true,
        hide_env_values = true,
        value_name = "URL",
        value_parser = server_url(),
        default_value = "http://127.0.0.1:12345"
    )]
    pub(super) url: ServerUrl,
    #[command(flatten)]
    pub(super) access: AccessArgs,
}

impl ServerArgs {
    /// Returns the server and the credentials.
    pub(super) fn open(&self) -> Result<(Endpoint, Option<Credentials>), Failure> {
        let server = self.access.server(self.url.clone())?;
        Ok((server, self.access.credentials()?))
    }
}
