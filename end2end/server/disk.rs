//! A disk so small that it can be filled, and a server that keeps its messages there.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::harness::Server;

/// See the [module docs](self).
pub(crate) struct SmallDisk {
    pub(crate) server: Server,
    /// What fills it.
    ballast: PathBuf,
    _folder: TempDir,
}

impl SmallDisk {
    /// A disk of 3 MiB that only the server sees; by a namespace that goes with it.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = folder.path().join("disk");
        fs::create_dir(&disk).expect("made");
        let mut command = Command::new("unshare");
        let is_root = fs::metadata("/proc/self").expect("there").uid() == 0;
        command.args(if is_root {
            &["--mount"][..]
        } else {
            &["--user", "--map-root-user", "--mount"]
        });
        command.args(["sh", "-c"]);
        command
            .arg("mount -t tmpfs -o size=3m none \"$0\" && exec \"$@\"")
            .arg(&disk);
        command
            .arg(env!("CARGO_BIN_EXE_fanfare"))
            .arg("--data")
            .arg(&disk)
            .stdin(Stdio::null());
        let server = Server::start_by(&mut command, flags);
        let inside = PathBuf::from(format!("/proc/{}/root", server.process()))
            .join(disk.strip_prefix("/").expect("absolute"));
        Self {
            server,
            ballast: inside.join("ballast"),
            _folder: folder,
        }
    }

    /// Leaves room for less than a page.
    pub(crate) fn fill(&self) {
        let mut ballast = vec![b'x'; 4 << 20];
        // As much as fits: the error is that it is full.
        while fs::write(&self.ballast, &ballast).is_err() && ballast.len() > 4096 {
            let written = fs::metadata(&self.ballast).expect("there").len() as usize;
            ballast.truncate(written.min(ballast.len() - 4096));
        }
    }

    /// Makes room again.
    pub(crate) fn make_room(&self) {
        fs::remove_file(&self.ballast).expect("there is room again");
    }
}
