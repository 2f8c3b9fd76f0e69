//! Settings of who may come in.

use std::path::PathBuf;

use crate::server::auth::{Embedding, OriginPolicy, Proxies, Verifier, WebSettings};
use crate::server::config::reading::ConfigReader;
use crate::server::config::value::{self, AllowedOrigin};
use crate::server::transport::{CertificateError, Tls};

pub(super) fn web(reading: &mut ConfigReader<'_>) -> WebSettings {
    let public = reading.values("public-host", value::public_host);
    let origins = reading.values("allow-origin", value::origin);
    let embedders = reading.values("allow-embed", value::frame_ancestor);
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
            any: embedders.contains(&AllowedOrigin::Any),
            listed: embedders
                .into_iter()
                .filter_map(AllowedOrigin::listed)
                .collect(),
        },
    }
}

pub(super) fn proxies(reading: &mut ConfigReader<'_>) -> Option<Proxies> {
    let trusted = reading.values("trusted-proxy", value::network);
    let header = reading.value("proxy-header", value::proxy_header);
    Some(Proxies {
        trusted,
        header: header?,
    })
}

/// Who is let in, and the file that its keys come from; none in open mode.
pub(super) fn verifier(reading: &mut ConfigReader<'_>) -> Option<(Verifier, Option<PathBuf>)> {
    let keys = reading.optional("auth-key-file", value::key_file);
    let anonymous = reading.value("anonymous", value::anonymous);
    Some(match (keys?, anonymous?) {
        (Some((file, keys)), anonymous) => (Verifier::new(keys, anonymous), Some(file)),
        (None, _) => (Verifier::open(), None),
    })
}

/// What is spoken at `--listen`, if that is TLS.
pub(super) fn tls(reading: &mut ConfigReader<'_>) -> Option<Option<Tls>> {
    let certificate = reading.optional("tls-cert", value::file);
    let key = reading.optional("tls-key", value::file);
    match (certificate?, key?) {
        (None, None) => Some(None),
        (Some(_), None) => {
            reading.reject("tls-key", "the file with the key of --tls-cert");
            None
        }
        (None, Some(_)) => {
            reading.reject(
                "tls-cert",
                "the file with the certificate that --tls-key is of",
            );
            None
        }
        (Some(certificate), Some(key)) => match Tls::open(certificate, key) {
            Ok(tls) => Some(Some(tls)),
            Err(CertificateError::Certificate) => {
                reading.reject(
                    "tls-cert",
                    "a file of certificates in PEM: -----BEGIN CERTIFICATE-----",
                );
                None
            }
            Err(CertificateError::Key) => {
                reading.reject(
                    "tls-key",
                    "a file with a private key in PEM: -----BEGIN PRIVATE KEY-----",
                );
                None
            }
            Err(unfit @ CertificateError::Unfit(_)) => {
                reading.reject("tls-key", &format!("the key of --tls-cert ({unfit})"));
                None
            }
        },
    }
}
