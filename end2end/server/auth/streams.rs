//! The rights that each method of a stream needs.

use reqwest::{Client, Method};
use serde_json::json;

use super::{Guarded, token};
use crate::eventually::soon;

/// Sends a request about the stream `name` with `token`, and returns the status.
async fn status(guarded: &Guarded, method: Method, name: &str, token: &str, is_end: bool) -> u16 {
    let url = guarded.server.url(&format!("/streams/{name}"));
    let mut request = Client::new().request(method, url);
    request = if is_end {
        request.header("stream-closed", "true")
    } else {
        request.header("content-type", "text/plain").body("x")
    };
    let response = soon(request.bearer_auth(token).send()).await;
    response.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn readers_read_writers_write_and_end_what_was_created_and_admins_end_any_room() {
    let guarded = Guarded::start(&[]);
    let [reader, writer, admin] =
        ["r", "rw", "admin"].map(|rights| token("ann", json!({ "s": rights, "plain": rights })));
    let publish = guarded.call(Method::POST, "plain/messages", &writer);
    let published = soon(publish.body("hello").send()).await;
    assert_eq!(published.expect("an answer").status().as_u16(), 201);

    for (method, name, token, is_end, expected) in [
        (Method::PUT, "s", &reader, false, 403),
        (Method::PUT, "s", &writer, false, 201),
        (Method::PUT, "other", &writer, false, 403),
        (Method::GET, "s", &reader, false, 200),
        (Method::HEAD, "s", &reader, false, 200),
        (Method::POST, "s", &reader, false, 403),
        (Method::POST, "s", &writer, false, 204),
        (Method::POST, "s", &writer, true, 204),
        (Method::DELETE, "s", &reader, false, 403),
        (Method::DELETE, "s", &writer, false, 204),
        (Method::POST, "plain", &writer, true, 403),
        (Method::POST, "plain", &admin, true, 204),
        (Method::DELETE, "plain", &writer, false, 403),
        (Method::DELETE, "plain", &admin, false, 204),
    ] {
        let found = status(&guarded, method.clone(), name, token, is_end).await;
        assert_eq!(found, expected, "{method} {name}, end: {is_end}");
    }
}
