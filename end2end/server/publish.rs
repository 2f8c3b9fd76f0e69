//! Publishing over HTTP: texts, JSON, batches, and rates.

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::client::{fetch, get, publish};
use crate::eventually::{eventually, soon};
use crate::harness::Server;

/// Returns a request that publishes `body` in the lobby.
fn post(server: &Server, kind: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
    let url = server.url("/api/v1/rooms/lobby/messages");
    Client::new()
        .post(url)
        .header("content-type", kind)
        .body(body)
}

/// Returns a request that publishes `lines` as one batch.
fn batch(server: &Server, lines: &[Value]) -> RequestBuilder {
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    post(server, "application/x-ndjson", body)
}

#[tokio::test]
async fn a_posted_message_is_delivered_and_gets_an_offset() {
    let server = Server::start(&[]);
    let mut ann = server.join("ann").await;

    for (at, (kind, body, text)) in [
        (
            "application/x-www-form-urlencoded",
            "a=b & 你好",
            "a=b & 你好",
        ),
        ("text/plain; charset=utf-8", "text", "text"),
        ("application/json", r#"{"text":"json"}"#, "json"),
    ]
    .into_iter()
    .enumerate()
    {
        let (status, answer) = fetch(post(&server, kind, body)).await;
        assert_eq!(status, 201);
        assert_eq!(answer["room"], "lobby");
        assert_eq!(answer["offset"], at + 1);
        assert_eq!(answer["duplicate"], false, "{answer}");
        assert!(answer["at"].as_u64() > Some(1_700_000_000_000), "{answer}");
        assert_eq!(ann.text().await, text);
    }
}

#[tokio::test]
async fn a_batch_is_stored_in_order_and_answered_with_every_offset() {
    let server = Server::start(&[]);
    let mut ann = server.join("ann").await;

    let lines = [
        json!({ "text": "one", "from": "bob", "key": "1" }),
        json!({ "text": "two" }),
        json!({ "text": "one", "from": "bob", "key": "1" }),
    ];
    let (status, answer) = fetch(batch(&server, &lines)).await;
    assert_eq!(status, 201);
    assert_eq!(answer["room"], "lobby");

    let places = answer["messages"].as_array().expect("a list");
    let place = |at: usize| {
        (
            places[at]["offset"].as_u64(),
            places[at]["duplicate"].as_bool(),
        )
    };
    assert_eq!(places.len(), 3);
    assert_eq!(place(0), (Some(1), Some(false)));
    assert_eq!(place(1), (Some(2), Some(false)));
    assert_eq!(
        place(2),
        (Some(1), Some(true)),
        "the same id and key in one batch is stored once"
    );
    assert_eq!(ann.texts(2).await, ["one", "two"]);

    let page = get(&server, "/api/v1/rooms/lobby/messages").await;
    let from = |at: usize| page["messages"][at]["from"].as_str();
    assert_eq!(answer["epoch"], page["epoch"]);
    assert_eq!(from(0), Some("bob"));
    assert_eq!(from(1), Some("anonymous"));
}

#[tokio::test]
async fn a_batch_with_an_invalid_line_stores_nothing_and_names_the_line() {
    let server = Server::start(&["--max-message", "1KiB"]);

    let good = json!({ "text": "good" });

    for (bad, status, code) in [
        (json!({ "txt": "x" }), 422, "bad_body"),
        (json!({ "text": "x", "from": "" }), 422, "bad_body"),
        (json!({ "text": "x".repeat(1025) }), 413, "too_big"),
    ] {
        let (found, answer) = fetch(batch(&server, &[good.clone(), good.clone(), bad])).await;
        assert_eq!(found, status, "{answer}");
        assert_eq!(answer["error"]["code"], code, "{answer}");
        assert!(
            answer["error"]["message"]
                .as_str()
                .expect("text")
                .starts_with("line 3: "),
            "{answer}"
        );
    }

    let (found, answer) = fetch(batch(&server, &vec![good; 1001])).await;
    assert_eq!(found, 413, "{answer}");
    assert_eq!(answer["error"]["code"], "too_many", "{answer}");
    assert!(
        answer["error"]["message"]
            .as_str()
            .expect("text")
            .contains("1000"),
        "{answer}"
    );

    assert_eq!(
        get(&server, "/api/v1/rooms/lobby/messages").await["head"],
        0
    );
}

#[tokio::test]
async fn an_idempotency_key_makes_a_publish_repeatable_but_not_a_batch() {
    let server = Server::start(&[]);

    let first = fetch(post(&server, "text/plain", "once").header("idempotency-key", "k")).await;
    let again = fetch(post(&server, "text/plain", "once").header("idempotency-key", "k")).await;

    assert_eq!(first.0, 201);
    assert_eq!(again.0, 201);
    assert_eq!(first.1["offset"], 1);
    assert_eq!(first.1["duplicate"], false);
    assert_eq!(again.1["offset"], 1);
    assert_eq!(again.1["duplicate"], true);
    assert_eq!(first.1["at"], again.1["at"]);

    let in_json = fetch(post(
        &server,
        "application/json",
        r#"{"text":"once","key":"k"}"#,
    ))
    .await;
    assert_eq!(in_json.1["duplicate"], true);

    let (status, answer) =
        fetch(batch(&server, &[json!({ "text": "x" })]).header("idempotency-key", "k")).await;
    assert_eq!(status, 400);
    assert_eq!(answer["error"]["code"], "bad_key");
}

#[tokio::test]
async fn a_message_of_the_largest_size_is_accepted_in_any_json_encoding() {
    let server = Server::start(&["--max-message", "1KiB"]);

    let escaped = format!(r#"{{"text":"{}"}}"#, r"\u0001".repeat(1024));
    assert_eq!(
        fetch(post(&server, "application/json", escaped)).await.0,
        201
    );
    assert_eq!(
        fetch(post(&server, "text/plain", "x".repeat(1024))).await.0,
        201
    );

    let (status, answer) = fetch(post(&server, "text/plain", "x".repeat(1025))).await;
    assert_eq!(status, 413);
    assert_eq!(answer["error"]["code"], "too_big");
    assert!(
        answer["error"]["message"]
            .as_str()
            .expect("text")
            .contains("1024"),
        "{answer}"
    );
}

#[tokio::test]
async fn an_address_that_publishes_too_fast_gets_429_with_retry_after() {
    let server = Server::start(&[
        "--message-rate",
        "20/s",
        "--publish-rate",
        "1/s",
        "--publish-burst",
        "3",
    ]);

    let (status, answer) = fetch(batch(&server, &vec![json!({ "text": "x" }); 4])).await;
    assert_eq!(status, 413, "never allowed at once");
    assert_eq!(answer["error"]["code"], "too_many", "never allowed at once");
    assert_eq!(
        fetch(batch(&server, &vec![json!({ "text": "x" }); 3]))
            .await
            .0,
        201
    );

    let refused = soon(post(&server, "text/plain", "x").send())
        .await
        .expect("an answer");
    assert_eq!(refused.status(), 429, "{refused:?}");
    assert_eq!(refused.headers()["retry-after"], "1", "{refused:?}");

    let answer: Value = soon(refused.json()).await.expect("JSON");
    assert_eq!(answer["error"]["code"], "rate_limited");

    let message = answer["error"]["message"].as_str().expect("text");
    assert!(
        message.contains("1 messages a second, 3 at once"),
        "{message}"
    );

    // The rate allows one message a second.
    let publish = async || fetch(post(&server, "text/plain", "x")).await;
    eventually(publish, |(status, _)| *status == 201).await;
    assert_eq!(
        get(&server, "/api/v1/rooms/lobby/messages").await["head"],
        4
    );
}

#[tokio::test]
async fn a_body_that_never_arrives_times_out_and_delays_nobody() {
    let server = Server::start(&["--max-message", "1KiB"]);

    let (sender, body) = futures::channel::mpsc::unbounded::<Result<Vec<u8>, std::io::Error>>();
    sender.unbounded_send(Ok(b"begun".to_vec())).expect("open");
    let slow = fetch(post(
        &server,
        "text/plain",
        reqwest::Body::wrap_stream(body),
    ));

    let (slow, _) = tokio::join!(slow, async { publish(&server, "lobby", "meanwhile").await });
    assert_eq!(slow.0, 408);
    assert_eq!(slow.1["error"]["code"], "too_slow");

    drop(sender);
}

#[tokio::test]
async fn a_room_name_with_slashes_is_one_room_on_every_way_in() {
    let server = Server::start(&[]);
    let room = "Runs/EU:7/~ann@x.org";
    let api = "/api/v1/rooms/Runs%2FEU:7%2F~ann@x.org";

    let mut ann = server.join_with(&format!("room={room}&id=ann")).await;
    let mut other = server.join_with("room=runs/EU:7/~ann@x.org&id=bob").await;

    let post = Client::new().post(server.url(&format!("{api}/messages")));
    let (status, answer) = fetch(post.header("content-type", "text/plain").body("over HTTP")).await;

    assert_eq!(status, 201);
    assert_eq!(answer["room"], room);
    assert_eq!(ann.text().await, "over HTTP");

    let history = get(&server, &format!("{api}/messages")).await;
    assert_eq!(history["messages"][0]["text"], "over HTTP");

    for path in [
        format!("/r/{room}"),
        format!("/r/{}", room.replace('/', "%2F")),
    ] {
        let page = soon(Client::new().get(server.url(&path)).send())
            .await
            .expect("an answer");
        assert!(
            soon(page.text()).await.expect("text").contains("over HTTP"),
            "{path}"
        );
    }

    other.send("in a room of its own").await;
    assert_eq!(
        other.text().await,
        "in a room of its own",
        "upper case is another room"
    );
}
