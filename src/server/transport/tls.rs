//! TLS, which begins and ends in front of everything else: what is behind it has a socket like any other.
//!
//! A client's socket is joined by a task to one end of a pair; the other end is given on. So nothing that serves
//! clients knows of TLS, and without TLS nothing is in the way. What it costs is a second socket for each client and
//! a copy of what passes; `docs/src/tls.md` has the figures. Versions 1.2 and 1.3, as rustls speaks them.
//!
//! Deliberately absent: certificates of clients (a token says who somebody is), HTTP/2 (see the accept loop), and
//! getting certificates by itself (ACME), which is for a proxy or for certbot and a SIGHUP.

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

/// What is spoken inside (RFC 7301).
const HTTP_1_1: &[u8] = b"http/1.1";
/// Bytes of one connection: its task, the state and buffers of rustls, and those between both sockets.
const CONNECTION_BYTES: usize = 64 * 1024;
/// How long a client may still send when the server has said its last word.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// `--tls-cert` is no certificate.
    #[error("the certificate cannot be read")]
    Certificate,
    /// `--tls-key` is no key.
    #[error("the key cannot be read")]
    Key,
    /// They are of two minds.
    #[error("certificate and key do not fit: {0}")]
    Unfit(rustls::Error),
}

/// See the [module docs](self). Clones share the certificate.
#[derive(Clone)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    acceptor: Arc<RwLock<TlsAcceptor>>,
}

impl Tls {
    /// With the chain in `certificate` (PEM, the server's own first) and its `key` (PEM).
    ///
    /// # Errors
    /// If one of them cannot be read, or they do not belong together.
    pub fn open(certificate: PathBuf, key: PathBuf) -> Result<Self, CertificateError> {
        let acceptor = Arc::new(RwLock::new(acceptor(&certificate, &key)?));
        Ok(Self {
            certificate,
            key,
            acceptor,
        })
    }

    /// Reads both files again, for clients that come from now on. If they are no good, those of before go on.
    ///
    /// Waits for the disk, as the start did: they are small files and this comes seldom.
    pub fn reload(&self) {
        let file = self.certificate.display();
        match acceptor(&self.certificate, &self.key) {
            Ok(acceptor) => {
                *self.acceptor.write() = acceptor;
                info!(%file, "certificate read again; who is connected stays so");
            }
            Err(error) => {
                warn!(%file, %error, "certificate not read again: that of before goes on")
            }
        }
    }

    /// Speaks TLS with the client at the other end of `stream`; gives the socket where what it says is heard, and
    /// where it hears what is said. It ends when the client is gone, as the client's own would.
    ///
    /// # Errors
    /// If the system has no socket left.
    pub fn accept(&self, stream: TcpStream, clock: RunClock) -> io::Result<TcpStream> {
        let (outer, inner) = std::os::unix::net::UnixStream::pair()?;
        outer.set_nonblocking(true)?;
        inner.set_nonblocking(true)?;
        let outer = UnixStream::from_std(outer)?;
        // To read, write, poll and shut down, a stream is a stream, whatever family it is of.
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
        .map_err(CertificateError::Unfit)?;
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Carries what is said between the client of `stream` and `inside`, until both have said all, or one is gone.
async fn relay(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    inside: UnixStream,
    clock: RunClock,
) -> io::Result<()> {
    let greeted = tokio::select! {
        greeted = acceptor.accept(StallTimeout::new(stream, clock.clone())) => greeted,
        // Nothing is said there before the client has asked: so it was closed, as the client took too long.
        _closed = inside.readable() => return Ok(()),
    };
    let client = greeted.inspect_err(|_| metrics::count_refusal("tls_handshake"))?;
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_inside, mut to_inside) = inside.into_split();
    let mut hears = pin!(async move {
        match tokio::io::copy(&mut from_client, &mut to_inside).await {
            // It ended without `close_notify`. Inside, HTTP and WebSocket know by themselves whether they are whole.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            copied => {
                copied?;
            }
        }
        to_inside.shutdown().await
    });
    let mut says = pin!(async move {
        tokio::io::copy(&mut from_inside, &mut to_client).await?;
        // With the word that there is no more (`close_notify`, RFC 8446 section 6.1): what ends without was cut.
        to_client.shutdown().await
    });
    tokio::select! {
        heard = hears.as_mut() => {
            heard?;
            says.await
        }
        said = says.as_mut() => {
            said?;
            clock.timeout(LAST_WORDS, hears).await.unwrap_or(Ok(()))
        }
    }
}
