//! A key that verifies tokens, and the keys that are too weak or not of a supported size.

use std::ops::RangeInclusive;

use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, crypto};

use crate::server::auth::KeyFileError;

/// Minimum length of a secret. A shorter secret would be weaker than the hash (RFC 7518 section 3.2).
const MIN_SECRET_BYTES: usize = 32;
/// Length of a public Ed25519 key (RFC 8032 section 5.1.5).
const ED25519_BYTES: usize = 32;
/// Lengths of RSA moduli: at least 2048 bits (RFC 7518 section 3.3), and at most 4096, which the library supports.
const RSA_MODULUS_BYTES: RangeInclusive<usize> = 256..=512;
/// Algorithms of an RSA key that names none.
pub(super) const RSA_ALGORITHMS: [Algorithm; 2] = [Algorithm::RS256, Algorithm::PS256];

/// One key, and the only algorithm that it is used with.
#[derive(Clone, Debug)]
pub(super) struct VerificationKey {
    /// The `kid`. A key without one is tried for every token.
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// Checks that `secret` is not easily guessed.
pub(super) fn check_secret(secret: &[u8]) -> Result<(), KeyFileError> {
    if secret.len() < MIN_SECRET_BYTES {
        return Err(KeyFileError::ShortSecret);
    }
    if secret.iter().all(|byte| *byte == 0) {
        return Err(KeyFileError::ZeroSecret);
    }
    Ok(())
}

/// Returns the verification key of an HS256 secret.
pub(super) fn secret(secret: &[u8], id: Option<String>) -> Result<VerificationKey, KeyFileError> {
    check_secret(secret)?;
    Ok(VerificationKey {
        id,
        algorithm: Algorithm::HS256,
        key: DecodingKey::from_secret(secret),
    })
}

impl VerificationKey {
    /// Returns true if the key is a point of its curve, or an RSA key of a supported size. The library would only check
    /// that with the first token.
    pub(super) fn is_usable(&self) -> bool {
        let has_valid_length = match self.algorithm {
            // The library does not check the length and panics for a shorter key.
            Algorithm::EdDSA => self
                .key
                .try_get_as_bytes()
                .is_ok_and(|bytes| bytes.len() == ED25519_BYTES),
            Algorithm::RS256 | Algorithm::PS256 => self
                .rsa_modulus_bytes()
                .is_some_and(|bytes| RSA_MODULUS_BYTES.contains(&bytes)),
            _ => true,
        };
        has_valid_length && crypto::verify("", b"", &self.key, self.algorithm).is_ok()
    }

    /// Returns the length of the modulus of an RSA key.
    fn rsa_modulus_bytes(&self) -> Option<usize> {
        match self.key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, .. } => Some(without_zeros(n).len()),
            DecodingKeyKind::SecretOrDer(der) => {
                // RSAPublicKey (RFC 8017 appendix A.1.1): a SEQUENCE that begins with the INTEGER n. Lengths from 256
                // to 65,535 take three bytes.
                let [0x30, 0x82, _, _, 0x02, 0x82, high, low, rest @ ..] = der.as_slice() else {
                    return None;
                };
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                Some(without_zeros(rest.get(..length)?).len())
            }
        }
    }
}

/// Returns `number`, which is big-endian, without leading zeros.
fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
