//! Clients of the HTTP API on reqwest. Server-sent events are parsed by an independent library.

use std::pin::Pin;

use eventsource_stream::{Event, EventStreamError, Eventsource};
use futures::{Stream, StreamExt};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;

use crate::eventually::soon;
use crate::harness::Server;

/// Sends `request`; returns the status and the JSON body.
pub(crate) async fn fetch(request: RequestBuilder) -> (u16, Value) {
    let response = soon(request.send()).await.expect("an answer");
    let status = response.status().as_u16();
    (status, soon(response.json()).await.expect("JSON"))
}

/// Returns the JSON at `path`, which must exist.
pub(crate) async fn get(server: &Server, path: &str) -> Value {
    let (status, answer) = fetch(Client::new().get(server.url(path))).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Publishes `text` in `room`; returns the JSON body of the response.
pub(crate) async fn publish(server: &Server, room: &str, text: &str) -> Value {
    let url = server.url(&format!("/api/v1/rooms/{room}/messages"));
    let (status, answer) = fetch(Client::new().post(url).body(text.to_owned())).await;
    assert_eq!(status, 201, "{answer}");
    answer
}

/// Opens a stream of `room` with `headers`.
pub(crate) async fn follow(
    server: &Server,
    room: &str,
    query: &str,
    headers: &[(&str, &str)],
) -> Response {
    let mut request =
        Client::new().get(server.url(&format!("/api/v1/rooms/{room}/stream?{query}")));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }

    soon(request.send()).await.expect("an answer")
}

type Read = Result<Event, EventStreamError<reqwest::Error>>;

/// A reader of server-sent events.
pub(crate) struct Events {
    events: Pin<Box<dyn Stream<Item = Read> + Send>>,
    /// The id of the last event, which an `EventSource` sends when it reconnects.
    pub(crate) seen: String,
}

impl Events {
    /// Opens a stream of the lobby with `query`.
    pub(crate) async fn open(server: &Server, query: &str) -> Self {
        Self::of(follow(server, "lobby", query, &[]).await)
    }

    /// Drops the connection and reconnects with the last event id.
    pub(crate) async fn reconnect(self, server: &Server) -> Self {
        let seen = self.seen.clone();
        drop(self);
        Self::of(follow(server, "lobby", "", &[("last-event-id", &seen)]).await)
    }

    /// Reads the events of `response`.
    pub(crate) fn of(response: Response) -> Self {
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");

        let seen = response.headers()["last-event-id"]
            .to_str()
            .expect("text")
            .to_owned();
        Self {
            events: Box::pin(response.bytes_stream().eventsource()),
            seen,
        }
    }

    /// Returns the next event, or `None` at the end of the stream.
    pub(crate) async fn event(&mut self) -> Option<Event> {
        let event = soon(self.events.next()).await?.expect("an event");
        self.seen.clone_from(&event.id);
        Some(event)
    }

    /// Returns the data of the next event, whose type must be `kind`.
    pub(crate) async fn next(&mut self, kind: &str) -> Value {
        let event = self.event().await.expect("the stream goes on");
        assert_eq!(event.event, kind, "{}", event.data);
        serde_json::from_str(&event.data).expect("JSON")
    }
}

/// A reader of a stream of JSON lines.
pub(crate) struct Lines {
    response: Response,
    buffer: Vec<u8>,
}

impl Lines {
    /// Opens a stream of the lobby with `query`.
    pub(crate) async fn open(server: &Server, query: &str) -> Self {
        let accept = [("accept", "application/x-ndjson")];
        Self::of(follow(server, "lobby", query, &accept).await)
    }

    /// Reads the lines of `response`.
    pub(crate) fn of(response: Response) -> Self {
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");

        Self {
            response,
            buffer: Vec::new(),
        }
    }

    /// Returns the next line without its end, or `None` at the end of the stream.
    pub(crate) async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(String::from_utf8(line[..end].to_vec()).expect("text"));
            }

            let chunk = soon(self.response.chunk()).await.expect("bytes")?;
            self.buffer.extend_from_slice(&chunk);
        }
    }

    /// Returns the next object.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            let line = self.line().await.expect("the stream goes on");
            if !line.is_empty() {
                return serde_json::from_str(&line).expect("JSON");
            }
        }
    }
}
