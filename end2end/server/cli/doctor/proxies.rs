//! Each fault that proxies are known for, made by a real one, is found and nothing else is; and the line that is
//! given against it puts it right.

use super::{SMALL, Verdict, ops};
use crate::daemon::{self, Daemon};
use crate::harness::Server;

/// As it should be: what `deploy/nginx.conf` says, for any name.
const GOOD: &str = "
proxy_http_version 1.1;
proxy_set_header Host $http_host;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $upgraded;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
proxy_buffering off;
proxy_read_timeout 75s;
client_max_body_size 2m;
";

/// Streams are held back until there is much of them: nginx does so with what has no chunks.
const BUFFERED: &str = "
proxy_buffering on;
location ~ stream$ {
    proxy_pass http://fanfare;
    proxy_http_version 1.0;
    proxy_ignore_headers X-Accel-Buffering;
}
";

/// An nginx before `server`, as it should be but for what is `exchanged`.
async fn nginx(server: &Server, exchanged: (&str, &str)) -> Daemon {
    let address = daemon::free_address();
    let (from, to) = exchanged;
    assert!(GOOD.contains(from), "{from}");
    let settings = GOOD.replace(from, to);
    let site = format!(
        "map $http_upgrade $upgraded {{ default upgrade; '' ''; }}\n\
         upstream fanfare {{ server {}; }}\n\
         server {{ listen {address}; location / {{ proxy_pass http://fanfare;{settings}}} }}\n",
        server.address,
    );
    daemon::nginx(address, &site).await
}

/// What is said of `server` behind such an nginx.
async fn examined(server: &Server, exchanged: (&str, &str), more: &[&str]) -> Verdict {
    let proxy = nginx(server, exchanged).await;
    let (url, ops) = (format!("http://{}", proxy.address), ops(server));
    Verdict::of(&[&[url.as_str(), "--ops", &ops], more].concat()).await
}

#[tokio::test]
async fn behind_a_proxy_that_is_as_it_should_be_all_is_well_also_after_a_whole_heartbeat_of_silence()
 {
    let server = Server::start(
        &[
            SMALL,
            &["--heartbeat", "1s", "--trusted-proxy", "127.0.0.0/8"],
        ]
        .concat(),
    );
    let verdict = examined(&server, ("", ""), &[]).await;
    assert_eq!(
        (verdict.code, verdict.bad()),
        (Some(0), vec![]),
        "{:#?}",
        verdict.findings
    );
    verdict.says("fanfare", "good", "through nginx", "");
    verdict.says("silence", "good", "until the server's ping", "");
    verdict.says("address", "good", "that the proxy sends", "");
}

#[tokio::test]
async fn what_a_proxy_does_wrong_is_found_with_the_line_against_it() {
    let server = Server::start(SMALL);
    for (exchanged, check, seen, fix) in [
        (
            ("proxy_buffering off;", BUFFERED),
            "stream",
            "buffered",
            "proxy_buffering off;",
        ),
        (
            ("proxy_set_header Upgrade $http_upgrade;", ""),
            "websocket",
            "does not forward the upgrade",
            "proxy_set_header Upgrade $http_upgrade;",
        ),
        (
            ("proxy_http_version 1.1;", ""),
            "websocket",
            "does not forward the upgrade",
            "proxy_http_version 1.1;",
        ),
        (
            ("client_max_body_size 2m;", "client_max_body_size 10k;"),
            "message size",
            "do not reach the server",
            "client_max_body_size 2m;",
        ),
        (
            ("Host $http_host", "Host upstream"),
            "fanfare",
            "rejects this host name",
            "Host $http_host",
        ),
        (
            ("Host $http_host", "Host localhost"),
            "origin",
            "may not connect",
            "Host $http_host",
        ),
    ] {
        let verdict = examined(&server, exchanged, &["--quick"]).await;
        assert_eq!(verdict.code, Some(1), "{exchanged:?}");
        verdict.says(check, "bad", seen, fix);
        let beside: Vec<&str> = verdict
            .bad()
            .into_iter()
            .filter(|bad| *bad != check)
            .collect();
        assert!(
            beside.is_empty() || beside == ["batch size"],
            "{exchanged:?}: {:#?}",
            verdict.findings
        );
    }
}

