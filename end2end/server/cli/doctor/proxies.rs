//! Common faults of proxies, tested with real ones. Each is reported alone, with the line that fixes it.

use super::{DoctorRun, SMALL, ops};
use crate::daemon::{self, Daemon};
use crate::harness::Server;

/// The settings of `deploy/nginx.conf`, for any name.
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

/// Settings that hold streams back: nginx buffers responses without chunks.
const BUFFERED: &str = "
proxy_buffering on;
location ~ stream$ {
    proxy_pass http://fanfare;
    proxy_http_version 1.0;
    proxy_ignore_headers X-Accel-Buffering;
}
";

/// Starts an nginx in front of `server` with the [`GOOD`] settings, in which `exchanged` replaces one text by another.
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

/// Runs `fanfare doctor` on `server` behind such an nginx.
async fn doctor_behind_nginx(server: &Server, exchanged: (&str, &str), more: &[&str]) -> DoctorRun {
    let proxy = nginx(server, exchanged).await;
    let url = format!("http://{}", proxy.address);
    let ops = ops(server);
    DoctorRun::of(&[&[url.as_str(), "--ops", &ops], more].concat()).await
}

#[tokio::test]
async fn a_correct_nginx_passes_every_check() {
    let server = Server::start(
        &[
            SMALL,
            &["--heartbeat", "1s", "--trusted-proxy", "127.0.0.0/8"],
        ]
        .concat(),
    );

    let verdict = doctor_behind_nginx(&server, ("", ""), &[]).await;
    assert_eq!(verdict.code, Some(0), "{:#?}", verdict.findings);
    assert!(verdict.bad().is_empty(), "{:#?}", verdict.findings);

    verdict.check("fanfare", "good", "through nginx", "");
    verdict.check("silence", "good", "until the server's ping", "");
    verdict.check("address", "good", "that the proxy sends", "");
}

#[tokio::test]
async fn each_fault_of_a_proxy_is_reported_with_the_line_that_fixes_it() {
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
        let verdict = doctor_behind_nginx(&server, exchanged, &["--quick"]).await;
        assert_eq!(verdict.code, Some(1), "{exchanged:?}");

        verdict.check(check, "bad", seen, fix);

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
async fn a_proxy_timeout_below_the_heartbeat_is_reported_except_with_quick() {
    let server = Server::start(SMALL);

    let impatient = ("proxy_read_timeout 75s;", "proxy_read_timeout 1s;");
    let verdict = doctor_behind_nginx(&server, impatient, &[]).await;
    assert_eq!(verdict.code, Some(1), "{:#?}", verdict.findings);
    assert_eq!(verdict.bad(), ["silence"], "{:#?}", verdict.findings);

    verdict.check(
        "silence",
        "bad",
        "cut off after ",
        "proxy_read_timeout 75s;",
    );
    verdict.check("silence", "bad", "ping after 25.0s", "--heartbeat");

    let quick = doctor_behind_nginx(&server, impatient, &["--quick"]).await;
    assert_eq!(quick.code, Some(0));
    assert!(quick.bad().is_empty());

    quick.check("silence", "note", "not tried", "");
}

#[tokio::test]
async fn a_short_haproxy_tunnel_timeout_is_reported_and_the_suggested_line_fixes_it() {
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
        // Only the Via header identifies the proxy.
        let site = format!(
            "defaults\nmode http\ntimeout connect 5s\ntimeout client 75s\ntimeout server 75s\n{tunnel}\n\
             frontend pages\nbind {address}\noption forwardfor\nhttp-after-response set-header Via haproxy\n\
             default_backend fanfare\nbackend fanfare\nserver one {}\n",
            server.address,
        );

        let proxy = daemon::haproxy(address, &site).await;
        let verdict =
            DoctorRun::of(&[&format!("http://{}", proxy.address), "--ops", &ops(&server)]).await;

        verdict.check("fanfare", "good", "through haproxy", "");
        verdict.check("silence", outcome, seen, fix);

        let bad = if outcome == "bad" {
            vec!["silence"]
        } else {
            vec![]
        };
        assert_eq!(verdict.bad(), bad, "{:#?}", verdict.findings);
    }
}

#[tokio::test]
async fn a_default_caddy_passes_every_check() {
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
        DoctorRun::of(&[&format!("http://{}", proxy.address), "--ops", &ops(&server)]).await;
    assert_eq!(verdict.code, Some(0), "{:#?}", verdict.findings);
    assert!(verdict.bad().is_empty(), "{:#?}", verdict.findings);

    verdict.check("fanfare", "good", "through Caddy", "");
    verdict.check("silence", "good", "until the server's ping", "");
}

#[tokio::test]
async fn settings_that_may_be_deliberate_are_notes_and_not_faults() {
    let server = Server::start(&[SMALL, &["--allow-origin", "any"]].concat());

    let gzip = "proxy_buffering off; gzip on; gzip_proxied any; gzip_min_length 0; gzip_types text/event-stream;";
    let verdict = doctor_behind_nginx(&server, ("proxy_buffering off;", gzip), &["--quick"]).await;
    assert_eq!(verdict.code, Some(0), "{:#?}", verdict.findings);
    assert!(verdict.bad().is_empty(), "{:#?}", verdict.findings);

    verdict.check(
        "stream",
        "note",
        "compressed by the proxy (gzip)",
        "gzip off;",
    );

    verdict.check(
        "address",
        "note",
        "all clients behind nginx",
        "--trusted-proxy 127.0.0.1",
    );

    verdict.check("foreign page", "note", "every site", "--allow-origin");
}
