//! Bans and kicks of a token's `sub`. They apply to every entry point and to every open connection, regardless of the
//! id that it shows.

use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::{Guarded, SECRET, token};
use crate::admin::{call, list};
use crate::client::{Lines, fetch};
use crate::eventually::soon;
use crate::harness::Server;
use crate::nats::Nats;

/// Reads the stream to its end.
async fn read_to_end(mut stream: Lines) {
    while stream.line().await.is_some() {}
}

/// Calls `path` of the lobby with `token`; returns the status and the error code.
async fn status_and_code(
    guarded: &Guarded,
    method: Method,
    path: &str,
    accept: &str,
    token: &str,
) -> (u16, Value) {
    let request = guarded
        .call(method.clone(), &format!("lobby/{path}"), token)
        .header("accept", accept);

    let request = if method == Method::POST {
        request.body("a word")
    } else {
        request
    };

    let response = soon(request.send()).await.expect("an answer");
    let status = response.status().as_u16();

    if status < 400 {
        // The body of a stream has no end.
        return (status, Value::Null);
    }

    let answer: Value = soon(response.json()).await.expect("JSON");
    (status, answer["error"]["code"].clone())
}

#[tokio::test]
async fn a_ban_of_a_sub_applies_to_every_entry_point_and_every_shown_id() {
    let guarded = Guarded::start(&[]);
    let ann = token("ann", json!({ "lobby": "rw" }));
    let bob = token("bob", json!({ "lobby": "rw" }));
    let ways = [
        (Method::GET, "stream", "text/event-stream"),
        (Method::GET, "stream?id=ann", "text/event-stream"),
        (Method::GET, "stream", "application/x-ndjson"),
        (Method::GET, "stream?after=0", "application/x-ndjson"),
        (Method::GET, "messages", "application/json"),
        (Method::GET, "presence", "application/json"),
        (Method::POST, "messages", "application/json"),
    ];

    let secret = guarded
        .call(Method::POST, "lobby/messages", &bob)
        .body("only for readers");
    assert_eq!(fetch(secret).await.0, 201);

    let (status, _) = call(
        &guarded.server,
        Method::POST,
        "bans",
        json!({ "id": "ann" }),
    )
    .await;
    assert_eq!(status, 201);

    for (method, path, accept) in ways {
        let what = format!("{method} {path} as {accept}");

        let (status, code) = status_and_code(&guarded, method.clone(), path, accept, &ann).await;
        assert_eq!(status, 403, "{what}");
        assert_eq!(code, "banned", "{what}");

        let other = if path.contains("id=") {
            "stream?id=bob"
        } else {
            path
        };
        let (status, _) = status_and_code(&guarded, method, other, accept, &bob).await;
        assert!(status < 300, "another token is accepted: {what}");
    }

    for query in ["", "&id=ann"] {
        let query = format!("token={ann}{query}");
        let mut socket = guarded.server.join_with(&query).await;
        assert_eq!(socket.close_code().await, 4501, "a WebSocket");
    }
}

#[tokio::test]
async fn a_banned_token_reads_nothing_on_the_page_and_its_form_is_refused() {
    let guarded = Guarded::start(&[]);
    let ann = token("ann", json!({ "lobby": "rw" }));
    let bob = token("bob", json!({ "lobby": "rw" }));

    let secret = guarded
        .call(Method::POST, "lobby/messages", &bob)
        .body("only-for-members");
    assert_eq!(fetch(secret).await.0, 201);

    call(
        &guarded.server,
        Method::POST,
        "bans",
        json!({ "id": "ann" }),
    )
    .await;

    let url = guarded.server.url("/r/lobby");

    let form = Client::new()
        .post(&url)
        .bearer_auth(&ann)
        .header("origin", guarded.server.url(""))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("text=from-the-banned&key=k1");

    let posted = soon(form.send())
        .await
        .expect("an answer")
        .status()
        .as_u16();
    assert_eq!(posted, 403);

    for (reader, is_there) in [(&ann, false), (&bob, true)] {
        let page = Client::new().get(&url).bearer_auth(reader);
        let html = soon(soon(page.send()).await.expect("an answer").text())
            .await
            .expect("text");
        assert_eq!(html.contains("only-for-members"), is_there);
        assert!(!html.contains("from-the-banned"), "{html}");
    }
}

