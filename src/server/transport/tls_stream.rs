//! A TCP socket with the server's side of a TLS session (rustls), read and written without a task of its own.
//!
//! # Invariants
//!
//! - Plaintext is encrypted only when all records before it are sent. So a client that does not read costs at most one
//!   record, besides its place in the rooms.
//! - An idle session holds its keys and rustls's smallest receive buffer, and no others: bytes are received, and records
//!   made, in buffers of the thread.
//! - All that a session holds is counted in the memory budget.

use std::cell::RefCell;
use std::io::{self, BufRead, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_rustls::rustls::{self, ServerConfig, ServerConnection};
use tracing::debug;

use crate::server::memory::{Memory, MemoryReservation};
use crate::server::metrics;
use crate::server::transport::client_socket::{ReceivedBytes, recv, send};

/// The most plaintext in a record (RFC 8446 section 5.1).
const MAX_RECORD_BYTES: usize = 16 * 1024;
/// The length of a record's header.
const HEADER_BYTES: usize = 5;
/// The size of a thread's receive buffer. Decrypted together with a record that had arrived in part, its bytes fit in
/// the 64 KiB for which frames are read.
const RECEIVE_BUFFER_BYTES: usize = 48 * 1024;
/// The fewest bytes that are received at once.
const MIN_RECEIVED_BYTES: usize = 4 * 1024;
/// The most bytes of the client that rustls holds: a handshake message, or a record.
const MAX_UNDECRYPTED_BYTES: usize = 64 * 1024;
/// The memory of a session that holds no bytes of the client: its keys and state, and rustls's receive buffer.
const SESSION_BYTES: usize = 8 * 1024;

thread_local! {
    static RECEIVE_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; RECEIVE_BUFFER_BYTES]);
    /// Records that are about to be sent.
    static RECORDS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A TCP socket with a TLS session.
#[derive(Debug)]
pub struct TlsStream {
    stream: TcpStream,
    session: Mutex<TlsSession>,
}

#[derive(Debug)]
struct TlsSession {
    connection: ServerConnection,
    /// Encrypted bytes that the kernel has not accepted.
    unsent: Vec<u8>,
    /// The number of decrypted bytes that were not read.
    unread: usize,
    /// The number of received bytes that rustls may hold. Control messages are included until the next plaintext.
    undecrypted: usize,
    record: PartialRecord,
    /// True after the client closed its side.
    has_ended: bool,
    reservation: MemoryReservation,
}

/// The part of the current record that has arrived.
#[derive(Debug, Default)]
struct PartialRecord {
    header: [u8; HEADER_BYTES],
    /// The number of bytes that have arrived, with the header.
    arrived: usize,
}

/// Received bytes. Unlike a slice, a read at the end is not the end of the stream.
struct ReceivedRecords<'a>(&'a [u8]);

impl TlsStream {
    /// Begins a session on `stream`. Reading carries out the handshake.
    ///
    /// # Errors
    /// Returns an error of rustls.
    pub(super) fn new(stream: TcpStream, config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let mut connection = ServerConnection::new(config)?;
        connection.set_buffer_limit(Some(MAX_RECORD_BYTES));

        let session = TlsSession {
            connection,
            unsent: Vec::new(),
            unread: 0,
            undecrypted: 0,
            record: PartialRecord::default(),
            has_ended: false,
            reservation: Memory::of_process().reserve(SESSION_BYTES),
        };
        Ok(Self {
            stream,
            session: Mutex::new(session),
        })
    }

    pub(super) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Returns true if decrypted bytes or the end can be read.
    pub(super) fn has_received(&self) -> bool {
        let session = self.session.lock();
        session.unread > 0 || session.has_ended
    }

    /// Decrypts bytes from the client into `buffer`. Bytes that do not fit in it are returned next.
    ///
    /// # Errors
    /// Returns [`ErrorKind::UnexpectedEof`] after the client closed its side. A `close_notify` is not required: HTTP and
    /// WebSocket detect truncation by their own lengths.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<ReceivedBytes> {
        let mut session = self.session.lock();
        if session.unread > 0 {
            let payload = session.read(buffer);
            session.count();
            return Ok(ReceivedBytes {
                payload,
                overhead: 0,
            });
        }
        if session.has_ended {
            return Err(ErrorKind::UnexpectedEof.into());
        }

