//! `fanfare token`: creates a token for a server with keys, and prints only the token.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Args;

use crate::cli::args::not_empty;
use crate::cli::{ConfigErrors, Failure, output};
use crate::protocol::UserId;
use crate::server::auth::{Grants, SigningKey};
use crate::server::config::duration;
use crate::server::small_file;

/// The minimum lifetime: a shorter one would be over before the token is used.
const SHORTEST: Duration = Duration::from_secs(1);

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
    #[arg(long, value_name = "ID")]
    sub: String,
    /// Rights r, w, rw or admin in a room (lobby:rw) or in all rooms whose names begin with a prefix (class-*:r); may be
    /// repeated
    #[arg(long, value_name = "ROOM:ACCESS", required = true)]
    room: Vec<String>,
    /// Lifetime of the token, like 15m, 8h or 30d
    #[arg(long, value_name = "TIME", default_value = "1h")]
    expires: String,
    /// Key that signs the token: the server's HS256 secret, a private key in PEM (Ed25519, P-256), or a JWK set
    #[arg(
        long,
        env = "FANFARE_AUTH_KEY_FILE",
        hide_env_values = true,
        value_name = "FILE",
        value_parser = not_empty()
    )]
    auth_key_file: String,
    /// Key id of the key to use if there are several; it is written to the token
    #[arg(long)]
    kid: Option<String>,
}

pub(super) fn run(args: TokenArgs) -> Result<(), Failure> {
    let mut errors = ConfigErrors::default();
    let sub = errors.check("--sub", &args.sub, UserId::parse);
    let mut rooms = Grants::default();
    for grant in &args.room {
        errors.check("--room", grant, |grant| rooms.add(grant));
    }

    let lasts = errors.check("--expires", &args.expires, |time| match duration(time) {
        Ok(lasts) if lasts < SHORTEST => Err("allowed is a time of at least 1s"),
        result => result,
    });

    let kid = args.kid.as_deref();
    let key = errors.check("--auth-key-file", &args.auth_key_file, |file| {
        let bytes = small_file::read(Path::new(file), small_file::MAX_BYTES)
            .map_err(|error| error.to_string())?;
        SigningKey::parse(&bytes, kid).map_err(|error| error.to_string())
    });

    let (Some(sub), Some(lasts), Some(key), true) = (sub, lasts, key, errors.is_empty()) else {
        return Err(errors.into());
    };

    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock is before 1970")?
        .as_secs();
    let token = key.sign(&sub, &rooms, now, lasts).context("cannot sign")?;
    Ok(output::print(format!("{token}\n"))?)
}
