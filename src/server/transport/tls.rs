//! The certificate of the server, and its TLS settings (rustls, versions 1.2 and 1.3).
//!
//! Deliberately absent: client certificates (tokens authenticate clients), HTTP/2 (see the listener), and ACME, for
//! which operators use a proxy, or certbot with a SIGHUP.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tracing::{info, warn};

use crate::server::small_file;
use crate::server::transport::ClientSocket;
use crate::server::transport::tls_stream::TlsStream;

/// The only protocol offered by ALPN (RFC 7301).
const HTTP_1_1: &[u8] = b"http/1.1";

/// An error in the certificate or the private key.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// `--tls-cert` has no certificate.
    #[error("could not read the certificate (--tls-cert must be a PEM file)")]
    Certificate,
    /// `--tls-key` has no private key.
    #[error("could not read the private key (--tls-key must be a PEM file)")]
    Key,
    /// The certificate and the private key do not belong together.
    #[error("certificate and private key do not match: {0}")]
    Mismatch(rustls::Error),
}

/// The TLS settings of a server, whose certificate can be reloaded. Clones share the certificate.
#[derive(Clone)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    config: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Tls {
    /// Reads the chain in `certificate` (PEM, the server's own certificate first) and its private `key` (PEM).
    ///
    /// # Errors
    /// Returns an error if a file cannot be read, or if they do not match.
    pub fn open(certificate: PathBuf, key: PathBuf) -> Result<Self, CertificateError> {
        let config = Arc::new(RwLock::new(read_config(&certificate, &key)?));
        Ok(Self {
            certificate,
            key,
            config,
        })
    }

    /// Reads both files again, for new connections. Keeps the previous certificate if that fails.
    ///
    /// Blocks on the disk; the files are small and reloads are rare.
    pub fn reload(&self) {
        let file = self.certificate.display();
        match read_config(&self.certificate, &self.key) {
            Ok(config) => {
                *self.config.write() = config;
                info!(%file, "reloaded certificate; open connections are unaffected");
            }
            Err(error) => {
                warn!(%file, %error, "could not reload certificate; keeping the previous one");
            }
        }
    }

    /// Returns a socket with a TLS session on `stream`, whose handshake is carried out by reading.
    ///
    /// # Errors
    /// Returns an error of rustls.
    pub fn accept(&self, stream: TcpStream) -> Result<ClientSocket, rustls::Error> {
        let config = self.config.read().clone();
        TlsStream::new(stream, config).map(|tls| ClientSocket::Tls(Box::new(tls)))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// Reads the certificate and the private key.
fn read_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, CertificateError> {
    let pem = small_file::read(certificate, small_file::MAX_BYTES)
        .map_err(|_| CertificateError::Certificate)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|_| CertificateError::Certificate)?;
    if chain.is_empty() {
        return Err(CertificateError::Certificate);
    }

    let pem = small_file::read(key, small_file::MAX_BYTES).map_err(|_| CertificateError::Key)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| CertificateError::Key)?;

    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(CertificateError::Mismatch)?;
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(Arc::new(config))
}
