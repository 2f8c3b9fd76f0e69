//! The admin API on the public listener: each token administers the rooms of its grants.

use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::{Guarded, token};
use crate::client::fetch;

/// Calls the admin API on the public listener with `token`.
async fn call(
    guarded: &Guarded,
    token: &str,
    method: Method,
    path: &str,
    body: Value,
) -> (u16, Value) {
    let url = guarded.server.url(&format!("/api/v1/admin/{path}"));
    let request = Client::new().request(method, url).json(&body);
    fetch(if token.is_empty() {
        request
    } else {
        request.bearer_auth(token)
    })
    .await
}

#[tokio::test]
async fn an_admin_of_some_rooms_administers_those_and_no_others() {
    let guarded = Guarded::start(&[]);
    let teacher = token("teacher", json!({ "class-*": "admin" }));
    let chief = token("chief", json!({ "*": "admin" }));
    let ann = token("ann", json!({ "*": "rw" }));

    for room in ["class-1", "staff"] {
        let publish = guarded
            .call(Method::POST, &format!("{room}/messages"), &ann)
            .body("x");
        assert_eq!(fetch(publish).await.0, 201, "{room}");
    }

    let rooms = |answer: &Value| answer["rooms"].as_array().map(Vec::len);
    let (_, seen) = call(&guarded, &teacher, Method::GET, "rooms", json!({})).await;
    assert_eq!(rooms(&seen), Some(1), "{seen}");
    assert_eq!(seen["rooms"][0]["name"], "class-1", "{seen}");

    let (_, seen) = call(&guarded, &chief, Method::GET, "rooms", json!({})).await;
    assert_eq!(rooms(&seen), Some(2), "{seen}");

    let (eve, in_class) = (
        json!({ "id": "eve" }),
        json!({ "id": "eve", "room": "class-1" }),
    );

    for (token, method, path, body, status) in [
        (
            &teacher,
            Method::DELETE,
            "rooms/class-1/messages/1",
            json!({}),
            200,
        ),
        (
            &teacher,
            Method::DELETE,
            "rooms/staff/messages/1",
            json!({}),
            403,
        ),
        (&teacher, Method::POST, "rooms/staff/close", json!({}), 403),
        (
            &teacher,
            Method::POST,
            "rooms/class-1/close",
            json!({}),
            200,
        ),
        (&teacher, Method::POST, "bans", eve.clone(), 403),
        (&teacher, Method::POST, "bans", in_class, 201),
        (&chief, Method::POST, "bans", eve.clone(), 201),
        (&teacher, Method::DELETE, "bans?id=eve", json!({}), 403),
        (&chief, Method::DELETE, "bans?id=eve", json!({}), 200),
        (&ann, Method::GET, "rooms", json!({}), 403),
        (&ann, Method::POST, "bans", eve.clone(), 403),
        (&"garbage".to_owned(), Method::GET, "rooms", json!({}), 401),
    ] {
        let (found, answer) = call(&guarded, token, method.clone(), path, body).await;
        assert_eq!(found, status, "{method} {path}: {answer}");
    }

    let (_, seen) = call(&guarded, &teacher, Method::GET, "bans", json!({})).await;
    assert_eq!(
        seen["bans"].as_array().map(Vec::len),
        Some(1),
        "the one in its room: {seen}"
    );
    assert!(call(&guarded, "", Method::GET, "rooms", json!({})).await.0 >= 401);

    let log = guarded.server.log().await;
    assert!(log.contains("teacher from 127.0.0.1"), "{log}");
    assert!(!log.contains(&teacher), "{log}");
}
