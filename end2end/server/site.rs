//! The files of the page, in a folder or embedded in the program: the responses are the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use tempfile::TempDir;

use crate::eventually::soon;
use crate::harness::{Server, program};

/// The files of a site, some also compressed. The compressed ones need not be valid.
const SITE: &[(&str, &str)] = &[
    ("favicon.svg", "<svg/>"),
    ("robots.txt", "User-agent: *"),
    ("example.html", "<!doctype html>"),
    ("pkg/fanfare.css", "body {}"),
    ("pkg/fanfare.js", "run()"),
    ("pkg/fanfare.js.br", "run, small"),
    ("pkg/fanfare.js.gz", "run, less small"),
    ("pkg/fanfare.wasm", "\0asm"),
    ("pkg/fanfare.wasm.br", "asm, small"),
];

/// A folder with the site, and the program with the site embedded.
struct Both {
    folder: TempDir,
}

impl Both {
    /// Creates the folder and packs the program.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");

        for (path, text) in SITE {
            let path = folder.path().join("site").join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
            fs::write(path, text).expect("it can be written");
        }

        let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/pack.sh");
        let mut packing = Command::new(pack);
        packing
            .arg(env!("CARGO_BIN_EXE_fanfare"))
            .arg(folder.path().join("site"))
            .arg(folder.path().join("one"));
        assert!(packing.status().expect("bash runs").success());

        Self { folder }
    }

    /// Returns the folder of the site.
    fn site(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    /// Returns a command that starts the program with the embedded site, in a folder without another site.
    fn embedded(&self) -> Command {
        let mut command = Command::new(self.folder.path().join("one"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FANFARE_")) {
            command.env_remove(name);
        }

        command
            .current_dir("/")
            .arg("--data")
            .arg(self.folder.path().join("data"));
        command
    }
}

/// The parts of a response that matter to a browser.
#[derive(Debug, PartialEq, Eq)]
struct Visible {
    status: StatusCode,
    headers: Vec<Option<String>>,
    body: Vec<u8>,
}

/// Sends a request; returns the response and all of its headers.
async fn send(
    server: &Server,
    method: Method,
    path: &str,
    headers: &[(&'static str, &str)],
) -> (Visible, HeaderMap) {
    let request = reqwest::Client::new().request(method, server.url(path));
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });

    let answer = soon(request.send()).await.expect("an answer");
    let status = answer.status();
    let all = answer.headers().clone();

    let output = |name| {
        all.get(name)
            .map(|value| value.to_str().expect("text").to_owned())
    };
    let headers = [
        "content-type",
        "content-encoding",
        "content-length",
        "content-security-policy",
        "cache-control",
        "vary",
        "x-content-type-options",
    ]
    .map(output);

    let body = soon(answer.bytes()).await.expect("a body").to_vec();
    (
        Visible {
            status,
            headers: headers.into(),
            body,
        },
        all,
    )
}

/// Returns the path under which the page loads its files.
async fn package(server: &Server) -> String {
    let page = soon(reqwest::get(server.url("/")))
        .await
        .expect("an answer");
    let page = soon(page.text()).await.expect("text");
    let start = page.find("/pkg/").unwrap_or_else(|| panic!("{page}"));
    let version = page[start + "/pkg/".len()..]
        .split('/')
        .next()
        .expect("a part");

    format!("/pkg/{version}")
}

#[tokio::test]
async fn embedded_files_are_served_like_those_of_a_folder() {
    let both = Both::new();
    let folder = Server::start(&["--site", both.site().to_str().expect("text")]);
    let inside = Server::start_by(&mut both.embedded(), &[]);

    let package = package(&folder).await;
    assert_eq!(
        self::package(&inside).await,
        package,
        "the same bytes have the same names"
    );

    let versioned = ["fanfare.js", "fanfare.css", "fanfare.wasm", "nothing.js"]
        .map(|name| format!("{package}/{name}"));

    let own_names = [
        "/favicon.svg",
        "/robots.txt",
        "/example.html",
        "/pkg/fanfare.js",
        "/nothing",
        "/pkg",
        "/%2e%2e/Cargo.toml",
    ];

    let mut found = 0;

    for path in versioned.iter().map(String::as_str).chain(own_names) {
        for accepted in ["identity", "gzip", "gzip, deflate, br"] {
            for method in [Method::GET, Method::HEAD] {
                let headers = [("accept-encoding", accepted)];
                let (expected, _) = send(&folder, method.clone(), path, &headers).await;
                let (seen, _) = send(&inside, method.clone(), path, &headers).await;
                assert_eq!(seen, expected, "{method} {path}, {accepted}");
                found += usize::from(seen.status.is_success());
            }
        }
    }

    assert_eq!(found, 7 * 3 * 2);

    let (seen, headers) = send(
        &inside,
        Method::GET,
        &versioned[0],
        &[("accept-encoding", "gzip, br")],
    )
    .await;
    assert_eq!(seen.body, b"run, small".to_vec());
    assert_eq!(headers["content-encoding"], "br");
    assert!(
        headers["cache-control"]
            .to_str()
            .expect("text")
            .contains("immutable")
    );
}

#[tokio::test]
async fn an_embedded_file_that_the_client_already_has_is_304() {
    let both = Both::new();
    let server = Server::start_by(&mut both.embedded(), &[]);

    let (_, headers) = send(&server, Method::GET, "/favicon.svg", &[]).await;
    let tag = headers["etag"].to_str().expect("text").to_owned();

    for known in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
        let (seen, headers) = send(
            &server,
            Method::GET,
            "/favicon.svg",
            &[("if-none-match", &known)],
        )
        .await;
        assert_eq!(seen.status, StatusCode::NOT_MODIFIED, "{known}");
        assert!(seen.body.is_empty(), "{known}");
        assert_eq!(headers["etag"].to_str().expect("text"), tag);
    }

    let (seen, _) = send(
        &server,
        Method::GET,
        "/favicon.svg",
        &[("if-none-match", "\"other\"")],
    )
    .await;
    assert_eq!(seen.status, StatusCode::OK);

    let packed = ("accept-encoding", "br");
    let plain = ("accept-encoding", "identity");
    let tags = [
        send(&server, Method::GET, "/pkg/fanfare.js", &[packed])
            .await
            .1["etag"]
            .clone(),
        send(&server, Method::GET, "/pkg/fanfare.js", &[plain])
            .await
            .1["etag"]
            .clone(),
    ];
    assert_ne!(tags[0], tags[1], "the bytes differ");
}

