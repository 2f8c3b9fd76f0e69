//! The token of a client.
//!
//! Only the server can verify a token. The `sub` is read here without a check of the signature, because the client must
//! know its id.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Arg, ArgMatches};
use serde::Deserialize;

use crate::cli::ConfigErrors;
use crate::cli::args::not_empty;
use crate::protocol::{Token, UserId};

/// Returns the flag for the token.
pub(in crate::cli) fn token_flag() -> Arg {
    Arg::new("token")
        .long("token")
        .env("FANFARE_TOKEN")
        .hide_env_values(true)
        .value_name("TOKEN")
        .value_parser(not_empty())
        .help("Token, if the server requires one; set the environment variable instead to hide it from other users")
}

/// A token and the id in it.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Credentials {
    pub(in crate::cli) token: Token,
    pub(in crate::cli) id: UserId,
}

impl Credentials {
    /// Returns the token among the arguments, if there is one. The outer `None` is an error.
    #[expect(
        clippy::option_option,
        reason = "no token and an invalid one are different"
    )]
    pub(in crate::cli) fn given(
        matches: &ArgMatches,
        errors: &mut ConfigErrors,
    ) -> Option<Option<Self>> {
        match matches.get_one::<String>("token") {
            None => Some(None),
            // The error does not contain the token.
            Some(token) => errors
                .check("--token", "...", |_| Self::parse(token))
                .map(Some),
        }
    }

    fn parse(token: &str) -> Result<Self, &'static str> {
        #[derive(Deserialize)]
        struct Claims {
            sub: UserId,
        }
        let mut parts = token.trim().split('.');
        let claims = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(_), Some(claims), Some(_), None) => URL_SAFE_NO_PAD.decode(claims).ok(),
            _ => None,
        };
        let claims = claims.and_then(|json| serde_json::from_slice::<Claims>(&json).ok());
        let Claims { sub } = claims
            .ok_or("a token is a JSON Web Token with a `sub`, as `fanfare token` prints it")?;
        Ok(Self {
            token: Token::new(token.trim().to_owned()),
            id: sub,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_token_is_its_sub() {
        let token = |claims: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));

        let credentials = Credentials::parse(&token(r#"{"sub":"李雷","exp":1}"#)).expect("a token");
        assert_eq!(credentials.id.as_str(), "李雷");
        for wrong in [
            token("{}"),
            token(r#"{"sub":""}"#),
            "a.b".to_owned(),
            "a.b.c.d".to_owned(),
            String::new(),
        ] {
            assert!(Credentials::parse(&wrong).is_err(), "{wrong}");
        }
    }
}
