//! The claims of a token (RFC 7519) and their verification.
//!
//! `sub` is a user id and `rooms` the grants, unless [`TokenRules`] name other claims. `exp` is required, because a token
//! that never expires could not be revoked. `rate` is the number of messages a second that the token allows. A token for an audience (`aud`) is refused, unless the rules have an
//! audience that it names (section 4.1.3).

use std::collections::BTreeMap;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;

use crate::protocol::{NameError, UserId};
use crate::server::auth::keys::KeySet;
use crate::server::auth::verification_key::VerificationKey;
use crate::server::auth::{GrantError, Grants, Principal, TokenRules};

/// Tolerance for differences between clocks: a token is accepted for this time before and after its validity.
const LEEWAY_SECONDS: u64 = 30;
/// The claim with the audiences.
const AUDIENCE: &str = "aud";
/// The claim with the issuer.
const ISSUER: &str = "iss";

/// The error of a token that is refused. Its text never contains the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No token was sent.
    #[error(
        "a token is needed: as Authorization: Bearer TOKEN, as token=TOKEN in the query, or for a WebSocket as \
         the subprotocol bearer.TOKEN"
    )]
    Missing,
    /// No proxy named the user, on a server without keys.
    #[error(
        "the request names no user, and this server takes users from a proxy only (--auth-header): sign in at the proxy, and \
         connect through it, from an address of --trusted-proxy"
    )]
    NoProxyUser,
    /// More than one token was sent (RFC 6750 section 2).
    #[error("several tokens were sent; send one token, in one way only")]
    Several,
    /// The text is not a token.
    #[error("not a valid JSON Web Token")]
    Malformed,
    /// No key has its `kid` and algorithm.
    #[error("no configured key matches the token's alg and kid")]
    Key,
    /// The keys are at a URL and have not been fetched yet.
    #[error("the keys that verify tokens could not be fetched yet (--jwks); try again later")]
    NoKeys,
    /// The signature does not match the key.
    #[error("the token's signature is not valid")]
    Signature,
    /// A claim has the wrong type.
    #[error(
        "the token's claims must be sub (text), exp and nbf (numbers), rooms (an object of texts), and rate (a whole \
         number from 0)"
    )]
    Claims,
    /// The token is for no audience of this server, or for one although the server has none.
    #[error(
        "the token's audience (aud) is not one of this server; the server's --token-audience sets them"
    )]
    Audience,
    /// The token is of no allowed issuer.
    #[error(
        "the token's issuer (iss) is not one that this server accepts; the server's --token-issuer sets them"
    )]
    Issuer,
    /// The token has no user id.
    #[error("the token has no user id: the claim sub, or the one that --claim-id names")]
    NoSubject,
    /// The claim is not a user id.
    #[error("the token's sub, or the claim of --claim-id, is not a valid user id: {0}")]
    Subject(NameError),
    /// The token has no `exp`.
    #[error("the token has no exp, its expiry time")]
    MissingExpiry,
    /// The token has expired.
    #[error("the token has expired")]
    Expired,
    /// The proxy named no user, or several.
    #[error(
        "the proxy sent {count} user headers (--auth-header), of which there must be one; it must replace the header of the \
         client"
    )]
    ProxyUsers {
        /// The number of headers.
        count: usize,
    },
    /// The user that the proxy named is not a user id.
    #[error("the user that the proxy named (--auth-header) is not a valid user id: {0}")]
    ProxyUser(NameError),
    /// The validity of the token has not begun.
    #[error("the token is not valid yet (nbf)")]
    NotYetValid,
    /// `rooms` are not valid grants.
    #[error("the token's rooms are not valid grants: {0}")]
    Grants(GrantError),
}

/// The claims whose names are fixed. All may be missing.
#[derive(Deserialize)]
struct AccessClaims {
    /// A NumericDate may have a fraction (RFC 7519 section 2).
    exp: Option<f64>,
    nbf: Option<f64>,
    rate: Option<u32>,
}

impl KeySet {
    /// Returns the principal of a client with `token` at the time `now`, in seconds since 1970 UTC.
    pub(super) fn principal(
        &self,
        token: &str,
        rules: &TokenRules,
        now: u64,
    ) -> Result<Principal, TokenError> {
        let claims = self.claims(token, rules)?;
        principal(&claims, rules, now)
    }

