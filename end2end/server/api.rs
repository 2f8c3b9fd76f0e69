//! What the HTTP API refuses and how it says so, and health.

use reqwest::{Client, StatusCode};

use crate::harness::{Server, soon};

#[tokio::test]
async fn errors_are_json_with_a_code_and_say_what_is_allowed() {
    let server = Server::start(&["--max-message", "1KiB"]);
    let client = Client::new();
    let post = |room: &str, kind: &str, body: Vec<u8>| {
        client
            .post(server.url(&format!("/api/v1/rooms/{room}/messages")))
            .header("content-type", kind)
            .body(body)
    };
    for (request, status, code) in [
        (post("Lobby", "text/plain", b"x".to_vec()), 400, "bad_name"),
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
        (client.get(server.url("/r/UPPER")), 400, "bad_name"),
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
async fn the_ops_listener_says_that_the_process_is_healthy() {
    let server = Server::start(&[]);
    let response = soon(reqwest::get(format!("http://{}/healthz", server.ops)))
        .await
        .expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
}
