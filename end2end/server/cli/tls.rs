//! `https://` URLs: commands connect only if the certificate is valid, and report why it is not.

use super::Client;
use crate::authority::{Certificate, CertificateAuthority};
use crate::daemon::{self, Daemon};
use crate::harness::Server;

/// Starts an nginx with TLS and `certificate` in front of `server`.
pub(super) async fn tls_proxy(server: &Server, certificate: &Certificate) -> Daemon {
    let address = daemon::free_address();
    let Certificate { certificate, key } = certificate;
    let site = format!(
        "server {{ listen {address} ssl; ssl_certificate {}; ssl_certificate_key {};\n\
         location / {{ proxy_pass http://{}; proxy_http_version 1.1; proxy_set_header Host $http_host;\n\
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\"; }} }}\n",
        certificate.display(),
        key.display(),
        server.address,
    );

    daemon::nginx(address, &site).await
}

#[tokio::test]
async fn send_and_listen_work_over_tls_with_a_trusted_authority() {
    let server = Server::start(&[]);
    let authority = CertificateAuthority::new();

    let proxy = tls_proxy(&server, &authority.certify("IP:127.0.0.1", -1, 20)).await;
    let ca = authority.file();
    let by = [
        "--url",
        &format!("https://{}", proxy.address),
        "--ca",
        ca.to_str().expect("text"),
    ];

    let sent = Client::run(&[&["send", "lobby", "in private"], &by[..]].concat()).await;
    assert_eq!(sent.code, Some(0), "{sent:?}");

    let mut listener = Client::start(&[&["listen", "lobby", "--after", "0"], &by[..]].concat());
    assert!(listener.line().await.ends_with("anonymous: in private"));
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_or_another_name_is_refused() {
    let server = Server::start(&[]);
    let authority = CertificateAuthority::new();
    let other = CertificateAuthority::new();

    let own = tls_proxy(&server, &authority.certify("IP:127.0.0.1", -1, 20)).await;
    let anothers = tls_proxy(&server, &authority.certify("DNS:chat.example.org", -1, 20)).await;

    for (proxy, ca, expected) in [
        (&own, &other, "UnknownIssuer"),
        (&anothers, &authority, "certificate not valid for name"),
    ] {
        let ca = ca.file();
        let url = format!("https://{}", proxy.address);

        let by = [
            "send",
            "lobby",
            "hi",
            "--url",
            &url,
            "--ca",
            ca.to_str().expect("text"),
        ];
        let ended = Client::run(&by).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(expected), "{ended:?}");
        assert!(ended.stderr.contains("--ca"), "{ended:?}");
    }
}
