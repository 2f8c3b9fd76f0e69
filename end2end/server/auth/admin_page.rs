//! The admin page on the public listener, which needs an admin token in a header.

use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::json;

use super::{Guarded, token};
use crate::client::fetch;
use crate::eventually::soon;

/// Adds `token` to the request unless it is empty.
fn with_token(request: RequestBuilder, token: &str) -> RequestBuilder {
    if token.is_empty() {
        request
    } else {
        request.bearer_auth(token)
    }
}

/// Sends `request`.
async fn answer(request: RequestBuilder) -> Response {
    soon(request.send()).await.expect("an answer")
}

#[tokio::test]
async fn without_an_admin_token_the_page_is_a_sign_in_form_and_its_forms_do_nothing() {
    let guarded = Guarded::start(&[]);
    let url = guarded.server.url("/admin");
    let ann = token("ann", json!({ "*": "rw" }));
    let chief = token("chief", json!({ "*": "admin" }));

    let publish = || {
        guarded
            .call(Method::POST, "hidden-room/messages", &ann)
            .body("x")
    };
    assert_eq!(fetch(publish()).await.0, 201);

    let client = Client::builder()
        .redirect(Policy::none())
        .build()
        .expect("a client");
    let close = |token: &str| {
        let form = client.post(&url).header("origin", guarded.server.url(""));
        let form = form.header("content-type", "application/x-www-form-urlencoded");
        with_token(form.body("act=close&room=hidden-room"), token)
    };

    for (token, status) in [("", 200), ("garbage", 401), (&ann, 403)] {
        let seen = answer(with_token(client.get(&url), token)).await;
        assert_eq!(seen.status().as_u16(), status);
        assert_eq!(
            seen.headers().contains_key("www-authenticate"),
            status == 401
        );

        let page = soon(seen.text()).await.expect("text");
        assert!(page.contains("id=\"enter\""), "{page}");
        assert!(!page.contains("hidden-room"), "{page}");
        assert!(token.is_empty() || !page.contains(token), "{page}");
        assert_eq!(answer(close(token)).await.status().as_u16(), status);
    }

    assert_eq!(fetch(publish()).await.0, 201, "the room is still open");

    let seen = answer(client.get(&url).bearer_auth(&chief)).await;
    assert!(
        soon(seen.text())
            .await
            .expect("text")
            .contains("hidden-room")
    );

    let closed = answer(close(&chief)).await;
    assert_eq!(closed.headers()["location"], "/admin?did=close&count=0");
    assert_eq!(fetch(publish()).await.0, 403);

    let log = guarded.server.log().await;
    assert!(log.contains("chief from 127.0.0.1"), "{log}");
    assert!(log.contains("closed a room"), "{log}");
}

#[tokio::test]
async fn an_admin_of_some_rooms_sees_those_and_no_server_statistics() {
    let guarded = Guarded::start(&[]);
    let ann = token("ann", json!({ "*": "rw" }));

    for room in ["class-1", "staff"] {
        assert_eq!(
            fetch(
                guarded
                    .call(Method::POST, &format!("{room}/messages"), &ann)
                    .body("a line")
            )
            .await
            .0,
            201
        );
    }

    let teacher = token("teacher", json!({ "class-*": "admin" }));
    let get = |path: &str| {
        Client::new()
            .get(guarded.server.url(path))
            .bearer_auth(&teacher)
    };

    let page = soon(answer(get("/admin?room=staff")).await.text())
        .await
        .expect("text");
    assert!(page.contains("room-class-1"), "{page}");
    assert!(!page.contains("room-staff"), "{page}");
    assert!(!page.contains("a line"), "{page}");
    assert!(!page.contains("class=\"chart\""), "{page}");
    assert_eq!(fetch(get("/api/v1/admin/stats")).await.0, 403);

    let chief = token("chief", json!({ "*": "admin" }));
    let stats = Client::new()
        .get(guarded.server.url("/api/v1/admin/stats"))
        .bearer_auth(chief);
    assert_eq!(fetch(stats).await.1["published"], 2);
}

#[tokio::test]
async fn a_token_in_the_query_of_the_admin_page_is_ignored() {
    let guarded = Guarded::start(&[]);
    let chief = token("chief", json!({ "*": "admin" }));

    let publish = || {
        guarded
            .call(Method::POST, "hidden-room/messages", &chief)
            .body("x")
    };
    assert_eq!(fetch(publish()).await.0, 201);

    let client = Client::builder()
        .redirect(Policy::none())
        .build()
        .expect("a client");

    let page = guarded.server.url(&format!("/admin?token={chief}"));
    let form = client
        .post(&page)
        .header("origin", guarded.server.url(""))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("act=close&room=hidden-room");
    let acted = answer(form).await;
    let seen = answer(client.get(&page)).await;

    let subprotocol = client
        .get(guarded.server.url("/api/v1/admin/rooms"))
        .header("sec-websocket-protocol", format!("bearer.{chief}"));
    let call = guarded.server.url(&format!(
        "/api/v1/admin/rooms/hidden-room/close?token={chief}"
    ));
    let called = client.post(call).json(&json!({}));

    assert!(!acted.headers().contains_key("location"));

    let html = soon(seen.text()).await.expect("text");
    assert!(html.contains("id=\"enter\""), "{html}");
    assert!(!html.contains("hidden-room"), "{html}");
    assert_eq!(fetch(subprotocol).await.0, 403);
    assert_eq!(fetch(called).await.0, 403);
    assert_eq!(fetch(publish()).await.0, 201, "the room is still open");
}
