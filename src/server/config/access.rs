//! The settings of access: hosts, origins, proxies, tokens and TLS.

use std::path::PathBuf;

use crate::server::auth::{Embedding, OriginPolicy, Proxies, Verifier, WebSettings};
use crate::server::config::reader::ConfigReader;
use crate::server::config::value::{self, AllowedOrigin};
use crate::server::transport::{CertificateError, Tls};

/// Reads the policy for browsers.
pub(super) fn web(reader: &mut ConfigReader<'_>) -> WebSettings {
    let public = reader.values("public-host", value::public_host);
    let origins = reader.values("allow-origin", value::origin);
    let frame_ancestors = reader.values("allow-embed", value::frame_ancestor);

    WebSettings {
        public,
        origins: OriginPolicy {
            any: origins.contains(&AllowedOrigin::Any),
            null: origins.contains(&AllowedOrigin::Null),
            listed: origins
                .into_iter()
                .filter_map(AllowedOrigin::listed)
                .collect(),
        },
        embedding: Embedding {
            any: frame_ancestors.contains(&AllowedOrigin::Any),
            listed: frame_ancestors
                .into_iter()
                .filter_map(AllowedOrigin::listed)
                .collect(),
        },
    }
}

/// Reads the trusted proxies.
pub(super) fn proxies(reader: &mut ConfigReader<'_>) -> Option<Proxies> {
    let trusted = reader.values("trusted-proxy", value::network);
    let header = reader.value("proxy-header", value::proxy_header);
    Some(Proxies {
        trusted,
        header: header?,
    })
}

/// Reads the verifier of tokens, and the file with its keys. In open mode there is no file.
pub(super) fn verifier(reader: &mut ConfigReader<'_>) -> Option<(Verifier, Option<PathBuf>)> {
    let keys = reader.optional("auth-key-file", value::key_file);
    let anonymous = reader.value("anonymous", value::anonymous);

    Some(match (keys?, anonymous?) {
        (Some((file, keys)), anonymous) => (Verifier::new(keys, anonymous), Some(file)),
        (None, _) => (Verifier::open(), None),
    })
}

/// Reads the certificate and key of `--listen`. The inner `None` means plain HTTP.
pub(super) fn tls(reader: &mut ConfigReader<'_>) -> Option<Option<Tls>> {
    let certificate = reader.optional("tls-cert", value::file);
    let key = reader.optional("tls-key", value::file);

    let (name, allowed) = match (certificate?, key?) {
        (None, None) => return Some(None),
        (Some(_), None) => (
            "tls-key",
            "the file with the private key of --tls-cert".to_owned(),
        ),
        (None, Some(_)) => (
            "tls-cert",
            "the file with the certificate of --tls-key".to_owned(),
        ),
        (Some(certificate), Some(key)) => match Tls::open(certificate, key) {
            Ok(tls) => return Some(Some(tls)),
            Err(CertificateError::Certificate) => (
                "tls-cert",
                "a file of certificates in PEM: -----BEGIN CERTIFICATE-----".to_owned(),
            ),
            Err(CertificateError::Key) => (
                "tls-key",
                "a file with a private key in PEM: -----BEGIN PRIVATE KEY-----".to_owned(),
            ),
            Err(error @ CertificateError::Mismatch(_)) => (
                "tls-key",
                format!("the private key of --tls-cert ({error})"),
            ),
        },
    };
    reader.reject(name, &allowed);
    None
}
