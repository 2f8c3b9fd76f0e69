//! TLS termination in front of HTTP (rustls, versions 1.2 and 1.3).
//!
//! A task relays between a client's TLS socket and one end of a socket pair. The server uses the other end like any
//! socket, so no other code depends on TLS, and without TLS there is no overhead. The cost is a second socket for each
//! client and a copy of each byte; `docs/src/tls.md` has the figures.
//!
//! Deliberately absent: client certificates (tokens authenticate clients), HTTP/2 (see the listener), and ACME, for
//! which operators use a proxy, or certbot with a SIGHUP.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tracing::{debug, info, warn};

use crate::server::memory::Memory;
use crate::server::metrics;
use crate::server::run_clock::RunClock;
use crate::server::small_file;
use crate::server::transport::StallTimeout;

/// The only protocol offered by ALPN (RFC 7301).
const HTTP_1_1: &[u8] = b"http/1.1";
/// The memory of one connection in bytes: its task, rustls's state and buffers, and the relay's buffers.
const CONNECTION_BYTES: usize = 64 * 1024;
/// The time in which a client must close its side after the server has closed its own.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

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

/// A TLS acceptor whose certificate can be reloaded. Clones share the certificate.
#[derive(Clone)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    acceptor: Arc<RwLock<TlsAcceptor>>,
}

impl Tls {
    /// Reads the chain in `certificate` (PEM, the server's own certificate first) and its private `key` (PEM).
    ///
    /// # Errors
    /// Returns an error if a file cannot be read, or if they do not match.
    pub fn open(certificate: PathBuf, key: PathBuf) -> Result<Self, CertificateError> {
        let acceptor = Arc::new(RwLock::new(acceptor(&certificate, &key)?));
        Ok(Self {
            certificate,
            key,
            acceptor,
        })
    }

    /// Reads both files again, for new connections. Keeps the previous certificate if that fails.
    ///
    /// Blocks on the disk; the files are small and reloads are rare.
    pub fn reload(&self) {
        let file = self.certificate.display();
        match acceptor(&self.certificate, &self.key) {
            Ok(acceptor) => {
                *self.acceptor.write() = acceptor;
                info!(%file, "reloaded certificate; open connections are unaffected");
            }
            Err(error) => {
                warn!(%file, %error, "could not reload certificate; keeping the previous one");
            }
        }
    }

    /// Terminates TLS on `stream`. Returns a socket with the client's decrypted bytes, which closes when the client
    /// closes.
    ///
    /// # Errors
    /// Returns an error if the system has no sockets left.
    pub fn accept(&self, stream: TcpStream, clock: RunClock) -> io::Result<TcpStream> {
        let (outer, inner) = std::os::unix::net::UnixStream::pair()?;
        outer.set_nonblocking(true)?;
        inner.set_nonblocking(true)?;
        let outer = UnixStream::from_std(outer)?;
        // Reads, writes, polls and shutdowns are the same system calls for all stream sockets.
        let inner = TcpStream::from_std(std::net::TcpStream::from(OwnedFd::from(inner)))?;

        let acceptor = self.acceptor.read().clone();
        let reservation = Memory::of_process().reserve(CONNECTION_BYTES);
        tokio::spawn(async move {
            let _reservation = reservation;
            if let Err(error) = relay(acceptor, stream, outer, clock).await {
                debug!(%error, "TLS connection ended");
            }
        });

        Ok(inner)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, CertificateError> {
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
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Relays bytes between the client of `stream` and `server`, until both sides have closed, or one has failed.
async fn relay(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    server: UnixStream,
    clock: RunClock,
) -> io::Result<()> {
    let accepted = tokio::select! {
        accepted = acceptor.accept(StallTimeout::new(stream, clock.clone())) => accepted,
        // The server sends nothing before a request, so it has closed its end: the client took too long.
        _ = server.readable() => return Ok(()),
    };
    let client = accepted.inspect_err(|_| metrics::count_refusal("tls_handshake"))?;

    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = server.into_split();
    let mut inbound = pin!(async move {
        match tokio::io::copy(&mut from_client, &mut to_server).await {
            // The client closed without `close_notify`. HTTP and WebSocket detect truncation by their own lengths.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            copied => {
                copied?;
            }
        }
        to_server.shutdown().await
    });
    let mut outbound = pin!(async move {
        tokio::io::copy(&mut from_server, &mut to_client).await?;
        // Sends `close_notify`, without which the client must assume truncation (RFC 8446 section 6.1).
        to_client.shutdown().await
    });

    tokio::select! {
        result = inbound.as_mut() => {
            result?;
            outbound.await
        }
        result = outbound.as_mut() => {
            result?;
            clock.timeout(CLOSE_TIMEOUT, inbound).await.unwrap_or(Ok(()))
        }
    }
}
