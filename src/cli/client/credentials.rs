//! The token of a client.
//!
//! Only the server can verify a token. The `sub` is read here without a check of the signature, because the client
//! needs its id.

use jsonwebtoken::dangerous::insecure_decode_claims;
use serde::Deserialize;

use crate::protocol::{Token, UserId};

/// A token and the id in it.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Credentials {
    pub(in crate::cli) token: Token,
    pub(in crate::cli) id: UserId,
}

impl Credentials {
    /// Parses a JSON Web Token without checking its signature.
    ///
    /// # Errors
    /// Returns the allowed format.
    pub(in crate::cli) fn parse(token: &str) -> Result<Self, &'static str> {
        #[derive(Deserialize)]
        struct Claims {
            sub: UserId,
        }

        let token = token.trim();
        let Claims { sub } = insecure_decode_claims(token).map_err(
            |_| "a token is a JSON Web Token with a `sub`, as `fanfare token` prints it",
        )?;

        Ok(Self {
            token: Token::new(token.to_owned()),
            id: sub,
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

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
