//! Errors of the HTTP API and their pages for browsers, and `/healthz`.

use reqwest::{Client, Method, StatusCode};
use serde_json::json;

use crate::client::{fetch, get};
use crate::eventually::soon;
use crate::harness::Server;
use crate::raw::answer;

#[tokio::test]
async fn errors_are_json_with_a_code_and_a_message() {
    let server = Server::start(&["--max-message", "1KiB"]);

    let client = Client::new();
    let post = |room: &str, kind: &str, body: Vec<u8>| {
        client
            .post(server.url(&format!("/api/v1/rooms/{room}/messages")))
            .header("content-type", kind)
            .body(body)
    };

    for (request, status, code) in [
        (post("a%20b", "text/plain", b"x".to_vec()), 400, "bad_name"),
        (
            post("lobby", "image/png", b"x".to_vec()),
            415,
            "unsupported_media_type",
        ),
        (post("lobby", "text/plain", vec![0xFF]), 422, "bad_body"),
        (
            post("lobby", "application/json", b"{}".to_vec()),
            422,
            "bad_body",
        ),
        (
            post(
                "lobby",
                "application/json",
                b"{\"text\":\"x\",\"to\":1}".to_vec(),
            ),
            422,
            "bad_body",
        ),
        (
            post("lobby", "text/plain", vec![b'x'; 1025]),
            413,
            "too_big",
        ),
        (client.get(server.url("/nowhere")), 404, "not_found"),
        (client.post(server.url("/ws")), 405, "method_not_allowed"),
        (client.get(server.url("/ws")), 426, "upgrade_required"),
        (client.get(server.url("/r/a//b")), 400, "bad_name"),
    ] {
        let response = soon(request.send()).await.expect("an answer");
        assert_eq!(response.status().as_u16(), status, "{code}");

        let answer: serde_json::Value = soon(response.json()).await.expect("JSON");
        assert_eq!(answer["error"]["code"], code);
        assert!(
            !answer["error"]["message"]
                .as_str()
                .unwrap_or_default()
                .is_empty()
        );
    }
}

