//! Standard output and standard error of the commands, with write errors handled.
//!
//! The result of a command goes to standard output. If the write fails, the command fails with the reason. If the
//! reader is gone (`| head -1`), the command ends without an error. Notices for people go to standard error, where
//! write errors are ignored.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::Duration;

use crate::cli::format;
use crate::server::log_writer::write_within;

/// The maximum wait for a reader of the last output of a command.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A failed write to standard output.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub(super) struct OutputError(#[source] io::Error);

impl OutputError {
    /// Creates the error from that of the system.
    pub(super) const fn new(error: io::Error) -> Self {
        Self(error)
    }

    /// Returns true if the reader is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.0.kind() == ErrorKind::BrokenPipe
    }
}

/// Returns true if standard output is a terminal, and colours are not disabled (<https://no-color.org>).
pub(super) fn is_coloured() -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !is_refused
}

/// Writes all of `text` to standard output at once.
///
/// # Errors
/// If not all of it can be written.
pub(super) fn print(text: impl AsRef<[u8]>) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref())
        .and_then(|()| out.flush())
        .map_err(OutputError)
}

/// Writes a sentence for people to standard error. The sentence may contain text from the server.
pub(super) fn note(sentence: &str) {
    let _unread = writeln!(io::stderr(), "fanfare: {}", format::escape(sentence));
}

/// Writes the progress of a command to standard error, in place of the previous progress.
pub(super) fn progress(state: &str) {
    let _unread = write!(io::stderr(), "\r{state}");
}

/// Writes the reasons of a failure to standard error, one per line, with a timeout for the reader.
pub(super) fn fail(reasons: impl IntoIterator<Item = String>) {
    let lines = reasons
        .into_iter()
        .map(|reason| format!("error: {}\n", format::escape_lines(&reason)))
        .collect();
    write_within(&io::stderr(), lines, CLOSE_TIMEOUT);
}
