//! Standard output and standard error of the commands, whose writing is looked at.
//!
//! What a command was asked for goes to standard output: where it cannot be written, the command fails with the
//! reason. A reader that is gone (`| head -1`) has seen enough, so that the command ends quietly. What people are told
//! besides goes to standard error, and nothing depends on it.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::Duration;

use crate::cli::text;
use crate::server::log_writer::write_within;

/// How long the last words of a command may take, where nobody reads them.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Standard output did not take what was to be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub(super) struct OutputError(#[source] io::Error);

impl OutputError {
    /// Creates the error of standard output from what the system said.
    pub(super) const fn new(error: io::Error) -> Self {
        Self(error)
    }

    /// Returns whether nobody reads any more.
    pub(super) fn is_closed(&self) -> bool {
        self.0.kind() == ErrorKind::BrokenPipe
    }
}

/// Returns whether standard output is a terminal, and colours are not refused (<https://no-color.org>).
pub(super) fn is_coloured() -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !is_refused
}

/// Writes all of `text` to standard output at once.
///
/// # Errors
/// If the system does not take all of it.
pub(super) fn print(text: impl AsRef<[u8]>) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref())
        .and_then(|()| out.flush())
        .map_err(OutputError)
}

/// Writes a sentence for people to standard error. It may hold words of the server.
pub(super) fn note(sentence: &str) {
    let _unread = writeln!(io::stderr(), "fanfare: {}", text::escape(sentence));
}

/// Writes how far a command has got to standard error, over what it wrote there before.
pub(super) fn progress(state: &str) {
    let _unread = write!(io::stderr(), "\r{state}");
}

/// Writes the reasons why a command failed to standard error, a line for each. It waits for no reader.
pub(super) fn fail(reasons: impl IntoIterator<Item = String>) {
    let lines = reasons
        .into_iter()
        .map(|reason| format!("error: {}\n", text::escape_lines(&reason)))
        .collect();
    write_within(&io::stderr(), lines, LAST_WORDS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_told_apart_from_a_full_disk() {
        let closed = OutputError::new(ErrorKind::BrokenPipe.into());
        let full = OutputError::new(ErrorKind::StorageFull.into());

        assert!(closed.is_closed() && !full.is_closed());
    }
}
