//! Certificates: name, authority and time.

use super::super::tls::tls_proxy;
use super::{DoctorRun, SMALL, ops};
use crate::authority::CertificateAuthority;
use crate::harness::Server;

#[tokio::test]
async fn a_certificate_is_checked_for_name_time_and_authority() {
    let server = Server::start(SMALL);
    let authority = CertificateAuthority::new();
    let other = CertificateAuthority::new();

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
        let proxy = tls_proxy(&server, &authority.certify(name, begin, end)).await;
        let url = format!("https://{}", proxy.address);

        let ops = ops(&server);
        let ca = trusted.file();

        let named = ["--ops", &ops, "--ca", ca.to_str().expect("text"), "--quick"];
        let verdict = DoctorRun::of(&[&[url.as_str()], &named[..]].concat()).await;
        verdict.check("certificate", outcome, seen, fix);

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
async fn the_certificate_of_an_authority_itself_is_reported() {
    let server = Server::start(SMALL);
    let authority = CertificateAuthority::new();

    let proxy = tls_proxy(&server, &authority.own()).await;
    let url = format!("https://{}", proxy.address);

    let ca = authority.file();

    let verdict = DoctorRun::of(&[
        &url,
        "--ca",
        ca.to_str().expect("text"),
        "--ops-listen",
        "off",
        "--quick",
    ])
    .await;
    assert_eq!(verdict.code, Some(1), "{:#?}", verdict.findings);
    assert_eq!(verdict.bad(), ["certificate"], "{:#?}", verdict.findings);

    verdict.check(
        "certificate",
        "bad",
        "a CA certificate (CA:TRUE)",
        "basicConstraints=critical,CA:FALSE",
    );
}

#[tokio::test]
async fn a_url_with_the_wrong_scheme_is_reported() {
    let server = Server::start(SMALL);
    let authority = CertificateAuthority::new();

    let ca = authority.file();
    let ca = ca.to_str().expect("text");

    let plain = DoctorRun::of(&[
        &format!("https://{}", server.address),
        "--ca",
        ca,
        "--ops-listen",
        "off",
    ])
    .await;
    assert_eq!(plain.code, Some(1));
    plain.check("certificate", "bad", "the TLS handshake fails", "http://");

    let proxy = tls_proxy(&server, &authority.certify("IP:127.0.0.1", -1, 60)).await;
    let safe = DoctorRun::of(&[
        &format!("http://{}", proxy.address),
        "--ca",
        ca,
        "--ops-listen",
        "off",
    ])
    .await;
    assert_eq!(safe.code, Some(1));
    safe.check("fanfare", "bad", "400", "https:// if the server uses TLS");
}