#[tokio::test]
async fn healthz_is_200_on_the_ops_listener() {
    let server = Server::start(&[]);

    let response = soon(reqwest::get(format!("http://{}/healthz", server.ops)))
        .await
        .expect("an answer");

    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_body_that_is_compressed_or_not_in_utf_8_is_refused_with_415_and_not_stored() {
    let server = Server::start(&[]);

    let rooms = server.url("/api/v1/rooms/lobby/messages");
    let form = server.url("/r/lobby");
    let bans = format!("http://{}/api/v1/admin/bans", server.ops);
    let admin_form = format!("http://{}/admin", server.ops);

    let text = "text/plain";
    let json = "application/json";
    let urlencoded = "application/x-www-form-urlencoded";

    for (url, kind) in [
        (&rooms, text),
        (&rooms, json),
        (&rooms, "application/x-ndjson"),
        (&form, urlencoded),
        (&bans, json),
        (&admin_form, urlencoded),
    ] {
        for (coding, charset) in [
            ("gzip", "utf-8"),
            ("br", "utf-8"),
            ("identity, deflate", "utf-8"),
            ("identity", "utf-16"),
            ("identity", "\"iso-8859-1\""),
        ] {
            let request = Client::new()
                .post(url)
                .header("content-type", format!("{kind}; charset={charset}"))
                .header("content-encoding", coding)
                .body("{\"text\":\"x\",\"id\":\"x\"}");

            let response = soon(request.send()).await.expect("an answer");
            assert_eq!(
                response.status().as_u16(),
                415,
                "{url} {kind} {coding} {charset}"
            );

            let accepted = response.headers().get("accept-encoding").cloned();
            let is_coding = charset == "utf-8";
            assert_eq!(
                accepted.is_some_and(|accepted| accepted == "identity"),
                is_coding
            );

            let body: serde_json::Value = soon(response.json()).await.expect("JSON");
            assert_eq!(body["error"]["code"], "unsupported_media_type");
        }
    }

    let messages = get(&server, "/api/v1/rooms/lobby/messages").await["messages"].clone();
    assert_eq!(messages, json!([]));

    let plain = Client::new()
        .post(&rooms)
        .header("content-type", "text/plain; charset=UTF-8")
        .header("content-encoding", "identity")
        .body("stored");
    assert_eq!(soon(plain.send()).await.expect("an answer").status(), 201);
}

#[tokio::test]
async fn a_transfer_coding_other_than_chunked_is_refused_with_501() {
    let server = Server::start(&[]);
    let request = format!(
        "POST /api/v1/rooms/lobby/messages HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
         Transfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        server.address
    );

    let refused = answer(server.address, &request).await;
    assert!(refused.starts_with("HTTP/1.1 501 "), "{refused}");
    assert!(refused.contains("unsupported_transfer_coding"), "{refused}");
}

#[tokio::test]
async fn a_426_names_the_upgrade_in_connection_and_upgrade() {
    let server = Server::start(&[]);

    for connection in ["keep-alive", "close"] {
        let request = Client::new()
            .get(server.url("/ws"))
            .header("connection", connection);
        let response = soon(request.send()).await.expect("an answer");
        assert_eq!(response.status().as_u16(), 426);
        assert_eq!(response.headers()["upgrade"], "websocket");
        assert_eq!(response.headers()["sec-websocket-version"], "13");

        let named: Vec<String> = response
            .headers()
            .get_all("connection")
            .iter()
            .flat_map(|value| value.to_str().expect("text").split(','))
            .map(|option| option.trim().to_ascii_lowercase())
            .collect();
        assert!(named.contains(&"upgrade".to_owned()), "{named:?}");
        assert_eq!(named.contains(&"close".to_owned()), connection == "close");
    }
}

#[tokio::test]
async fn a_405_names_the_allowed_methods() {
    let server = Server::start(&[]);

    for (path, allowed) in [
        ("/", "GET,HEAD"),
        ("/ws", "GET,HEAD"),
        ("/api/v1/rooms/lobby/messages", "POST,GET,HEAD"),
    ] {
        let response = soon(Client::new().put(server.url(path)).send())
            .await
            .expect("an answer");
        assert_eq!(response.status().as_u16(), 405, "{path}");

        let mut found: Vec<_> = response.headers()["allow"]
            .to_str()
            .expect("text")
            .split(',')
            .collect();
        let mut allowed: Vec<_> = allowed.split(',').collect();
        found.sort_unstable();
        allowed.sort_unstable();

        assert_eq!(found, allowed, "{path}");

        let body: serde_json::Value = soon(response.json()).await.expect("JSON");
        assert_eq!(body["error"]["code"], "method_not_allowed");
    }
}

#[tokio::test]
async fn a_path_that_does_not_exist_is_404_for_every_method() {
    let server = Server::start(&[]);
    let client = Client::new();
    let ops = format!("http://{}/nowhere", server.ops);

    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "SEARCH"] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        for url in [
            server.url("/nowhere"),
            server.url("/api/v1/nowhere"),
            server.url("/pkg/none/fanfare.js"),
            ops.clone(),
        ] {
            let request = client.request(method.clone(), &url).body("x");
            let (status, answer) = fetch(request).await;
            assert_eq!(status, 404, "{method} {url}");
            assert_eq!(answer["error"]["code"], "not_found", "{method} {url}");
        }

        let of_browser = client.request(method.clone(), server.url("/nowhere"));
        let page = soon(of_browser.header("accept", BROWSER).send()).await;
        let page = page.expect("an answer");
        assert_eq!(page.status(), StatusCode::NOT_FOUND, "{method}");
        let kind = page.headers()["content-type"].to_str().expect("text");
        assert!(kind.starts_with("text/html"), "{method}: {kind}");
    }
}

/// The `Accept` header of Chromium for a navigation.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";

