//! The checks of the disk: free space, and the duration of a durable write.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::finding::Finding;

/// The maximum number of timed writes: some disks are fast only at first.
const MAX_WRITES: usize = 32;
/// The maximum duration of all writes.
const MAX_TIME: Duration = Duration::from_secs(2);
/// The content of one write, about as large as a commit of a few messages.
const BLOCK: [u8; 4096] = [0; 4096];
/// The duration of a write from which users notice the delay.
const SLOW: Duration = Duration::from_millis(50);

/// Checks the disk of `folder`, where a room may hold `history` bytes.
pub(super) fn check(folder: &Path, history: usize) -> Vec<Finding> {
    let shown = folder.display();

    match (space(folder, history), syncs(folder)) {
        (Ok(space), Ok(time)) => vec![space, judge(time)],
        (Ok(space), Err(error)) => vec![
            space,
            Finding::note(
                "fsync",
                format!("unknown: {shown} is not writable: {error}"),
            )
            .fix(
                "fanfare doctor: run it as the user of the server (sudo -u fanfare fanfare doctor)",
            ),
        ],
        (Err(error), _) => vec![
            Finding::bad(
                "disk",
                format!("the folder {shown} cannot be read: {error}"),
            )
            .fix("fanfare: --data FOLDER, an existing folder that its user can read"),
        ],
    }
}

fn space(folder: &Path, history: usize) -> io::Result<Finding> {
    let disk = rustix::fs::statvfs(folder)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let needed = history as u64;
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let seen = format!("{} MiB are free in {}", mib(free), folder.display());

    let finding = if free < needed {
        Finding::bad(
            "disk",
            format!(
                "{seen}; a single room may hold {} MiB (--history-bytes)",
                mib(needed)
            ),
        )
    } else if disk.f_files > 0 && disk.f_favail == 0 {
        Finding::bad(
            "disk",
            format!(
                "no file can be created in {}: no inodes are free",
                folder.display()
            ),
        )
    } else {
        return Ok(Finding::good("disk", seen));
    };

    Ok(finding.fix(
        "disk: free space, or fanfare: smaller --history-age, --history-bytes and --max-rooms",
    ))
}

/// Returns the median duration of a durable write.
fn syncs(folder: &Path) -> io::Result<Duration> {
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

fn judge(time: Duration) -> Finding {
    let seen = format!(
        "a durable write takes {time:.1?}: with --durability disk, an ack takes at least as long"
    );
    if time > SLOW {
        Finding::note("fsync", seen)
            .fix("disk: one with power-loss protection; or fanfare: --durability process")
    } else {
        Finding::good("fsync", seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Rating;

    #[test]
    fn a_disk_with_less_space_than_one_room_may_need_is_bad_and_the_check_leaves_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let outcomes = |history| {
            check(folder.path(), history)
                .iter()
                .map(|it| it.outcome)
                .collect::<Vec<_>>()
        };

        assert_eq!(outcomes(1)[0], Rating::Good);
        assert_eq!(outcomes(usize::MAX)[0], Rating::Bad);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
        assert_eq!(
            check(&folder.path().join("none"), 1)[0].outcome,
            Rating::Bad
        );
    }
}
