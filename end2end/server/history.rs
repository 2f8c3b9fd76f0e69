//! History and presence over HTTP.

use reqwest::Client;
use serde_json::{Value, json};

use crate::client::{fetch, get, publish};
use crate::harness::Server;
use crate::typed::{join, joined};

const MESSAGES: &str = "/api/v1/rooms/lobby/messages";

/// Returns the offsets of a page, and true if there are more messages.
async fn page(server: &Server, query: &str) -> (Vec<u64>, bool) {
    let page = get(server, &format!("{MESSAGES}?{query}")).await;
    let offset = |message: &Value| message["offset"].as_u64().expect("an offset");
    let offsets = page["messages"]
        .as_array()
        .expect("a list")
        .iter()
        .map(offset)
        .collect();

    (offsets, page["more"].as_bool().expect("a bool"))
}

#[tokio::test]
async fn a_page_is_selected_by_before_after_and_limit() {
    let server = Server::start(&["--history-messages", "7"]);

    for number in 1..=10 {
        publish(&server, "lobby", &number.to_string()).await;
    }

    for (query, offsets, more) in [
        ("", vec![4, 5, 6, 7, 8, 9, 10], false),
        ("limit=3", vec![8, 9, 10], true),
        ("before=8&limit=3", vec![5, 6, 7], true),
        ("before=5", vec![4], false),
        ("before=4", vec![], false),
        ("after=0&limit=2", vec![4, 5], true),
        ("after=8", vec![9, 10], false),
        ("after=10", vec![], false),
        ("after=99", vec![], false),
        ("after=5&before=8", vec![6, 7], false),
        ("after=5&before=8&limit=1", vec![6], true),
        ("after=5&before=8&limit=2", vec![6, 7], false),
        ("after=8&before=5", vec![], false),
        ("around=7&limit=4", vec![5, 6, 7, 8], true),
        ("around=7&limit=1", vec![7], true),
        ("around=5&limit=1000", vec![4, 5, 6, 7, 8, 9, 10], false),
        ("around=10&limit=3", vec![9, 10], true),
        ("limit=1000&nobody=asks", vec![4, 5, 6, 7, 8, 9, 10], false),
    ] {
        assert_eq!(page(&server, query).await, (offsets, more), "{query}");
    }
}

#[tokio::test]
async fn a_page_has_the_bounds_of_the_log_and_messages_as_in_frames() {
    let server = Server::start(&["--history-messages", "2"]);

    let empty = get(&server, MESSAGES).await;
    assert_eq!(empty["first"], 0);
    assert_eq!(empty["head"], 0);
    assert_eq!(empty["messages"], json!([]));

    let (mut ann, welcome) = join(&server, "id=ann").await;

    for number in 1..=3 {
        ann.send(
            json!({ "type": "publish", "text": number.to_string(), "key": format!("k{number}") })
                .to_string(),
        )
        .await;
    }

    let mut frames = Vec::new();

    while frames.len() < 3 {
        let mut frame = ann.json().await;
        if frame["type"] == "message" {
            frame.as_object_mut().expect("an object").remove("type");
            frames.push(frame);
        }
    }

    let page = get(&server, MESSAGES).await;
    assert_eq!(page["epoch"], welcome["epoch"]);
    assert_eq!(page["first"], 2);
    assert_eq!(page["head"], 3);
    assert_eq!(page["more"], false);
    assert_eq!(page["messages"], json!(frames[1..]));
}

