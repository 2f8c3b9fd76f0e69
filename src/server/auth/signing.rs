//! Makes tokens, for `fanfare token`: the other half of [`KeySet`](crate::server::auth::KeySet).

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

use crate::protocol::UserId;
use crate::server::auth::keys::{KeyFile, check_secret, jwks};
use crate::server::auth::{Grants, KeyFileError};

/// Why a key file makes no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// It holds no good secret or set.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// It only checks tokens.
    #[error(
        "this is a public key, which only checks tokens; allowed is a file with the private one"
    )]
    Public,
    /// A PEM text of another form.
    #[error(
        "this is no private key of Ed25519 or P-256 in PKCS #8; allowed is what `openssl genpkey -algorithm ed25519` \
         makes, or `openssl pkcs8 -topk8 -nocrypt` of another"
    )]
    Pem,
    /// The set has no secret of that name.
    #[error("the set has no key of kty oct with this kid; allowed with --kid is one that it has")]
    Kid,
    /// Several secrets and no name.
    #[error("the set has several keys; --kid says which one signs")]
    WhichKid,
    /// The library would not take it.
    #[error("this key cannot sign")]
    Unusable,
}

/// A key that makes tokens. Printed for debugging it shows nothing of itself.
#[derive(Clone, Debug)]
pub struct SigningKey {
    header: Header,
    key: EncodingKey,
}

/// As they travel; see [`claims`](crate::server::auth::claims).
#[derive(Serialize)]
struct SignedClaims<'a> {
    sub: &'a UserId,
    rooms: &'a Grants,
    iat: u64,
    exp: u64,
}

impl SigningKey {
    /// Reads a key file: a secret, a private key in PEM, or a JWK set with secrets. Tokens name `kid`, which in a
    /// set also chooses the key.
    ///
    /// # Errors
    /// Says what is wrong and what is allowed.
    pub fn parse(file: &[u8], kid: Option<&str>) -> Result<Self, SigningKeyError> {
        let (algorithm, key, kid) = match KeyFile::parse(file)? {
            KeyFile::Pem(text) => {
                let (algorithm, key) = pem(text)?;
                (algorithm, key, kid.map(str::to_owned))
            }
            KeyFile::JwkSet(text) => {
                let (secret, kid) = secret_of_set(text, kid)?;
                (Algorithm::HS256, EncodingKey::from_secret(&secret), kid)
            }
            KeyFile::Secret(secret) => {
                check_secret(secret)?;
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
        // Better now than with the first token.
        encode(&signing.header, &(), &signing.key).map_err(|_| SigningKeyError::Unusable)?;
        Ok(signing)
    }

    /// A token of `sub` with `rooms`, from `now`, in seconds since 1970 UTC, for as long as `lasts`.
    ///
    /// # Errors
    /// [`SigningKeyError::Unusable`] if the key fails now, though it worked before.
    pub fn sign(
        &self,
        sub: &UserId,
        rooms: &Grants,
        now: u64,
        lasts: Duration,
    ) -> Result<String, SigningKeyError> {
        let claims = SignedClaims {
            sub,
            rooms,
            iat: now,
            exp: now.saturating_add(lasts.as_secs()),
        };
        encode(&self.header, &claims, &self.key).map_err(|_| SigningKeyError::Unusable)
    }
}

fn pem(text: &str) -> Result<(Algorithm, EncodingKey), SigningKeyError> {
    if text.starts_with("-----BEGIN PUBLIC KEY-----") {
        return Err(SigningKeyError::Public);
    }
    let eddsa = EncodingKey::from_ed_pem(text.as_bytes()).map(|key| (Algorithm::EdDSA, key));
    let found = eddsa
        .or_else(|_| EncodingKey::from_ec_pem(text.as_bytes()).map(|key| (Algorithm::ES256, key)));
    found.map_err(|_| SigningKeyError::Pem)
}

/// The secret called `kid`, or the only one, and its name.
fn secret_of_set(
    text: &str,
    kid: Option<&str>,
) -> Result<(Vec<u8>, Option<String>), SigningKeyError> {
    let keys = jwks(text)?;
    let jwk = match (kid, keys.as_slice()) {
        (None, [only]) => only,
        (None, _) => return Err(SigningKeyError::WhichKid),
        (Some(kid), keys) => keys
            .iter()
            .find(|jwk| jwk.kid.as_deref() == Some(kid))
            .ok_or(SigningKeyError::Kid)?,
    };
    let secret = jwk.secret().ok_or(SigningKeyError::Kid)?;
    check_secret(&secret)?;
    Ok((secret, jwk.kid.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::auth::KeySet;

    const SECRET: &[u8] = b"a secret of at least 32 bytes, yes";

    #[test]
    fn what_is_signed_is_believed() {
        let ann = UserId::parse("ann").expect("an id");
        let mut rooms = Grants::default();
        rooms.add("lobby:rw").expect("a grant");
        let key = SigningKey::parse(SECRET, None).expect("a secret");
        let token = key
            .sign(&ann, &rooms, 1000, Duration::from_secs(60))
            .expect("a token");
        let principal = KeySet::parse(SECRET)
            .expect("a secret")
            .principal(&token, 1000)
            .expect("good");
        assert_eq!(principal.user_id(None), Ok(Some(ann)));
        assert_eq!(principal.expires_at(), Some(1060));
    }

    #[test]
    fn a_key_that_signs_nothing_is_named() {
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
