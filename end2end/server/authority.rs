//! A certificate authority for tests, made with openssl.

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

/// An authority; its files are removed when it is dropped.
pub(crate) struct CertificateAuthority(TempDir);

/// The files of a certificate and its private key.
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl CertificateAuthority {
    /// Creates an authority.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");

        for (file, text) in [
            ("settings", SETTINGS),
            ("index.txt", ""),
            ("serial", "01\n"),
        ] {
            fs::write(folder.path().join(file), text).expect("written");
        }

        // Authorities need different names: clients look them up by name.
        let name = format!(
            "/CN={}",
            folder.path().file_name().expect("a name").to_string_lossy()
        );

        let subject = [
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
            &[&["req", "-x509"][..], &KEY, &files, &subject].concat(),
        );
        Self(folder)
    }

    /// Returns the file that clients trust.
    pub(crate) fn file(&self) -> PathBuf {
        self.0.path().join("authority.pem")
    }

    /// Returns the authority's own certificate.
    pub(crate) fn own(&self) -> Certificate {
        Certificate {
            certificate: self.file(),
            key: self.0.path().join("authority.key"),
        }
    }

    /// Issues a certificate for `name` (`DNS:localhost`, `IP:127.0.0.1`), valid from `begin` to `end` days from now.
    pub(crate) fn certify(&self, name: &str, begin: i64, end: i64) -> Certificate {
        let folder = self.0.path();
        let stem = format!("{}-{begin}-{end}", name.replace(':', "-"));
        let file = |kind: &str| format!("{stem}.{kind}");

        let key = file("key");
        let request = file("csr");
        let certificate = file("pem");
        let named = format!("subjectAltName={name}");

        let subject = [
            "-subj",
            "/CN=server",
            "-addext",
            &named,
            "-keyout",
            &key,
            "-out",
            &request,
        ];
        openssl(folder, &[&["req", "-new"][..], &KEY, &subject].concat());

        let begin = time(begin);
        let end = time(end);
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

/// Returns the time `days` from now in the format of openssl.
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

/// Runs openssl in `folder`.
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
