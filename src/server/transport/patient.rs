//! A kernel socket under HTTP that is given up when its client takes no byte for a while.
//!
//! Without this an answer that nobody reads, or a stream, would hold its connection for ever: HTTP waits for the
//! kernel, and the kernel for the client. A client that takes anything at all starts the wait anew.
//!
//! A client that lost its network takes what the kernel still has room for, which a quiet stream may not fill for
//! hours. So the kernel is told to give up too, when what it sent is not acknowledged.

use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::server::run_clock::{RunClock, RunSleep};
use crate::server::transport::Activity;

/// A reader that takes no byte for this long is gone for all we know.
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(30);

/// A client whose kernel acknowledges nothing for this long has lost its network. More than [`STUCK_AFTER`],
/// because a kernel that is full counts here too. Only Linux can be told; elsewhere it takes some minutes.
#[cfg(target_os = "linux")]
const UNHEARD_AFTER: Duration = Duration::from_secs(60);

/// See the [module docs](self).
#[derive(Debug)]
pub struct StallTimeout {
    socket: Arc<GuardedSocket>,
    clock: RunClock,
    /// There while the kernel takes nothing.
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
    stream: TcpStream,
    /// Set while written bytes are dropped, see [`StallTimeoutHandle::mute`].
    is_muted: AtomicBool,
}

