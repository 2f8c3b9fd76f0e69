//! A socket under HTTP whose writes time out when the client receives no bytes for [`STALL_TIMEOUT`].
//!
//! Without the timeout, a client that does not read its response would hold its connection forever: hyper waits for
//! the kernel, and the kernel for the client. Every byte that the kernel accepts restarts the timeout.
//!
//! If a client has lost its network, the kernel's buffer may not fill for hours, when the stream is quiet. So the
//! kernel times out too, when the client does not acknowledge what was sent.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use crate::server::run_clock::{RunClock, RunSleep};
use crate::server::transport::{Activity, ClientSocket};

/// The time after which a client that receives no bytes is disconnected.
pub(super) const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The time after which the kernel closes a connection whose client acknowledges nothing (`TCP_USER_TIMEOUT`). Longer
/// than [`STALL_TIMEOUT`], because a client with a full receive buffer counts too. Only Linux has the option;
/// elsewhere retransmission gives up after some minutes.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(60);

/// A client's socket whose writes time out.
#[derive(Debug)]
pub struct StallTimeout {
    socket: Arc<GuardedSocket>,
    clock: RunClock,
    /// The end of the timeout, set while the kernel accepts no bytes.
    deadline: Option<RunSleep>,
    /// Records reads and writes, if set.
    activity: Option<Arc<Activity>>,
    /// The permit for the socket's file descriptor, if their number is limited.
    file: Option<OwnedSemaphorePermit>,
}

/// A handle to the socket of a [`StallTimeout`] for tasks other than its reader and writer.
#[derive(Clone, Debug)]
pub struct StallTimeoutHandle(Weak<GuardedSocket>);

#[derive(Debug)]
struct GuardedSocket {
    client: ClientSocket,
    /// Set while written bytes are dropped, see [`StallTimeoutHandle::mute`].
    is_muted: AtomicBool,
    /// Set while bytes wait for the kernel.
    is_blocked: AtomicBool,
}

impl StallTimeout {
    /// Wraps `client`. Its writes time out by the time of `clock`.
    pub fn new(client: ClientSocket, clock: RunClock) -> Self {
        let socket = SockRef::from(client.stream());
        // A failure would only delay small messages.
        let _ = socket.set_tcp_nodelay(true);
        #[cfg(target_os = "linux")]
        // A failure would only delay the end of a lost connection.
        let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT));

        Self {
            socket: Arc::new(GuardedSocket {
                client,
                is_muted: AtomicBool::new(false),
                is_blocked: AtomicBool::new(false),
            }),
            clock,
            deadline: None,
            activity: None,
            file: None,
        }
    }

    /// Returns a handle to the socket that does not keep it open.
    pub fn socket(&self) -> StallTimeoutHandle {
        StallTimeoutHandle(Arc::downgrade(&self.socket))
    }

    /// Records reads and writes in `activity`, and keeps the permit `file` for the socket's file descriptor.
    pub fn reporting_to(mut self, activity: Arc<Activity>, file: OwnedSemaphorePermit) -> Self {
        self.activity = Some(activity);
        self.file = Some(file);
        self
    }

    /// Returns the socket, and the permit for its file descriptor; `None` while a task waits on a [`StallTimeoutHandle`].
    pub fn into_parts(self) -> Option<(ClientSocket, Option<OwnedSemaphorePermit>)> {
        let file = self.file;
        Arc::into_inner(self.socket).map(|socket| (socket.client, file))
    }

    /// Calls `write` until the kernel accepts bytes, but not for longer than [`STALL_TIMEOUT`].
    fn poll_with_deadline(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&ClientSocket) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let client = &self.socket.client;
        while let Poll::Ready(ready) = client.stream().poll_write_ready(cx) {
            match ready.and_then(|()| write(client)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                written => {
                    self.unblock();
                    return Poll::Ready(written);
                }
            }
        }

        self.socket.is_blocked.store(true, Ordering::Relaxed);
        if let Some(activity) = &self.activity {
            activity.blocked();
        }
        let deadline = self
            .deadline
            .get_or_insert_with(|| self.clock.sleep(STALL_TIMEOUT));
        ready!(Pin::new(deadline).poll(cx));
        Poll::Ready(Err(io::Error::new(
            ErrorKind::TimedOut,
            format!("the client received no bytes for {STALL_TIMEOUT:?}"),
        )))
    }

    /// Records that the kernel has accepted bytes.
    fn unblock(&mut self) {
        self.deadline = None;
        self.socket.is_blocked.store(false, Ordering::Relaxed);
        if let Some(activity) = &self.activity {
            activity.wrote();
        }
    }

    fn is_muted(&self) -> bool {
        self.socket.is_muted.load(Ordering::Relaxed)
    }
}

