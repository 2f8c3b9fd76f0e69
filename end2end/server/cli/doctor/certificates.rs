//! Certificates: whose, by whom, until when.

use super::super::tls::safe;
use super::{SMALL, Verdict, ops};
use crate::authority::Authority;
use crate::harness::Server;

#[tokio::test]
async fn a_certificate_is_good_for_its_name_and_time_to_those_who_trust_its_authority() {
    let server = Server::start(SMALL);
    let (authority, other) = (Authority::new(), Authority::new());
    for (name, begin, end, trusted, outcome, seen, fix) in [
        (
            "IP:127.0.0.1",
            -1,
            60,
            &authority,
            "good",
            "good for 127.0.0.1 for 59 days",
            "",
        ),
        (
            "IP:127.0.0.1",
            -80,
            10,
            &authority,
            "note",
            "it expires in 9 days",
            "certbot renew",
        ),
        (
            "IP:127.0.0.1",
            -90,
            -1,
            &authority,
            "bad",
            "it expired on ",
            "certbot renew",
        ),
        (
            "IP:127.0.0.1",
            1,
            30,
            &authority,
            "bad",
            "not valid yet",
            "set-ntp",
        ),
        (
            "DNS:chat.example.org",
            -1,
            60,
            &authority,
            "bad",
            "not valid for 127.0.0.1, but for chat.example.org",
            "server_name 127.0.0.1",
        ),
        (
            "IP:127.0.0.1",
            -1,
            60,
            &other,
            "bad",
            "not issued by a trusted authority",
            "fullchain.pem",
        ),
    ] {
        let proxy = safe(&server, &authority.certify(name, begin, end)).await;
        let (url, ops, ca) = (
            format!("https://{}", proxy.address),
            ops(&server),
            trusted.file(),
        );
        let named = ["--ops", &ops, "--ca", ca.to_str().expect("text"), "--quick"];
        let verdict = Verdict::of(&[&[url.as_str()], &named[..]].concat()).await;
        verdict.says("certificate", outcome, seen, fix);
        let bad: &[&str] = if outcome == "bad" {
            &["certificate"]
        } else {
            &[]
        };
        assert_eq!(verdict.bad(), bad, "{:#?}", verdict.findings);
        assert_eq!(verdict.code, Some(i32::from(outcome == "bad")));
    }
}

#[tokio::test]
async fn a_certificate_that_is_an_authoritys_own_is_told_in_words() {
    let (server, authority) = (Server::start(SMALL), Authority::new());
    let proxy = safe(&server, &authority.own()).await;
    let (url, ca) = (format!("https://{}", proxy.address), authority.file());
    let verdict = Verdict::of(&[
        &url,
        "--ca",
        ca.to_str().expect("text"),
        "--ops-listen",
        "off",
        "--quick",
    ])
    .await;
    assert_eq!(
        (verdict.code, verdict.bad()),
        (Some(1), vec!["certificate"]),
        "{:#?}",
        verdict.findings
    );
    verdict.says(
        "certificate",
        "bad",
        "a CA certificate (CA:TRUE)",
        "basicConstraints=critical,CA:FALSE",
    );
}

#[tokio::test]
async fn a_port_without_tls_and_one_with_it_are_not_taken_for_each_other() {
    let (server, authority) = (Server::start(SMALL), Authority::new());
    let ca = authority.file();
    let ca = ca.to_str().expect("text");
    let plain = Verdict::of(&[
        &format!("https://{}", server.address),
        "--ca",
        ca,
        "--ops-listen",
        "off",
    ])
    .await;
    assert_eq!(plain.code, Some(1));
    plain.says("certificate", "bad", "the TLS handshake fails", "http://");
    let proxy = safe(&server, &authority.certify("IP:127.0.0.1", -1, 60)).await;
    let safe = Verdict::of(&[
        &format!("http://{}", proxy.address),
        "--ca",
        ca,
        "--ops-listen",
        "off",
    ])
    .await;
    assert_eq!(safe.code, Some(1));
    safe.says("fanfare", "bad", "400", "https:// if the server uses TLS");
}
