//! The limit on the size of files (`ulimit -f`): a write beyond it fails like a write to a full disk.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// The number on Linux of the signal for a write beyond the limit (`man 7 signal`). It ends a process that does not
/// handle it.
const SIGXFSZ: i32 = 25;

/// Makes the process survive writes beyond the limit.
///
/// # Errors
/// If the signal cannot be handled.
pub(super) fn survive_limit() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _context = runtime.enter();
    // The handler stays installed as long as the process. Its existence is enough.
    let _signals = signal(SignalKind::from_raw(SIGXFSZ))?;
    Ok(())
}