impl StallTimeoutHandle {
    /// Drops what is written from now on, and does not close the sending side, until [`StallTimeoutHandle::unmute`].
    pub fn mute(&self) {
        self.set_muted(true);
    }

    /// Sends what is written from now on.
    pub fn unmute(&self) {
        self.set_muted(false);
    }

    /// Waits until the client has closed its sending side or the connection. Never returns if unread bytes precede the
    /// end.
    pub async fn closed(&self) {
        let Some(socket) = self.0.upgrade() else {
            return;
        };

        socket.client.closed().await;
    }

    /// Sends as much of `answer` as the kernel accepts at once, closes the sending side, and waits until the client has
    /// closed its own or has sent `discarded` bytes.
    pub async fn close_with(&self, answer: &[u8], discarded: usize) {
        let Some(socket) = self.0.upgrade() else {
            return;
        };

        let close = async {
            socket.client.stream().writable().await?;
            socket.client.send(answer)?;
            socket.client.half_close(discarded).await
        };
        // After an error there is nothing left to close.
        let _ = close.await;
    }

    /// Returns true while written bytes are dropped.
    pub fn is_muted(&self) -> bool {
        self.0
            .upgrade()
            .is_some_and(|socket| socket.is_muted.load(Ordering::Relaxed))
    }

    /// Returns true while written bytes wait for the kernel.
    pub fn is_blocked(&self) -> bool {
        self.0
            .upgrade()
            .is_some_and(|socket| socket.is_blocked.load(Ordering::Relaxed))
    }

    fn set_muted(&self, is_muted: bool) {
        if let Some(socket) = self.0.upgrade() {
            socket.is_muted.store(is_muted, Ordering::Relaxed);
        }
    }
}

impl AsyncRead for StallTimeout {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let unfilled = buffer.initialize_unfilled();
        let length = ready!(self.socket.client.poll_read(cx, unfilled))?;
        buffer.advance(length);

