//! Counters of closed connections, refusals and gaps, on the ops listener.

use reqwest::Method;

use crate::eventually::{eventually, soon};
use crate::harness::Server;
use crate::raw::masked;
use crate::streams::{CLOSE, TEXT, post, put, request};
use crate::typed::{find, join, next, say};

/// Returns the value of the counter or gauge `series`; 0 if it does not exist.
pub(crate) async fn figure(server: &Server, series: &str) -> u64 {
    let answer = soon(reqwest::get(format!("http://{}/metrics", server.ops)))
        .await
        .expect("an answer");
    assert_eq!(
        answer.headers()["content-type"],
        "text/plain; version=0.0.4"
    );

    let text = soon(answer.text()).await.expect("text");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0, |number| number.parse().expect("a whole number"))
}

/// Waits until the counter or gauge `series` is `expected`.
pub(crate) async fn until(server: &Server, series: &str, expected: u64) {
    let probe = async || figure(server, series).await;
    eventually(probe, |found| *found == expected).await;
}

/// Returns the state of the store, which must be exactly one.
pub(crate) async fn store_state(server: &Server) -> &'static str {
    let mut found = Vec::new();
    for state in ["ready", "read_only", "unreachable", "corrupt"] {
        if figure(server, &format!("fanfare_store_state{{state=\"{state}\"}}")).await == 1 {
            found.push(state);
        }
    }

    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

/// Returns the series of connections closed with `code`.
fn closed(code: &str) -> String {
    format!("fanfare_connections_closed_total{{code=\"{code}\"}}")
}

#[tokio::test]
async fn each_close_is_counted_by_its_code() {
    let server = Server::start(&[
        "--max-message",
        "1KiB",
        "--message-rate",
        "1/s",
        "--message-burst",
        "1",
    ]);

    for code in [
        "1000", "1001", "1002", "1007", "1009", "1013", "4000", "4001", "4002", "4003", "4502",
        "client", "lost",
    ] {
        assert_eq!(figure(&server, &closed(code)).await, 0);
    }

    server.join("ann").await.send("x".repeat(2000)).await;
    until(&server, &closed("1009"), 1).await;

    let mut fast = server.join("fast").await;
    fast.send("one").await;
    fast.send("two").await;
    assert_eq!(fast.close_code().await, 4001);
    until(&server, &closed("4001"), 1).await;

    server.join("polite").await.leave().await;
    until(&server, &closed("client"), 1).await;

    let mut wrong = server.join_with("room=No+Room").await;
    assert_eq!(wrong.close_code().await, 4502);
    until(&server, &closed("4502"), 1).await;

    let mut broken = server.raw().await;
    broken.write(&masked(0x83, b"")).await;
    until(&server, &closed("1002"), 1).await;

    let mut garbled = server.raw().await;
    garbled.write(&masked(0x81, &[0xff])).await;
    until(&server, &closed("1007"), 1).await;

    drop(server.join("gone").await);
    until(&server, &closed("lost"), 1).await;

    let _here = server.join("here").await;
    until(&server, "fanfare_connections", 1).await;
}

#[tokio::test]
async fn each_refusal_and_each_gap_is_counted_by_its_code() {
    let server = Server::start(&["--history-messages", "2", "--header-timeout", "200ms"]);

    let (mut ann, welcome) = join(&server, "id=ann").await;
    ann.send("no JSON").await;
    assert_eq!(next(&mut ann, "error").await["code"], "bad_json");

    until(
        &server,
        "fanfare_frames_refused_total{code=\"bad_json\"}",
        1,
    )
    .await;

    for number in 0..5 {
        say(&mut ann, &number.to_string(), None).await;
        find(&mut ann, "message").await;
    }

    let epoch = welcome["epoch"].as_str().expect("text");
    let (mut late, _) = join(&server, &format!("id=late&after=1&epoch={epoch}")).await;
    assert_eq!(next(&mut late, "gap").await["count"], 2);

    until(&server, "fanfare_gaps_total{reason=\"expired\"}", 1).await;

    soon(reqwest::get(server.url("/api/v1/rooms/No%20Room/messages")))
        .await
        .expect("an answer");
    until(
        &server,
        "fanfare_requests_refused_total{code=\"bad_name\"}",
        1,
    )
    .await;

    let refused = server
        .try_join("id=eve", &[("origin", "http://evil.example")])
        .await;
    assert_eq!(refused.err().map(|refused| refused.status), Some(403));

    until(
        &server,
        "fanfare_requests_refused_total{code=\"origin_not_allowed\"}",
        1,
    )
    .await;

    let _half = tokio::net::TcpStream::connect(server.address)
        .await
        .expect("the server listens");

    // On a busy machine, other connections may have timed out as well.
    let series = "fanfare_requests_refused_total{code=\"header_timeout\"}";
    eventually(async || figure(&server, series).await, |count| *count > 0).await;
}

#[tokio::test]
async fn the_appends_and_the_readers_of_streams_are_counted() {
    let server = Server::start(&[]);
    let published = |result| format!("fanfare_messages_published_total{{result=\"{result}\"}}");
    let producer = [
        ("producer-id", "p"),
        ("producer-epoch", "0"),
        ("producer-seq", "0"),
    ];
    let by_producer = [TEXT, &producer].concat();
    put(&server, "s", TEXT, "").await;

    assert_eq!(post(&server, "s", &by_producer, "once").await, 200);
    assert_eq!(post(&server, "s", &by_producer, "once").await, 204);
    until(&server, &published("stored"), 1).await;
    until(&server, &published("duplicate"), 1).await;

    let follow = "s?offset=-1&live=sse";
    let mut reader = request(&server, Method::GET, follow, &[], "").await;
    soon(reader.chunk()).await.expect("a chunk");
    until(&server, "fanfare_connections", 1).await;
    until(&server, "fanfare_messages_delivered_total", 1).await;
    drop(reader);
    until(&server, "fanfare_connections", 0).await;

    assert_eq!(post(&server, "s", CLOSE, "").await, 204);
    assert_eq!(post(&server, "s", TEXT, "late").await, 409);
    until(&server, &published("refused"), 1).await;
    let refused = "fanfare_requests_refused_total{code=\"stream_closed\"}";
    until(&server, refused, 1).await;
}
