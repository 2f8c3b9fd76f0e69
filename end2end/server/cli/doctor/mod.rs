//! `fanfare doctor`: what it says of a server, and of what lies before it, is so.

/// What proxies do wrong.
mod proxies;
/// Certificates.
mod certificates;
/// What goes wrong on the server's own machine.
mod machine;

use serde_json::Value;

use super::Client;
use crate::daemon;
use crate::harness::Server;

/// What it said.
struct Verdict {
    code: Option<i32>,
    findings: Vec<Value>,
}

impl Verdict {
    /// Of the server that `arguments` name.
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

    /// What it said of `check`.
    #[track_caller]
    fn finding(&self, check: &str) -> &Value {
        let found = self
            .findings
            .iter()
            .find(|finding| finding["check"] == check);
        found.unwrap_or_else(|| panic!("{check} among {:#?}", self.findings))
    }

    /// That it found `check` to be `outcome`, said `seen` of it, and `fix` to put it right.
    #[track_caller]
    fn says(&self, check: &str, outcome: &str, seen: &str, fix: &str) {
        let finding = self.finding(check);
        let lines = finding["fix"].to_string();
        let is_said = finding["outcome"] == outcome
            && finding["seen"].as_str().expect("text").contains(seen)
            && lines.contains(fix);
        assert!(is_said, "{outcome} {seen:?} {fix:?} in {finding:#}");
    }

    /// Which checks were bad.
    fn bad(&self) -> Vec<&str> {
        let bad = self
            .findings
            .iter()
            .filter(|finding| finding["outcome"] == "bad");
        bad.map(|finding| finding["check"].as_str().expect("text"))
            .collect()
    }
}

/// Few enough connections for the files of any machine.
const SMALL: &[&str] = &[
    "--max-connections",
    "200",
    "--max-connections-per-ip",
    "100",
];

/// The ops listener of `server`.
fn ops(server: &Server) -> String {
    format!("http://{}", server.ops)
}

#[tokio::test]
async fn a_healthy_server_passes_and_every_check_was_made() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), SMALL);
    let (ops, folder) = (ops(&server), data.path().to_str().expect("text").to_owned());
    let verdict = Verdict::of(&[&server.url(""), "--ops", &ops, "--data", &folder]).await;
    assert_eq!(
        (verdict.code, verdict.bad()),
        (Some(0), vec![]),
        "{:#?}",
        verdict.findings
    );
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
        verdict.says(check, "good", "", "");
    }
    // How much room this disk has, and how fast it is, is not the test's.
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
async fn people_are_told_in_lines_and_scripts_by_the_exit_code() {
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
    let wrong = Client::run(&["doctor", "ftp://127.0.0.1", "--ops", "x"]).await;
    assert_eq!(
        (wrong.code, wrong.stderr.lines().count()),
        (Some(2), 2),
        "{wrong:?}"
    );
}

#[tokio::test]
async fn where_no_fanfare_is_it_says_what_is_there_and_ends() {
    let server = Server::start(&[]);
    let (nowhere, static_site, dead_end) = (
        daemon::free_address(),
        daemon::free_address(),
        daemon::free_address(),
    );
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
        let verdict = Verdict::of(&[&url, "--ops-listen", "off"]).await;
        assert_eq!(
            (verdict.code, verdict.bad()),
            (Some(1), vec![check]),
            "{url}: {:#?}",
            verdict.findings
        );
        verdict.says(check, "bad", seen, fix);
    }
}

#[tokio::test]
async fn a_server_that_asks_for_tokens_is_looked_at_with_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    std::fs::write(&key, "the secret of these tests, 32 bytes and more").expect("written");
    let key = key.to_str().expect("text");
    let server = Server::start(&[SMALL, &["--auth-key-file", key]].concat());
    let (url, ops) = (server.url(""), ops(&server));
    let without = Verdict::of(&[&url, "--ops", &ops]).await;
    assert_eq!((without.code, without.bad()), (Some(1), vec!["websocket"]));
    without.says("websocket", "bad", "4500", "--room 'doctor-*:rw'");

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
    let with = Verdict::of(&[&url, "--ops", &ops, "--token", made.trim()]).await;
    assert_eq!(
        (with.code, with.bad()),
        (Some(0), vec![]),
        "{:#?}",
        with.findings
    );
    assert!(
        !with
            .findings
            .iter()
            .any(|finding| finding.to_string().contains(made.trim()))
    );
}
