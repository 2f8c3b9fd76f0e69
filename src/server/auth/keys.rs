//! The keys that vouch for tokens, read from the text of a file: an HS256 secret, a public key in PEM, or
//! several keys as a JWK set (RFC 7517).
//!
//! Absent: RSA, which needs larger keys for less, and keys fetched from an address.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::Deserialize;

use crate::protocol::has_bom;

/// Fewer bytes than the hash gives would be guessed sooner than the hash is broken (RFC 7518 section 3.2).
const MIN_SECRET_BYTES: usize = 32;
/// Fewer different bytes are no random secret: 64 zeros, say, or one letter repeated.
const MIN_DISTINCT_BYTES: usize = 3;
/// Of a public Ed25519 key (RFC 8032 section 5.1.5).
const ED25519_BYTES: usize = 32;

/// What begins every PEM text (RFC 7468 section 2).
const PEM_BEGIN: &str = "-----BEGIN ";

/// Why a text holds no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFileError {
    /// A secret that could be guessed.
    ShortSecret,
    /// A secret of one or two bytes that are repeated.
    RepeatedSecret,
    /// A key that signs where one that verifies would do.
    Private,
    /// A PEM text that is none of the two kinds of key, or more than one of them.
    Pem,
    /// Not a JWK set.
    Json,
    /// A key in the set that is none of the three kinds, or not whole.
    Jwk,
    /// Several keys, and one without a `kid` or with another's.
    Kid,
    /// A file that begins with a byte order mark, which would be a part of the secret.
    ByteOrderMark,
    /// A secret that begins or ends with white space, which nobody sees.
    WhiteSpace,
    /// Something before the PEM text, so that the whole would be a secret.
    BeforePem,
}

impl KeyFileError {
    /// What would have been right.
    pub const fn allowed(self) -> &'static str {
        match self {
            Self::ShortSecret => {
                "a file whose secret has at least 32 bytes (make one: openssl rand -base64 32)"
            }
            Self::RepeatedSecret => {
                "a file whose secret is random, not one or two bytes repeated (make one: openssl rand -base64 32)"
            }
            Self::Private => {
                "a file with the public key only: the private one belongs to whoever makes tokens"
            }
            Self::Pem => "a file with one PUBLIC KEY in PEM, of Ed25519 or P-256",
            Self::Json => {
                "a file with a JWK set, {\"keys\":[...]} (RFC 7517), with at least one key"
            }
            Self::Jwk => {
                "a JWK set of keys of kty oct (HS256, at least 32 bytes), OKP with crv Ed25519, or EC with crv P-256"
            }
            Self::Kid => "a JWK set in which each of several keys has a kid of its own",
            Self::ByteOrderMark => {
                "a file that does not begin with a byte order mark: save it as UTF-8 without BOM"
            }
            Self::WhiteSpace => {
                "a file whose secret does not begin or end with white space: remove spaces, tabs and empty lines around it"
            }
            Self::BeforePem => {
                "a file that begins with its PEM text: remove what is before -----BEGIN"
            }
        }
    }
}

impl std::fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "allowed is {}", self.allowed())
    }
}

impl std::error::Error for KeyFileError {}

/// One key and the only algorithm that it is used with.
#[derive(Clone, Debug)]
pub(super) struct VerificationKey {
    /// Its `kid`; a key without one is tried with every token.
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// See the [module docs](self). At least one key.
#[derive(Clone, Debug)]
pub struct KeySet(pub(super) Vec<VerificationKey>);

impl KeySet {
    /// Reads what a key file holds.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(file: &[u8]) -> Result<Self, KeyFileError> {
        match KeyFile::parse(file)? {
            KeyFile::Pem(text) => Ok(Self(vec![pem(text)?])),
            KeyFile::JwkSet(text) => jwk_set(text),
            KeyFile::Secret(bytes) => Ok(Self(vec![secret(bytes, None)?])),
        }
    }

    /// Whether whoever reads the file can make tokens, not only check them.
    pub fn holds_secret(&self) -> bool {
        self.0.iter().any(|key| key.algorithm == Algorithm::HS256)
    }
}

