//! Tokens never appear in a response or in the log.

use reqwest::{Client, Method, RequestBuilder};
use serde_json::json;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{Guarded, SECRET, token, unix_seconds};
use crate::client::fetch;
use crate::eventually::soon;
use crate::typed::join;

/// Sends `request`; returns the head and the body of the response as text.
async fn whole(request: RequestBuilder) -> String {
    let response = soon(request.send()).await.expect("an answer");
    let head = format!("{response:?}");

    // The client prints the URL of the request with the response.
    let head = head.replacen(response.url().as_str(), "", 1).replacen(
        response.url().query().unwrap_or("-"),
        "",
        1,
    );
    head + &soon(response.text()).await.expect("text")
}

#[tokio::test]
async fn no_token_appears_in_a_response_or_in_the_log() {
    let guarded = Guarded::start(&["--log-level", "debug"]);
    let good = token("ann", json!({"lobby": "rw"}));
    let foreign = super::sign(&json!({"sub": "ann", "exp": unix_seconds() - 3600}));
    let broken = format!("{good}x");

    let tokens = [&good, &foreign, &broken];
    let mut answers = Vec::new();

    for token in tokens {
        for path in [
            "lobby/messages",
            "lobby/messages?limit=x",
            "lobby/messages?after=x",
            "other/messages",
            "a%20b/messages",
            "lobby/presence",
            "lobby/nothing",
            "lobby/stream?id=bob",
        ] {
            let joint = if path.contains('?') { '&' } else { '?' };
            answers.push(whole(guarded.call(Method::GET, path, token)).await);
            answers.push(
                whole(guarded.call(Method::GET, &format!("{path}{joint}token={token}"), "")).await,
            );
            answers.push(
                whole(guarded.call(Method::GET, &format!("{path}{joint}token={token}"), token))
                    .await,
            );
        }

        for body in [
            json!({"text": "x", "token": token}),
            json!({"text": "x", "from": "bob"}),
            json!(7),
        ] {
            answers.push(
                whole(
                    guarded
                        .call(Method::POST, "lobby/messages", token)
                        .json(&body),
                )
                .await,
            );
        }

        for path in [
            "/",
            "/r/lobby",
            "/nothing",
            "/ws",
            "/api/v1/openapi.json",
            "/api/v1/admin/rooms",
        ] {
            let url = guarded
                .server
                .url(&format!("{path}?token={token}&room=lobby"));
            let client = Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .expect("a client");
            answers.push(whole(client.get(url)).await);
        }

        for protocols in [
            format!("fanfare.v1, bearer.{token}"),
            format!("bearer.{token}, fanfare.v1"),
        ] {
            let mut request = guarded
                .server
                .socket_url("id=bob")
                .into_client_request()
                .expect("an address");
            request.headers_mut().insert(
                "sec-websocket-protocol",
                protocols.parse().expect("a value"),
            );
            let (_, response) = soon(tokio_tungstenite::connect_async(request))
                .await
                .expect("opened");
            answers.push(format!("{response:?}"));
        }
    }

    // Frames with valid and invalid tokens.
    let (mut ann, _) = join(&guarded.server, &format!("token={good}")).await;

    for token in tokens {
        for frame in [
            json!({"type": "token", "token": token}),
            json!({"type": "token", "token": [token]}),
        ] {
            ann.send(frame.to_string()).await;
            answers.push(ann.json().await.to_string());
        }
    }

    assert_eq!(
        fetch(guarded.call(Method::GET, "lobby/messages", &good))
            .await
            .0,
        200
    );

    let log = guarded.server.log().await;
    assert!(log.contains("connected"), "there is a log: {log}");

    for token in tokens {
        let signature = token.rsplit('.').next().expect("a part");
        assert!(!log.contains(signature), "{log}");
        assert!(!log.contains(SECRET), "{log}");
        for answer in &answers {
            assert!(!answer.contains(signature), "{answer}");
        }
    }
}
