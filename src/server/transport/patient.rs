//! A kernel socket under HTTP that is given up when its client takes no byte for a while.
//!
//! Without this an answer that nobody reads, or a stream, would hold its connection for ever: HTTP waits for the
//! kernel, and the kernel for the client. A client that takes anything at all starts the wait anew.
//!
//! A client that lost its network takes what the kernel still has room for, which a quiet stream may not fill for
//! hours. So the kernel is told to give up too, when what it sent is not acknowledged.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::server::run_clock::{RunClock, RunSleep};

/// A reader that takes no byte for this long is gone for all we know.
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(30);

/// A client whose kernel acknowledges nothing for this long has lost its network. More than [`STUCK_AFTER`],
/// because a kernel that is full counts here too. Only Linux can be told; elsewhere it takes some minutes.
#[cfg(target_os = "linux")]
const UNHEARD_AFTER: Duration = Duration::from_secs(60);

/// See the [module docs](self).
#[derive(Debug)]
pub struct Patient {
    stream: TcpStream,
    clock: RunClock,
    /// There while the kernel takes nothing.
    deadline: Option<RunSleep>,
}

impl Patient {
    /// `stream`, from now on with a limit to its patience, by the time of `clock`.
    pub fn new(stream: TcpStream, clock: RunClock) -> Self {
        let socket = SockRef::from(&stream);
        // Small messages must leave at once; a failure would only make them late.
        let _ = socket.set_tcp_nodelay(true);
        #[cfg(target_os = "linux")]
        let _ = socket.set_tcp_user_timeout(Some(UNHEARD_AFTER));
        Self {
            stream,
            clock,
            deadline: None,
        }
    }

    /// The socket, for whoever takes over.
    pub fn into_inner(self) -> TcpStream {
        self.stream
    }

    /// What `write` says, but not that it must wait for longer than [`STUCK_AFTER`].
    fn poll_patiently<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(written) = write(Pin::new(&mut self.stream), cx) {
            self.deadline = None;
            return Poll::Ready(written);
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
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_patiently(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_patiently(cx, |stream, cx| stream.poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;

    async fn pair() -> (Patient, TcpStream) {
        let clock = RunClock::new();
        tokio::spawn(clock.clone().run());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (
            Patient::new(accepted.expect("accepted").0, clock),
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
    async fn a_client_that_takes_its_time_gets_everything() {
        const BYTES: usize = 16 * 1024 * 1024;
        let (mut patient, mut client) = pair().await;
        let (written, read) = tokio::join!(
            async move {
                patient.write_all(&vec![7; BYTES]).await.expect("taken");
                patient.into_inner()
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
