//! `fanfare token`: creates a token for a server with keys, and prints only the token.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use clap::builder::TypedValueParser;
use jiff::Timestamp;

use crate::cli::args::{not_empty, parse_duration};
use crate::cli::{Failure, output};
use crate::protocol::UserId;
use crate::server::auth::{Grants, SigningKey};
use crate::server::small_file;

/// The arguments of the command.
#[derive(Debug, Args)]
#[command(
    about = "Create and print a token for a server with --auth-key-file",
    after_help = "Anyone who has the token can act as ID until it expires. Keep it secret like a password.\n\
             To create a key: openssl rand -base64 32 > fanfare.key; chmod 600 fanfare.key\n\
             To open the page with the token: http://HOST:PORT/r/ROOM#token=TOKEN"
)]
pub(super) struct TokenArgs {
    /// Id of the user that the token is for, 1 to 64 characters
    #[arg(long, value_name = "ID", value_parser = UserId::parse)]
    sub: UserId,
    /// Rights r, w, rw or admin in a room (lobby:rw) or in all rooms whose names begin with a prefix (class-*:r); may be
    /// repeated
    #[arg(long, value_name = "ROOM:ACCESS", required = true)]
    room: Vec<String>,
    /// Lifetime of the token, like 15m, 8h or 30d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_lifetime)]
    expires: Duration,
    /// Messages a second that the token allows, in place of the server's rates by connection, id and address; 0 is
    /// unlimited
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Key that signs the token: the server's HS256 secret, a private key in PEM (Ed25519, P-256), or a JWK set
    #[arg(
        long,
        env = "FANFARE_AUTH_KEY_FILE",
        hide_env_values = true,
        value_name = "FILE",
        value_parser = not_empty().map(PathBuf::from)
    )]
    auth_key_file: PathBuf,
    /// Key id of the key to use if there are several; it is written to the token
    #[arg(long)]
    kid: Option<String>,
}

/// Parses a lifetime of at least a second: a shorter one would be over before the token is used.
fn parse_lifetime(text: &str) -> Result<Duration, String> {
    parse_duration(text).and_then(|lifetime| match lifetime {
        lifetime if lifetime < Duration::from_secs(1) => {
            Err("allowed is a time of at least 1s".to_owned())
        }
        lifetime => Ok(lifetime),
    })
}

pub(super) fn run(args: TokenArgs) -> Result<(), Failure> {
    let mut rooms = Grants::default();
    for grant in &args.room {
        let added = rooms.add(grant);
        added.map_err(|error| Failure::argument(&format!("--room {grant:?}"), error))?;
    }
    let key = read_key(&args.auth_key_file, args.kid.as_deref()).map_err(|error| {
        let file = args.auth_key_file.display();
        Failure::argument(&format!("--auth-key-file {file}"), format!("{error:#}"))
    })?;

    let now = Timestamp::now().as_second();
    let now = u64::try_from(now).context("the clock is before 1970")?;
    let token = key.sign(&args.sub, &rooms, now, args.expires, args.rate);
    let token = token.context("cannot sign")?;
    Ok(output::print(format!("{token}\n"))?)
}

fn read_key(file: &Path, kid: Option<&str>) -> anyhow::Result<SigningKey> {
    let bytes = small_file::read(file, small_file::MAX_BYTES)?;
    Ok(SigningKey::parse(&bytes, kid)?)
}