        let received = session.receive(&self.stream, buffer);
        session.count();
        received
    }

    /// Returns bytes that were decrypted and not read yet.
    pub(super) fn take_received(&self) -> Vec<u8> {
        let mut session = self.session.lock();
        let mut bytes = vec![0; session.unread];
        session.read(&mut bytes);
        session.count();
        bytes
    }

    /// Returns true if a record has arrived in part.
    pub(super) fn is_record_partial(&self) -> bool {
        self.session.lock().record.arrived > 0
    }

    /// Waits until the client has closed its side. Returns false if it has sent other bytes, which stay unread.
    pub(super) async fn read_to_end(&self) -> bool {
        loop {
            if self.has_received() {
                return self.session.lock().unread == 0;
            }
            if self.stream.readable().await.is_err() {
                return true;
            }
            match self.receive(&mut []) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return true,
                _ => {}
            }
        }
    }

    /// Encrypts bytes for the client as a record, and sends it with one system call. Returns the number of bytes encrypted,
    /// which is not 0. What the kernel does not accept is sent by [`TlsStream::flush`].
    ///
    /// # Errors
    /// Returns [`ErrorKind::WouldBlock`] if the record before is not sent yet.
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.session
            .lock()
            .send(&self.stream, |writer| writer.write(bytes))
    }

    /// Sends the bytes of all `slices` like [`TlsStream::send`].
    pub(super) fn send_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.session
            .lock()
            .send(&self.stream, |writer| writer.write_vectored(slices))
    }

    /// Sends the records that the kernel has not accepted yet.
    pub(super) fn flush(&self) -> io::Result<()> {
        let mut session = self.session.lock();
        let flushed = session.flush(&self.stream);
        session.count();
        flushed
    }

    /// Returns true if all records are sent.
    pub(super) fn is_flushed(&self) -> bool {
        let session = self.session.lock();
        session.unsent.is_empty() && !session.connection.wants_write()
    }

    /// Ready when all records are sent.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.flush() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_write_ready(cx))?;
                }
                flushed => return Poll::Ready(flushed),
            }
        }
    }

    /// Queues a `close_notify`, without which the client must assume truncation (RFC 8446 section 6.1).
    pub(super) fn queue_close_notify(&self) {
        self.session.lock().connection.send_close_notify();
    }

    /// Returns the number of bytes that the session holds for the client, sent and received.
    pub(super) fn buffered_bytes(&self) -> usize {
        let session = self.session.lock();
        session.unsent.capacity() + session.undecrypted
    }

    /// Discards the bytes that the kernel has not accepted. Nothing can be sent after that.
    pub(super) fn clear(&self) {
        let mut session = self.session.lock();
        session.unsent = Vec::new();
        session.count();
    }
}

impl TlsSession {
    /// Receives bytes with one system call, and decrypts them into `buffer`.
    fn receive(&mut self, stream: &TcpStream, buffer: &mut [u8]) -> io::Result<ReceivedBytes> {
        RECEIVE_BUFFER.with_borrow_mut(|encrypted| {
            let most = buffer.len().clamp(MIN_RECEIVED_BYTES, encrypted.len());
            let total = recv(stream, &mut encrypted[..most])?;
            if total == 0 {
                self.has_ended = true;
                return Err(self.failed(ErrorKind::UnexpectedEof.into()));
            }

            let encrypted = &encrypted[..total];
            let payload = self
                .decrypt(encrypted, buffer)
                .map_err(|error| self.failed(error));
            // Replies of the handshake, and alerts, which precede the error.
            let sent = self.transmit(stream);
            let payload = payload?;
            sent?;

            self.record.advance(encrypted);
            self.undecrypted = if payload + self.unread > 0 {
                self.record.arrived
            } else {
                (self.undecrypted + total).min(MAX_UNDECRYPTED_BYTES)
            };
            Ok(ReceivedBytes {
                payload,
                overhead: total.saturating_sub(payload),
            })
        })
    }

