//! A client's socket, plain or with TLS: under HTTP first, and then under a WebSocket or an event stream.
//!
//! No function waits unless it is `async`. One that finds no bytes, or whose bytes the kernel does not accept, returns
//! [`ErrorKind::WouldBlock`].

use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::server::transport::tls_stream::TlsStream;

/// A client's socket.
#[derive(Debug)]
pub enum ClientSocket {
    /// A socket without encryption.
    Plain(TcpStream),
    /// A socket with a TLS session.
    Tls(Box<TlsStream>),
}

/// The result of reading from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReceivedBytes {
    /// The number of bytes from the client; 0 if a TLS record has arrived in part.
    pub(super) payload: usize,
    /// The number of bytes that were read for them besides, in TLS.
    pub(super) overhead: usize,
}

impl ClientSocket {
    /// Returns the TCP socket.
    pub(super) fn stream(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => tls.stream(),
        }
    }

    /// Ready when the socket can be read, or has ended.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tls(tls) if tls.has_received() => Poll::Ready(Ok(())),
            _ => self.stream().poll_read_ready(cx),
        }
    }

    /// Reads into `buffer`, and returns the number of bytes; 0 after the client closed its side.
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            // The rest of a handshake message, which the client waits for. A failed write makes the read fail too.
            if let Self::Tls(tls) = self {
                let _ = tls.poll_flush(cx)?;
            }
            ready!(self.poll_read_ready(cx))?;

            match self.receive(buffer) {
                Ok(ReceivedBytes { payload: 0, .. }) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Ok(0));
                }
                result => return Poll::Ready(result.map(|received| received.payload)),
            }
        }
    }

    /// Receives bytes from the client into `buffer`, with one system call.
    ///
    /// # Errors
    /// Returns [`ErrorKind::UnexpectedEof`] after the client closed its side.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<ReceivedBytes> {
        match self {
            Self::Plain(stream) => match recv(stream, buffer)? {
                0 => Err(ErrorKind::UnexpectedEof.into()),
                payload => Ok(ReceivedBytes {
                    payload,
                    overhead: 0,
                }),
            },
            Self::Tls(tls) => tls.receive(buffer),
        }
    }

    /// Returns bytes that were decrypted and not read yet.
    pub(super) fn take_received(&self) -> Vec<u8> {
        match self {
            Self::Plain(_) => Vec::new(),
            Self::Tls(tls) => tls.take_received(),
        }
    }

    /// Returns true if a TLS record has arrived in part.
    pub(super) fn is_record_partial(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.is_record_partial(),
        }
    }

    /// Sends `bytes` with one system call, and returns the number of bytes accepted. A TLS session accepts a whole record
    /// and keeps what the kernel does not accept of it, until [`ClientSocket::flush`].
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => send(stream, bytes),
            Self::Tls(tls) => tls.send(bytes),
        }
    }

    /// Sends the bytes of all `slices` like [`ClientSocket::send`].
    pub(super) fn send_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_write_vectored(slices),
            Self::Tls(tls) => tls.send_vectored(slices),
        }
    }

    /// Sends the encrypted bytes that the kernel has not accepted yet.
    pub(super) fn flush(&self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// Returns true if the kernel has accepted all bytes.
    pub(super) fn is_flushed(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Tls(tls) => tls.is_flushed(),
        }
    }

    /// Returns the number of bytes that a TLS session holds: those that the kernel has not accepted, and those that are not
    /// decrypted yet.
    pub(super) fn buffered_bytes(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(tls) => tls.buffered_bytes(),
        }
    }

    /// Discards the bytes that the kernel has not accepted. Nothing can be sent after that.
    pub(super) fn clear(&self) {
        if let Self::Tls(tls) = self {
            tls.clear();
        }
    }

    /// Queues the end of the bytes to the client, if TLS has a message for it. [`ClientSocket::flush`] sends it.
    pub(super) fn queue_end(&self) {
        if let Self::Tls(tls) = self {
            tls.queue_close_notify();
        }
    }

    /// Closes the sending side of the TCP socket.
    pub(super) fn shutdown(&self) -> io::Result<()> {
        SockRef::from(self.stream()).shutdown(Shutdown::Write)
    }

    /// Closes the sending side, and reads until the client closes its own or has sent `left` bytes. A close with unread
    /// bytes would reset the connection, and the client's kernel would discard the last bytes sent to it (RFC 9293 section
    /// 3.10.7.1).
    pub(super) async fn half_close(&self, mut left: usize) -> io::Result<()> {
        if let Self::Tls(tls) = self {
            tls.queue_close_notify();
            std::future::poll_fn(|cx| tls.poll_flush(cx)).await?;
        }
        self.shutdown()?;

        // On the heap: otherwise every connection's task would reserve this space for its whole life.
        let mut discarded = vec![0; 16 * 1024];
        let stream = self.stream();
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

    /// Waits until the client has closed its sending side or the connection. Never returns if unread bytes precede the
    /// end.
    pub(super) async fn closed(&self) {
        let has_ended = match self {
            Self::Plain(stream) => matches!(stream.peek(&mut [0]).await, Ok(0) | Err(_)),
            Self::Tls(tls) => tls.read_to_end().await,
        };
        if !has_ended {
            std::future::pending().await
        }
    }

    /// Returns true if the kernel holds unread bytes of the client.
    pub(super) fn has_unread_bytes(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        // Errors are left to the reader.
        rustix::net::recv(self.stream(), &mut [0; 1], flags).is_ok_and(|(length, _)| length > 0)
    }
}

/// Calls recv(2), and returns the number of bytes; 0 at the end.
///
/// A read that does not fill the buffer has emptied the socket (epoll(7), questions and answers, 9). Reporting
/// `WouldBlock` then clears tokio's readiness flag, which saves a second system call.
pub(super) fn recv(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    let read = stream.try_io(Interest::READABLE, || {
        length = rustix::net::recv(stream, &mut *buffer, RecvFlags::empty())?.0;
        if (1..buffer.len()).contains(&length) {
            Err(ErrorKind::WouldBlock.into())
        } else {
            Ok(())
        }
    });

    match read {
        Err(error) if length == 0 => Err(error),
        _ => Ok(length),
    }
}

/// Calls send(2), and returns the number of bytes accepted.
///
/// Bypasses tokio and libc: at 100,000 writes a second, tokio's readiness check and libc's cancellation point are
/// measurable.
pub(super) fn send(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match rustix::net::send(stream, bytes, SendFlags::empty()) {
        // The second try clears tokio's readiness flag.
        Err(Errno::AGAIN) => stream.try_write(bytes),
        result => Ok(result?),
    }
}
