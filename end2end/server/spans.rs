//! Spans, as a collector receives them. The collector is in the test and parses the protobuf messages of OpenTelemetry.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use futures::future::join_all;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::client::publish;
use crate::eventually::{eventually, soon};
use crate::harness::{Server, program};
use crate::metrics::figure;

/// The trace and the span of a caller (W3C Trace Context, the example of section 3.2).
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Returns the header of the caller.
fn traceparent(is_sampled: bool) -> String {
    format!("00-{TRACE}-{PARENT}-0{}", u8::from(is_sampled))
}

/// A collector; it forwards each span with the name of its service to the test.
struct OtlpReceiver {
    address: String,
    spans: UnboundedReceiver<(String, Span)>,
}

impl OtlpReceiver {
    async fn start() -> Self {
        let (sender, spans) = unbounded_channel();
        let take = async move |body: Bytes| {
            let request =
                ExportTraceServiceRequest::decode(body).expect("a request as OTLP has it");

            for resource in request.resource_spans {
                let service = text(
                    &resource.resource.expect("a resource").attributes,
                    "service.name",
                );

                for span in resource
                    .scope_spans
                    .into_iter()
                    .flat_map(|scope| scope.spans)
                {
                    // The send fails if the test is over.
                    let _ = sender.send((service.clone(), span));
                }
            }
        };

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));

        tokio::spawn(
            axum::serve(listener, Router::new().route("/v1/traces", post(take))).into_future(),
        );
        Self { address, spans }
    }

    /// Returns the next span called `name`; others are skipped.
    async fn next(&mut self, name: &str) -> Span {
        soon(async {
            loop {
                let (service, span) = self.spans.recv().await.expect("it listens");
                assert_eq!(service, "fanfare");
                if span.name == name {
                    return span;
                }
            }
        })
        .await
    }

    /// Stops the server and returns all spans that it exports until its end.
    async fn rest(mut self, server: Server) -> Vec<Span> {
        server.signal("TERM");
        let (status, log) = server.end().await;
        assert_eq!(status.code(), Some(0), "{log}");
        std::iter::from_fn(|| self.spans.try_recv().ok())
            .map(|(_, span)| span)
            .collect()
    }
}

fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes
        .iter()
        .find(|attribute| attribute.key == key)?
        .value
        .as_ref()?
        .value
        .as_ref()
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    match attribute(attributes, key) {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("{key} is {other:?}"),
    }
}

fn number(span: &Span, key: &str) -> i64 {
    match attribute(&span.attributes, key) {
        Some(Value::IntValue(number)) => *number,
        other => panic!("{key} is {other:?}"),
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the span called `name`.
fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    spans
        .iter()
        .find(|span| span.name == name)
        .unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}

/// Publishes `text` in the lobby with this `traceparent`; returns the status.
async fn publish_traced(server: &Server, text: &'static str, traceparent: String) -> u16 {
    let request = reqwest::Client::new().post(server.url("/api/v1/rooms/lobby/messages"));
    let request = request.header("traceparent", traceparent).body(text);
    soon(request.send())
        .await
        .expect("an answer")
        .status()
        .as_u16()
}

/// Waits until at least `least` spans are counted with `result`.
async fn until_counted(server: &Server, result: &str, least: u64) {
    let series = format!("fanfare_spans_total{{result=\"{result}\"}}");
    let probe = async || figure(server, &series).await;
    eventually(probe, |count| *count >= least).await;
}

#[tokio::test]
async fn a_publish_is_a_span_in_the_trace_of_its_caller_and_links_to_its_commit() {
    let collector = OtlpReceiver::start().await;

    let server = Server::start(&["--otlp-endpoint", &collector.address]);
    assert_eq!(
        publish_traced(&server, "hello", traceparent(true)).await,
        201
    );

    let spans = collector.rest(server).await;
    let request = named(&spans, "POST /api/v1/rooms/{room}/messages");
    assert_eq!(hex(&request.trace_id), TRACE.to_owned());
    assert_eq!(hex(&request.parent_span_id), PARENT.to_owned());
    assert_eq!(request.kind(), SpanKind::Server);
    assert_eq!(number(request, "http.response.status_code"), 201);
    assert_eq!(text(&request.attributes, "http.request.method"), "POST");
    assert_eq!(
        text(&request.attributes, "http.route"),
        "/api/v1/rooms/{room}/messages"
    );
    assert_eq!(
        text(&request.attributes, "url.path"),
        "/api/v1/rooms/lobby/messages"
    );
    assert_eq!(text(&request.attributes, "client.address"), "127.0.0.1");

    let publish = named(&spans, "publish");
    assert_eq!(publish.trace_id, request.trace_id);
    assert_eq!(publish.parent_span_id, request.span_id);
    assert_eq!(
        text(&publish.attributes, "messaging.destination.name"),
        "lobby"
    );
    assert_eq!(number(publish, "fanfare.offset"), 1);

    let commit = named(&spans, "commit");
    assert_eq!(number(commit, "db.operation.batch.size"), 1);

    let links: Vec<_> = publish
        .links
        .iter()
        .map(|link| (&link.trace_id, &link.span_id))
        .collect();
    assert_eq!(links, [(&commit.trace_id, &commit.span_id)]);

    for span in [request, publish, commit] {
        assert!(
            span.start_time_unix_nano <= span.end_time_unix_nano,
            "{span:?}"
        );
    }

    // The commit ends before the publish.
    assert!(publish.start_time_unix_nano <= commit.end_time_unix_nano);
    assert!(commit.end_time_unix_nano <= publish.end_time_unix_nano);
}

#[tokio::test]
async fn a_websocket_has_spans_without_ids_or_messages() {
    let mut collector = OtlpReceiver::start().await;
    let server = Server::start(&["--otlp-endpoint", &collector.address]);
    let mut ann = server.join("ann-of-cleves").await;

    ann.send("green sleeves").await;
    assert_eq!(ann.text().await, "green sleeves");

    let publish = collector.next("publish").await;
    assert_eq!(publish.parent_span_id.len(), 0);
    assert_eq!(number(&publish, "fanfare.offset"), 1);

    // Spans are counted after the response of the collector.
    until_counted(&server, "exported", 1).await;
    assert_eq!(
        figure(&server, "fanfare_spans_total{result=\"refused\"}").await,
        0
    );

    ann.leave().await;
    let life = collector.next("connection").await;
    assert_eq!(text(&life.attributes, "fanfare.end"), "client");
    assert_eq!(text(&life.attributes, "network.protocol.name"), "websocket");
    assert_eq!(number(&life, "fanfare.connection"), 1);
    assert!(life.start_time_unix_nano < publish.end_time_unix_nano);

    let mut bob = server.join("bob").await;

    let rest = soon(async {
        let rest = collector.rest(server).await;
        assert_eq!(bob.close_code().await, 1001);
        rest
    });
    let rest = rest.await;
    assert_eq!(
        number(named(&rest, "GET /ws"), "http.response.status_code"),
        101
    );
    assert_eq!(
        text(&named(&rest, "connection").attributes, "fanfare.end"),
        "1001"
    );

    for span in rest.iter().chain([&publish, &life]) {
        let all = format!("{span:?}");
        assert!(
            !["ann-of-cleves", "green sleeves", "id=bob"]
                .iter()
                .any(|word| all.contains(word)),
            "{all}"
        );
    }
}

#[tokio::test]
async fn the_traceparent_decides_about_sampling_and_the_ratio_about_all_others() {
    let collector = OtlpReceiver::start().await;
    let server = Server::start(&["--otlp-endpoint", &collector.address, "--otlp-sample", "0"]);

    publish(&server, "lobby", "untraced").await;
    assert_eq!(
        publish_traced(&server, "not this", traceparent(false)).await,
        201
    );
    assert_eq!(
        publish_traced(&server, "this", traceparent(true)).await,
        201
    );

    let spans = collector.rest(server).await;
    let mut names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();

    assert_eq!(names, ["POST /api/v1/rooms/{room}/messages", "publish"]);
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE));

    let collector = OtlpReceiver::start().await;
    let server = Server::start(&["--otlp-endpoint", &collector.address]);
    assert_eq!(
        publish_traced(&server, "not this either", traceparent(false)).await,
        201
    );

    let spans = collector.rest(server).await;
    assert!(
        spans.iter().all(|span| hex(&span.trace_id) != TRACE),
        "{spans:#?}"
    );
}

