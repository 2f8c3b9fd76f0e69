//! Writes the log to standard error without blocking, and survives lines that cannot be written.
//!
//! Log lines are added to a bounded buffer, which a thread writes out. A line is dropped and counted if the buffer is
//! full or if the system rejects it (a full disk, a closed pipe).
//!
//! # Invariants
//!
//! - Adding a line neither blocks nor fails.
//! - The thread holds no lock while it writes, neither its own nor that of the standard library's stream.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, poll};

/// The most bytes in the buffer.
const MAX_WAITING_BYTES: usize = 1024 * 1024;

/// The writer of the process's log.
static INSTALLED: OnceLock<LogWriter> = OnceLock::new();

/// A handle to a log writer, cheap to clone.
#[derive(Clone, Debug)]
pub struct LogWriter(Arc<LogWriterState>);

#[derive(Debug, Default)]
struct LogWriterState {
    buffer: Mutex<LogBuffer>,
    /// Notified when lines were added, and when lines were written or dropped.
    changed: Condvar,
    /// Lines dropped since the start.
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct LogBuffer {
    /// Whole lines.
    waiting: Vec<u8>,
    /// True while the thread is writing lines that it took from the buffer.
    is_writing: bool,
}

impl LogWriter {
    /// Starts the thread that writes to `output`.
    ///
    /// # Errors
    /// Returns an error if the system has no file descriptor or thread left.
    pub fn start(output: &impl AsFd) -> io::Result<Self> {
        let output = File::from(output.as_fd().try_clone_to_owned()?);
        let writer = Self(Arc::default());

        let thread = writer.clone();
        // Not joined: it may wait for a reader forever.
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || thread.run(output))?;

        Ok(writer)
    }

    /// Makes this the writer whose lines [`dropped_lines`] counts. A second call in one process changes nothing.
    pub fn install(&self) {
        // The first writer stays installed.
        let _ = INSTALLED.set(self.clone());
    }

    /// Waits until all lines are written or dropped, but not longer than `timeout`.
    pub fn finish(&self, timeout: Duration) {
        let is_busy = |buffer: &mut LogBuffer| buffer.is_writing || !buffer.waiting.is_empty();

        let mut buffer = self.0.buffer.lock();
        // After a timeout, the remaining lines are lost with the process.
        let _ = self.0.changed.wait_while_for(&mut buffer, is_busy, timeout);
    }

    fn add(&self, lines: &[u8]) {
        let mut buffer = self.0.buffer.lock();
        if buffer.waiting.len() + lines.len() > MAX_WAITING_BYTES {
            drop(buffer);
            self.count_dropped(lines);
            return;
        }

        buffer.waiting.extend_from_slice(lines);
        drop(buffer);
        self.0.changed.notify_all();
    }

    fn run(&self, mut output: File) {
        let mut lines = Vec::new();
        let mut is_torn = false;

        loop {
            self.swap_in(&mut lines);

            // After an incomplete line, the next one must begin on a new line.
            is_torn = is_torn && write(&mut output, b"\n") == 0;
            let written = if is_torn {
                0
            } else {
                write(&mut output, &lines)
            };
            is_torn |= lines[..written].last().is_some_and(|last| *last != b'\n');
            self.count_dropped(&lines[written..]);

            self.0.buffer.lock().is_writing = false;
            self.0.changed.notify_all();
        }
    }

    /// Waits for lines, and moves all of them from the buffer to `lines`.
    fn swap_in(&self, lines: &mut Vec<u8>) {
        lines.clear();
        let is_idle = |buffer: &mut LogBuffer| buffer.waiting.is_empty();

        let mut buffer = self.0.buffer.lock();
        self.0.changed.wait_while(&mut buffer, is_idle);

        std::mem::swap(&mut buffer.waiting, lines);
        buffer.is_writing = true;
    }

    fn count_dropped(&self, lines: &[u8]) {
        let count = lines.iter().filter(|byte| **byte == b'\n').count();
        self.0.dropped.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Each call must pass whole lines. Never fails.
impl Write for LogWriter {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.add(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the number of dropped lines of the process's log.
pub fn dropped_lines() -> u64 {
    INSTALLED
        .get()
        .map_or(0, |writer| writer.0.dropped.load(Ordering::Relaxed))
}

/// Writes `text` to `output`, and gives up after `timeout`. Errors are ignored.
pub fn write_within(output: &impl AsFd, text: String, timeout: Duration) {
    let Ok(output) = output.as_fd().try_clone_to_owned() else {
        return;
    };
    let (written, is_written) = mpsc::channel();

    // Not joined: it may wait for a reader forever.
    let writing = thread::Builder::new().spawn(move || {
        write(&mut File::from(output), text.as_bytes());
        // The receiver is gone after a timeout.
        let _ = written.send(());
    });

    if writing.is_ok() {
        // The caller goes on after a timeout too.
        let _ = is_written.recv_timeout(timeout);
    }
}

/// Writes `bytes` until the system rejects them; returns how many it accepted.
fn write(output: &mut File, bytes: &[u8]) -> usize {
    let mut written = 0;

    while written < bytes.len() {
        match output.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The parent process shares the stream and has made it non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if poll(&mut [PollFd::new(&*output, PollFlags::OUT)], None).is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
    }

    written
}
