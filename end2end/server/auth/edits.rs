//! Edits of one's own messages, which need a verified id.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Guarded, token};
use crate::admin::call;
use crate::client::{fetch, publish};
use crate::harness::Server;
use crate::presence_log::RULE;
use crate::typed::{find, join};

/// Publishes `message` over HTTP with `token`. Returns the status, and the offset or the code and message of the error.
async fn post(guarded: &Guarded, token: &str, message: Value) -> (u16, Value) {
    let request = guarded.call(Method::POST, "lobby/messages", token);
    let (status, answer) = fetch(request.json(&message)).await;
    let result = if status == 201 {
        answer["offset"].clone()
    } else {
        answer["error"].clone()
    };
    (status, result)
}

/// Returns the texts of the messages that contain `words`.
async fn search(guarded: &Guarded, token: &str, words: &str) -> Vec<Value> {
    let path = format!("lobby/messages?q={words}");
    let (status, page) = fetch(guarded.call(Method::GET, &path, token)).await;
    assert_eq!(status, 200, "{page}");
    let messages = page["messages"].as_array().expect("a list");
    messages
        .iter()
        .map(|message| message["text"].clone())
        .collect()
}

#[tokio::test]
async fn a_sender_edits_its_own_messages_and_no_others() {
    let guarded = Guarded::start(&[]);
    let ann = token("ann", json!({ "lobby": "rw" }));
    let bob = token("bob", json!({ "lobby": "rw" }));
    let (mut socket, _) = join(&guarded.server, &format!("token={ann}")).await;
    let (mut other, _) = join(&guarded.server, &format!("token={bob}")).await;
    for text in ["original", "deleted"] {
        assert_eq!(post(&guarded, &ann, json!({ "text": text })).await.0, 201);
    }
    let delete = guarded.call(Method::DELETE, "lobby/messages/2", &ann);
    assert_eq!(fetch(delete).await.0, 200);

    let edit = post(&guarded, &ann, json!({ "text": "edited", "edits": 1 })).await;
    assert_eq!(edit, (201, json!(3)));
    let frame = json!({ "type": "publish", "text": "edited again", "edits": 1, "key": "k" });
    socket.send(frame.to_string()).await;
    assert_eq!(find(&mut socket, "ack").await["offset"], 4);

    for (is_bob, edits, status, code, http_code, part) in [
        (true, 1, 403, "not_allowed", "not_allowed", "another user"),
        (
            false,
            2,
            404,
            "no_such_message",
            "no_such_message",
            "deleted",
        ),
        (false, 9, 404, "no_such_message", "no_such_message", "is 9"),
        (false, 0, 404, "no_such_message", "no_such_message", "is 0"),
        (
            false,
            3,
            422,
            "bad_field",
            "bad_body",
            "name the original message, 1",
        ),
    ] {
        let (token, socket) = if is_bob {
            (&bob, &mut other)
        } else {
            (&ann, &mut socket)
        };

        let refusal = post(&guarded, token, json!({ "text": "x", "edits": edits })).await;
        assert_eq!(
            (refusal.0, &refusal.1["code"]),
            (status, &json!(http_code)),
            "{refusal:?}"
        );
        assert!(
            refusal.1["message"].to_string().contains(part),
            "{refusal:?}"
        );

        let frame = json!({ "type": "publish", "text": "x", "edits": edits, "key": "x" });
        socket.send(frame.to_string()).await;
        let error = find(socket, "error").await;
        assert_eq!(
            (&error["code"], &error["key"]),
            (&json!(code), &json!("x")),
            "{error}"
        );
        assert!(error["message"].to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn an_edited_message_is_found_by_its_newest_text_and_the_log_keeps_all() {
    let guarded = Guarded::start(&[]);
    let ann = token("ann", json!({ "lobby": "rw" }));
    for message in [
        json!({ "text": "meeting at noon" }),
        json!({ "text": "meeting at one", "edits": 1 }),
        json!({ "text": "another meeting" }),
        json!({ "text": "meeting at two", "edits": 1 }),
    ] {
        assert_eq!(post(&guarded, &ann, message).await.0, 201);
    }

    assert_eq!(
        search(&guarded, &ann, "meeting").await,
        ["meeting at two", "another meeting"]
    );
    assert!(search(&guarded, &ann, "noon").await.is_empty());
    assert!(search(&guarded, &ann, "meeting+one").await.is_empty());
    assert_eq!(
        search(&guarded, &ann, "meeting&before=4").await,
        ["another meeting"],
        "the newest edit is after the page"
    );

    let request = guarded.call(Method::GET, "lobby/messages", &ann);
    let (_, history) = fetch(request).await;
    let edits: Vec<_> = (0..4).map(|at| &history["messages"][at]["edits"]).collect();
    assert_eq!(edits, [&Value::Null, &json!(1), &Value::Null, &json!(1)]);
}

#[tokio::test]
async fn no_message_can_be_edited_where_ids_are_not_verified() {
    let server = Server::start(&[]);
    publish(&server, "lobby", "mine").await;
    let (mut ann, _) = join(&server, "id=ann").await;

    let frame = json!({ "type": "publish", "text": "x", "edits": 1 });
    ann.send(frame.to_string()).await;
    let error = find(&mut ann, "error").await;
    let request = reqwest::Client::new()
        .post(server.url("/api/v1/rooms/lobby/messages"))
        .json(&json!({ "text": "x", "edits": 1 }));
    let (status, answer) = fetch(request).await;

    assert_eq!(error["code"], "not_allowed");
    assert_eq!(
        (status, &answer["error"]["code"]),
        (403, &json!("not_allowed"))
    );
    for message in [&error["message"], &answer["error"]["message"]] {
        assert!(message.to_string().contains("--auth-key-file"), "{message}");
    }
}

#[tokio::test]
async fn deleting_a_message_deletes_its_edits_and_no_other_message() {
    let guarded = Guarded::start(&[]);
    let ann = token("ann", json!({ "lobby": "rw" }));
    let (mut reader, _) = join(&guarded.server, &format!("token={ann}")).await;

    for original in [1, 6] {
        for (text, edits) in [
            ("secret", Value::Null),
            ("other", Value::Null),
            ("secret too", original.into()),
            ("an edit of other", (original + 1).into()),
            ("secret again", original.into()),
        ] {
            let message = json!({ "text": text, "edits": edits });
            assert_eq!(post(&guarded, &ann, message).await.0, 201);
        }

        // The sender deletes the first one, and an operator the second one.
        let path = format!("messages/{original}");
        let status = if original == 1 {
            let delete = guarded.call(Method::DELETE, &format!("lobby/{path}"), &ann);
            fetch(delete).await.0
        } else {
            let path = format!("rooms/lobby/{path}");
            call(&guarded.server, Method::DELETE, &path, json!({}))
                .await
                .0
        };
        assert_eq!(status, 200);

        for offset in [original + 2, original + 4, original] {
            assert_eq!(find(&mut reader, "deleted").await["offset"], offset);
        }
    }

    assert_eq!(search(&guarded, &ann, "secret").await, [] as [Value; 0]);
    let others = search(&guarded, &ann, "other").await;
    assert_eq!(others, ["an edit of other", "an edit of other"]);
}

#[tokio::test]
async fn the_message_of_a_join_is_neither_edited_nor_deleted_by_its_user() {
    let rule = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(rule.path(), RULE).expect("written");
    let guarded = Guarded::start(&["--config", rule.path().to_str().expect("text")]);
    let ann = token("ann", json!({ "orders-*": "rw" }));
    let (mut socket, _) = join(&guarded.server, &format!("token={ann}&room=orders-1")).await;
    let joined = find(&mut socket, "message").await;
    assert_eq!(
        (&joined["kind"], &joined["offset"]),
        (&json!("fanfare.join"), &json!(1))
    );

    let edit = guarded.call(Method::POST, "orders-1/messages", &ann);
    let edit = fetch(edit.json(&json!({ "text": "x", "edits": 1 }))).await;
    let delete = fetch(guarded.call(Method::DELETE, "orders-1/messages/1", &ann)).await;

    for (status, answer) in [edit, delete] {
        assert_eq!(status, 403, "{answer}");
        assert_eq!(answer["error"]["code"], "not_allowed", "{answer}");
    }
}
