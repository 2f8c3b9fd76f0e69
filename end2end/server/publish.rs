//! Publishing over HTTP: texts, JSON, batches, and how fast.

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::client::{ask, get, publish};
use crate::harness::{Server, soon};

fn post(server: &Server, kind: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
    let url = server.url("/api/v1/rooms/lobby/messages");
    Client::new()
        .post(url)
        .header("content-type", kind)
        .body(body)
}

fn batch(server: &Server, lines: &[Value]) -> RequestBuilder {
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    post(server, "application/x-ndjson", body)
}

#[tokio::test]
async fn a_posted_message_is_heard_by_the_room_and_numbered() {
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
        let (status, answer) = ask(post(&server, kind, body)).await;
        assert_eq!(
            (status, &answer["room"], &answer["offset"]),
            (201, &json!("lobby"), &json!(at + 1))
        );
        assert!(
            answer["duplicate"] == false && answer["at"].as_u64() > Some(1_700_000_000_000),
            "{answer}"
        );
        assert_eq!(ann.text().await, text);
    }
}

#[tokio::test]
async fn a_batch_is_stored_in_a_row_and_answered_with_every_offset() {
    let server = Server::start(&[]);
    let mut ann = server.join("ann").await;
    let lines = [
        json!({ "text": "one", "from": "bob", "key": "1" }),
        json!({ "text": "two" }),
        json!({ "text": "one", "from": "bob", "key": "1" }),
    ];
    let (status, answer) = ask(batch(&server, &lines)).await;
    assert_eq!((status, &answer["room"]), (201, &json!("lobby")));
    let places = answer["messages"].as_array().expect("a list");
    let place = |at: usize| {
        (
            places[at]["offset"].as_u64(),
            places[at]["duplicate"].as_bool(),
        )
    };
    assert_eq!(
        (places.len(), place(0), place(1)),
        (3, (Some(1), Some(false)), (Some(2), Some(false)))
    );
    assert_eq!(
        place(2),
        (Some(1), Some(true)),
        "the same id and key in one batch is stored once"
    );
    assert_eq!(ann.texts(2).await, ["one", "two"]);
    let page = get(&server, "/api/v1/rooms/lobby/messages").await;
    let from = |at: usize| page["messages"][at]["from"].as_str();
    assert_eq!(
        (&answer["epoch"], from(0), from(1)),
        (&page["epoch"], Some("bob"), Some("anonymous"))
    );
}

#[tokio::test]
async fn a_batch_with_a_bad_line_stores_nothing_and_says_which_line() {
    let server = Server::start(&["--max-message", "1KiB"]);
    let good = json!({ "text": "good" });
    for (bad, status, code) in [
        (json!({ "txt": "x" }), 422, "bad_body"),
        (json!({ "text": "x", "from": "" }), 422, "bad_body"),
        (json!({ "text": "x".repeat(1025) }), 413, "too_big"),
    ] {
        let (found, answer) = ask(batch(&server, &[good.clone(), good.clone(), bad])).await;
        assert_eq!(
            (found, answer["error"]["code"].as_str()),
            (status, Some(code)),
            "{answer}"
        );
        assert!(
            answer["error"]["message"]
                .as_str()
                .expect("text")
                .starts_with("line 3: "),
            "{answer}"
        );
    }
    let (found, answer) = ask(batch(&server, &vec![good; 1001])).await;
    assert_eq!(
        (found, answer["error"]["code"].as_str()),
        (413, Some("too_many")),
        "{answer}"
    );
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
    let first = ask(post(&server, "text/plain", "once").header("idempotency-key", "k")).await;
    let again = ask(post(&server, "text/plain", "once").header("idempotency-key", "k")).await;
    assert_eq!((first.0, again.0), (201, 201));
    assert_eq!(
        (&first.1["offset"], &first.1["duplicate"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(
        (&again.1["offset"], &again.1["duplicate"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(first.1["at"], again.1["at"]);
    let in_json = ask(post(
        &server,
        "application/json",
        r#"{"text":"once","key":"k"}"#,
    ))
    .await;
    assert_eq!(in_json.1["duplicate"], true);
    let (status, answer) =
        ask(batch(&server, &[json!({ "text": "x" })]).header("idempotency-key", "k")).await;
    assert_eq!(
        (status, answer["error"]["code"].as_str()),
        (400, Some("bad_key"))
    );
}

#[tokio::test]
async fn a_message_of_the_largest_size_passes_however_json_writes_it() {
    let server = Server::start(&["--max-message", "1KiB"]);
    let escaped = format!(r#"{{"text":"{}"}}"#, r"\u0001".repeat(1024));
    assert_eq!(ask(post(&server, "application/json", escaped)).await.0, 201);
    assert_eq!(
        ask(post(&server, "text/plain", "x".repeat(1024))).await.0,
        201
    );
    let (status, answer) = ask(post(&server, "text/plain", "x".repeat(1025))).await;
    assert_eq!(
        (status, answer["error"]["code"].as_str()),
        (413, Some("too_big"))
    );
    assert!(
        answer["error"]["message"]
            .as_str()
            .expect("text")
            .contains("1024"),
        "{answer}"
    );
}

#[tokio::test]
async fn an_address_that_publishes_too_fast_is_told_when_to_come_back() {
    let server = Server::start(&[
        "--message-rate",
        "20/s",
        "--publish-rate",
        "1/s",
        "--publish-burst",
        "3",
    ]);
    let (status, answer) = ask(batch(&server, &vec![json!({ "text": "x" }); 4])).await;
    assert_eq!(
        (status, answer["error"]["code"].as_str()),
        (413, Some("too_many")),
        "never allowed at once"
    );
    assert_eq!(
        ask(batch(&server, &vec![json!({ "text": "x" }); 3]))
            .await
            .0,
        201
    );
    let refused = soon(post(&server, "text/plain", "x").send())
        .await
        .expect("an answer");
    assert!(
        refused.status() == 429 && refused.headers()["retry-after"] == "1",
        "{refused:?}"
    );
    let answer: Value = soon(refused.json()).await.expect("JSON");
    assert_eq!(answer["error"]["code"], "rate_limited");
    let message = answer["error"]["message"].as_str().expect("text");
    assert!(
        message.contains("1 messages a second, 3 at once"),
        "{message}"
    );
    // And then it may.
    soon(async { while ask(post(&server, "text/plain", "x")).await.0 != 201 {} }).await;
    assert_eq!(
        get(&server, "/api/v1/rooms/lobby/messages").await["head"],
        4
    );
}

#[tokio::test]
async fn a_body_that_never_comes_is_refused_in_the_end_and_others_publish_meanwhile() {
    let server = Server::start(&["--max-message", "1KiB"]);
    let (sender, body) = futures::channel::mpsc::unbounded::<Result<Vec<u8>, std::io::Error>>();
    sender.unbounded_send(Ok(b"begun".to_vec())).expect("open");
    let slow = ask(post(
        &server,
        "text/plain",
        reqwest::Body::wrap_stream(body),
    ));
    let (slow, _) = tokio::join!(slow, async { publish(&server, "lobby", "meanwhile").await });
    assert_eq!(
        (slow.0, slow.1["error"]["code"].as_str()),
        (408, Some("too_slow"))
    );
    drop(sender);
}