#[tokio::test]
async fn a_file_is_405_for_other_methods_than_get_and_head() {
    let both = Both::new();
    let folder = Server::start(&["--site", both.site().to_str().expect("text")]);
    let inside = Server::start_by(&mut both.embedded(), &[]);
    let versioned = format!("{}/fanfare.js", package(&folder).await);

    for server in [&folder, &inside] {
        for path in ["/favicon.svg", "/pkg/fanfare.js", &versioned] {
            let (seen, headers) = send(server, Method::POST, path, &[]).await;
            assert_eq!(seen.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
            assert_eq!(headers["allow"], "GET,HEAD", "{path}");
        }
    }
}

/// The headers that describe the body of a response or its time.
const OF_BODY: [&str; 7] = [
    "content-type",
    "content-encoding",
    "content-length",
    "content-range",
    "accept-ranges",
    "last-modified",
    "date",
];

#[tokio::test]
async fn a_response_without_the_file_has_the_headers_of_one_with_it() {
    let both = Both::new();
    let origin = ("origin", "https://shop.example");
    let flags = ["--allow-origin", "https://shop.example"];
    let site = both.site();
    let folder_flags = [&flags[..], &["--site", site.to_str().expect("text")]].concat();
    let folder = Server::start(&folder_flags);
    let inside = Server::start_by(&mut both.embedded(), &flags);
    let versioned = format!("{}/fanfare.js", package(&folder).await);

    for server in [&folder, &inside] {
        for (path, policy) in [
            ("/example.html", "script-src 'self'"),
            ("/robots.txt", "default-src 'none'; frame-ancestors 'none'"),
            (&versioned, "default-src 'none'; frame-ancestors 'none'"),
        ] {
            let (_, whole) = send(server, Method::GET, path, &[origin]).await;
            let found = whole["content-security-policy"].to_str().expect("text");
            assert!(found.contains(policy), "{path}: {found}");

            let validator = |name: &str| whole.get(name).map(|tag| tag.to_str().expect("text"));
            let is_folder = whole.get("etag").is_none();
            let condition = match validator("etag") {
                Some(etag) => ("if-none-match", etag),
                None => (
                    "if-modified-since",
                    validator("last-modified").expect("one"),
                ),
            };

            let partial = if is_folder { 206 } else { 200 };
            let unsatisfiable = if is_folder { 416 } else { 200 };

            for (method, header, status) in [
                (Method::GET, condition, 304),
                (Method::HEAD, condition, 304),
                (Method::HEAD, ("accept", "*/*"), 200),
                (Method::GET, ("range", "bytes=0-1"), partial),
                (Method::GET, ("range", "bytes=9999-"), unsatisfiable),
            ] {
                let headers = [origin, header];
                let (seen, mut other) = send(server, method.clone(), path, &headers).await;
                assert_eq!(seen.status.as_u16(), status, "{method} {path} {header:?}");

                let mut expected = whole.clone();
                for name in OF_BODY {
                    expected.remove(name);
                    other.remove(name);
                }

                assert_eq!(other, expected, "{method} {path} {header:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_site_folder_overrides_the_embedded_files() {
    let both = Both::new();
    let other = tempfile::tempdir().expect("a folder");
    fs::write(other.path().join("robots.txt"), "another").expect("it can be written");

    let server = Server::start_by(
        &mut both.embedded(),
        &["--site", other.path().to_str().expect("text")],
    );
    assert_eq!(
        send(&server, Method::GET, "/robots.txt", &[]).await.0.body,
        b"another"
    );

    let mut check = Command::new(both.folder.path().join("one"));
    let output = check.arg("check-config").output().expect("it runs").stdout;
    assert!(String::from_utf8_lossy(&output).contains("# site: inside the program\n"));
}

#[test]
fn packing_the_site_is_reproducible() {
    let one = Both::new();
    let other = Both::new();
    let read = |both: &Both| fs::read(both.folder.path().join("one")).expect("it is there");
    assert!(read(&one) == read(&other));
}

#[test]
fn a_damaged_embedded_site_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let damaged = folder.path().join("damaged");

    let damage = "cp \"$0\" \"$1\" && printf 'ffffffffffffffff%s' fanfare-site-tar >>\"$1\"";
    let made = Command::new("bash")
        .args(["-c", damage])
        .arg(program().get_program())
        .arg(&damaged)
        .status();
    assert!(made.expect("bash runs").success());

    let output = Command::new(&damaged)
        .arg("check-config")
        .output()
        .expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("--site"), "{errors}");
    assert!(errors.contains("inside the program"), "{errors}");
}
