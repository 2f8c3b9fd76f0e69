//! Signing of tokens for `fanfare token`, the counterpart of [`KeySet`](crate::server::auth::KeySet).

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

use crate::protocol::UserId;
use crate::server::auth::jwk::jwks;
use crate::server::auth::keys::KeyFile;
use crate::server::auth::verification_key::check_secret;
use crate::server::auth::{Grants, KeyFileError};

/// The error of a key file that cannot sign tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// Not a valid secret or JWK set.
    #[error("allowed is {0}")]
    Key(KeyFileError),
    /// A public key.
    #[error("a public key only verifies tokens; use the file with the private key")]
    Public,
    /// A PEM text that is not a supported private key.
    #[error(
        "not a private key of Ed25519 or P-256 in PKCS #8; create one with `openssl genpkey -algorithm ed25519`, or \
         convert another with `openssl pkcs8 -topk8 -nocrypt`"
    )]
    Pem,
    /// A JWK set without a secret that has the given `kid`.
    #[error(
        "the JWK set has no key of kty oct with this kid; use the kid of one that it has (--kid)"
    )]
    Kid,
    /// A JWK set with several secrets, and no `kid`.
    #[error("the JWK set has several keys; select the one that signs with --kid")]
    WhichKid,
    /// A key that the library refuses.
    #[error(
        "the key cannot sign; create a new one, for example with `openssl genpkey -algorithm ed25519`"
    )]
    Unusable,
}

/// A key that signs tokens. Its `Debug` output does not contain the key.
#[derive(Clone, Debug)]
pub struct SigningKey {
    header: Header,
    key: EncodingKey,
}

/// The claims of a new token; see [`claims`](crate::server::auth::claims).
#[derive(Serialize)]
struct SignedClaims<'a> {
    sub: &'a UserId,
    rooms: &'a Grants,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<u32>,
}

impl SigningKey {
    /// Parses a key file: a secret, a private key in PEM, or a JWK set with secrets. Tokens contain `kid`, which also
    /// selects the key of a JWK set.
    ///
    /// # Errors
    /// The first problem of the file, and what is allowed instead.
    pub fn parse(file: &[u8], kid: Option<&str>) -> Result<Self, SigningKeyError> {
        let (algorithm, key, kid) = match KeyFile::parse(file).map_err(SigningKeyError::Key)? {
            KeyFile::Pem(text) => {
                let (algorithm, key) = pem(text)?;
                (algorithm, key, kid.map(str::to_owned))
            }
            KeyFile::JwkSet(text) => {
                let (secret, kid) = secret_of_set(text, kid)?;
                (Algorithm::HS256, EncodingKey::from_secret(&secret), kid)
            }
            KeyFile::Secret(secret) => {
                check_secret(secret).map_err(SigningKeyError::Key)?;
                let key = EncodingKey::from_secret(secret);
                (Algorithm::HS256, key, kid.map(str::to_owned))
            }
        };

        let signing = Self {
            header: Header {
                kid,
                ..Header::new(algorithm)
            },
            key,
        };

        // A key that cannot sign is an error here, not at the first token.
        encode(&signing.header, &(), &signing.key).map_err(|_| SigningKeyError::Unusable)?;
        Ok(signing)
    }

    /// Returns a token for `sub` with the grants `rooms`, issued at `now`, in seconds since 1970 UTC, and valid for
    /// `lifetime`. It allows `rate` messages a second.
    ///
    /// # Errors
    /// [`SigningKeyError::Unusable`] if signing fails.
    pub fn sign(
        &self,
        sub: &UserId,
        rooms: &Grants,
        now: u64,
        lifetime: Duration,
        rate: Option<u32>,
    ) -> Result<String, SigningKeyError> {
        let claims = SignedClaims {
            sub,
            rooms,
            iat: now,
            exp: now.saturating_add(lifetime.as_secs()),
            rate,
        };
        encode(&self.header, &claims, &self.key).map_err(|_| SigningKeyError::Unusable)
    }
}

/// Parses a private key in PEM.
fn pem(text: &str) -> Result<(Algorithm, EncodingKey), SigningKeyError> {
    if text.starts_with("-----BEGIN PUBLIC KEY-----") {
        return Err(SigningKeyError::Public);
    }

    EncodingKey::from_ed_pem(text.as_bytes())
        .map(|key| (Algorithm::EdDSA, key))
        .or_else(|_| EncodingKey::from_ec_pem(text.as_bytes()).map(|key| (Algorithm::ES256, key)))
        .map_err(|_| SigningKeyError::Pem)
}

/// Returns the secret with the given `kid`, or the only one of the set, and its `kid`.
fn secret_of_set(
    text: &str,
    kid: Option<&str>,
) -> Result<(Vec<u8>, Option<String>), SigningKeyError> {
    let keys = jwks(text).map_err(SigningKeyError::Key)?;
    let jwk = match (kid, keys.as_slice()) {
        (None, [single]) => single,
        (None, _) => return Err(SigningKeyError::WhichKid),
        (Some(kid), keys) => keys
            .iter()
            .find(|jwk| jwk.kid.as_deref() == Some(kid))
            .ok_or(SigningKeyError::Kid)?,
    };

    let secret = jwk.secret().ok_or(SigningKeyError::Kid)?;
    check_secret(&secret).map_err(SigningKeyError::Key)?;
    Ok((secret, jwk.kid.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_sign_has_an_error() {
        let set = r#"{"keys":[{"kty":"oct","kid":"a","k":"YSBzZWNyZXQgb2YgYXQgbGVhc3QgMzIgYnl0ZXMsIHllcw"},
                     {"kty":"OKP","crv":"Ed25519","kid":"b","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

        for (file, kid, error) in [
            (
                "short",
                None,
                SigningKeyError::Key(KeyFileError::ShortSecret),
            ),
            (
                "a secret of at least 32 bytes, yes \n",
                None,
                SigningKeyError::Key(KeyFileError::WhiteSpace),
            ),
            (
                "\u{feff}a secret of at least 32 bytes, yes",
                None,
                SigningKeyError::Key(KeyFileError::ByteOrderMark),
            ),
            (
                "-----BEGIN PUBLIC KEY-----\n",
                None,
                SigningKeyError::Public,
            ),
            (
                "-----BEGIN EC PRIVATE KEY-----\n",
                None,
                SigningKeyError::Pem,
            ),
            (set, None, SigningKeyError::WhichKid),
            (set, Some("b"), SigningKeyError::Kid),
            (set, Some("c"), SigningKeyError::Kid),
        ] {
            assert_eq!(
                SigningKey::parse(file.as_bytes(), kid).err(),
                Some(error),
                "{file}"
            );
        }

        assert!(SigningKey::parse(set.as_bytes(), Some("a")).is_ok());
    }
}