impl StallTimeout {
    /// Wraps `stream`: its writes time out by the time of `clock`.
    pub fn new(stream: TcpStream, clock: RunClock) -> Self {
        let socket = SockRef::from(&stream);
        // Small messages must leave at once; a failure would only make them late.
        let _ = socket.set_tcp_nodelay(true);
        #[cfg(target_os = "linux")]
        let _ = socket.set_tcp_user_timeout(Some(UNHEARD_AFTER));

        Self {
            socket: Arc::new(GuardedSocket {
                stream,
                is_muted: AtomicBool::new(false),
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
    pub fn into_parts(self) -> Option<(TcpStream, Option<OwnedSemaphorePermit>)> {
        let file = self.file;
        Arc::into_inner(self.socket).map(|socket| (socket.stream, file))
    }

    /// Calls `write` until the kernel accepts bytes, but not for longer than [`STUCK_AFTER`].
    fn poll_with_deadline(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        while let Poll::Ready(ready) = self.socket.stream.poll_write_ready(cx) {
            match ready.and_then(|()| write(&self.socket.stream)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                written => {
                    self.deadline = None;
                    if let Some(activity) = &self.activity {
                        activity.wrote();
                    }
                    return Poll::Ready(written);
                }
            }
        }

        if let Some(activity) = &self.activity {
            activity.blocked();
        }
        let deadline = self
            .deadline
            .get_or_insert_with(|| self.clock.sleep(STUCK_AFTER));
        ready!(Pin::new(deadline).poll(cx));
        Poll::Ready(Err(io::Error::new(
            ErrorKind::TimedOut,
            "the client takes no byte",
        )))
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

    /// Waits until the client has closed its sending side, or is gone. An end behind unread bytes is not detected.
    pub async fn closed(&self) {
        let Some(socket) = self.0.upgrade() else {
            return;
        };

        match socket.stream.peek(&mut [0]).await {
            Ok(0) | Err(_) => {}
            Ok(_) => std::future::pending().await,
        }
    }

    /// Sends `answer`, as much of it as the kernel takes at once, and waits until the client has closed its side too, or
    /// has sent `discarded` bytes.
    pub async fn close_with(&self, answer: &[u8], discarded: usize) {
        let Some(socket) = self.0.upgrade() else {
            return;
        };

        let close = async {
            socket.stream.writable().await?;
            socket.stream.try_write(answer)?;
            half_close(&socket.stream, discarded).await
        };
        // An error means that the client is gone.
        let _ = close.await;
    }

    /// Returns whether what is written is dropped.
    pub fn is_muted(&self) -> bool {
        self.0
            .upgrade()
            .is_some_and(|socket| socket.is_muted.load(Ordering::Relaxed))
    }

    fn set_muted(&self, is_muted: bool) {
        if let Some(socket) = self.0.upgrade() {
            socket.is_muted.store(is_muted, Ordering::Relaxed);
        }
    }
}

/// Closes the sending side, and reads until the client closes its own or has sent `left` bytes. Closing at once, with
/// unread bytes of the client, would reset the connection, and its kernel would discard what was sent last (RFC 9293
/// section 3.10.7.1).
pub(super) async fn half_close(stream: &TcpStream, mut left: usize) -> io::Result<()> {
    SockRef::from(stream).shutdown(Shutdown::Write)?;

    // On the heap: otherwise every connection's task would reserve this space for its whole life.
    let mut discarded = vec![0; 16 * 1024];
    while left > 0 {
        stream.readable().await?;
        match stream.try_read(&mut discarded) {
            Ok(0) => return Ok(()),
            Ok(length) => left = left.saturating_sub(length),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl AsyncRead for StallTimeout {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.socket.stream.poll_read_ready(cx))?;
            match self.socket.stream.try_read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(length) => {
                    buffer.advance(length);
                    if let Some(activity) = self.activity.as_ref().filter(|_| length > 0) {
                        activity.read(length);
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
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
        self.poll_with_deadline(cx, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_muted() {
            return Poll::Ready(Ok(bytes.iter().map(|bytes| bytes.len()).sum()));
        }
        self.poll_with_deadline(cx, |stream| stream.try_write_vectored(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_muted() {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(SockRef::from(&self.socket.stream).shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;

    async fn pair() -> (StallTimeout, TcpStream) {
        let clock = RunClock::new();
        tokio::spawn(clock.clone().run());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (
            StallTimeout::new(accepted.expect("accepted").0, clock),
            client.expect("connected"),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_no_byte_is_given_up() {
        let (mut patient, _client) = pair().await;
        let began = Instant::now();
        let error = loop {
            if let Err(error) = patient.write_all(&[0; 64 * 1024]).await {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(began.elapsed() >= STUCK_AFTER);
    }

    #[tokio::test]
    async fn the_end_of_a_client_is_seen_beside_whoever_reads_and_not_behind_unread_bytes() {
        let (patient, mut client) = pair().await;
        let socket = patient.socket();

        client.shutdown().await.expect("shut down");
        socket.closed().await;

        let (patient, mut client) = pair().await;
        let socket = patient.socket();
        client.write_all(b"unread").await.expect("written");
        client.shutdown().await.expect("shut down");
        let looked = tokio::time::timeout(Duration::from_millis(50), socket.closed());
        assert!(looked.await.is_err());
        drop(patient);
    }

    #[tokio::test]
    async fn a_muted_socket_sends_nothing_but_its_last_answer() {
        let (mut patient, mut client) = pair().await;
        let socket = patient.socket();
        socket.mute();

        patient.write_all(b"dropped").await.expect("dropped");
        patient.shutdown().await.expect("put off");
        let mut read = Vec::new();
        tokio::join!(socket.close_with(b"answer", 100), async {
            client.read_to_end(&mut read).await.expect("read");
            client.shutdown().await.expect("shut down");
        });

        assert_eq!(read, b"answer");
    }

    #[tokio::test]
    async fn a_client_that_takes_its_time_gets_everything() {
        const BYTES: usize = 16 * 1024 * 1024;
        let (mut patient, mut client) = pair().await;
        let (written, read) = tokio::join!(
            async move {
                patient.write_all(&vec![7; BYTES]).await.expect("taken");
                patient.into_parts().expect("nobody else has it")
            },
            async {
                let mut bytes = vec![0; BYTES];
                client.read_exact(&mut bytes).await.map(|_| bytes)
            }
        );
        drop(written);
        assert!(read.expect("all of it").iter().all(|byte| *byte == 7));
    }
}
