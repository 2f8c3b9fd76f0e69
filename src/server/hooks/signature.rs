//! Signatures of deliveries, as in the specification of [Standard Webhooks](https://www.standardwebhooks.com/).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The prefix of a secret as text.
const PREFIX: &str = "whsec_";
/// The shortest and the longest key in bytes, as in the specification.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The secret that a hook shares with its receiver.
#[derive(Clone)]
pub struct SigningSecret(Vec<u8>);

/// The error for a text that is not a [`SigningSecret`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "whsec_ and the base64 of 24 to 64 random bytes, as printed by: echo whsec_$(openssl rand -base64 32)"
)]
pub struct SigningSecretError;

impl SigningSecret {
    /// Parses `whsec_` and the key in base64.
    ///
    /// # Errors
    /// If the text has another form, or the key is too short or too long.
    pub fn parse(text: &str) -> Result<Self, SigningSecretError> {
        let key = text.strip_prefix(PREFIX).ok_or(SigningSecretError)?;
        let key = STANDARD.decode(key).map_err(|_| SigningSecretError)?;

        if KEY_BYTES.contains(&key.len()) {
            Ok(Self(key))
        } else {
            Err(SigningSecretError)
        }
    }

    /// Returns the value of `webhook-signature` for a body that is sent with this `id` at `timestamp`, in seconds since 1970
    /// UTC.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC accepts keys of any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);

        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningSecret").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specification() {
        // The example of the reference libraries.
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");

        let signature = secret.expect("a secret").sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );

        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_has_the_prefix_and_24_to_64_bytes() {
        let of_bytes = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));

        for text in [of_bytes(24), of_bytes(64)] {
            assert!(SigningSecret::parse(&text).is_ok(), "{text}");
        }
        for text in [
            String::new(),
            "whsec_".to_owned(),
            "whsec_not base64".to_owned(),
            STANDARD.encode([7; 32]),
            of_bytes(23),
            of_bytes(65),
        ] {
            let parsed = SigningSecret::parse(&text).map(|_| ());
            assert_eq!(parsed, Err(SigningSecretError), "{text}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");

        assert_eq!(format!("{secret:?}"), "Ok(SigningSecret { .. })");
    }
}
