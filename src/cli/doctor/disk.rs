//! The checks of the disk: free space, and the duration of a durable write.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::report::{Finding, bad, good, note};

/// The maximum number of timed writes: some disks are fast only at first.
const MAX_WRITES: usize = 32;
/// The maximum duration of all writes.
const MAX_TIME: Duration = Duration::from_secs(2);
/// The content of one write, about as large as a commit of a few messages.
const BLOCK: [u8; 4096] = [0; 4096];
/// The duration of a write from which users notice the delay.
const SLOW: Duration = Duration::from_millis(50);

/// Checks the free space of `folder`, where a room may hold `history` bytes.
pub(super) fn space(folder: &Path, history: usize) -> Result<Finding, Finding> {
    let shown = folder.display();
    let disk = rustix::fs::statvfs(folder).map_err(|error| {
        bad(format!("the folder {shown} cannot be read: {error}"))
            .fix("fanfare: --data FOLDER, an existing folder that its user can read")
    })?;

    let mib = |bytes: u64| bytes / (1024 * 1024);
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let needed = history as u64;
    let seen = format!("{} MiB are free in {shown}", mib(free));

    let full = if free < needed {
        let needed = mib(needed);
        format!("{seen}; a single room may hold {needed} MiB (--history-bytes)")
    } else if disk.f_files > 0 && disk.f_favail == 0 {
        format!("no file can be created in {shown}: no inodes are free")
    } else {
        return Ok(good(seen));
    };

    Err(bad(full).fix(
        "disk: free space, or fanfare: smaller --history-age, --history-bytes and --max-rooms",
    ))
}

/// Checks the duration of a durable write in `folder`.
pub(super) fn sync(folder: &Path) -> Result<Finding, Finding> {
    let time = sync_time(folder).map_err(|error| {
        note(format!(
            "unknown: {} is not writable: {error}",
            folder.display()
        ))
        .fix("fanfare doctor: run it as the user of the server (sudo -u fanfare fanfare doctor)")
    })?;

    let seen = format!(
        "a durable write takes {time:.1?}: with --durability disk, an ack takes at least as long"
    );
    if time <= SLOW {
        return Ok(good(seen));
    }
    Err(note(seen).fix("disk: one with power-loss protection; or fanfare: --durability process"))
}

/// Returns the median duration of a durable write.
fn sync_time(folder: &Path) -> io::Result<Duration> {
    let path = folder.join(format!(".fanfare-doctor-{}", std::process::id()));
    let mut file = File::options().write(true).create_new(true).open(&path)?;
    let times = measure(&mut file);
    fs::remove_file(&path)?;

    let mut times = times?;
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// Returns the durations of the writes, at least one.
fn measure(file: &mut File) -> io::Result<Vec<Duration>> {
    let began = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || (times.len() < MAX_WRITES && began.elapsed() < MAX_TIME) {
        let one = Instant::now();
        file.write_all(&BLOCK)?;
        file.sync_data()?;
        times.push(one.elapsed());
    }
    Ok(times)
}