#[tokio::test]
async fn an_invalid_query_is_refused_with_the_name_of_the_field() {
    let server = Server::start(&[]);

    for (query, field) in [
        ("after=-1", "after"),
        ("before=x", "before"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=1&limit=2", "limit"),
        ("around=x", "around"),
        ("around=5&after=1", "around"),
        ("around=5&q=a", "around"),
        ("q=%20", "q"),
        ("kind=a/b", "kind"),
    ] {
        let (status, answer) =
            fetch(Client::new().get(server.url(&format!("{MESSAGES}?{query}")))).await;
        let message = answer["error"]["message"].as_str().expect("a message");
        assert_eq!(status, 400, "{query}");
        assert_eq!(answer["error"]["code"], "bad_parameter", "{query}");
        assert!(message.contains(field), "{query}: {message}");
    }
}

#[tokio::test]
async fn a_search_returns_the_messages_with_all_words_newest_first() {
    let server = Server::start(&[]);

    for text in [
        "Build 1 failed",
        "build 2 passed",
        "BUILD 3 FAILED",
        "我在东京",
        "failed: build 5",
    ] {
        publish(&server, "lobby", text).await;
    }

    for (query, offsets, more) in [
        ("q=failed+build", vec![5, 3, 1], false),
        ("q=failed+build&limit=2", vec![5, 3], true),
        ("q=failed&before=5", vec![3, 1], false),
        ("q=failed&after=1&before=5", vec![3], false),
        ("q=%E4%B8%9C%E4%BA%AC", vec![4], false),
        ("q=nothing", vec![], false),
    ] {
        assert_eq!(page(&server, query).await, (offsets, more), "{query}");
    }
}

#[tokio::test]
async fn a_search_covers_all_kept_messages_and_no_deleted_ones() {
    let server = Server::start(&[]);
    let lines: Vec<_> = (1..=3000)
        .map(|number| json!({ "text": format!("number {number}") }))
        .collect();

    for batch in lines.chunks(1000) {
        let body: String = batch.iter().map(|line| format!("{line}\n")).collect();
        let post = Client::new().post(server.url(MESSAGES)).body(body);
        let (status, _) = fetch(post.header("content-type", "application/x-ndjson")).await;
        assert_eq!(status, 201);
    }

    assert_eq!(
        page(&server, "q=number+7&limit=1000").await.0.last(),
        Some(&7)
    );
    assert_eq!(page(&server, "q=2718").await, (vec![2718], false));

    let admin = format!(
        "http://{}/api/v1/admin/rooms/lobby/messages/2718",
        server.ops
    );
    assert_eq!(fetch(Client::new().delete(admin)).await.0, 200);
    assert_eq!(page(&server, "q=2718").await, (vec![], false));
}

#[tokio::test]
async fn a_room_is_described_by_its_bounds_its_members_and_whether_it_is_closed() {
    let server = Server::start(&["--history-messages", "2"]);
    let unused = get(&server, "/api/v1/rooms/runs%2F7").await;
    let (_ann, welcome) = join(&server, "id=ann&room=runs/7").await;

    for text in ["1", "2", "3"] {
        publish(&server, "runs%2F7", text).await;
    }

    let used = get(&server, "/api/v1/rooms/runs%2F7").await;

    assert_eq!(unused["count"], 0);
    assert_eq!(unused["head"], 0);
    let expected = json!({
        "room": "runs/7", "epoch": welcome["epoch"], "first": 2, "head": 3, "count": 1, "closed": false,
        "content_type": null, "expires_at": null,
    });
    assert_eq!(used, expected);
}

#[tokio::test]
async fn an_empty_field_of_the_query_is_ignored() {
    let server = Server::start(&[]);

    for text in ["1", "2", "3"] {
        publish(&server, "lobby", text).await;
    }

    for query in ["after=", "before=", "limit=", "after=&before=&limit="] {
        assert_eq!(
            page(&server, query).await,
            (vec![1, 2, 3], false),
            "{query}"
        );
    }

    let mut typed = server
        .try_join(
            "room=lobby&after=&epoch=",
            &[("sec-websocket-protocol", "fanfare.v1")],
        )
        .await
        .expect("accepted");
    assert_eq!(joined(&mut typed).await["recovery"], "fresh");
}

#[tokio::test]
async fn presence_lists_each_id_once_with_its_connections_and_its_time() {
    let server = Server::start(&[]);

    let path = "/api/v1/rooms/lobby/presence";
    assert_eq!(
        get(&server, path).await,
        json!({ "count": 0, "members": [] })
    );

    // A welcome is sent to a member, so each of them has joined before the next one connects.
    let _bob = join(&server, "id=bob").await;
    let _ann = join(&server, "id=ann").await;
    let _ann_again = join(&server, "id=ann").await;

    let presence = get(&server, path).await;
    let ann = &presence["members"][0];
    let bob = &presence["members"][1];
    assert_eq!(presence["count"], 2);
    assert_eq!(ann["id"], "ann");
    assert_eq!(ann["connections"], 2);
    assert_eq!(bob["id"], "bob");
    assert_eq!(bob["connections"], 1);

    let since = |member: &Value| member["since"].as_u64().expect("a time");
    assert!(since(bob) <= since(ann), "{presence}");
    assert!(since(bob) > 1_700_000_000_000, "{presence}");
}
