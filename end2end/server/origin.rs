//! The accepted values of `Origin`. `foreign.hydrate.spec.ts` tests real pages of other origins in a browser.

use reqwest::{Client, Method, StatusCode};

use crate::eventually::soon;
use crate::harness::Server;
use crate::raw::answer;

#[tokio::test]
async fn a_request_of_another_origin_is_refused_unless_allowed() {
    let server = Server::start(&[
        "--public-host",
        "chat.example.org",
        "--public-host",
        "https://tls.example",
        "--allow-origin",
        "https://shop.example",
        "--allow-origin",
        "https://dev.shop.example:8443",
    ]);

    let own = server.address.to_string();
    let port = server.address.port();
    let by_name = format!("localhost:{port}");

    for (host, origin, passes) in [
        (&*own, Some(format!("http://{own}")), true),
        (&own, Some(format!("HTTP://{own}")), true),
        (&own, Some("https://shop.example".into()), true),
        (&own, Some("https://Shop.Example:443".into()), true),
        (&own, Some("https://dev.shop.example:8443".into()), true),
        (&own, None, true),
        (&*by_name, Some(format!("http://localhost:{port}")), true),
        ("[::1]:7", Some("http://[::1]:7".into()), true),
        (
            "chat.example.org",
            Some("https://chat.example.org".into()),
            true,
        ),
        (
            "chat.example.org",
            Some("http://chat.example.org:80".into()),
            true,
        ),
        // A proxy may replace the Host of the browser.
        (&own, Some("https://tls.example".into()), true),
        (&own, Some("http://tls.example".into()), false),
        ("tls.example", Some("http://tls.example".into()), false),
        (&own, Some(format!("http://localhost:{port}")), false),
        (&own, Some("http://127.0.0.1".into()), false),
        (
            &own,
            Some(format!("http://127.0.0.1:{}", port.wrapping_add(1))),
            false,
        ),
        (&own, Some(format!("http://{own}.evil.example")), false),
        (&own, Some(format!("http://{own}/")), false),
        (&own, Some(format!("http://ann@{own}")), false),
        (&own, Some(format!("ws://{own}")), false),
        (&own, Some(own.clone()), false),
        (&own, Some("http://shop.example".into()), false),
        (&own, Some("https://shop.example:8443".into()), false),
        (
            &own,
            Some("https://shop.example.evil.example".into()),
            false,
        ),
        (&own, Some("https://evilshop.example".into()), false),
        (&own, Some("https://www.shop.example".into()), false),
        (&own, Some("https://shop.example.".into()), true),
        (&own, Some("https://xn--shp-sna.example".into()), false),
        (&own, Some("null".into()), false),
        (&own, Some(String::new()), false),
        ("[::1]:7", Some("http://[::2]:7".into()), false),
    ] {
        let origin = origin
            .map(|origin| format!("Origin: {origin}\r\n"))
            .unwrap_or_default();
        let fields = format!("Host: {host}\r\n{origin}Connection: close\r\n");

        for request in [
            format!("GET /ws?id=page HTTP/1.1\r\n{fields}\r\n"),
            format!("GET /api/v1/rooms/lobby/messages HTTP/1.1\r\n{fields}\r\n"),
            format!("GET /r/lobby HTTP/1.1\r\n{fields}\r\n"),
            format!(
                "POST /r/lobby HTTP/1.1\r\n{fields}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n\r\n"
            ),
        ] {
            let refused = answer(server.address, &request).await;
            let is_refused =
                refused.starts_with("HTTP/1.1 403 ") && refused.contains("origin_not_allowed");
            assert_eq!(is_refused, !passes, "{request}{refused}");
        }
    }
}

#[tokio::test]
async fn a_socket_is_opened_only_for_allowed_origins() {
    let server = Server::start(&["--allow-origin", "null"]);
    let own = format!("http://{}", server.address);

    for origin in [own.as_str(), "null"] {
        assert!(
            server
                .try_join("id=page", &[("origin", origin)])
                .await
                .is_ok(),
            "{origin}"
        );
    }

    let evil = ("origin", "https://evil.example");

    for headers in [
        &[evil][..],
        &[("origin", own.as_str()), evil],
        &[evil, ("origin", own.as_str())],
    ] {
        let refused = server
            .try_join("id=page", headers)
            .await
            .expect_err("a refusal");
        assert_eq!(refused.status, 403, "{refused:?}");
        assert!(refused.body.contains("origin_not_allowed"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_qr_code_is_drawn_only_for_pages_of_allowed_origins() {
    let server = Server::start(&["--allow-origin", "https://shop.example"]);
    let own = server.address;
    let long = format!("http://{own}/r/{}", "x".repeat(3000));

    for (url, status) in [
        (&*format!("http://{own}/r/lobby"), StatusCode::OK),
        ("https://shop.example/chat/r/lobby", StatusCode::OK),
        ("https://evil.example/r/lobby", StatusCode::FORBIDDEN),
        ("/r/lobby", StatusCode::BAD_REQUEST),
        (&long, StatusCode::BAD_REQUEST),
    ] {
        let response = reqwest::get(format!("http://{own}/qr.svg?url={url}"))
            .await
            .expect("an answer");

        assert_eq!(response.status(), status, "{url}");
        let is_image = response.headers()["content-type"] == "image/svg+xml";
        assert_eq!(is_image, status == StatusCode::OK, "{url}");
    }
}

#[tokio::test]
async fn any_origin_may_be_allowed() {
    let server = Server::start(&["--allow-origin", "any"]);
    assert!(
        server
            .try_join("id=page", &[("origin", "https://evil.example")])
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn cross_site_subresources_are_refused_and_navigation_is_not() {
    let server = Server::start(&[]);

    for (site, mode, passes) in [
        ("cross-site", "no-cors", false),
        ("same-site", "no-cors", false),
        ("cross-site", "navigate", true),
        ("same-origin", "no-cors", true),
        ("none", "navigate", true),
    ] {
        for path in [
            "/",
            "/favicon.svg",
            "/api/v1/rooms/lobby/messages",
            "/api/v1/rooms/lobby/stream",
        ] {
            let request = Client::new().request(Method::GET, server.url(path));
            let request = request
                .header("sec-fetch-site", site)
                .header("sec-fetch-mode", mode);

            let status = soon(request.send()).await.expect("an answer").status();
            assert_eq!(
                status == StatusCode::FORBIDDEN,
                !passes,
                "{site} {mode} {path}"
            );
        }
    }
}

#[tokio::test]
async fn the_ops_listener_refuses_foreign_origins() {
    let server = Server::start(&["--allow-origin", "any"]);

    for (origin, passes) in [
        (format!("http://{}", server.ops), true),
        ("https://evil.example".to_owned(), false),
    ] {
        let request = Client::new()
            .get(format!("http://{}/metrics", server.ops))
            .header("origin", &origin);
        let status = soon(request.send()).await.expect("an answer").status();
        assert_eq!(status == StatusCode::FORBIDDEN, !passes, "{origin}");
    }
}