/// The form of a key file, by how it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyFile<'a> {
    /// One key or certificate in PEM, or several.
    Pem(&'a str),
    /// A JSON object.
    JwkSet(&'a str),
    /// A secret, without the line end that editors and shells add.
    Secret(&'a [u8]),
}

impl<'a> KeyFile<'a> {
    /// Reads the form of `file`.
    ///
    /// A file that its owner takes for another form or another secret must not count as a secret: a public key would
    /// then sign tokens.
    ///
    /// # Errors
    /// [`KeyFileError::ByteOrderMark`], [`KeyFileError::BeforePem`], [`KeyFileError::Json`] and [`KeyFileError::WhiteSpace`].
    pub(super) fn parse(file: &'a [u8]) -> Result<Self, KeyFileError> {
        if has_bom(file) {
            return Err(KeyFileError::ByteOrderMark);
        }

        let text = std::str::from_utf8(file).unwrap_or_default();
        let start = text.trim_start();
        if start.starts_with(PEM_BEGIN) {
            return Ok(Self::Pem(start));
        }
        if start.starts_with('{') {
            return Ok(Self::JwkSet(start));
        }
        if text.contains(PEM_BEGIN) {
            return Err(KeyFileError::BeforePem);
        }
        if start.starts_with('[') {
            return Err(KeyFileError::Json);
        }

        let line = file.strip_suffix(b"\n").unwrap_or(file);
        let secret = line.strip_suffix(b"\r").unwrap_or(line);
        // A secret that is no text may have any bytes.
        match std::str::from_utf8(secret) {
            Ok(text) if text.trim() != text => Err(KeyFileError::WhiteSpace),
            _ => Ok(Self::Secret(secret)),
        }
    }
}

/// Checks that `secret` is not one that is easily guessed.
pub(super) fn check_secret(secret: &[u8]) -> Result<(), KeyFileError> {
    if secret.len() < MIN_SECRET_BYTES {
        return Err(KeyFileError::ShortSecret);
    }

    let distinct: BTreeSet<u8> = secret.iter().copied().collect();
    if distinct.len() < MIN_DISTINCT_BYTES {
        return Err(KeyFileError::RepeatedSecret);
    }
    Ok(())
}

fn secret(secret: &[u8], id: Option<String>) -> Result<VerificationKey, KeyFileError> {
    check_secret(secret)?;
    Ok(VerificationKey {
        id,
        algorithm: Algorithm::HS256,
        key: DecodingKey::from_secret(secret),
    })
}

fn pem(text: &str) -> Result<VerificationKey, KeyFileError> {
    if text.contains("PRIVATE KEY-----") {
        return Err(KeyFileError::Private);
    }
    if text.matches(PEM_BEGIN).count() != 1 || !text.starts_with("-----BEGIN PUBLIC KEY-----") {
        return Err(KeyFileError::Pem);
    }
    let eddsa = DecodingKey::from_ed_pem(text.as_bytes()).map(|key| (Algorithm::EdDSA, key));
    let found = eddsa
        .or_else(|_| DecodingKey::from_ec_pem(text.as_bytes()).map(|key| (Algorithm::ES256, key)));
    let (algorithm, key) = found.map_err(|_| KeyFileError::Pem)?;
    usable(VerificationKey {
        id: None,
        algorithm,
        key,
    })
    .ok_or(KeyFileError::Pem)
}

/// `key`, if it is a point of its curve: the library would look only when the first token comes.
fn usable(key: VerificationKey) -> Option<VerificationKey> {
    let is_whole = match key.algorithm {
        // The library does not look at all, and would fall over a shorter one.
        Algorithm::EdDSA => key
            .key
            .try_get_as_bytes()
            .is_ok_and(|bytes| bytes.len() == ED25519_BYTES),
        _ => true,
    };
    (is_whole && crypto::verify("", b"", &key.key, key.algorithm).is_ok()).then_some(key)
}

/// A key as RFC 7517 and RFC 7518 section 6 write it, as far as it matters here.
#[derive(Deserialize)]
pub(super) struct Jwk {
    kty: String,
    crv: Option<String>,
    alg: Option<String>,
    pub(super) kid: Option<String>,
    /// The secret.
    k: Option<String>,
    /// The public point.
    x: Option<String>,
    y: Option<String>,
    /// The private half. Only whether it is there is of interest.
    d: Option<String>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

/// The keys of a JWK set.
pub(super) fn jwks(text: &str) -> Result<Vec<Jwk>, KeyFileError> {
    let JwkSet { keys } = serde_json::from_str(text).map_err(|_| KeyFileError::Json)?;
    if keys.is_empty() {
        return Err(KeyFileError::Json);
    }
    let ids: BTreeSet<&str> = keys.iter().filter_map(|jwk| jwk.kid.as_deref()).collect();
    if keys.len() > 1 && ids.len() != keys.len() {
        Err(KeyFileError::Kid)
    } else {
        Ok(keys)
    }
}

fn jwk_set(text: &str) -> Result<KeySet, KeyFileError> {
    jwks(text)?
        .into_iter()
        .map(Jwk::into_key)
        .collect::<Result<_, _>>()
        .map(KeySet)
}

impl Jwk {
    /// Its secret, if it is a symmetric key.
    pub(super) fn secret(&self) -> Option<Vec<u8>> {
        let is_symmetric =
            self.kty == "oct" && self.alg.as_deref().is_none_or(|alg| alg == "HS256");
        self.k
            .as_deref()
            .filter(|_| is_symmetric)
            .and_then(|k| URL_SAFE_NO_PAD.decode(k).ok())
    }

    fn into_key(self) -> Result<VerificationKey, KeyFileError> {
        if self.d.is_some() {
            return Err(KeyFileError::Private);
        }
        if let Some(bytes) = self.secret() {
            return secret(&bytes, self.kid);
        }
        // RFC 9864 gives the first one its proper name.
        let names = |allowed: &[&str]| self.alg.as_deref().is_none_or(|alg| allowed.contains(&alg));
        let (algorithm, key) = match (self.kty.as_str(), self.crv.as_deref(), &self.x, &self.y) {
            ("OKP", Some("Ed25519"), Some(x), None) if names(&["EdDSA", "Ed25519"]) => {
                (Algorithm::EdDSA, DecodingKey::from_ed_components(x))
            }
            ("EC", Some("P-256"), Some(x), Some(y)) if names(&["ES256"]) => {
                (Algorithm::ES256, DecodingKey::from_ec_components(x, y))
            }
            _ => return Err(KeyFileError::Jwk),
        };
        let key = key.map_err(|_| KeyFileError::Jwk)?;
        usable(VerificationKey {
            id: self.kid,
            algorithm,
            key,
        })
        .ok_or(KeyFileError::Jwk)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "a secret of more than 32 bytes, yes";
    /// Of RFC 8037 appendix A.2 and RFC 7515 appendix A.3.
    const ED25519: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const P256: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

    fn algorithms(file: &str) -> Result<Vec<Algorithm>, KeyFileError> {
        KeySet::parse(file.as_bytes()).map(|set| set.0.iter().map(|key| key.algorithm).collect())
    }

    #[test]
    fn a_key_fixes_its_algorithm() {
        assert_eq!(algorithms(SECRET), Ok(vec![Algorithm::HS256]));
        assert_eq!(
            algorithms(&format!("{{\"keys\":[{ED25519}]}}")),
            Ok(vec![Algorithm::EdDSA])
        );
        assert_eq!(
            algorithms(&format!("{{\"keys\":[{P256}]}}")),
            Ok(vec![Algorithm::ES256])
        );
    }

    #[test]
    fn a_secret_that_could_be_guessed_is_refused_and_its_line_end_does_not_count() {
        assert_eq!(
            algorithms(&format!("{}\r\n", &SECRET[..31])),
            Err(KeyFileError::ShortSecret)
        );
        assert_eq!(algorithms(""), Err(KeyFileError::ShortSecret));
        let short = r#"{"keys":[{"kty":"oct","k":"c2hvcnQ"}]}"#;
        assert_eq!(algorithms(short), Err(KeyFileError::ShortSecret));
    }

    #[test]
    fn a_secret_of_one_or_two_bytes_that_are_repeated_is_refused() {
        for secret in [vec![0; 64], vec![b'x'; 32], b"ab".repeat(32)] {
            let error = KeySet::parse(&secret).err();
            assert_eq!(error, Some(KeyFileError::RepeatedSecret), "{secret:?}");
        }

        let zeros = format!(r#"{{"keys":[{{"kty":"oct","k":"{}"}}]}}"#, "A".repeat(43));
        assert_eq!(algorithms(&zeros), Err(KeyFileError::RepeatedSecret));
    }

    #[test]
    fn a_file_that_would_be_another_secret_than_its_owner_sees_is_refused() {
        let secret = SECRET;
        let utf_16: Vec<u8> = format!("\u{feff}{secret}")
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let pem = "-----BEGIN PUBLIC KEY-----\n";

        for (file, error) in [
            (
                format!("\u{feff}{secret}").into_bytes(),
                KeyFileError::ByteOrderMark,
            ),
            (
                format!("\u{feff}{pem}").into_bytes(),
                KeyFileError::ByteOrderMark,
            ),
            ("\u{feff}{\"keys\":[]}".into(), KeyFileError::ByteOrderMark),
            (utf_16, KeyFileError::ByteOrderMark),
            (format!("{secret} ").into_bytes(), KeyFileError::WhiteSpace),
            (
                format!("{secret} \r\n").into_bytes(),
                KeyFileError::WhiteSpace,
            ),
            (
                format!("{secret}\n\n").into_bytes(),
                KeyFileError::WhiteSpace,
            ),
            (
                format!("\t{secret}\n").into_bytes(),
                KeyFileError::WhiteSpace,
            ),
            (
                format!("{secret}\u{a0}").into_bytes(),
                KeyFileError::WhiteSpace,
            ),
            (
                format!("Bag Attributes\n{pem}").into_bytes(),
                KeyFileError::BeforePem,
            ),
            (
                format!("[{{\"kty\":\"{secret}\"}}]").into_bytes(),
                KeyFileError::Json,
            ),
        ] {
            let shown = String::from_utf8_lossy(&file).into_owned();
            assert_eq!(KeySet::parse(&file).err(), Some(error), "{shown:?}");
        }
    }

    #[test]
    fn a_secret_that_is_no_text_may_end_with_any_byte() {
        let mut secret = vec![0xff; 40];
        secret.push(b' ');

        assert_eq!(KeyFile::parse(&secret), Ok(KeyFile::Secret(&secret)));
    }

    #[test]
    fn what_is_wrong_with_a_set_is_said() {
        let with = |jwk: &str, field: &str| jwk.replacen('{', &format!("{{{field},"), 1);
        for (keys, error) in [
            (String::new(), KeyFileError::Json),
            (format!("{ED25519},{P256}"), KeyFileError::Kid),
            (
                format!(
                    "{},{}",
                    with(ED25519, r#""kid":"a""#),
                    with(P256, r#""kid":"a""#)
                ),
                KeyFileError::Kid,
            ),
            (with(ED25519, r#""d":"x""#), KeyFileError::Private),
            (with(P256, r#""alg":"HS256""#), KeyFileError::Jwk),
            (P256.replace("x_FE", "x_FF"), KeyFileError::Jwk),
            (ED25519.replace("11qY", ""), KeyFileError::Jwk),
            (
                r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.to_owned(),
                KeyFileError::Jwk,
            ),
        ] {
            assert_eq!(
                algorithms(&format!("{{\"keys\":[{keys}]}}")),
                Err(error),
                "{keys}"
            );
        }
        assert_eq!(algorithms("{\"keys\":"), Err(KeyFileError::Json));
        assert_eq!(
            algorithms("-----BEGIN CERTIFICATE-----\n"),
            Err(KeyFileError::Pem)
        );
        assert_eq!(
            algorithms("-----BEGIN PRIVATE KEY-----\n"),
            Err(KeyFileError::Private)
        );
    }

    #[test]
    fn no_secret_shows_when_keys_are_printed_for_debugging() {
        let set =
            KeySet::parse("correct horse battery staple, twice".as_bytes()).expect("a secret");
        assert!(
            !format!("{set:?}").contains("horse") && !format!("{set:?}").contains("99, 111, 114")
        );
    }

    proptest! {
        #[test]
        fn no_file_upsets_the_reader(
            begin in "(-----BEGIN PUBLIC KEY-----\n|[{]\"keys\":\\[[{]\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\")?",
            rest in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let _read = KeySet::parse(&[begin.as_bytes(), &rest].concat());
        }
    }
}
