//! What a token says (RFC 7519), and whether it is to be believed.
//!
//! `sub` is an id, `rooms` what it grants, `exp` must be there: a token that never ends could never be taken
//! back. A token for an audience (`aud`) is refused, because this server answers to no name (section 4.1.3).

use std::collections::BTreeMap;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;

use crate::protocol::NameError;
use crate::protocol::UserId;
use crate::server::auth::keys::{KeySet, VerificationKey};
use crate::server::auth::{GrantError, Grants, Principal};

/// Clocks differ: a token counts for so long before and after its time.
const LEEWAY_SECONDS: u64 = 30;

/// Why a token does not count. No text of it repeats the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// None was sent.
    #[error(
        "a token is needed: as Authorization: Bearer TOKEN, as token=TOKEN in the query, or for a WebSocket as \
         the subprotocol bearer.TOKEN"
    )]
    Missing,
    /// It was sent twice, perhaps two different ones (RFC 6750 section 2).
    #[error("the token must be sent once, in one way only")]
    Several,
    /// It cannot be read.
    #[error("this is no JSON Web Token")]
    Malformed,
    /// No key of its `kid` and algorithm.
    #[error("the token is signed by no key of this server: its alg or kid is another")]
    Key,
    /// A key that should have signed it did not.
    #[error("the token's signature is wrong")]
    Signature,
    /// Its claims are of other kinds than they must be.
    #[error(
        "the token's claims must be sub (text), exp and nbf (numbers), and rooms (an object of texts)"
    )]
    Claims,
    /// It names an audience.
    #[error("the token is for another audience (aud)")]
    Audience,
    /// It does not say who.
    #[error("the token has no sub")]
    NoSubject,
    /// Who it says is no id.
    #[error("the token's sub is no id: {0}")]
    Subject(NameError),
    /// It never ends.
    #[error("the token has no exp, the time at which it ends")]
    NoEnd,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not begun.
    #[error("the token is not valid yet (nbf)")]
    Early,
    /// Its `rooms` are none.
    #[error("the token's rooms are no grants: {0}")]
    Grants(GrantError),
}

/// As they travel: everything may be missing.
#[derive(Deserialize)]
struct AccessClaims {
    sub: Option<String>,
    /// A NumericDate may have a fraction (RFC 7519 section 2).
    exp: Option<f64>,
    nbf: Option<f64>,
    rooms: Option<BTreeMap<String, String>>,
}

impl KeySet {
    /// Whom `token` proves to ask, `now`, in seconds since 1970 UTC.
    pub(super) fn principal(&self, token: &str, now: u64) -> Result<Principal, TokenError> {
        self.claims(token)?.principal(now)
    }

    /// What `token` says, if one of the keys signed it.
    fn claims(&self, token: &str) -> Result<AccessClaims, TokenError> {
        let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
        // Whatever it is, it must be understood or refused (RFC 7515 section 4.1.11).
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let is_named = |key: &&VerificationKey| match (&key.id, &header.kid) {
            (Some(own), Some(named)) => own == named,
            _ => true,
        };
        let mut result = Err(TokenError::Key);
        for key in self
            .0
            .iter()
            .filter(is_named)
            .filter(|key| key.algorithm == header.alg)
        {
            match decode::<AccessClaims>(token, &key.key, &validation(key)) {
                Ok(decoded) => return Ok(decoded.claims),
                Err(error) => result = Err(explain(error.kind())),
            }
        }
        result
    }
}

/// The signature by this key's algorithm and the audience; times are compared here, with a clock that is given.
fn validation(key: &VerificationKey) -> Validation {
    let mut validation = Validation::new(key.algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation
}

const fn explain(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::Json(_) | ErrorKind::Utf8(_) => TokenError::Claims,
        _ => TokenError::Malformed,
    }
}