    /// Returns the claims of `token`, if one of the keys signed it for an audience of `rules`.
    fn claims(&self, token: &str, rules: &TokenRules) -> Result<Value, TokenError> {
        if self.is_empty() {
            return Err(TokenError::NoKeys);
        }
        let header = decode_header(token).map_err(|_| TokenError::Malformed)?;

        // A critical extension must be understood or refused (RFC 7515 section 4.1.11).
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }

        let has_kid = |key: &&VerificationKey| match (&key.id, &header.kid) {
            (Some(own), Some(kid)) => own == kid,
            _ => true,
        };
        let candidates = self
            .0
            .iter()
            .filter(has_kid)
            .filter(|key| key.algorithm == header.alg);

        let mut error = TokenError::Key;
        for key in candidates {
            match decode::<Value>(token, &key.key, &validation(key, rules)) {
                Ok(decoded) => return Ok(decoded.claims),
                Err(cause) => error = token_error(cause.kind()),
            }
        }
        Err(error)
    }
}

/// Returns the settings for the library: verify the signature with the algorithm of `key`, and the audience and the issuer
/// by `rules`. Without audiences in the rules, it refuses any. [`principal`] checks the times.
fn validation(key: &VerificationKey, rules: &TokenRules) -> Validation {
    let mut validation = Validation::new(key.algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;

    if !rules.audiences.is_empty() {
        validation.set_audience(&rules.audiences);
        validation.required_spec_claims.insert(AUDIENCE.to_owned());
    }
    if !rules.issuers.is_empty() {
        validation.set_issuer(&rules.issuers);
        validation.required_spec_claims.insert(ISSUER.to_owned());
    }
    validation
}

/// Returns the error for one of the library.
fn token_error(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::MissingRequiredClaim(name) if name == AUDIENCE => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(name) if name == ISSUER => TokenError::Issuer,
        ErrorKind::Json(_) | ErrorKind::Utf8(_) => TokenError::Claims,
        _ => TokenError::Malformed,
    }
}

/// Returns the principal of a token with `claims`, if they are valid at `now`, in seconds since 1970 UTC.
fn principal(claims: &Value, rules: &TokenRules, now: u64) -> Result<Principal, TokenError> {
    let AccessClaims { exp, nbf, rate } =
        AccessClaims::deserialize(claims).map_err(|_| TokenError::Claims)?;

    let exp = exp.map(|exp| exp as u64).ok_or(TokenError::MissingExpiry)?;
    if exp.saturating_add(LEEWAY_SECONDS) <= now {
        return Err(TokenError::Expired);
    }
    if nbf.is_some_and(|nbf| nbf as u64 > now + LEEWAY_SECONDS) {
        return Err(TokenError::NotYetValid);
    }

    // A token past its `exp` is valid until the tolerance ends. Any other token expires at `exp`.
    let expires_at = if exp > now {
        exp
    } else {
        exp.saturating_add(LEEWAY_SECONDS)
    };

    let id = rules.id_claim.find(claims).ok_or(TokenError::NoSubject)?;
    let id = id.as_str().ok_or(TokenError::Claims)?;
    let id = UserId::parse(id).map_err(TokenError::Subject)?;
    let rooms = rules.rooms_claim.find(claims);
    let mut grants = rooms.map_or_else(|| Ok(Grants::default()), grants)?;
    let listed = rooms.map(listed).unwrap_or_default();
    grants.extend(&rules.groups.of(&listed));

    Ok(Principal::with_token(id, grants, expires_at).with_rate(rate))
}

/// Returns the grants in a claim: an object of rooms and rights, or a list of texts like `lobby:rw`, as a JSON array or
/// separated by spaces. A list may contain other texts too, such as groups and roles of other services.
fn grants(claim: &Value) -> Result<Grants, TokenError> {
    let has_other = |values: &Vec<Value>| !values.iter().all(Value::is_string);
    match claim {
        Value::Array(values) if has_other(values) => return Err(TokenError::Claims),
        Value::Array(_) | Value::String(_) => {}
        _ => {
            let rooms = BTreeMap::deserialize(claim).map_err(|_| TokenError::Claims)?;
            return Grants::try_from(rooms).map_err(TokenError::Grants);
        }
    }

    let mut grants = Grants::default();
    for text in listed(claim) {
        // A text that is no grant is a group, or belongs to another service.
        let _ = grants.add(text);
    }
    Ok(grants)
}

