//! A small disk that can be filled, and servers with their data on it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::harness::Server;

/// A disk of 3 MiB; it is removed when it is dropped.
pub(crate) struct SmallDisk {
    /// The process in whose mount namespace the disk is. The disk is removed with it.
    holder: Child,
    path: PathBuf,
    _folder: TempDir,
}

fn is_root() -> bool {
    fs::metadata("/proc/self").expect("there").uid() == 0
}

impl SmallDisk {
    /// Creates a disk of 3 MiB that only its servers see.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("disk");
        fs::create_dir(&path).expect("made");

        let mut command = Command::new("unshare");
        command.args(if is_root() {
            &["--mount"][..]
        } else {
            &["--user", "--map-root-user", "--mount"]
        });

        let mut holder = command
            .args(["sh", "-c"])
            .arg("mount -t tmpfs -o size=3m none \"$0\" && echo mounted && exec cat")
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");

        let mut line = String::new();
        let mut output = BufReader::new(holder.stdout.take().expect("piped"));
        output.read_line(&mut line).expect("text");

        assert_eq!(line, "mounted\n");

        Self {
            holder,
            path,
            _folder: folder,
        }
    }

    /// Starts a server with its data on the disk.
    pub(crate) fn start(&self, flags: &[&str]) -> Server {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.holder.id()))
            .arg("--mount");

        if !is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }

        command
            .arg(env!("CARGO_BIN_EXE_fanfare"))
            .arg("--data")
            .arg(self.path.join("data"))
            .stdin(Stdio::null());
        Server::start_by(&mut command, flags)
    }

    /// Returns the path of the file that fills the disk, as seen from outside of the namespace.
    fn ballast(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.holder.id()))
            .join(self.path.strip_prefix("/").expect("absolute"))
            .join("ballast")
    }

    /// Fills the disk; less than a page stays free.
    pub(crate) fn fill(&self) {
        let mut ballast = vec![b'x'; 4 << 20];
        // The write stops with an error when the disk is full.
        while fs::write(self.ballast(), &ballast).is_err() && ballast.len() > 4096 {
            let written = fs::metadata(self.ballast()).expect("there").len() as usize;
            ballast.truncate(written.min(ballast.len() - 4096));
        }
    }

    /// Frees the space.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.ballast()).expect("there is room again");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Errors mean that the process has already ended.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
