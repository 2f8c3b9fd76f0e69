//! Behind a trusted proxy, what is by address is by the client's, and nobody makes up another.

use crate::harness::{Server, soon};

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED: &str = "forwarded";

/// Whether one more connection gets in that says so of itself.
async fn gets_in(
    server: &Server,
    headers: &[(&'static str, &str)],
) -> Result<crate::harness::Peer, String> {
    server
        .try_join("id=ann", headers)
        .await
        .map_err(|refused| refused.body)
}

#[tokio::test]
async fn without_a_trusted_proxy_what_headers_say_of_an_address_counts_for_nothing() {
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
        let _ann = gets_in(&server, &[(X_FORWARDED_FOR, "192.0.2.1")])
            .await
            .expect("let in");
        let refused = gets_in(
            &server,
            &[(X_FORWARDED_FOR, "192.0.2.2"), (FORWARDED, "for=192.0.2.3")],
        )
        .await;
        assert!(
            refused
                .err()
                .expect("full")
                .contains("too_many_connections_from_address")
        );
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_places_of_its_own() {
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
        // The second of two proxies, and a client that makes one up.
        &[(X_FORWARDED_FOR, "192.0.2.1, 192.0.2.2, 10.0.0.7")],
        &[(X_FORWARDED_FOR, "2001:db8::1")],
        &[(FORWARDED, "for=\"[2001:db8:0:1::1]:4711\";proto=https")],
        &[(FORWARDED, "for=192.0.2.1, for=192.0.2.3;host=\"a,b\"")],
    ] {
        inside.push(
            gets_in(&server, headers)
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
        // What cannot be read is the proxy's own.
        &[(X_FORWARDED_FOR, "192.0.2.9, unknown")],
    ] {
        let refused = gets_in(&server, headers).await.err();
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
async fn behind_a_trusted_proxy_each_client_is_held_to_a_rate_of_its_own() {
    let server = Server::start(&[
        "--connect-rate",
        "1/s",
        "--connect-burst",
        "3",
        "--trusted-proxy",
        "127.0.0.1",
    ]);
    let client = reqwest::Client::new();
    let ask = async |from: &str| {
        let request = client
            .get(server.url("/api/v1/openapi.json"))
            .header(X_FORWARDED_FOR, from);
        soon(request.send()).await.expect("an answer")
    };
    for _allowed in 0..3 {
        assert_eq!(ask("192.0.2.1").await.status(), 200);
    }
    let refused = ask("192.0.2.1").await;
    assert_eq!(
        (
            refused.status().as_u16(),
            refused.headers().contains_key("retry-after")
        ),
        (429, true)
    );
    assert!(
        soon(refused.text())
            .await
            .expect("text")
            .contains("connects_too_fast")
    );
    assert_eq!(ask("192.0.2.2").await.status(), 200);
}

#[tokio::test]
async fn only_the_header_that_was_chosen_is_read() {
    let server = Server::start(&[
        "--max-connections-per-ip",
        "1",
        "--trusted-proxy",
        "127.0.0.1",
        "--proxy-header",
        "forwarded",
    ]);
    let _ann = gets_in(&server, &[(FORWARDED, "for=192.0.2.1")])
        .await
        .expect("let in");
    let lie = [(FORWARDED, "for=192.0.2.1"), (X_FORWARDED_FOR, "192.0.2.9")];
    assert!(gets_in(&server, &lie).await.is_err());
}
