//! Arguments that several subcommands share, and their parsers.

use std::time::Duration;

use clap::Args;
use clap::builder::{StringValueParser, TypedValueParser};

use crate::cli::ConfigErrors;
use crate::cli::client::{Credentials, Server};
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

/// Parses a duration, like 10m or 2h.
///
/// # Errors
/// Returns the allowed format.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    duration(text).map_err(|allowed| format!("allowed is {allowed}"))
}

/// The certificates to trust and the token, for access to a server.
#[derive(Debug, Args)]
pub(super) struct AccessArgs {
    /// PEM file of CA certificates to trust with https://, instead of the system's
    #[arg(
        long,
        global = true,
        env = "FANFARE_CA",
        hide_env_values = true,
        value_name = "FILE",
        value_parser = not_empty()
    )]
    pub(super) ca: Option<String>,
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
    /// Returns the server at `url`, the value of the argument `name`.
    pub(super) fn server(
        &self,
        url: &str,
        name: &str,
        errors: &mut ConfigErrors,
    ) -> Option<Server> {
        Server::at(url, self.ca.as_deref(), name, errors)
    }

    /// Returns the credentials, if there is a token. The outer `None` is an error.
    #[expect(
        clippy::option_option,
        reason = "no token and an invalid one are two things"
    )]
    pub(super) fn credentials(&self, errors: &mut ConfigErrors) -> Option<Option<Credentials>> {
        match &self.token {
            None => Some(None),
            // The error must not contain the token.
            Some(token) => errors
                .check("--token", "...", |_| Credentials::parse(token))
                .map(Some),
        }
    }
}

/// The URL of a server, and the access to it.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// URL of the server [env: FANFARE_URL]
    #[arg(
        long,
        env = "FANFARE_URL",
        hide_env = true,
        hide_env_values = true,
        value_name = "URL",
        value_parser = not_empty(),
        default_value = "http://127.0.0.1:12345"
    )]
    pub(super) url: String,
    #[command(flatten)]
    pub(super) access: AccessArgs,
}

/// The same, for commands with no other positional argument.
#[derive(Debug, Args)]
pub(super) struct PositionalServerArgs {
    /// URL of the server [env: FANFARE_URL]
    #[arg(
        env = "FANFARE_URL",
        hide_env = true,
        hide_env_values = true,
        value_name = "URL",
        value_parser = not_empty(),
        default_value = "http://127.0.0.1:12345"
    )]
    pub(super) url: String,
    #[command(flatten)]
    pub(super) access: AccessArgs,
}
