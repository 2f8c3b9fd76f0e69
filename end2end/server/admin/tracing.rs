//! Traces of a connection.

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use super::{call, listed};
use crate::eventually::soon;
use crate::harness::Server;
use crate::typed::{find, join, say};

/// The events of a trace.
struct Trace {
    response: Response,
    buffer: Vec<u8>,
}

impl Trace {
    /// Starts to trace the connection `number`.
    async fn start(server: &Server, number: &Value) -> Self {
        let url = format!(
            "http://{}/api/v1/admin/connections/{number}/trace",
            server.ops
        );
        let response = soon(Client::new().get(url).send()).await;

        Self {
            response: response.expect("an answer"),
            buffer: Vec::new(),
        }
    }

    /// Returns the next event of this kind; `None` at the end. No event has content.
    async fn next(&mut self, kind: &str) -> Option<Value> {
        loop {
            while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let event: Value = serde_json::from_slice(&line).expect("JSON");

                assert!(event["at"].as_u64().is_some(), "{event}");
                assert!(!event.to_string().contains("a secret"), "{event}");
                if event["event"] == kind {
                    return Some(event);
                }
            }
            let chunk = soon(self.response.chunk()).await.expect("bytes")?;
            self.buffer.extend_from_slice(&chunk);
        }
    }
}

#[tokio::test]
async fn a_trace_has_the_kinds_and_sizes_of_frames_until_the_connection_ends() {
    let server = Server::start(&[]);
    let (mut ann, welcome) = join(&server, "id=ann").await;
    listed(&server, 1).await;
    let mut trace = Trace::start(&server, &welcome["connection"]).await;
    let content_type = &trace.response.headers()["content-type"];
    assert_eq!(content_type, "application/x-ndjson");

    say(&mut ann, "a secret", Some("k")).await;
    let frame = trace.next("frame").await.expect("an event");
    assert_eq!(frame["kind"], "text", "{frame}");
    assert_eq!(frame["led_to"], "publish", "{frame}");
    let write = trace.next("write").await.expect("an event");
    assert!(write["bytes"].as_u64() > Some(20), "{write}");

    find(&mut ann, "message").await;
    ann.send(json!({ "type": "nonsense" }).to_string()).await;
    let frame = trace.next("frame").await.expect("an event");
    assert_eq!(frame["led_to"], "answer");

    let path = format!("connections/{}/kick", welcome["connection"]);
    assert_eq!(call(&server, Method::POST, &path, json!({})).await.0, 200);
    assert_eq!(trace.next("no more").await, None);

    let again = Trace::start(&server, &welcome["connection"]).await;
    assert_eq!(again.response.status().as_u16(), 404);

    let log = server.log().await;
    assert!(log.contains("traces a connection"), "{log}");
}

#[tokio::test]
async fn a_connection_goes_on_after_its_traces_are_stopped() {
    let server = Server::start(&[]);
    let (mut ann, welcome) = join(&server, "id=ann").await;
    listed(&server, 1).await;

    for _ in 0..3 {
        let mut trace = Trace::start(&server, &welcome["connection"]).await;
        say(&mut ann, "x", None).await;
        trace.next("write").await.expect("an event");
        find(&mut ann, "message").await;
    }

    say(&mut ann, "x", None).await;
    find(&mut ann, "message").await;
}
