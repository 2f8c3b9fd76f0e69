//! The rights of a token in each room of a connection.

use serde_json::json;

use super::{Guarded, token};
use crate::client::fetch;
use crate::subscriptions::{connect, messages, pair, subscribe};
use crate::typed::find;

#[tokio::test]
async fn a_room_that_the_token_does_not_grant_is_refused_and_the_others_go_on() {
    let guarded = Guarded::start(&[]);
    let rooms = json!({ "a": "rw", "read-only": "r", "write-only": "w" });
    let ann = token("ann", rooms);
    let mut peer = connect(&guarded.server, &format!("token={ann}")).await;
    subscribe(&mut peer, "a").await;

    for (kind, room) in [
        ("subscribe", "other"),
        ("subscribe", "write-only"),
        ("publish", "other"),
        ("publish", "read-only"),
        ("history", "other"),
        ("history", "write-only"),
    ] {
        let mut frame = json!({ "type": kind, "room": room });
        if kind == "publish" {
            frame["text"] = "x".into();
        }
        peer.send(frame.to_string()).await;
        let error = find(&mut peer, "error").await;
        assert_eq!(error["code"], "not_allowed", "{kind} {room}");
        assert_eq!(error["room"], room, "{kind}");
    }

    let post = guarded.call(reqwest::Method::POST, "a/messages", &ann);
    let (status, _) = fetch(post.body("still here")).await;
    assert_eq!(status, 201);
    assert_eq!(messages(&mut peer, 1).await, [pair("a", "still here")]);
}

#[tokio::test]
async fn a_pattern_needs_read_access_to_all_rooms_that_it_matches() {
    let guarded = Guarded::start(&[]);
    let ann = token("ann", json!({ "class-*": "r", "drop-*": "w", "a": "rw" }));
    let mut peer = connect(&guarded.server, &format!("token={ann}")).await;

    for pattern in ["*", "class*", "a*", "drop-*", "drop-1*"] {
        peer.send(json!({ "type": "subscribe", "room": pattern }).to_string())
            .await;
        let error = find(&mut peer, "error").await;
        assert_eq!(error["code"], "not_allowed", "{pattern}");
        assert_eq!(error["room"], pattern);
    }

    for pattern in ["class-*", "class-7*"] {
        assert_eq!(subscribe(&mut peer, pattern).await["room"], pattern);
    }
}
