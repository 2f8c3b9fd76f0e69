//! History and presence over HTTP.

use reqwest::Client;
use serde_json::{Value, json};

use crate::client::{ask, get, publish};
use crate::harness::Server;
use crate::typed::join;

const MESSAGES: &str = "/api/v1/rooms/lobby/messages";

/// The offsets of a page, and whether there is more.
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
async fn a_page_is_read_from_either_end_or_from_between() {
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
        ("limit=1000&nobody=asks", vec![4, 5, 6, 7, 8, 9, 10], false),
    ] {
        assert_eq!(page(&server, query).await, (offsets, more), "{query}");
    }
}

#[tokio::test]
async fn a_page_says_where_the_log_stands_and_gives_messages_as_frames_have_them() {
    let server = Server::start(&["--history-messages", "2"]);
    let empty = get(&server, MESSAGES).await;
    assert_eq!(
        (&empty["first"], &empty["head"], &empty["messages"]),
        (&json!(0), &json!(0), &json!([]))
    );
    let (mut ann, welcome) = join(&server, "id=ann").await;
    for number in 1..=3 {
        ann.send(
            json!({ "type": "say", "text": number.to_string(), "key": format!("k{number}") })
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
    assert_eq!(
        (&page["first"], &page["head"], &page["more"]),
        (&json!(2), &json!(3), &json!(false))
    );
    assert_eq!(page["messages"], json!(frames[1..]));
}

#[tokio::test]
async fn a_query_that_asks_for_nothing_there_is_says_which_field_is_wrong() {
    let server = Server::start(&[]);
    for (query, field) in [
        ("after=-1", "after"),
        ("before=x", "before"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=1&limit=2", "limit"),
    ] {
        let (status, answer) =
            ask(Client::new().get(server.url(&format!("{MESSAGES}?{query}")))).await;
        let message = answer["error"]["message"].as_str().expect("a message");
        assert_eq!(
            (status, answer["error"]["code"].as_str()),
            (400, Some("bad_parameter")),
            "{query}"
        );
        assert!(message.contains(field), "{query}: {message}");
    }
}

#[tokio::test]
async fn an_empty_field_of_the_query_is_the_same_as_none() {
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
        .try_join("after=&epoch=", &[("sec-websocket-protocol", "fanfare.v1")])
        .await
        .expect("accepted");
    assert_eq!(typed.json().await["recovery"], "fresh");
}

#[tokio::test]
async fn presence_tells_each_id_once_with_its_connections_and_since_when() {
    let server = Server::start(&[]);
    let path = "/api/v1/rooms/lobby/presence";
    assert_eq!(
        get(&server, path).await,
        json!({ "count": 0, "members": [] })
    );
    let _bob = server.join("bob").await;
    let _ann = server.join("ann").await;
    let _ann_again = server.join("ann").await;
    let presence = get(&server, path).await;
    let (ann, bob) = (&presence["members"][0], &presence["members"][1]);
    assert_eq!(
        (&presence["count"], &ann["id"], &ann["connections"]),
        (&json!(2), &json!("ann"), &json!(2))
    );
    assert_eq!(
        (&bob["id"], &bob["connections"]),
        (&json!("bob"), &json!(1))
    );
    let since = |member: &Value| member["since"].as_u64().expect("a time");
    assert!(
        since(bob) <= since(ann) && since(bob) > 1_700_000_000_000,
        "{presence}"
    );
}