impl AccessClaims {
    fn principal(self, now: u64) -> Result<Principal, TokenError> {
        let exp = self.exp.map(|exp| exp as u64).ok_or(TokenError::NoEnd)?;
        if exp.saturating_add(LEEWAY_SECONDS) <= now {
            return Err(TokenError::Expired);
        }
        if self
            .nbf
            .is_some_and(|nbf| nbf as u64 > now + LEEWAY_SECONDS)
        {
            return Err(TokenError::Early);
        }
        // One that comes within the leeway lasts to its end; one that is in use ends when it says.
        let ends = if exp > now {
            exp
        } else {
            exp.saturating_add(LEEWAY_SECONDS)
        };
        let sub = self.sub.ok_or(TokenError::NoSubject)?;
        let id = UserId::parse(&sub).map_err(TokenError::Subject)?;
        let grants =
            Grants::try_from(self.rooms.unwrap_or_default()).map_err(TokenError::Grants)?;
        Ok(Principal::with_token(id, grants, ends))
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::RoomName;
    use crate::server::auth::Right;

    const SECRET: &[u8] = b"a secret of at least 32 bytes, yes";
    const NOW: u64 = 1_000_000;

    fn keys() -> KeySet {
        KeySet::parse(SECRET).expect("a secret")
    }

    fn token(header: &Header, claims: &Value) -> String {
        encode(header, claims, &EncodingKey::from_secret(SECRET)).expect("a token")
    }

    fn read(claims: &Value) -> Result<Principal, TokenError> {
        keys().principal(&token(&Header::default(), claims), NOW)
    }

    fn ann(more: &Value) -> Value {
        let mut claims = json!({"sub": "ann", "exp": NOW + 60, "rooms": {"lobby": "r"}});
        let fields = claims.as_object_mut().expect("an object");
        more.as_object()
            .expect("an object")
            .iter()
            .for_each(|(name, value)| {
                fields.insert(name.clone(), value.clone());
            });
        claims
    }

    #[test]
    fn a_good_token_proves_an_id_and_its_grants() {
        let principal = read(&ann(&json!({"iat": 1, "iss": "someone"}))).expect("good");
        assert_eq!(principal.user_id(None), Ok(UserId::parse("ann").ok()));
        assert!(principal.may(Right::Read, &RoomName::lobby()));
        assert!(!principal.may(Right::Write, &RoomName::lobby()));
        assert_eq!(principal.expires_at(), Some(NOW + 60));
    }

    #[test]
    fn a_token_counts_half_a_minute_before_and_after_its_time_and_not_a_second_more() {
        for (more, expected) in [
            (json!({"exp": NOW + 1}), Ok(Some(NOW + 1))),
            (json!({"exp": NOW as f64 + 1.5}), Ok(Some(NOW + 1))),
            (json!({"exp": NOW - 29}), Ok(Some(NOW + 1))),
            (json!({"exp": NOW - 30}), Err(TokenError::Expired)),
            (json!({"exp": -5}), Err(TokenError::Expired)),
            (json!({"exp": u64::MAX}), Ok(Some(u64::MAX))),
            (json!({"nbf": NOW + 30}), Ok(Some(NOW + 60))),
            (json!({"nbf": NOW + 31}), Err(TokenError::Early)),
        ] {
            assert_eq!(
                read(&ann(&more)).map(|principal| principal.expires_at()),
                expected,
                "{more}"
            );
        }
    }

    #[test]
    fn claims_that_are_missing_or_wrong_are_named() {
        for (claims, error) in [
            (json!({"sub": "ann"}), TokenError::NoEnd),
            (json!({"exp": NOW}), TokenError::NoSubject),
            (
                ann(&json!({"sub": ""})),
                TokenError::Subject(NameError::Length {
                    what: "id",
                    chars: 0,
                }),
            ),
            (ann(&json!({"sub": 7})), TokenError::Claims),
            (ann(&json!({"exp": "soon"})), TokenError::Claims),
            (ann(&json!({"rooms": ["lobby"]})), TokenError::Claims),
            (
                ann(&json!({"rooms": {"lobby": "x"}})),
                TokenError::Grants(GrantError::Access),
            ),
            (ann(&json!({"aud": "elsewhere"})), TokenError::Audience),
        ] {
            assert_eq!(read(&claims), Err(error), "{claims}");
        }
    }

    #[test]
    fn the_tokens_header_cannot_choose_the_algorithm() {
        let part = |text: &str| jsonwebtoken_part(text);
        let claims = part(&ann(&json!({})).to_string());
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"None","typ":"JWT"}"#,
            r#"{"typ":"JWT"}"#,
            "{}",
        ] {
            let unsigned = format!("{}.{claims}.", part(header));
            assert_eq!(
                keys().principal(&unsigned, NOW),
                Err(TokenError::Malformed),
                "{header}"
            );
        }
        let hs512 = token(&Header::new(Algorithm::HS512), &ann(&json!({})));
        assert_eq!(keys().principal(&hs512, NOW), Err(TokenError::Key));
        let critical = Header {
            crit: Some(vec!["exp".to_owned()]),
            ..Header::default()
        };
        assert_eq!(
            keys().principal(&token(&critical, &ann(&json!({}))), NOW),
            Err(TokenError::Malformed)
        );
    }

    fn jsonwebtoken_part(text: &str) -> String {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
    }

    #[test]
    fn a_kid_chooses_among_the_keys() {
        let set = |kid: &str| {
            let k = jsonwebtoken_part(std::str::from_utf8(SECRET).expect("text"));
            let other = jsonwebtoken_part(&"x".repeat(32));
            let keys = json!({"keys": [{"kty": "oct", "kid": "old", "k": other}, {"kty": "oct", "kid": kid, "k": k}]});
            KeySet::parse(keys.to_string().as_bytes()).expect("a set")
        };
        let named = |kid: Option<&str>| {
            let header = Header {
                kid: kid.map(str::to_owned),
                ..Header::default()
            };
            token(&header, &ann(&json!({})))
        };
        assert!(set("new").principal(&named(Some("new")), NOW).is_ok());
        assert!(set("new").principal(&named(None), NOW).is_ok());
        assert_eq!(
            set("new").principal(&named(Some("old")), NOW),
            Err(TokenError::Signature)
        );
        assert_eq!(
            set("new").principal(&named(Some("lost")), NOW),
            Err(TokenError::Key)
        );
    }

    proptest! {
        #[test]
        fn no_change_to_a_token_goes_unnoticed(at in 0usize..200, with in "[A-Za-z0-9_.-]") {
            let good = token(&Header::default(), &ann(&json!({})));
            let at = at % good.len();
            let bad = [&good[..at], &with, &good[at + 1..]].concat();
            // The last letter of a signature has bits that mean nothing, and base64 refuses all but one of them.
            prop_assert_eq!(keys().principal(&bad, NOW).is_ok(), bad == good);
        }

        #[test]
        fn no_text_upsets_the_reader(text in "[A-Za-z0-9_.-]{0,80}|\\PC{0,40}") {
            prop_assert!(keys().principal(&text, NOW).is_err());
        }
    }
}
