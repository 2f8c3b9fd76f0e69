//! The errors of key files.

/// The error of a key file that is not valid. Its text describes a valid file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// A secret that is too short.
    #[error("a file whose secret has at least 32 bytes (make one: openssl rand -base64 32)")]
    ShortSecret,
    /// A secret of zero bytes only, like a file that was allocated and never written.
    #[error(
        "a file whose secret is random, not only zero bytes (make one: openssl rand -base64 32)"
    )]
    ZeroSecret,
    /// A private key in a file that needs only the public one.
    #[error("a file with the public key only: the private key belongs to the issuer of tokens")]
    Private,
    /// A PEM text that is not one supported public key.
    #[error(
        "a file with one PUBLIC KEY in PEM, of Ed25519, P-256, P-384 or RSA (2048 to 4096 bits)"
    )]
    Pem,
    /// Text that is not a JWK set.
    #[error("a file with a JWK set, {{\"keys\":[...]}} (RFC 7517), with at least one key")]
    Json,
    /// A key in a JWK set that is incomplete or not supported.
    #[error(
        "a JWK set of keys of kty oct (HS256, at least 32 bytes), OKP with crv Ed25519, EC with crv P-256 or P-384, or \
         RSA (RS256 or PS256, 2048 to 4096 bits)"
    )]
    Jwk,
    /// A fetched JWK set in which no key can verify tokens.
    #[error(
        "a JWK set with a public key for signatures: EC with crv P-256 or P-384, OKP with crv Ed25519, or RSA (RS256 or \
         PS256, 2048 to 4096 bits)"
    )]
    NoUsableKey,
    /// A JWK set with several keys, where a `kid` is missing or repeated.
    #[error("a JWK set in which each of several keys has a kid of its own")]
    Kid,
    /// A byte order mark at the beginning of the file, which would be part of the secret.
    #[error("a file that does not begin with a byte order mark: save it as UTF-8 without BOM")]
    ByteOrderMark,
    /// A secret that begins or ends with invisible white space.
    #[error(
        "a file whose secret does not begin or end with white space: remove spaces, tabs and empty lines around it"
    )]
    WhiteSpace,
    /// Text before the PEM text. The whole file would be used as a secret.
    #[error("a file that begins with its PEM text: remove what is before -----BEGIN")]
    BeforePem,
}