        if let Some(activity) = self.activity.as_ref().filter(|_| length > 0) {
            activity.read(length);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StallTimeout {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_muted() {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.poll_with_deadline(cx, |client| client.send(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_muted() {
            return Poll::Ready(Ok(bytes.iter().map(|bytes| bytes.len()).sum()));
        }
        self.poll_with_deadline(cx, |client| client.send_vectored(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.socket.client.is_flushed() {
            // A read with TLS may have sent the rest.
            if self.deadline.is_some() {
                self.unblock();
            }
            return Poll::Ready(Ok(()));
        }
        self.poll_with_deadline(cx, |client| client.flush().map(|()| 0))
            .map_ok(|_| ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_muted() {
            return Poll::Ready(Ok(()));
        }

        self.socket.client.queue_end();
        ready!(self.as_mut().poll_flush(cx))?;
        Poll::Ready(self.socket.client.shutdown())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::process::Command;

    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    use super::*;
    use crate::server::transport::Tls;

    /// Returns both ends of a connection, the server's first.
    async fn connect() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");

        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());

        (accepted.expect("accepted").0, client.expect("connected"))
    }

    /// Returns `client` with a timeout, by a clock that runs.
    fn with_timeout(client: ClientSocket) -> StallTimeout {
        let clock = RunClock::new();
        tokio::spawn(clock.clone().run());

        StallTimeout::new(client, clock)
    }

    /// Returns a socket, and the client's end of its connection.
    async fn pair() -> (StallTimeout, TcpStream) {
        let (stream, client) = connect().await;

        (with_timeout(ClientSocket::Plain(stream)), client)
    }

    /// Returns a socket with TLS whose kernel buffers are small, and the client's end of its session.
    async fn tls_pair() -> (StallTimeout, TlsStream<TcpStream>) {
        let (tls, connector) = tls_settings();
        let (stream, client) = connect().await;
        for end in [&stream, &client] {
            let end = SockRef::from(end);
            end.set_send_buffer_size(16 * 1024).expect("set");
            end.set_recv_buffer_size(16 * 1024).expect("set");
        }
        let mut socket = with_timeout(tls.accept(stream).expect("a session"));

        let name = ServerName::try_from("localhost").expect("a name");
        let handshake = async {
            let mut client = connector.connect(name, client).await.expect("trusted");
            client.write_all(b"x").await.expect("written");
            client.flush().await.expect("sent");
            client
        };
        let (client, read) = tokio::join!(handshake, socket.read_u8());

        read.expect("read");
        (socket, client)
    }

    /// Returns the settings of a server with a new certificate, and a client that trusts it.
    fn tls_settings() -> (Tls, TlsConnector) {
        let folder = tempfile::tempdir().expect("a folder");
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
            .args(["ec_paramgen_curve:P-256", "-nodes", "-days", "30"])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .args(["-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .current_dir(folder.path())
            .output()
            .expect("openssl runs");
        assert!(made.status.success(), "{made:?}");

        let certificate = folder.path().join("cert.pem");
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(&certificate).expect("a certificate"))
            .expect("an authority");
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();

        let tls = Tls::open(certificate, folder.path().join("key.pem")).expect("a key");
        (tls, TlsConnector::from(Arc::new(client)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_to_a_client_that_receives_no_bytes_times_out() {
        let (mut socket, _client) = pair().await;
        let began = Instant::now();

        let error = loop {
            if let Err(error) = socket.write_all(&[0; 64 * 1024]).await {
                break error;
            }
        };

        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(began.elapsed() >= STALL_TIMEOUT);
    }

    #[tokio::test]
    async fn a_handle_detects_the_end_of_the_client() {
        let (socket, mut client) = pair().await;
        let handle = socket.socket();

        client.shutdown().await.expect("shut down");

        handle.closed().await;
    }

    #[tokio::test]
    async fn a_handle_does_not_detect_an_end_behind_unread_bytes() {
        let (socket, mut client) = pair().await;
        let handle = socket.socket();

        client.write_all(b"unread").await.expect("written");
        client.shutdown().await.expect("shut down");

        let closed = tokio::time::timeout(Duration::from_millis(50), handle.closed()).await;
        assert!(closed.is_err());
    }

    #[tokio::test]
    async fn a_muted_socket_sends_nothing_but_its_last_answer() {
        let (mut socket, mut client) = pair().await;
        let handle = socket.socket();
        handle.mute();

        socket.write_all(b"dropped").await.expect("dropped");
        socket.shutdown().await.expect("postponed");
        let mut read = Vec::new();
        tokio::join!(handle.close_with(b"answer", 100), async {
            client.read_to_end(&mut read).await.expect("read");
            client.shutdown().await.expect("shut down");
        });

        assert_eq!(read, b"answer");
    }

    #[tokio::test]
    async fn a_slow_client_receives_everything() {
        const BYTES: usize = 16 * 1024 * 1024;
        let (mut socket, mut client) = pair().await;
        let mut received = vec![0; BYTES];

        let (written, read) = tokio::join!(
            async { socket.write_all(&vec![7; BYTES]).await },
            client.read_exact(&mut received)
        );

        written.expect("written");
        read.expect("read");
        assert!(received.iter().all(|byte| *byte == 7));
    }

    #[tokio::test]
    async fn a_read_with_tls_that_sends_the_rest_of_a_write_ends_the_timeout() {
        let (mut socket, mut client) = tls_pair().await;
        let handle = socket.socket();
        let record = [7; 16 * 1024];

        let mut written = 0;
        while let Some(length) = socket.write(&record).now_or_never() {
            written += length.expect("written");
        }
        assert!(handle.is_blocked());

        let read_all = async {
            client
                .read_exact(&mut vec![0; written])
                .await
                .expect("read");
            client.write_all(b"x").await.expect("written");
            client.flush().await.expect("sent");
        };
        let (read, ()) = tokio::join!(socket.read_u8(), read_all);
        read.expect("read");
        socket.flush().await.expect("flushed");

        assert!(!handle.is_blocked());
    }
}