#[tokio::test]
async fn server_errors_are_error_spans_and_refusals_are_not() {
    let folder = tempfile::tempdir().expect("a folder");

    let collector = OtlpReceiver::start().await;
    let mut command = program();
    command
        .env(
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test",
        )
        .arg("--data")
        .arg(folder.path());

    let server = Server::start_by(
        &mut command,
        &["--otlp-endpoint", &collector.address, "--max-rooms", "1"],
    );

    // The only room is in use.
    let _ann = server.join_with("room=first&id=ann").await;

    let post = |room: &str| {
        let url = server.url(&format!("/api/v1/rooms/{room}/messages"));
        soon(reqwest::Client::new().post(url).body("x").send())
    };
    assert_eq!(post("second").await.expect("an answer").status(), 503);
    assert_eq!(post("a%20b").await.expect("an answer").status(), 400);

    let spans = collector.rest(server).await;
    let of = |status| {
        let is_request = |span: &&Span| {
            span.name.starts_with("POST ") && number(span, "http.response.status_code") == status
        };
        let span = spans
            .iter()
            .find(is_request)
            .unwrap_or_else(|| panic!("no {status} in {spans:#?}"));
        (
            span.status.clone().unwrap_or_default().code(),
            attribute(&span.attributes, "error.type").is_some(),
        )
    };
    assert_eq!(of(503), (StatusCode::Error, true));
    assert_eq!(of(400), (StatusCode::Unset, false));
}

#[tokio::test]
async fn a_missing_collector_causes_one_log_line() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .and_then(|free| free.local_addr())
        .expect("a port");
    let server = Server::start(&["--otlp-endpoint", &format!("http://{nobody}")]);

    for _ in 0..2 {
        let refused = figure(&server, "fanfare_spans_total{result=\"refused\"}").await;
        publish(&server, "lobby", "still stored").await;
        until_counted(&server, "refused", refused + 1).await;
    }

    server.signal("TERM");
    let (status, log) = server.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(
        log.matches("the collector does not accept spans").count(),
        1,
        "{log}"
    );
}

#[tokio::test]
async fn a_silent_collector_delays_nothing_and_dropped_spans_are_counted() {
    // The kernel accepts connections, and nothing answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", silent.local_addr().expect("an address"));
    let server = Server::start(&["--otlp-endpoint", &address, "--connect-rate", "0"]);

    let client = reqwest::Client::new();

    let dropped = async || {
        let requests = (0..500).map(|_request| client.get(server.url("/nothing")).send());
        for answer in join_all(requests).await {
            assert_eq!(answer.expect("an answer").status(), 404);
        }
        figure(&server, "fanfare_spans_total{result=\"dropped\"}").await
    };
    eventually(dropped, |count| *count > 0).await;

    publish(&server, "lobby", "as if nothing were").await;

    let began = Instant::now();
    server.signal("TERM");

    let (status, log) = server.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "it ended after {:?}",
        began.elapsed()
    );
}
