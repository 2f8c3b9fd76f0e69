//! The limit on the size of files (`ulimit -f`): a write past it fails like one to a full disk.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// The signal for a write past the limit, by its number on Linux (`man 7 signal`); it ends a process that does not
/// handle it.
const SIGXFSZ: i32 = 25;

/// Makes the process survive writes past the limit.
///
/// # Errors
/// If the signal cannot be handled.
pub(super) fn survive_limit() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _context = runtime.enter();
    // The handler stays as long as the process: that it is there is enough.
    let _signals = signal(SignalKind::from_raw(SIGXFSZ))?;
    Ok(())
}
