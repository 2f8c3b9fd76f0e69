//! An authority of the test's own that vouches for servers, by openssl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

const SETTINGS: &str = "
[ca]
default_ca = own
[own]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
[req]
distinguished_name = none
[none]
";
const KEY: [&str; 5] = [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
];
const DAY: Duration = Duration::from_secs(86_400);

/// See the [module docs](self).
pub(crate) struct Authority(TempDir);

/// A server's certificate and its key, each in a file.
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (file, text) in [
            ("settings", SETTINGS),
            ("index.txt", ""),
            ("serial", "01\n"),
        ] {
            fs::write(folder.path().join(file), text).expect("written");
        }
        // Each has a name of its own, or one would be taken for another that has lost its key.
        let name = format!(
            "/CN={}",
            folder.path().file_name().expect("a name").to_string_lossy()
        );
        let whose = [
            "-subj",
            &name,
            "-addext",
            "basicConstraints=critical,CA:TRUE",
        ];
        let files = [
            "-keyout",
            "authority.key",
            "-out",
            "authority.pem",
            "-days",
            "30",
        ];
        openssl(
            folder.path(),
            &[&["req", "-x509"][..], &KEY, &files, &whose].concat(),
        );
        Self(folder)
    }

    /// What those who trust it are given.
    pub(crate) fn file(&self) -> PathBuf {
        self.0.path().join("authority.pem")
    }

    /// Its own, with which it vouches for others.
    pub(crate) fn own(&self) -> Certificate {
        Certificate {
            certificate: self.file(),
            key: self.0.path().join("authority.key"),
        }
    }

    /// A certificate for `name`, as in `DNS:localhost` or `IP:127.0.0.1`, that began and ends so many days from now.
    pub(crate) fn certify(&self, name: &str, begin: i64, end: i64) -> Certificate {
        let folder = self.0.path();
        let stem = format!("{}-{begin}-{end}", name.replace(':', "-"));
        let file = |kind: &str| format!("{stem}.{kind}");
        let (key, request, certificate) = (file("key"), file("csr"), file("pem"));
        let named = format!("subjectAltName={name}");
        let whose = [
            "-subj",
            "/CN=server",
            "-addext",
            &named,
            "-keyout",
            &key,
            "-out",
            &request,
        ];
        openssl(folder, &[&["req", "-new"][..], &KEY, &whose].concat());
        let (begin, end) = (time(begin), time(end));
        let signed = [
            "-in",
            &request,
            "-out",
            &certificate,
            "-notext",
            "-startdate",
            &begin,
            "-enddate",
            &end,
        ];
        let by = [
            "ca",
            "-batch",
            "-config",
            "settings",
            "-cert",
            "authority.pem",
            "-keyfile",
            "authority.key",
        ];
        openssl(folder, &[&by[..], &signed].concat());
        Certificate {
            certificate: folder.join(certificate),
            key: folder.join(key),
        }
    }
}

/// So many days from now, as openssl writes it.
fn time(days: i64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs() as i64;
    let at = format!("@{}", now + days * DAY.as_secs() as i64);
    let date = Command::new("date")
        .args(["--utc", "--date", &at, "+%Y%m%d%H%M%SZ"])
        .output();
    String::from_utf8(date.expect("date runs").stdout)
        .expect("text")
        .trim()
        .to_owned()
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("openssl");
    let command = command
        .current_dir(folder)
        .args(arguments)
        .stdin(Stdio::null());
    let output = command.output().expect("openssl runs");
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
