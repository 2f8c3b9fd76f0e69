//! What passes over a connection, as an operator sees it.

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use super::{call, listed};
use crate::harness::{Server, soon};
use crate::typed::{find, join, say};

/// Begins to trace the connection `number`.
async fn trace(server: &Server, number: &Value) -> Response {
    let url = format!(
        "http://{}/api/v1/admin/connections/{number}/trace",
        server.ops
    );
    soon(Client::new().get(url).send())
        .await
        .expect("an answer")
}

/// The next event of this kind; nothing at the end.
async fn event(traced: &mut (Response, Vec<u8>), kind: &str) -> Option<Value> {
    let (response, buffer) = traced;
    loop {
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let event: Value = serde_json::from_slice(&line).expect("JSON");
            assert!(
                event["at"].as_u64().is_some() && !event.to_string().contains("a secret"),
                "{event}"
            );
            if event["event"] == kind {
                return Some(event);
            }
        }
        buffer.extend_from_slice(&soon(response.chunk()).await.expect("bytes")?);
    }
}

#[tokio::test]
async fn a_trace_tells_what_passes_in_sizes_and_kinds_until_the_connection_ends() {
    let server = Server::start(&[]);
    let (mut ann, welcome) = join(&server, "id=ann").await;
    listed(&server, 1).await;
    let mut traced = (trace(&server, &welcome["connection"]).await, Vec::new());
    assert_eq!(traced.0.headers()["content-type"], "application/x-ndjson");
    say(&mut ann, "a secret", Some("k")).await;
    let frame = event(&mut traced, "frame").await.expect("it goes on");
    assert_eq!(
        (&frame["kind"], &frame["led_to"]),
        (&json!("text"), &json!("publish")),
        "{frame}"
    );
    let written = event(&mut traced, "write").await.expect("it goes on");
    assert!(
        written["bytes"].as_u64().is_some_and(|bytes| bytes > 20),
        "{written}"
    );
    find(&mut ann, "message").await;
    ann.send(json!({ "type": "nonsense" }).to_string()).await;
    assert_eq!(
        event(&mut traced, "frame").await.expect("it goes on")["led_to"],
        "answer"
    );
    let path = format!("connections/{}/kick", welcome["connection"]);
    assert_eq!(call(&server, Method::POST, &path, json!({})).await.0, 200);
    assert_eq!(
        event(&mut traced, "no more").await,
        None,
        "the end of the connection is the end of its trace"
    );
    let gone = trace(&server, &welcome["connection"]).await;
    assert_eq!(gone.status().as_u16(), 404);
    let log = server.log().await;
    assert!(log.contains("traces a connection"), "{log}");
}

#[tokio::test]
async fn whoever_looks_away_leaves_the_connection_as_it_was() {
    let server = Server::start(&[]);
    let (mut ann, welcome) = join(&server, "id=ann").await;
    listed(&server, 1).await;
    for _look in 0..3 {
        let mut traced = (trace(&server, &welcome["connection"]).await, Vec::new());
        say(&mut ann, "x", None).await;
        event(&mut traced, "write").await.expect("it goes on");
        find(&mut ann, "message").await;
    }
    say(&mut ann, "x", None).await;
    find(&mut ann, "message").await;
}
