//! A server with TLS, and clients that trust only its authority.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};

use crate::authority::{Certificate, CertificateAuthority};
use crate::eventually::soon;
use crate::harness::Server;
use crate::peer::Peer;
use crate::raw::Raw;

/// The connection of a client.
pub(crate) type Secure = TlsStream<TcpStream>;

/// A running server with TLS.
pub(crate) struct TlsServer {
    pub(crate) authority: CertificateAuthority,
    server: Server,
}

impl TlsServer {
    /// Starts a server with `flags` and a certificate of a new authority.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let authority = CertificateAuthority::new();
        let certificate = authority.certify("IP:127.0.0.1", -1, 20);
        let server = start_with(&certificate, flags);
        Self { authority, server }
    }

    /// Opens a TLS connection.
    pub(crate) async fn connect(&self) -> Secure {
        connect(self.address, &self.authority.file()).await
    }

    /// Opens a plain WebSocket client with `query`.
    pub(crate) async fn join(&self, query: &str) -> Peer<Secure> {
        join(self.connect().await, self.address, query).await
    }

    /// Opens a connection with `query` and `subprotocol` whose bytes the test writes itself.
    pub(crate) async fn raw(&self, query: &str, subprotocol: Option<&str>) -> Raw<Secure> {
        Raw::over(self.connect().await, self.address, query, subprotocol).await
    }
}

impl Deref for TlsServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// Starts a server with `certificate`.
pub(crate) fn start_with(certificate: &Certificate, flags: &[&str]) -> Server {
    let files = [
        "--tls-cert",
        text(&certificate.certificate),
        "--tls-key",
        text(&certificate.key),
    ];
    Server::start(&[&files[..], flags].concat())
}

/// Returns `path` as text.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// Opens a TLS connection that trusts the authority in the file `authority`.
pub(crate) async fn connect(address: SocketAddr, authority: &Path) -> Secure {
    connect_by(address, authority, &[&version::TLS13, &version::TLS12]).await
}

/// Opens a TLS connection with one of `versions` that trusts the authority in the file `authority`.
pub(crate) async fn connect_by(
    address: SocketAddr,
    authority: &Path,
    versions: &[&'static SupportedProtocolVersion],
) -> Secure {
    let stream = soon(TcpStream::connect(address)).await.expect("it listens");
    soon(secure(stream, address, authority, versions))
        .await
        .expect("trusted")
}

/// Performs the handshake on `stream`.
///
/// # Errors
/// Returns an error if the server does not perform it too.
pub(crate) async fn secure(
    stream: TcpStream,
    address: SocketAddr,
    authority: &Path,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<Secure> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(authority).expect("a certificate"))
        .expect("an authority");

    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();

    let name = ServerName::from(address.ip());
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// Opens a plain WebSocket client with `query` on `stream`.
pub(crate) async fn join(stream: Secure, address: SocketAddr, query: &str) -> Peer<Secure> {
    let url = format!("wss://{address}/ws?{query}");
    let (socket, _) = soon(tokio_tungstenite::client_async(url, stream))
        .await
        .expect("accepted");
    Peer { socket }
}