#[tokio::test]
async fn a_kick_or_ban_of_a_sub_ends_its_streams_that_show_no_id() {
    let guarded = Guarded::start(&[]);
    let server = &guarded.server;
    let ann = token("ann", json!({ "lobby": "rw" }));
    let query = format!("token={ann}");
    let bob = Lines::open(
        server,
        &format!("token={}", token("bob", json!({ "lobby": "rw" }))),
    )
    .await;

    let eve = json!({ "id": "ann" });

    let kicked = Lines::open(server, &query).await;
    let seen = list(server, "connections?id=ann").await;
    assert_eq!(seen["connections"][0]["sub"], "ann", "{seen}");
    assert!(seen["connections"][0].get("id").is_none(), "{seen}");

    let (_, answer) = call(server, Method::POST, "connections/kick", eve.clone()).await;
    assert_eq!(answer["kicked"], 1);

    read_to_end(kicked).await;

    let banned = Lines::open(server, &query).await;
    let (_, answer) = call(server, Method::POST, "bans", eve).await;
    assert_eq!(answer["kicked"], 1);

    read_to_end(banned).await;

    let left = list(server, "connections").await;
    assert_eq!(left["connections"][0]["sub"], "bob", "{left}");

    drop(bob);
}

#[tokio::test]
async fn a_kick_or_ban_on_one_node_ends_the_streams_of_that_sub_on_another() {
    let nats = Nats::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    std::fs::write(&key, SECRET).expect("written");
    let flags = ["--auth-key-file", key.to_str().expect("text")];
    let [here, there]: [Server; 2] = std::array::from_fn(|_| Nats::node_by(nats.port, &flags));
    let query = format!("token={}", token("ann", json!({ "lobby": "rw" })));

    for (path, body) in [
        ("connections/kick", json!({ "id": "ann" })),
        ("bans", json!({ "id": "ann" })),
    ] {
        let stream = Lines::open(&there, &query).await;
        let (status, answer) = call(&here, Method::POST, path, body).await;
        assert!(status < 300, "{answer}");
        read_to_end(stream).await;
    }
}

#[tokio::test]
async fn a_banned_admin_is_refused_and_cannot_lift_the_ban_but_the_ops_listener_can() {
    let guarded = Guarded::start(&[]);
    let chief = token("chief", json!({ "*": "admin" }));
    let tried = async |method: Method, path: &str, body: Value| {
        let url = guarded.server.url(&format!("/api/v1/admin/{path}"));
        let request = Client::new().request(method, url).bearer_auth(&chief);
        let (status, answer) = fetch(request.json(&body)).await;
        (status, answer["error"]["code"].clone())
    };

    let ban = json!({ "id": "chief", "reason": "left the team" });
    let (status, _) = call(&guarded.server, Method::POST, "bans", ban).await;
    assert_eq!(status, 201);

    for (method, path, body) in [
        (Method::DELETE, "bans?id=chief", json!({})),
        (Method::GET, "bans", json!({})),
        (Method::GET, "rooms", json!({})),
        (Method::GET, "connections", json!({})),
        (Method::POST, "bans", json!({ "id": "eve" })),
        (Method::POST, "rooms/lobby/close", json!({})),
    ] {
        let what = format!("{method} {path}");
        let refused = tried(method, path, body).await;
        assert_eq!(refused, (403, json!("banned")), "{what}");
    }

    let page = Client::new()
        .get(guarded.server.url("/admin"))
        .bearer_auth(&chief);
    let page = page.send().await.expect("an answer");
    assert_eq!(page.status(), 403);
    assert!(page.text().await.expect("text").contains("left the team"));

    let lift = call(&guarded.server, Method::DELETE, "bans?id=chief", json!({}));
    assert_eq!(lift.await.0, 200);
    assert_eq!(tried(Method::GET, "bans", json!({})).await.0, 200);
}

#[tokio::test]
async fn an_admin_banned_in_a_room_administers_only_the_others() {
    let guarded = Guarded::start(&[]);
    let chief = token("chief", json!({ "*": "admin" }));
    let tried = async |method: Method, path: &str, body: Value| {
        let url = guarded.server.url(&format!("/api/v1/admin/{path}"));
        let request = Client::new().request(method, url).bearer_auth(&chief);
        fetch(request.json(&body)).await
    };

    let ban = json!({ "id": "chief", "room": "class" });
    let (status, _) = call(&guarded.server, Method::POST, "bans", ban).await;
    assert_eq!(status, 201);

    for (method, path, body) in [
        (Method::DELETE, "bans?id=chief&room=class", json!({})),
        (Method::POST, "rooms/class/close", json!({})),
        (Method::DELETE, "rooms/class/messages/1", json!({})),
        (Method::POST, "connections/kick", json!({ "room": "class" })),
    ] {
        let what = format!("{method} {path}");
        let (status, answer) = tried(method, path, body).await;
        assert_eq!(status, 403, "{what}");
        assert_eq!(answer["error"]["code"], "banned", "{what}");
    }

    let (status, _) = tried(Method::POST, "rooms/staff/close", json!({})).await;
    assert_eq!(status, 200);

    let (_, seen) = tried(Method::GET, "bans", json!({})).await;
    assert_eq!(
        seen["bans"],
        json!([]),
        "the ban is of a room that it does not administer"
    );
}
