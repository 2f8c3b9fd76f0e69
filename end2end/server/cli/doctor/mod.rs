//! `fanfare doctor`: its findings about servers and the proxies in front of them.

/// Faults of proxies.
mod proxies;
/// Certificates.
mod certificates;
/// Faults of the server's own machine.
mod machine;

use serde_json::Value;

use super::Client;
use crate::daemon;
use crate::harness::Server;

/// The exit code and the findings of a run.
struct DoctorRun {
    code: Option<i32>,
    findings: Vec<Value>,
}

impl DoctorRun {
    /// Runs `fanfare doctor` with `arguments`.
    async fn of(arguments: &[&str]) -> Self {
        let ended = Client::run(&[&["doctor", "--json"], arguments].concat()).await;
        let findings = ended
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        Self {
            code: ended.code,
            findings,
        }
    }

    /// Returns the finding about `check`.
    #[track_caller]
    fn finding(&self, check: &str) -> &Value {
        let found = self
            .findings
            .iter()
            .find(|finding| finding["check"] == check);
        found.unwrap_or_else(|| panic!("{check} among {:#?}", self.findings))
    }

    /// Checks the finding about `check`: its outcome, and that `seen` and `fix` are in its texts.
    #[track_caller]
    fn check(&self, check: &str, outcome: &str, seen: &str, fix: &str) {
        let finding = self.finding(check);
        let lines = finding["fix"].to_string();
        let is_expected = finding["outcome"] == outcome
            && finding["seen"].as_str().expect("text").contains(seen)
            && lines.contains(fix);
        assert!(is_expected, "{outcome} {seen:?} {fix:?} in {finding:#}");
    }

    /// Returns the checks that are bad.
    fn bad(&self) -> Vec<&str> {
        let bad = self
            .findings
            .iter()
            .filter(|finding| finding["outcome"] == "bad");
        bad.map(|finding| finding["check"].as_str().expect("text"))
            .collect()
    }
}

/// Connection limits that fit in any file limit.
const SMALL: &[&str] = &[
    "--max-connections",
    "200",
    "--max-connections-per-ip",
    "100",
];

/// Returns the URL of the ops listener.
fn ops(server: &Server) -> String {
    format!("http://{}", server.ops)
}

#[tokio::test]
async fn a_healthy_server_passes_every_check() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), SMALL);
    let ops = ops(&server);
    let folder = data.path().to_str().expect("text").to_owned();

    let verdict = DoctorRun::of(&[&server.url(""), "--ops", &ops, "--data", &folder]).await;
    assert_eq!(verdict.code, Some(0), "{:#?}", verdict.findings);
    assert!(verdict.bad().is_empty(), "{:#?}", verdict.findings);

    let good = [
        "name",
        "port",
        "fanfare",
        "websocket",
        "message",
        "address",
        "origin",
        "foreign page",
        "stream",
        "message size",
        "batch size",
        "clock",
        "silence",
        "version",
        "ready",
        "files",
    ];
    for check in good {
        verdict.check(check, "good", "", "");
    }

    // The outcomes for the disk depend on the machine.
    verdict.finding("disk");
    verdict.finding("fsync");
    assert_eq!(
        verdict.findings.len(),
        good.len() + 2,
        "{:#?}",
        verdict.findings
    );
}

#[tokio::test]
async fn results_are_lines_for_people_and_an_exit_code_for_scripts() {
    let server = Server::start(&["--allow-origin", "any"]);

    let url = server.url("");
    let healthy = Client::run(&["doctor", &url, "--ops", &ops(&server)]).await;
    assert!(
        healthy
            .stdout
            .contains("note  foreign page pages of every site may connect"),
        "{healthy:?}"
    );
    assert!(
        healthy
            .stdout
            .contains("-> fanfare: --allow-origin https://NAME"),
        "{healthy:?}"
    );
    assert!(
        healthy
            .stdout
            .lines()
            .last()
            .expect("a line")
            .contains(" notes, "),
        "{healthy:?}"
    );

    for arguments in [
        &["doctor", "ftp://127.0.0.1"][..],
        &["doctor", &url, "--ops", "x"],
    ] {
        let wrong = Client::run(arguments).await;
        assert_eq!(wrong.code, Some(2), "{wrong:?}");
        assert!(wrong.stderr.contains("http://HOST:PORT"), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_url_without_fanfare_is_reported_and_ends_the_run() {
    let server = Server::start(&[]);

    let nowhere = daemon::free_address();
    let static_site = daemon::free_address();
    let dead_end = daemon::free_address();
    let _static = daemon::nginx(
        static_site,
        &format!("server {{ listen {static_site}; location / {{ return 200 hello; }} }}\n"),
    )
    .await;
    let _dead = daemon::nginx(
        dead_end,
        &format!("server {{ listen {dead_end}; location / {{ proxy_pass http://{nowhere}; }} }}\n"),
    )
    .await;

    for (url, check, seen, fix) in [
        (
            format!("http://{nowhere}"),
            "port",
            "no server accepts connections",
            "systemctl start fanfare",
        ),
        (
            format!("http://{static_site}"),
            "fanfare",
            "not a Fanfare: 200",
            "URL",
        ),
        (format!("http://{dead_end}"), "fanfare", "502", "proxy_pass"),
        (
            format!("http://{}", server.ops),
            "fanfare",
            "ops listener",
            "--listen",
        ),
        (
            "http://fanfare.invalid".to_owned(),
            "name",
            "fanfare.invalid",
            "DNS",
        ),
    ] {
        let verdict = DoctorRun::of(&[&url, "--ops-listen", "off"]).await;
        assert_eq!(verdict.code, Some(1), "{url}: {:#?}", verdict.findings);
        assert_eq!(verdict.bad(), [check], "{url}: {:#?}", verdict.findings);

        verdict.check(check, "bad", seen, fix);
    }
}

#[tokio::test]
async fn a_server_that_requires_tokens_is_checked_with_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    std::fs::write(&key, "the secret of these tests, 32 bytes and more").expect("written");
    let key = key.to_str().expect("text");
    let server = Server::start(&[SMALL, &["--auth-key-file", key]].concat());

    let url = server.url("");
    let ops = ops(&server);
    let without = DoctorRun::of(&[&url, "--ops", &ops]).await;
    assert_eq!(without.code, Some(1));
    assert_eq!(without.bad(), ["websocket"]);

    without.check("websocket", "bad", "4500", "--room 'doctor-*:rw'");

    let made = Client::run(&[
        "token",
        "--sub",
        "doc",
        "--room",
        "doctor-*:rw",
        "--auth-key-file",
        key,
    ])
    .await
    .stdout;

    let with = DoctorRun::of(&[&url, "--ops", &ops, "--token", made.trim()]).await;
    assert_eq!(with.code, Some(0), "{:#?}", with.findings);
    assert!(with.bad().is_empty(), "{:#?}", with.findings);
    assert!(
        !with
            .findings
            .iter()
            .any(|finding| finding.to_string().contains(made.trim()))
    );
}
