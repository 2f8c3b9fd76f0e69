//! Signals and states of clients with tokens.

use reqwest::Method;
use serde_json::json;

use super::{Guarded, token};
use crate::client::fetch;
use crate::presence::set_state;
use crate::signals::signal;
use crate::typed::{join, next};

#[tokio::test]
async fn a_token_without_the_right_to_write_allows_neither_signals_nor_states() {
    let guarded = Guarded::start(&[]);
    let ann = token("ann", json!({ "lobby": "r" }));
    let (mut reader, _) = join(&guarded.server, &format!("token={ann}")).await;

    signal(&mut reader, "typing", json!(1)).await;
    let of_signal = next(&mut reader, "error").await;
    set_state(&mut reader, json!(1)).await;
    let of_state = next(&mut reader, "error").await;
    let request = guarded.call(Method::POST, "lobby/signals", &ann);
    let over_http = fetch(request.json(&json!({ "kind": "k", "json": 1 }))).await;

    for error in [of_signal, of_state] {
        assert_eq!(error["code"], "not_allowed");
        assert_eq!(error["room"], "lobby");
    }
    assert_eq!(over_http.0, 403);
    assert_eq!(over_http.1["error"]["code"], "not_allowed");
}

#[tokio::test]
async fn a_token_that_only_writes_allows_signals_from_its_sub() {
    let guarded = Guarded::start(&[]);
    let job = token("job", json!({ "lobby": "w" }));
    let ann = token("ann", json!({ "lobby": "r" }));
    let (mut reader, _) = join(&guarded.server, &format!("token={ann}")).await;
    let post = async |body| {
        fetch(
            guarded
                .call(Method::POST, "lobby/signals", &job)
                .json(&body),
        )
        .await
    };

    let own = post(json!({ "kind": "progress", "json": 50 })).await;
    let other = post(json!({ "kind": "progress", "json": 50, "from": "ann" })).await;

    assert_eq!(own.0, 202);
    assert_eq!(next(&mut reader, "signal").await["from"], "job");
    assert_eq!(other.0, 403);
}
