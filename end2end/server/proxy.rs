//! Trusted proxies: limits by address use the address of the client, and clients cannot forge it.

use crate::eventually::soon;
use crate::harness::Server;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED: &str = "forwarded";

/// Opens a connection with `headers`, or returns the body of the refusal.
async fn connect(
    server: &Server,
    headers: &[(&'static str, &str)],
) -> Result<crate::harness::Peer, String> {
    server
        .try_join("id=ann", headers)
        .await
        .map_err(|refused| refused.body)
}

#[tokio::test]
async fn without_a_trusted_proxy_forwarding_headers_are_ignored() {
    for flags in [
        &["--max-connections-per-ip", "1"][..],
        &[
            "--max-connections-per-ip",
            "1",
            "--trusted-proxy",
            "10.0.0.0/8",
        ],
    ] {
        let server = Server::start(flags);

        let _ann = connect(&server, &[(X_FORWARDED_FOR, "192.0.2.1")])
            .await
            .expect("accepted");
        let refused = connect(
            &server,
            &[(X_FORWARDED_FOR, "192.0.2.2"), (FORWARDED, "for=192.0.2.3")],
        )
        .await;
        assert!(
            refused
                .expect_err("full")
                .contains("too_many_connections_from_address")
        );
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_connection_limit() {
    let server = Server::start(&[
        "--max-connections-per-ip",
        "1",
        "--trusted-proxy",
        "127.0.0.0/8",
        "--trusted-proxy",
        "10.0.0.7",
    ]);

    let mut inside = Vec::new();

    for headers in [
        &[][..],
        &[(X_FORWARDED_FOR, "192.0.2.1")],
        // A chain of two proxies. The client itself sent the first address, which is forged.
        &[(X_FORWARDED_FOR, "192.0.2.1, 192.0.2.2, 10.0.0.7")],
        &[(X_FORWARDED_FOR, "2001:db8::1")],
        &[(FORWARDED, "for=\"[2001:db8:0:1::1]:4711\";proto=https")],
        &[(FORWARDED, "for=192.0.2.1, for=192.0.2.3;host=\"a,b\"")],
    ] {
        inside.push(
            connect(&server, headers)
                .await
                .expect("the first of its address"),
        );
    }

    for headers in [
        &[(X_FORWARDED_FOR, "192.0.2.9, 192.0.2.1")][..],
        &[
            (X_FORWARDED_FOR, "192.0.2.9"),
            (X_FORWARDED_FOR, "192.0.2.2"),
        ],
        &[(X_FORWARDED_FOR, "2001:db8::ffff")],
        &[(FORWARDED, "for=\"[2001:db8:0:1::2]\"")],
        &[(X_FORWARDED_FOR, "192.0.2.1"), (FORWARDED, "for=192.0.2.9")],
        // An unreadable entry counts as the address of the proxy.
        &[(X_FORWARDED_FOR, "192.0.2.9, unknown")],
    ] {
        let refused = connect(&server, headers).await.err();
        assert!(
            refused.is_some_and(|body| body.contains("from_address")),
            "{headers:?}"
        );
    }

    assert!(
        server.log().await.contains("2001:db8:0:1::1"),
        "the log names the client"
    );
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_rate() {
    let server = Server::start(&[
        "--connect-rate",
        "1/s",
        "--connect-burst",
        "3",
        "--trusted-proxy",
        "127.0.0.1",
    ]);

    let client = reqwest::Client::new();
    let get = async |from: &str| {
        let request = client
            .get(server.url("/api/v1/openapi.json"))
            .header(X_FORWARDED_FOR, from);
        soon(request.send()).await.expect("an answer")
    };

    for _allowed in 0..3 {
        assert_eq!(get("192.0.2.1").await.status(), 200);
    }

    let refused = get("192.0.2.1").await;
    assert_eq!(refused.status().as_u16(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    assert!(
        soon(refused.text())
            .await
            .expect("text")
            .contains("connects_too_fast")
    );
    assert_eq!(get("192.0.2.2").await.status(), 200);
}

#[tokio::test]
async fn only_the_configured_header_is_read() {
    let server = Server::start(&[
        "--max-connections-per-ip",
        "1",
        "--trusted-proxy",
        "127.0.0.1",
        "--proxy-header",
        "forwarded",
    ]);

    let _ann = connect(&server, &[(FORWARDED, "for=192.0.2.1")])
        .await
        .expect("accepted");
    let forged = [(FORWARDED, "for=192.0.2.1"), (X_FORWARDED_FOR, "192.0.2.9")];
    assert!(connect(&server, &forged).await.is_err());
}