#[tokio::test]
async fn a_wrong_address_is_a_page_in_the_browsers_language_and_json_for_programs() {
    let server = Server::start(&[]);

    for (path, status, code, words, link) in [
        (
            "/r/My%20Team",
            400,
            "bad_name",
            ["“My Team” is not", "“My Team”不能"],
            "\"/r/My-Team\"",
        ),
        (
            "/r/%E4%B8%AD%E6%96%87",
            400,
            "bad_name",
            ["A-Z a-z 0-9 - _ . : @ ~", "“中文”不能"],
            "\"/\"",
        ),
        (
            "/r/lobby/",
            400,
            "bad_name",
            ["“lobby/” is not", "“lobby/”不能"],
            "\"/r/lobby\"",
        ),
        (
            "/r/",
            404,
            "not_found",
            ["A-Z a-z 0-9 - _ . : @ ~", "A-Z a-z 0-9 - _ . : @ ~"],
            "\"/\"",
        ),
        (
            "/?room=a+b",
            400,
            "bad_name",
            ["“a b” is not", "“a b”不能"],
            "\"/r/a-b\"",
        ),
        (
            "/nowhere",
            404,
            "not_found",
            ["does not exist", "页面不存在"],
            "\"/\"",
        ),
    ] {
        for (language, words) in [("en", words[0]), ("zh-CN", words[1])] {
            let request = Client::new()
                .get(server.url(path))
                .header("accept", BROWSER)
                .header("accept-language", language);
            let response = soon(request.send()).await.expect("an answer");
            assert_eq!(response.status().as_u16(), status, "{path}");

            let headers = response.headers().clone();
            assert_eq!(headers["content-type"], "text/html; charset=utf-8");
            assert_eq!(headers["cache-control"], "no-store");

            let policy = headers["content-security-policy"].to_str().expect("text");
            assert!(policy.contains("script-src 'self'"), "{policy}");

            let page = soon(response.text()).await.expect("text");
            assert!(
                page.contains(&format!("<html lang=\"{language}\"")),
                "{page}"
            );
            assert!(page.contains(words), "{path}: {page}");
            assert!(page.contains(link), "{path}: {page}");
        }

        for accept in [
            "*/*",
            "application/json",
            "application/json, text/html;q=0.5",
        ] {
            let request = Client::new().get(server.url(path)).header("accept", accept);
            let response = soon(request.send()).await.expect("an answer");
            let body: serde_json::Value = soon(response.json()).await.expect("JSON");
            assert_eq!(body["error"]["code"], code, "{path} {accept}");
        }
    }
}

#[tokio::test]
async fn an_error_page_shows_the_requested_address_as_text() {
    let server = Server::start(&[]);

    let address = server.url("/r/%3Cscript%3Ealert(1)%3C%2Fscript%3E");
    let request = Client::new().get(address).header("accept", BROWSER);

    let page = soon(soon(request.send()).await.expect("an answer").text())
        .await
        .expect("text");
    assert!(!page.contains("<script>"), "{page}");
    assert!(page.contains("&lt;script&gt;"), "{page}");
}

#[tokio::test]
async fn browsers_get_an_error_page_except_at_addresses_for_programs() {
    let server = Server::start(&[]);

    for (method, path, header, status, is_page) in [
        (Method::GET, "/", ("host", "evil.example"), 421, true),
        (
            Method::POST,
            "/r/lobby",
            ("origin", "https://evil.example"),
            403,
            true,
        ),
        (Method::PUT, "/r/lobby", ("x-none", ""), 405, true),
        (Method::GET, "/?room=a&room=b", ("x-none", ""), 400, true),
        (
            Method::GET,
            "/api/v1/rooms/a%20b/messages",
            ("x-none", ""),
            400,
            false,
        ),
        (Method::GET, "/ws", ("x-none", ""), 426, false),
    ] {
        let request = Client::new()
            .request(method.clone(), server.url(path))
            .header("accept", BROWSER)
            .header(header.0, header.1);
        let response = soon(request.send()).await.expect("an answer");
        assert_eq!(response.status().as_u16(), status, "{method} {path}");

        let kind = response.headers()["content-type"].to_str().expect("text");
        assert_eq!(
            kind.starts_with("text/html"),
            is_page,
            "{method} {path}: {kind}"
        );
    }
}
