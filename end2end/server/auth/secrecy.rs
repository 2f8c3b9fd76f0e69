//! That no token shows where others could read it: in no answer, and in nothing that the server logs.

use reqwest::{Client, Method, RequestBuilder};
use serde_json::json;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{Guarded, SECRET, token, unix_seconds};
use crate::client::ask;
use crate::harness::soon;
use crate::typed::join;

/// Head and body of an answer as text.
async fn whole(request: RequestBuilder) -> String {
    let response = soon(request.send()).await.expect("an answer");
    let head = format!("{response:?}");
    // What asked is no part of the answer, but the client prints it.
    let head = head.replacen(response.url().as_str(), "", 1).replacen(
        response.url().query().unwrap_or("-"),
        "",
        1,
    );
    head + &soon(response.text()).await.expect("text")
}

#[tokio::test]
async fn no_token_is_repeated_in_an_answer_or_in_the_log() {
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
            "LOBBY/messages",
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
    // Frames with tokens, good and bad.
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
        ask(guarded.call(Method::GET, "lobby/messages", &good))
            .await
            .0,
        200
    );
    let log = guarded.server.log().await;
    assert!(log.contains("connected"), "there is a log: {log}");
    for token in tokens {
        let signature = token.rsplit('.').next().expect("a part");
        assert!(!log.contains(signature) && !log.contains(SECRET), "{log}");
        for answer in &answers {
            assert!(!answer.contains(signature), "{answer}");
        }
    }
}
