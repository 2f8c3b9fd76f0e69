//! The keys that verify tokens, parsed from a file: an HS256 secret, a public key in PEM, or several keys as a JWK
//! set (RFC 7517).
//!
//! A key has one algorithm, except for an RSA key that names none: it verifies RS256 and PS256.

use jsonwebtoken::{Algorithm, DecodingKey};

use crate::protocol::has_bom;
use crate::server::auth::verification_key::{RSA_ALGORITHMS, VerificationKey, secret};
use crate::server::auth::{KeyFileError, jwk};

/// Beginning of every PEM text (RFC 7468 section 2).
const PEM_BEGIN: &str = "-----BEGIN ";

/// The keys of the server.
#[derive(Clone, Debug)]
pub struct KeySet(pub(super) Vec<VerificationKey>);

impl KeySet {
    /// Parses a key file.
    ///
    /// # Errors
    /// The first problem of the file.
    pub fn parse(file: &[u8]) -> Result<Self, KeyFileError> {
        match KeyFile::parse(file)? {
            KeyFile::Pem(text) => Ok(Self(pem(text)?)),
            KeyFile::JwkSet(text) => Ok(Self(jwk::verification_keys(text)?)),
            KeyFile::Secret(bytes) => Ok(Self(vec![secret(bytes, None)?])),
        }
    }

    /// Returns a set without keys, which verifies no token.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// Parses a JWK set of an identity provider. Keys that cannot verify tokens are ignored: those for encryption, of other
    /// kinds, and secrets, which are not for a public set.
    ///
    /// # Errors
    /// [`KeyFileError::Json`] and [`KeyFileError::NoUsableKey`].
    pub fn parse_fetched(body: &[u8]) -> Result<Self, KeyFileError> {
        match jwk::usable_keys(body)? {
            keys if keys.is_empty() => Err(KeyFileError::NoUsableKey),
            keys => Ok(Self(keys)),
        }
    }

    /// Returns the number of keys. An RSA key without an algorithm counts twice.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there are no keys.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if a key is a secret, which can also sign tokens.
    pub fn can_sign(&self) -> bool {
        self.0.iter().any(|key| key.algorithm == Algorithm::HS256)
    }
}