/// Returns the texts of a claim that is a list: a JSON array, or a text with spaces between them.
fn listed(claim: &Value) -> Vec<&str> {
    match claim {
        Value::String(text) => text.split_whitespace().collect(),
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use proptest::prelude::*;
    use serde_json::json;

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

    /// Verifies a token with `claims`.
    fn verify(claims: &Value) -> Result<Principal, TokenError> {
        verify_with(&TokenRules::default(), claims)
    }

    /// Verifies a token with `claims` by `rules`.
    fn verify_with(rules: &TokenRules, claims: &Value) -> Result<Principal, TokenError> {
        keys().principal(&token(&Header::default(), claims), rules, NOW)
    }

    /// Returns the claims of a valid token, with those in `more` added or replaced.
    fn claims_with(more: &Value) -> Value {
        let mut claims = json!({"sub": "ann", "exp": NOW + 60, "rooms": {"lobby": "r"}});
        let fields = claims.as_object_mut().expect("an object");
        for (name, value) in more.as_object().expect("an object") {
            fields.insert(name.clone(), value.clone());
        }
        claims
    }

    #[test]
    fn a_valid_token_has_an_id_and_grants() {
        let principal = verify(&claims_with(&json!({"iat": 1, "iss": "someone"}))).expect("valid");

        assert_eq!(principal.user_id(None), Ok(UserId::parse("ann").ok()));
        assert!(principal.may(Right::Read, &RoomName::lobby()));
        assert!(!principal.may(Right::Write, &RoomName::lobby()));
        assert_eq!(principal.expires_at(), Some(NOW + 60));
    }

    #[test]
    fn a_token_is_accepted_half_a_minute_before_and_after_its_validity() {
        for (more, expected) in [
            (json!({"exp": NOW + 1}), Ok(Some(NOW + 1))),
            (json!({"exp": NOW as f64 + 1.5}), Ok(Some(NOW + 1))),
            (json!({"exp": NOW - 29}), Ok(Some(NOW + 1))),
            (json!({"exp": NOW - 30}), Err(TokenError::Expired)),
            (json!({"exp": -5}), Err(TokenError::Expired)),
            (json!({"exp": u64::MAX}), Ok(Some(u64::MAX))),
            (json!({"nbf": NOW + 30}), Ok(Some(NOW + 60))),
            (json!({"nbf": NOW + 31}), Err(TokenError::NotYetValid)),
        ] {
            let expires_at = verify(&claims_with(&more)).map(|principal| principal.expires_at());
            assert_eq!(expires_at, expected, "{more}");
        }
    }

    #[test]
    fn a_missing_or_wrong_claim_has_an_error() {
        for (claims, error) in [
            (json!({"sub": "ann"}), TokenError::MissingExpiry),
            (json!({"exp": NOW}), TokenError::NoSubject),
            (
                claims_with(&json!({"sub": ""})),
                TokenError::Subject(NameError::Length {
                    what: "id",
                    chars: 0,
                    max: 64,
                }),
            ),
            (claims_with(&json!({"sub": 7})), TokenError::Claims),
            (claims_with(&json!({"exp": "soon"})), TokenError::Claims),
            (claims_with(&json!({"rate": -1})), TokenError::Claims),
            (claims_with(&json!({"rate": 0.5})), TokenError::Claims),
            (
                claims_with(&json!({"rooms": ["lobby:r", 7]})),
                TokenError::Claims,
            ),
            (
                claims_with(&json!({"rooms": {"lobby": "x"}})),
                TokenError::Grants(GrantError::Access),
            ),
            (
                claims_with(&json!({"aud": "elsewhere"})),
                TokenError::Audience,
            ),
        ] {
            assert_eq!(verify(&claims), Err(error), "{claims}");
        }
    }

    #[test]
    fn audiences_and_issuers_of_the_rules_are_required() {
        let rules = TokenRules {
            audiences: vec!["chat".to_owned(), "chat-2".to_owned()],
            issuers: vec!["https://id.example".to_owned()],
            ..TokenRules::default()
        };

        for (more, expected) in [
            (json!({"aud": "chat", "iss": "https://id.example"}), Ok(())),
            (
                json!({"aud": ["other", "chat-2"], "iss": "https://id.example"}),
                Ok(()),
            ),
            (
                json!({"aud": "other", "iss": "https://id.example"}),
                Err(TokenError::Audience),
            ),
            (
                json!({"iss": "https://id.example"}),
                Err(TokenError::Audience),
            ),
            (
                json!({"aud": "chat", "iss": "https://id.example/"}),
                Err(TokenError::Issuer),
            ),
            (json!({"aud": "chat"}), Err(TokenError::Issuer)),
        ] {
            let result = verify_with(&rules, &claims_with(&more)).map(|_| ());
            assert_eq!(result, expected, "{more}");
        }
    }

    #[test]
    fn the_rules_name_the_claims_with_the_id_and_the_rooms() {
        let rules = TokenRules {
            id_claim: "email".parse().expect("a claim"),
            rooms_claim: "realm_access.roles".parse().expect("a claim"),
            ..TokenRules::default()
        };
        let roles = |roles: Value| {
            claims_with(&json!({"email": "ann@example.org", "realm_access": {"roles": roles}}))
        };

        for listed in [
            json!(["offline_access", "class-*:rw", "uma:x"]),
            json!("offline_access class-*:rw"),
            json!({"class-*": "rw"}),
        ] {
            let principal = verify_with(&rules, &roles(listed)).expect("valid");
            let room = |name| RoomName::parse(name).expect("a room");

            let id = principal.proven().map(ToString::to_string);
            assert_eq!(id.as_deref(), Some("ann@example.org"));
            assert!(principal.may(Right::Write, &room("class-7b")));
            assert!(!principal.may(Right::Read, &room("lobby")), "not `rooms`");
        }

        let without_id = claims_with(&json!({}));
        assert_eq!(verify_with(&rules, &without_id), Err(TokenError::NoSubject));
        assert_eq!(
            verify_with(&rules, &roles(json!({"class": "x"}))),
            Err(TokenError::Grants(GrantError::Access))
        );
    }

    #[test]
    fn groups_in_the_list_have_their_grants_and_all_users_those_without_a_group() {
        let grants = |text: &str| {
            let mut grants = Grants::default();
            grants.add(text).expect("a grant");
            grants
        };
        let mut rules = TokenRules::default();
        rules
            .groups
            .add(Some("staff".to_owned()), grants("staff-*:rw"));
        rules.groups.add(None, grants("news:r"));

        for (rooms, in_staff) in [
            (json!(["staff", "other"]), true),
            (json!("other staff"), true),
            (json!(["Staff"]), false),
            (json!({"staff": "r"}), false),
        ] {
            let principal =
                verify_with(&rules, &claims_with(&json!({"rooms": rooms}))).expect("valid");
            let may = |room| principal.may(Right::Read, &RoomName::parse(room).expect("a room"));

            assert!(may("news"), "{rooms}");
            assert_eq!(may("staff-1"), in_staff, "{rooms}");
        }
    }

    #[test]
    fn a_token_with_a_critical_extension_is_malformed() {
        let header = Header {
            crit: Some(vec!["exp".to_owned()]),
            ..Header::default()
        };
        let critical = token(&header, &claims_with(&json!({})));

        assert_eq!(
            keys().principal(&critical, &TokenRules::default(), NOW),
            Err(TokenError::Malformed)
        );
    }

    fn base64(text: &str) -> String {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
    }

    #[test]
    fn a_kid_selects_one_of_the_keys() {
        let secret = base64(str::from_utf8(SECRET).expect("text"));
        let other = base64("another secret of at least thirty-two bytes");
        let set = json!({"keys": [
            {"kty": "oct", "kid": "old", "k": other},
            {"kty": "oct", "kid": "new", "k": secret},
        ]});
        let keys = KeySet::parse(set.to_string().as_bytes()).expect("a set");
        let result = |kid: Option<&str>| {
            let header = Header {
                kid: kid.map(str::to_owned),
                ..Header::default()
            };
            let token = token(&header, &claims_with(&json!({})));
            keys.principal(&token, &TokenRules::default(), NOW)
                .map(|_| ())
        };

        assert_eq!(result(Some("new")), Ok(()));
        assert_eq!(result(None), Ok(()));
        assert_eq!(result(Some("old")), Err(TokenError::Signature));
        assert_eq!(result(Some("lost")), Err(TokenError::Key));
    }

    proptest! {
        #[test]
        fn a_changed_token_is_refused(index in 0usize..200, character in "[A-Za-z0-9_.-]") {
            let valid = token(&Header::default(), &claims_with(&json!({})));
            let index = index % valid.len();
            let changed = [&valid[..index], &character, &valid[index + 1..]].concat();

            // Only one spelling of the last character is valid: Base64 decoding refuses unused bits that are not zero.
            prop_assert_eq!(keys().principal(&changed, &TokenRules::default(), NOW).is_ok(), changed == valid);
        }

        #[test]
        fn any_text_is_refused_without_a_panic(text in "[A-Za-z0-9_.-]{0,80}|\\PC{0,40}") {
            prop_assert!(keys().principal(&text, &TokenRules::default(), NOW).is_err());
        }
    }
}
