//! Whether the disk under the messages has room, and how long it takes until something is safe there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::finding::Finding;

/// Writes that are timed, at most: some disks are fast only for the first.
const WRITES: usize = 32;
/// No more time than this is spent on them.
const LONGEST: Duration = Duration::from_secs(2);
/// A write is about as large as a commit of a few messages.
const BLOCK: [u8; 4096] = [0; 4096];
/// Slower disks make every sender wait where somebody notices.
const SLOW: Duration = Duration::from_millis(50);

/// Looks at the disk of `folder`, where a room may hold `history` bytes.
pub(super) fn check(folder: &Path, history: usize) -> Vec<Finding> {
    let shown = folder.display();
    match (space(folder, history), syncs(folder)) {
        (Ok(space), Ok(time)) => vec![space, judge(time)],
        (Ok(space), Err(error)) => vec![
            space,
            Finding::note(
                "fsync",
                format!("not known: nothing can be written to {shown}: {error}"),
            )
            .fix(
                "fanfare doctor: run it as the user of the server (sudo -u fanfare fanfare doctor)",
            ),
        ],
        (Err(error), _) => vec![
            Finding::bad(
                "disk",
                format!("the folder {shown} cannot be looked at: {error}"),
            )
            .fix("fanfare: --data FOLDER, one that is there and that its user can read"),
        ],
    }
}

fn space(folder: &Path, history: usize) -> io::Result<Finding> {
    let disk = rustix::fs::statvfs(folder)?;
    let (free, needed) = (disk.f_bavail.saturating_mul(disk.f_frsize), history as u64);
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let seen = format!("{} MiB are free under {}", mib(free), folder.display());
    let finding = if free < needed {
        Finding::bad(
            "disk",
            format!(
                "{seen}; one room alone may hold {} (--history-bytes)",
                mib(needed)
            ),
        )
    } else if disk.f_files > 0 && disk.f_favail == 0 {
        Finding::bad(
            "disk",
            format!(
                "no new file can be made under {}: its inodes are used up",
                folder.display()
            ),
        )
    } else {
        return Ok(Finding::good("disk", seen));
    };
    Ok(finding
        .fix("disk: make room, or fanfare: smaller --history-age, --history-bytes and --max-rooms"))
}

/// The median time until a write is on the disk.
fn syncs(folder: &Path) -> io::Result<Duration> {
    let path = folder.join(format!(".fanfare-doctor-{}", std::process::id()));
    let mut file = File::options().write(true).create_new(true).open(&path)?;
    let times = measure(&mut file);
    fs::remove_file(&path)?;
    let mut times = times?;
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// At least one.
fn measure(file: &mut File) -> io::Result<Vec<Duration>> {
    let (began, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || (times.len() < WRITES && began.elapsed() < LONGEST) {
        let one = Instant::now();
        file.write_all(&BLOCK)?;
        file.sync_data()?;
        times.push(one.elapsed());
    }
    Ok(times)
}

fn judge(time: Duration) -> Finding {
    let seen = format!(
        "a write is safe after {time:.1?}: with --durability disk an ack takes at least so long, however many share it"
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
    use crate::cli::doctor::finding::Outcome;

    #[test]
    fn a_disk_with_less_room_than_one_room_may_need_is_bad_and_nothing_stays_on_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let outcomes = |history| {
            check(folder.path(), history)
                .iter()
                .map(|it| it.outcome)
                .collect::<Vec<_>>()
        };
        assert_eq!(outcomes(1)[0], Outcome::Good);
        assert_eq!(outcomes(usize::MAX)[0], Outcome::Bad);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
        assert_eq!(
            check(&folder.path().join("none"), 1)[0].outcome,
            Outcome::Bad
        );
    }
}
