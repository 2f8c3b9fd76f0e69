//! TLS connections to a server.
//!
//! The trusted certificates are those of the system, or only those of `--ca`. rustls checks chain, time and name (RFC
//! 5280 and RFC 9525). No option disables the check.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore};

use crate::protocol::has_bom;
use crate::server::small_file;

/// The only ALPN protocol: a WebSocket is an upgrade of HTTP/1.1 (RFC 6455 section 4.1).
const HTTP_1_1: &[u8] = b"http/1.1";

/// The trusted certificates, ready for connections.
#[derive(Clone)]
pub(in crate::cli) struct ClientTls {
    connector: TlsConnector,
    verifier: Arc<WebPkiServerVerifier>,
}

/// Returns the TLS error in `error`, if there is one.
pub(in crate::cli) fn reason(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref::<Error>()
}

/// Returns true if a later attempt fails too. A wrong name or issuer stays wrong; an expired certificate may be
/// renewed.
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

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

/// The reason why no certificates are trusted.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum TrustError {
    #[error("the file cannot be read: {0}")]
    Read(io::Error),
    #[error("the file begins with a byte order mark: save it without BOM")]
    ByteOrderMark,
    #[error("the file has no certificates in PEM: -----BEGIN CERTIFICATE-----")]
    NotPem,
    #[error("a certificate in the file is invalid: {0}")]
    NotTrusted(Error),
    #[error("no system CA certificates found: install ca-certificates, or use --ca FILE")]
    NoSystemRoots,
    #[error("TLS cannot be set up: {0}")]
    SetUp(String),
}

impl ClientTls {
    /// Trusts the certificates of the system.
    ///
    /// # Errors
    /// If there are none.
    pub(in crate::cli) fn of_system() -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        // Invalid certificates of the system are ignored.
        let (added, _) =
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            Err(TrustError::NoSystemRoots)
        } else {
            Self::new(roots)
        }
    }

    /// Trusts only the certificates in `file`.
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

    /// Performs the TLS handshake with the server `name` on `stream`.
    ///
    /// # Errors
    /// Errors of the network. A failed handshake contains a [`tokio_rustls::rustls::Error`].
    pub(in crate::cli) async fn secure(
        &self,
        stream: TcpStream,
        name: ServerName<'static>,
    ) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(name, stream).await
    }

    /// Checks `chain`, a server's certificate and its issuers, for `name` at `time`.
    ///
    /// # Errors
    /// If the chain is not valid.
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
