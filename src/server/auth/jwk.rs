//! JWK sets: keys as JSON (RFC 7517, RFC 7518 section 6).

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use crate::server::auth::KeyFileError;
use crate::server::auth::verification_key::{RSA_ALGORITHMS, VerificationKey, secret};

/// One key of a JWK set.
#[derive(Deserialize)]
pub(super) struct Jwk {
    kty: String,
    crv: Option<String>,
    alg: Option<String>,
    pub(super) kid: Option<String>,
    /// `sig` or `enc`.
    #[serde(rename = "use")]
    usage: Option<String>,
    /// Secret.
    k: Option<String>,
    /// Coordinates of the public point.
    x: Option<String>,
    y: Option<String>,
    /// Modulus and exponent of an RSA key.
    n: Option<String>,
    e: Option<String>,
    /// Private key, which must be absent.
    d: Option<String>,
}

#[derive(Deserialize)]
struct JwkSet<T> {
    keys: Vec<T>,
}

/// Parses the keys of a JWK set, at least one, and checks that each of several has its own `kid`.
pub(super) fn jwks(text: &str) -> Result<Vec<Jwk>, KeyFileError> {
    let JwkSet::<Jwk> { keys } = serde_json::from_str(text).map_err(|_| KeyFileError::Json)?;
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

/// Parses a JWK set of verification keys.
pub(super) fn verification_keys(text: &str) -> Result<Vec<VerificationKey>, KeyFileError> {
    let keys = jwks(text)?
        .into_iter()
        .map(Jwk::into_keys)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(keys.into_iter().flatten().collect())
}

/// Parses a JWK set of an identity provider. Keys that cannot verify tokens are left out: those for encryption, of other
/// kinds, and secrets, which are not for a public set.
///
/// # Errors
/// [`KeyFileError::Json`].
pub(super) fn usable_keys(body: &[u8]) -> Result<Vec<VerificationKey>, KeyFileError> {
    let JwkSet::<serde_json::Value> { keys } =
        serde_json::from_slice(body).map_err(|_| KeyFileError::Json)?;

    let usable = keys
        .into_iter()
        .filter_map(|jwk| serde_json::from_value::<Jwk>(jwk).ok())
        .filter(|jwk| jwk.kty != "oct" && jwk.usage.as_deref() != Some("enc"))
        .filter_map(|jwk| jwk.into_keys().ok());
    Ok(usable.flatten().collect())
}

impl Jwk {
    /// Returns the secret of a symmetric key.
    pub(super) fn secret(&self) -> Option<Vec<u8>> {
        let is_symmetric =
            self.kty == "oct" && self.alg.as_deref().is_none_or(|alg| alg == "HS256");
        self.k
            .as_deref()
            .filter(|_| is_symmetric)
            .and_then(|k| URL_SAFE_NO_PAD.decode(k).ok())
    }

    /// Returns the verification key, once for each of its algorithms.
    fn into_keys(self) -> Result<Vec<VerificationKey>, KeyFileError> {
        if self.d.is_some() {
            return Err(KeyFileError::Private);
        }
        if let Some(bytes) = self.secret() {
            return Ok(vec![secret(&bytes, self.kid)?]);
        }

        let (algorithms, key) = self.public_key().ok_or(KeyFileError::Jwk)?;
        let keys: Vec<_> = algorithms
            .iter()
            .filter(|algorithm| self.allows(**algorithm))
            .map(|algorithm| VerificationKey {
                id: self.kid.clone(),
                algorithm: *algorithm,
                key: key.clone(),
            })
            .filter(VerificationKey::is_usable)
            .collect();
        if keys.is_empty() {
            Err(KeyFileError::Jwk)
        } else {
            Ok(keys)
        }
    }

    /// Returns the public key, with the algorithms for keys of its kind.
    fn public_key(&self) -> Option<(&'static [Algorithm], DecodingKey)> {
        let coordinates = self.x.as_deref().zip(self.y.as_deref());
        let (algorithms, key): (&'static [Algorithm], _) =
            match (self.kty.as_str(), self.crv.as_deref(), coordinates) {
                ("OKP", Some("Ed25519"), None) => (
                    &[Algorithm::EdDSA],
                    DecodingKey::from_ed_components(self.x.as_deref()?),
                ),
                ("EC", Some("P-256"), Some((x, y))) => {
                    (&[Algorithm::ES256], DecodingKey::from_ec_components(x, y))
                }
                ("EC", Some("P-384"), Some((x, y))) => {
                    (&[Algorithm::ES384], DecodingKey::from_ec_components(x, y))
                }
                ("RSA", None, None) => (
                    &RSA_ALGORITHMS,
                    DecodingKey::from_rsa_components(self.n.as_deref()?, self.e.as_deref()?),
                ),
                _ => return None,
            };

        Some((algorithms, key.ok()?))
    }

    /// Returns true if the key may be used with `algorithm`: if it names none, or this one.
    fn allows(&self, algorithm: Algorithm) -> bool {
        // RFC 9864 names the algorithm of Ed25519 keys after the curve.
        let names: &[&str] = match algorithm {
            Algorithm::EdDSA => &["EdDSA", "Ed25519"],
            Algorithm::ES256 => &["ES256"],
            Algorithm::ES384 => &["ES384"],
            Algorithm::RS256 => &["RS256"],
            Algorithm::PS256 => &["PS256"],
            _ => &[],
        };
        self.alg.as_deref().is_none_or(|alg| names.contains(&alg))
    }
}
