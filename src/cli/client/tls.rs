//! TLS to a server: whom to trust, and a connection that is made safe by it.
//!
//! Trusted are the certificates that the system trusts, or those of `--ca` and no others; chain, time and name are
//! checked as RFC 5280 and RFC 9525 say, by rustls. Deliberately absent: a way to trust everybody.

use std::io;
use std::path::Path;
use std::sync::Arc;

use clap::Arg;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore};

use crate::cli::args::not_empty;
use crate::protocol::has_bom;
use crate::server::small_file;

/// What a proxy may be asked to speak inside: a WebSocket is an upgrade of this (RFC 6455 section 4.1).
const HTTP_1_1: &[u8] = b"http/1.1";

/// The flag that names whom to trust.
pub(in crate::cli) fn ca_flag() -> Arg {
    Arg::new("ca")
        .long("ca")
        .env("FANFARE_CA")
        .hide_env_values(true)
        .value_name("FILE")
        .value_parser(not_empty())
        .help("PEM file of CA certificates to trust with https://, instead of the system's")
}

/// See the [module docs](self).
#[derive(Clone)]
pub(in crate::cli) struct Tls {
    connector: TlsConnector,
    verifier: Arc<WebPkiServerVerifier>,
}

/// Why TLS was refused, if that is what `error` is about.
pub(in crate::cli) fn reason(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref::<Error>()
}

/// Whether `reason` is one that no time changes: whose certificate it is, and who vouches for it.
pub(super) const fn is_final(reason: &Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    match reason {
        Error::InvalidCertificate(wrong) => !matches!(
            wrong,
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }
        ),
        _ => false,
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Why there is nobody to trust.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum TrustError {
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    #[error("allowed is a file that does not begin with a byte order mark: save it without BOM")]
    ByteOrderMark,
    #[error("allowed is a file of certificates in PEM: -----BEGIN CERTIFICATE-----")]
    NotPem,
    #[error("one of its certificates cannot be trusted: {0}")]
    NotTrusted(Error),
    #[error("this system trusts nobody: install ca-certificates, or name certificates with --ca")]
    Nobody,
    #[error("TLS cannot be set up: {0}")]
    SetUp(String),
}

impl Tls {
    /// Trusts whom the system trusts.
    ///
    /// # Errors
    /// If it trusts nobody.
    pub(in crate::cli) fn of_system() -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        // Some systems have certificates among theirs that are none any more; the others count.
        let (added, _ignored) =
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            Err(TrustError::Nobody)
        } else {
            Self::new(roots)
        }
    }

    /// Trusts the certificates in `file` alone.
    ///
    /// # Errors
    /// If there are none.
    pub(in crate::cli) fn of_file(file: &Path) -> Result<Self, TrustError> {
        let pem = small_file::read(file, small_file::MAX_BYTES).map_err(TrustError::Read)?;
        if has_bom(&pem) {
            return Err(TrustError::ByteOrderMark);
        }

        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|_| TrustError::NotPem)?;
            roots.add(certificate).map_err(TrustError::NotTrusted)?;
        }
        if roots.is_empty() {
            Err(TrustError::NotPem)
        } else {
            Self::new(roots)
        }
    }

    fn new(roots: RootCertStore) -> Result<Self, TrustError> {
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(|error| TrustError::SetUp(error.to_string()))?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TrustError::SetUp(error.to_string()))?
            .with_webpki_verifier(verifier.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            verifier,
        })
    }

    /// `stream`, safe and with whom `name` names.
    ///
    /// # Errors
    /// Those of the network; a [`tokio_rustls::rustls::Error`] is inside where TLS was refused.
    pub(in crate::cli) async fn secure(
        &self,
        stream: TcpStream,
        name: ServerName<'static>,
    ) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(name, stream).await
    }

    /// Whether `chain`, a server's certificate and those behind it, is good for `name` at `time`.
    ///
    /// # Errors
    /// Why it is not.
    pub(in crate::cli) fn check(
        &self,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        time: UnixTime,
    ) -> Result<(), Error> {
        let (own, others) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        self.verifier
            .verify_server_cert(own, others, name, &[], time)
            .map(|_verified| ())
    }
}