#[tokio::test]
async fn a_proxy_that_is_less_patient_than_the_heartbeat_is_found_by_waiting_and_not_when_it_is_quick()
 {
    let server = Server::start(SMALL);
    let impatient = ("proxy_read_timeout 75s;", "proxy_read_timeout 1s;");
    let verdict = examined(&server, impatient, &[]).await;
    assert_eq!(
        (verdict.code, verdict.bad()),
        (Some(1), vec!["silence"]),
        "{:#?}",
        verdict.findings
    );
    verdict.says(
        "silence",
        "bad",
        "cut off after ",
        "proxy_read_timeout 75s;",
    );
    verdict.says("silence", "bad", "ping after 25.0s", "--heartbeat");
    let quick = examined(&server, impatient, &["--quick"]).await;
    assert_eq!((quick.code, quick.bad()), (Some(0), vec![]));
    quick.says("silence", "note", "not tried", "");
}

#[tokio::test]
async fn an_haproxy_that_cuts_quiet_connections_off_is_found_and_the_line_against_it_puts_it_right()
{
    let server = Server::start(
        &[
            SMALL,
            &["--heartbeat", "2s", "--trusted-proxy", "127.0.0.0/8"],
        ]
        .concat(),
    );
    for (tunnel, outcome, seen, fix) in [
        (
            "timeout tunnel 500ms",
            "bad",
            "cut off after ",
            "HAProxy: timeout tunnel 75s",
        ),
        ("timeout tunnel 75s", "good", "until the server's ping", ""),
    ] {
        let address = daemon::free_address();
        // It shows itself, or on this machine nobody could know that it is there.
        let site = format!(
            "defaults\nmode http\ntimeout connect 5s\ntimeout client 75s\ntimeout server 75s\n{tunnel}\n\
             frontend pages\nbind {address}\noption forwardfor\nhttp-after-response set-header Via haproxy\n\
             default_backend fanfare\nbackend fanfare\nserver one {}\n",
            server.address,
        );
        let proxy = daemon::haproxy(address, &site).await;
        let verdict =
            Verdict::of(&[&format!("http://{}", proxy.address), "--ops", &ops(&server)]).await;
        verdict.says("fanfare", "good", "through haproxy", "");
        verdict.says("silence", outcome, seen, fix);
        let bad = if outcome == "bad" {
            vec!["silence"]
        } else {
            vec![]
        };
        assert_eq!(verdict.bad(), bad, "{:#?}", verdict.findings);
    }
}

#[tokio::test]
async fn behind_a_caddy_as_it_comes_all_is_well() {
    let server = Server::start(
        &[
            SMALL,
            &["--heartbeat", "1s", "--trusted-proxy", "127.0.0.0/8"],
        ]
        .concat(),
    );
    let address = daemon::free_address();
    let site = format!(
        "http://{address} {{\n\tbind 127.0.0.1\n\treverse_proxy {}\n}}\n",
        server.address
    );
    let proxy = daemon::caddy(address, &site).await;
    let verdict =
        Verdict::of(&[&format!("http://{}", proxy.address), "--ops", &ops(&server)]).await;
    assert_eq!(
        (verdict.code, verdict.bad()),
        (Some(0), vec![]),
        "{:#?}",
        verdict.findings
    );
    verdict.says("fanfare", "good", "through Caddy", "");
    verdict.says("silence", "good", "until the server's ping", "");
}

#[tokio::test]
async fn what_may_be_meant_so_is_told_and_is_not_bad() {
    let server = Server::start(&[SMALL, &["--allow-origin", "any"]].concat());
    let gzip = "proxy_buffering off; gzip on; gzip_proxied any; gzip_min_length 0; gzip_types text/event-stream;";
    let verdict = examined(&server, ("proxy_buffering off;", gzip), &["--quick"]).await;
    assert_eq!(
        (verdict.code, verdict.bad()),
        (Some(0), vec![]),
        "{:#?}",
        verdict.findings
    );
    verdict.says(
        "stream",
        "note",
        "compressed by the proxy (gzip)",
        "gzip off;",
    );
    verdict.says(
        "address",
        "note",
        "all clients behind nginx",
        "--trusted-proxy 127.0.0.1",
    );
    verdict.says("foreign page", "note", "every site", "--allow-origin");
}