/// The content of a key file, by its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyFile<'a> {
    /// One or several keys or certificates in PEM.
    Pem(&'a str),
    /// A JSON object.
    JwkSet(&'a str),
    /// A secret, without a line break at its end, which editors and shells add.
    Secret(&'a [u8]),
}

impl<'a> KeyFile<'a> {
    /// Determines the kind of `file`.
    ///
    /// A file that is meant as a PEM text or a JWK set must not be used as a secret: if a public key were the secret,
    /// anyone could sign tokens.
    ///
    /// # Errors
    /// [`KeyFileError::ByteOrderMark`], [`KeyFileError::BeforePem`], [`KeyFileError::Json`] and
    /// [`KeyFileError::WhiteSpace`].
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
        // A binary secret may begin and end with any bytes.
        match std::str::from_utf8(secret) {
            Ok(text) if text.trim() != text => Err(KeyFileError::WhiteSpace),
            _ => Ok(Self::Secret(secret)),
        }
    }
}

/// Parses one public key in PEM. Returns it once for each of its algorithms.
fn pem(text: &str) -> Result<Vec<VerificationKey>, KeyFileError> {
    if text.contains("PRIVATE KEY-----") {
        return Err(KeyFileError::Private);
    }
    if text.matches(PEM_BEGIN).count() != 1 || !text.starts_with("-----BEGIN PUBLIC KEY-----") {
        return Err(KeyFileError::Pem);
    }

    let text = text.as_bytes();
    let (algorithms, key) = DecodingKey::from_ed_pem(text)
        .map(|key| (&[Algorithm::EdDSA][..], key))
        .or_else(|_| {
            let key = DecodingKey::from_ec_pem(text)?;
            Ok((&[Algorithm::ES256, Algorithm::ES384][..], key))
        })
        .or_else(|_: jsonwebtoken::errors::Error| {
            let key = DecodingKey::from_rsa_pem(text)?;
            Ok((&RSA_ALGORITHMS[..], key))
        })
        .map_err(|_: jsonwebtoken::errors::Error| KeyFileError::Pem)?;

    // A point is on only one of the curves.
    let keys: Vec<_> = algorithms
        .iter()
        .map(|algorithm| VerificationKey {
            id: None,
            algorithm: *algorithm,
            key: key.clone(),
        })
        .filter(VerificationKey::is_usable)
        .collect();
    if keys.is_empty() {
        Err(KeyFileError::Pem)
    } else {
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "a secret of more than 32 bytes, yes";
    /// The public key of RFC 8037 appendix A.2.
    const ED25519: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    /// The public key of RFC 7515 appendix A.3.
    const P256: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

    fn set(keys: &str) -> String {
        format!("{{\"keys\":[{keys}]}}")
    }

    fn algorithms(file: &str) -> Result<Vec<Algorithm>, KeyFileError> {
        KeySet::parse(file.as_bytes()).map(|set| set.0.iter().map(|key| key.algorithm).collect())
    }

    /// Returns an RSA key whose modulus has `bytes` bytes, with the fields `more`.
    fn rsa(bytes: usize, more: &str) -> String {
        let modulus = URL_SAFE_NO_PAD.encode(vec![0xff; bytes]);
        format!(r#"{{"kty":"RSA","n":"{modulus}","e":"AQAB"{more}}}"#)
    }

    #[test]
    fn an_rsa_key_fixes_its_algorithm_if_it_names_one() {
        for (more, expected) in [
            ("", vec![Algorithm::RS256, Algorithm::PS256]),
            (r#","alg":"RS256""#, vec![Algorithm::RS256]),
            (r#","alg":"PS256""#, vec![Algorithm::PS256]),
        ] {
            assert_eq!(algorithms(&set(&rsa(256, more))), Ok(expected), "{more}");
        }
    }

    #[test]
    fn a_key_fixes_its_algorithm() {
        assert_eq!(algorithms(SECRET), Ok(vec![Algorithm::HS256]));
        assert_eq!(algorithms(&set(ED25519)), Ok(vec![Algorithm::EdDSA]));
        assert_eq!(algorithms(&set(P256)), Ok(vec![Algorithm::ES256]));
    }

    #[test]
    fn a_short_secret_is_refused_and_its_line_break_is_not_counted() {
        let short = [
            format!("{}\r\n", &SECRET[..31]),
            String::new(),
            set(r#"{"kty":"oct","k":"c2hvcnQ"}"#),
        ];

        for file in short {
            let short = Err(KeyFileError::ShortSecret);
            assert_eq!(algorithms(&file), short, "{file:?}");
        }
    }

    #[test]
    fn a_file_with_a_different_secret_than_its_owner_sees_is_refused() {
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
            let text = String::from_utf8_lossy(&file).into_owned();
            assert_eq!(KeySet::parse(&file).err(), Some(error), "{text:?}");
        }
    }

    #[test]
    fn a_binary_secret_may_end_with_any_byte() {
        let mut secret = vec![0xff; 40];
        secret.push(b' ');

        assert_eq!(KeyFile::parse(&secret), Ok(KeyFile::Secret(&secret)));
    }

    #[test]
    fn a_set_that_is_not_valid_has_an_error() {
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
            (rsa(255, ""), KeyFileError::Jwk),
            (rsa(513, ""), KeyFileError::Jwk),
            (rsa(256, r#","alg":"RS512""#), KeyFileError::Jwk),
            (rsa(256, r#","d":"x""#), KeyFileError::Private),
            (P256.replace("P-256", "P-384"), KeyFileError::Jwk),
        ] {
            assert_eq!(algorithms(&set(&keys)), Err(error), "{keys}");
        }
    }

    #[test]
    fn keys_of_a_fetched_set_that_cannot_verify_tokens_are_ignored() {
        let others = [
            r#"{"kty":"oct","k":"YSBzZWNyZXQgb2YgYXQgbGVhc3QgMzIgYnl0ZXMsIHllcw"}"#.to_owned(),
            rsa(256, r#","use":"enc""#),
            rsa(256, r#","alg":"RSA-OAEP""#),
            rsa(128, ""),
            rsa(256, r#","d":"x""#),
            r#"{"kty":"EC","crv":"secp256k1","x":"a","y":"b"}"#.to_owned(),
            r#"{"kty":"new","x":1}"#.to_owned(),
            "7".to_owned(),
        ];
        let only_others = KeySet::parse_fetched(set(&others.join(",")).as_bytes());
        let with_one = set(&format!("{},{P256}", others.join(",")));

        let usable = KeySet::parse_fetched(with_one.as_bytes()).expect("one is usable");

        assert_eq!(usable.0[0].algorithm, Algorithm::ES256);
        assert_eq!(usable.len(), 1);
        assert_eq!(only_others.err(), Some(KeyFileError::NoUsableKey));
        assert_eq!(
            KeySet::parse_fetched(b"<html>").err(),
            Some(KeyFileError::Json)
        );
    }

    #[test]
    fn debug_output_contains_no_secret() {
        let set =
            KeySet::parse("correct horse battery staple, twice".as_bytes()).expect("a secret");

        let output = format!("{set:?}");

        assert!(!output.contains("horse"), "{output}");
        assert!(!output.contains("99, 111, 114"), "{output}");
    }

    proptest! {
        #[test]
        fn any_file_is_parsed_or_refused_without_a_panic(
            begin in "(-----BEGIN PUBLIC KEY-----\n|[{]\"keys\":\\[[{]\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\")?",
            rest in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            // Only a panic would be a failure.
            let _ = KeySet::parse(&[begin.as_bytes(), &rest].concat());
        }
    }
}