    /// Decrypts `encrypted`, and returns the number of bytes in `buffer`.
    fn decrypt(&mut self, encrypted: &[u8], buffer: &mut [u8]) -> io::Result<usize> {
        let mut records = ReceivedRecords(encrypted);
        let mut length = 0;

        loop {
            match self.connection.read_tls(&mut records) {
                // Bytes after a `close_notify` are ignored.
                Ok(0) => return Ok(length),
                Ok(_) => {}
                // This read has released rustls's receive buffer, unless a record has arrived in part.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(length),
                Err(error) => return Err(error),
            }

            let state = self
                .connection
                .process_new_packets()
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            self.has_ended |= state.peer_has_closed();
            self.unread = state.plaintext_bytes_to_read();
            length += self.read(&mut buffer[length..]);
        }
    }

    /// Moves decrypted bytes to `buffer`, and returns their number.
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        let mut reader = self.connection.reader();
        let mut length = 0;

        while length < buffer.len()
            && let Ok(chunk) = reader.fill_buf()
            && !chunk.is_empty()
        {
            let part = chunk.len().min(buffer.len() - length);
            buffer[length..length + part].copy_from_slice(&chunk[..part]);
            reader.consume(part);
            length += part;
        }

        self.unread -= length;
        length
    }

    /// Counts the failure if it is one of the handshake. Returns its error.
    fn failed(&self, error: io::Error) -> io::Error {
        if self.connection.is_handshaking() {
            metrics::count_refusal("tls_handshake");
            debug!(%error, "TLS handshake failed");
        }
        error
    }

    /// Encrypts the bytes that `write` passes on, and sends them.
    fn send(
        &mut self,
        stream: &TcpStream,
        write: impl FnOnce(&mut rustls::Writer<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.flush(stream)?;

        let length = write(&mut self.connection.writer())?;
        if length == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        self.transmit(stream)?;
        self.count();
        Ok(length)
    }

    /// Sends all records that are encrypted.
    fn flush(&mut self, stream: &TcpStream) -> io::Result<()> {
        self.transmit(stream)?;
        while !self.unsent.is_empty() {
            let length = send(stream, &self.unsent)?;
            self.unsent.drain(..length);
        }

        // The capacity is released too.
        self.unsent = Vec::new();
        Ok(())
    }

    /// Sends the records that rustls has encrypted, and keeps what the kernel does not accept.
    fn transmit(&mut self, stream: &TcpStream) -> io::Result<()> {
        if !self.connection.wants_write() {
            return Ok(());
        }

        RECORDS.with_borrow_mut(|records| {
            records.clear();
            while self.connection.wants_write() {
                self.connection.write_tls(records)?;
            }
            if !self.unsent.is_empty() {
                self.unsent.extend_from_slice(records);
                return Ok(());
            }

            let sent = match send(stream, records) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                sent => sent?,
            };
            self.unsent = records[sent..].to_vec();
            Ok(())
        })
    }

    /// Counts the memory that the session holds now.
    fn count(&self) {
        let held = self.unsent.capacity() + self.unread + self.undecrypted;
        self.reservation.set(SESSION_BYTES + held);
    }
}

impl PartialRecord {
    /// Adds `bytes`, which may end this record and contain others.
    fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let expected = if self.arrived < HEADER_BYTES {
                HEADER_BYTES
            } else {
                self.length()
            };
            let (part, rest) = bytes.split_at((expected - self.arrived).min(bytes.len()));
            if self.arrived < HEADER_BYTES {
                self.header[self.arrived..self.arrived + part.len()].copy_from_slice(part);
            }
            self.arrived += part.len();
            bytes = rest;

            if self.arrived >= HEADER_BYTES && self.arrived == self.length() {
                self.arrived = 0;
            }
        }
    }

    /// Returns the length of the record, whose header has arrived.
    fn length(&self) -> usize {
        let [_, _, _, high, low] = self.header;
        HEADER_BYTES + usize::from(u16::from_be_bytes([high, low]))
    }
}

impl Read for ReceivedRecords<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.0.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_partial_from_the_first_byte_of_its_header_until_its_last_byte() {
        let records = [[23, 3, 3, 0, 2, 7, 7].as_slice(), &[23, 3, 3, 0, 0]].concat();

        for split in 0..=records.len() {
            let mut record = PartialRecord::default();

            record.advance(&records[..split]);
            let is_partial = record.arrived > 0;
            record.advance(&records[split..]);

            assert_eq!(is_partial, ![0, 7, 12].contains(&split), "{split}");
            assert_eq!(record.arrived, 0);
        }
    }
}
