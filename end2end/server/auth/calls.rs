//! Tokens over HTTP: their validity and their grants.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use super::{Guarded, SECRET, claims, sign, token, unix_seconds};
use crate::client::{fetch, publish};
use crate::eventually::{eventually, soon};
use crate::harness::Server;

/// The calls of the API in a room, each with the right that it needs.
const CALLS: [(Method, &str, &str); 4] = [
    (Method::GET, "messages", "r"),
    (Method::POST, "messages", "w"),
    (Method::GET, "presence", "r"),
    (Method::GET, "stream", "r"),
];

/// Sends `request`; returns the status, the `WWW-Authenticate` header and the error code, which is empty on success.
async fn answer(request: reqwest::RequestBuilder) -> (u16, String, String) {
    let response = soon(request.send()).await.expect("an answer");
    let status = response.status();
    let challenge = response
        .headers()
        .get("www-authenticate")
        .map_or("", |value| value.to_str().expect("text"));
    let challenge = challenge.to_owned();

    if status == StatusCode::OK || status == StatusCode::CREATED {
        return (status.as_u16(), challenge, String::new());
    }

    let body: Value = soon(response.json()).await.expect("JSON");
    (
        status.as_u16(),
        challenge,
        body["error"]["code"].as_str().expect("a code").to_owned(),
    )
}

#[tokio::test]
async fn every_call_without_a_valid_token_is_401_with_an_rfc_6750_challenge() {
    let guarded = Guarded::start(&[]);

    for (method, path, _) in CALLS {
        let (status, challenge, code) = answer(
            guarded
                .call(method.clone(), &format!("lobby/{path}"), "")
                .body("x"),
        )
        .await;
        assert_eq!(status, 401, "{method} {path}");
        assert_eq!(code, "no_token", "{method} {path}");
        assert_eq!(challenge, "Bearer realm=\"fanfare\"", "{method} {path}");

        let bad = guarded
            .call(method.clone(), &format!("lobby/{path}"), "a.b.c")
            .body("x");
        let (status, challenge, code) = answer(bad).await;
        assert_eq!(status, 401, "{method} {path}");
        assert_eq!(code, "bad_token", "{method} {path}");
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    }
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let guarded = Guarded::start(&[]);
    let good = claims("ann", json!({"*": "admin"}));
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = |header: Value| format!("{}.{}.", part(&header), part(&good));

    let signed_by = |secret: &str, header: &Header| {
        encode(header, &good, &EncodingKey::from_secret(secret.as_bytes())).expect("a token")
    };
    let genuine = sign(&good);
    let (head, signature) = genuine.rsplit_once('.').expect("three parts");
    let (header, _) = head.split_once('.').expect("three parts");
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        sign(&claims)
    };

    for (what, forged) in [
        ("alg none", unsigned(json!({"alg": "none", "typ": "JWT"}))),
        ("alg nOnE", unsigned(json!({"alg": "nOnE"}))),
        (
            "alg HS256 without a signature",
            unsigned(json!({"alg": "HS256"})),
        ),
        (
            "another secret",
            signed_by("another secret, which is just as long", &Header::default()),
        ),
        ("an empty secret", signed_by("", &Header::default())),
        (
            "another algorithm of the same secret",
            signed_by(SECRET, &Header::new(Algorithm::HS384)),
        ),
        (
            "other claims under a genuine signature",
            format!("{header}.{}.{signature}", part(&json!({"sub": "eve"}))),
        ),
        ("no signature", head.to_owned()),
        ("expired", with("exp", (unix_seconds() - 60).into())),
        ("not yet valid", with("nbf", (unix_seconds() + 60).into())),
        ("no end", with("exp", Value::Null)),
        ("no sub", with("sub", Value::Null)),
        ("a sub that is no id", with("sub", "a\nb".into())),
        ("another audience", with("aud", "elsewhere".into())),
        (
            "rooms that are none",
            with("rooms", json!({"a room": "rw"})),
        ),
    ] {
        let (status, _, code) = answer(guarded.call(Method::GET, "lobby/messages", &forged)).await;
        assert_eq!(status, 401, "{what}");
        assert_eq!(code, "bad_token", "{what}");
    }

    assert_eq!(
        answer(guarded.call(Method::GET, "lobby/messages", &genuine))
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn a_token_allows_only_what_it_grants() {
    let guarded = Guarded::start(&[]);
    let token = token(
        "ann",
        json!({"lobby": "rw", "class-*": "r", "drop-box": "w"}),
    );

    for (room, rights) in [
        ("lobby", "rw"),
        ("class-7b", "r"),
        ("class", ""),
        ("drop-box", "w"),
        ("drop-box2", ""),
        ("other", ""),
    ] {
        for (method, path, right) in CALLS {
            let request = guarded
                .call(method.clone(), &format!("{room}/{path}"), &token)
                .body("x");

            let (status, challenge, code) = answer(request).await;

            if rights.contains(right) {
                assert!(status < 300, "{method} {room}/{path}: {status}");
            } else {
                assert_eq!(status, 403, "{method} {room}/{path}");
                assert_eq!(code, "not_allowed", "{method} {room}/{path}");
                assert!(
                    challenge.contains("error=\"insufficient_scope\""),
                    "{challenge}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_publish_is_always_from_the_sub_of_its_token() {
    let guarded = Guarded::start(&[]);
    let token = token("ann", json!({"lobby": "rw"}));

    let publish = || guarded.call(Method::POST, "lobby/messages", &token);
    assert_eq!(answer(publish().body("one")).await.0, 201);
    assert_eq!(
        answer(publish().json(&json!({"text": "two", "from": "ann"})))
            .await
            .0,
        201
    );

    let (status, _, code) = answer(publish().json(&json!({"text": "three", "from": "bob"}))).await;
    assert_eq!(status, 403);
    assert_eq!(code, "not_allowed");

    let lines = "{\"text\":\"four\"}\n{\"text\":\"five\",\"from\":\"bob\"}";
    let batch = publish()
        .header("content-type", "application/x-ndjson")
        .body(lines);
    assert_eq!(answer(batch).await.0, 403, "all of a batch or nothing");

    let (_, history) = fetch(guarded.call(Method::GET, "lobby/messages", &token)).await;
    let messages: Vec<_> = history["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .collect();

    let messages: Vec<_> = messages
        .iter()
        .map(|message| (&message["from"], &message["text"]))
        .collect();
    assert_eq!(
        messages,
        [
            (&json!("ann"), &json!("one")),
            (&json!("ann"), &json!("two"))
        ]
    );

    let other = guarded.call(Method::GET, "lobby/stream?id=bob", &token);
    assert_eq!(answer(other).await.2, "not_allowed");
}

#[tokio::test]
async fn a_sender_deletes_its_own_messages_and_no_others() {
    let guarded = Guarded::start(&[]);
    let ann = token("ann", json!({"lobby": "rw"}));
    let bob = token("bob", json!({"lobby": "rw"}));
    let publish = guarded.call(Method::POST, "lobby/messages", &ann);
    assert_eq!(answer(publish.body("secret")).await.0, 201);

    let delete = |offset: &str, token: &str| {
        guarded.call(Method::DELETE, &format!("lobby/messages/{offset}"), token)
    };
    let (status, _, code) = answer(delete("1", &bob)).await;
    assert_eq!((status, code.as_str()), (403, "not_allowed"));

    let (status, _, code) = answer(delete("2", &ann)).await;
    assert_eq!((status, code.as_str()), (404, "no_such_message"));

    let first = fetch(delete("1", &ann)).await;
    let again = fetch(delete("1", &ann)).await;

    assert_eq!(
        first,
        (200, json!({"room": "lobby", "offset": 1, "before": false}))
    );
    assert_eq!(
        again,
        (200, json!({"room": "lobby", "offset": 1, "before": true}))
    );

    let (_, history) = fetch(guarded.call(Method::GET, "lobby/messages", &ann)).await;
    assert_eq!(history["messages"][0]["deleted"], true);
    assert_eq!(history["messages"][0]["text"], Value::Null);
}

#[tokio::test]
async fn a_message_cannot_be_deleted_by_its_sender_where_ids_are_not_verified() {
    let server = Server::start(&[]);
    publish(&server, "lobby", "mine").await;

    let url = server.url("/api/v1/rooms/lobby/messages/1");
    let (status, answer) = fetch(Client::new().delete(url)).await;

    assert_eq!(status, 403);
    let message = answer["error"]["message"].as_str().expect("a message");
    assert!(message.contains("--auth-key-file"), "{message}");
}

#[tokio::test]
async fn a_token_is_accepted_in_the_query_but_not_twice() {
    let guarded = Guarded::start(&[]);
    let token = token("ann", json!({"lobby": "r"}));

    let in_query = format!("lobby/messages?token={token}");
    assert_eq!(
        answer(guarded.call(Method::GET, &in_query, "")).await.0,
        200
    );

    let (status, challenge, code) = answer(guarded.call(Method::GET, &in_query, &token)).await;
    assert_eq!(status, 400);
    assert_eq!(code, "several_tokens");
    assert!(
        challenge.contains("error=\"invalid_request\""),
        "{challenge}"
    );
}

#[tokio::test]
async fn anonymous_readers_read_every_room_and_write_in_none() {
    let guarded = Guarded::start(&["--anonymous", "read"]);

    for (method, path, right) in CALLS {
        let (status, _, code) = answer(
            guarded
                .call(method.clone(), &format!("lobby/{path}"), "")
                .body("x"),
        )
        .await;

        if right == "r" {
            assert_eq!(status, 200, "{method} {path}");
        } else {
            assert_eq!(status, 401, "{method} {path}");
            assert_eq!(code, "no_token", "{method} {path}");
        }
    }

    let named = guarded.call(Method::GET, "lobby/stream?id=ann", "");
    assert_eq!(
        answer(named).await.2,
        "not_allowed",
        "an anonymous reader has no id"
    );

    let bad = guarded.call(Method::GET, "lobby/messages", "a.b.c");
    assert_eq!(
        answer(bad).await.2,
        "bad_token",
        "a bad token is not treated as none"
    );
}

#[tokio::test]
async fn the_page_is_public_and_its_messages_need_the_right_to_read() {
    let guarded = Guarded::start(&[]);
    let token = token("ann", json!({"lobby": "rw"}));

    let messages = guarded
        .call(Method::POST, "lobby/messages", &token)
        .body("only for readers");
    assert_eq!(answer(messages).await.0, 201);

    let page = async |token: Option<&str>, path: &str| {
        let request = Client::new().get(guarded.server.url(path));
        let request = token.map_or_else(
            || request.try_clone().expect("no body"),
            |token| request.try_clone().expect("no body").bearer_auth(token),
        );

        let response = soon(request.send()).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK, "{path}");

        soon(response.text())
            .await
            .expect("text")
            .contains("only for readers")
    };

    for path in ["/", "/r/lobby"] {
        assert!(!page(None, path).await, "{path}");
        assert!(page(Some(&token), path).await, "{path}");
    }

    let form = Client::new()
        .post(guarded.server.url("/r/lobby"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("text=x&from=ann");
    let refused = soon(form.send()).await.expect("an answer");
    assert_eq!(refused.status().as_u16(), 403);

    let page = soon(refused.text()).await.expect("text");
    assert!(page.contains("you may only read here"), "{page}");
}

#[tokio::test]
async fn a_verified_id_has_one_rate_for_all_addresses() {
    let rates = [
        "--message-rate",
        "1000",
        "--id-rate",
        "1/s",
        "--id-burst",
        "2",
    ];
    let guarded = Guarded::start(&[&rates[..], &["--trusted-proxy", "127.0.0.1"]].concat());
    let post = async |token: &str, host: u16| {
        let request = guarded.call(Method::POST, "lobby/messages", token);
        fetch(
            request
                .header("x-forwarded-for", format!("2001:db8:0:{host:x}::1"))
                .body("x"),
        )
        .await
    };

    let ann = token("ann", json!({"lobby": "rw"}));
    let bob = token("bob", json!({"lobby": "rw"}));
    let mut hosts = 0..;
    let (status, answer) = eventually(
        async || post(&ann, hosts.next().expect("another")).await,
        |(status, _)| *status != 201,
    )
    .await;
    assert_eq!(status, 429);
    assert_eq!(answer["error"]["code"], "rate_limited");

    assert_eq!(post(&bob, 1).await.0, 201);
}

#[tokio::test]
async fn admins_of_rooms_are_exempt_from_the_room_rate() {
    let guarded = Guarded::start(&["--message-rate", "1000", "--room-rate", "1/d"]);
    let [admin, member] = ["admin", "rw"].map(|access| token("ann", json!({"class-*": access})));

    let publish = async |room: &str, token: &str| {
        let call = guarded.call(Method::POST, &format!("{room}/messages"), token);
        answer(call.body("x")).await.0
    };
    assert_eq!(publish("class-1", &member).await, 201);
    assert_eq!(publish("class-2", &member).await, 429);
    assert_eq!(publish("class-2", &admin).await, 201);
    assert_eq!(publish("class-3", &admin).await, 201);
    assert_eq!(publish("class-3", &member).await, 201, "it exists");
}

#[tokio::test]
async fn only_rooms_that_the_token_may_read_are_listed() {
    let guarded = Guarded::start(&[]);
    let writer = token("ann", json!({"*": "rw"}));
    for room in ["lobby", "class-1", "class-2", "staff", "post-box"] {
        let publish = guarded.call(Method::POST, &format!("{room}/messages"), &writer);
        assert_eq!(fetch(publish.body("x")).await.0, 201);
    }

    let list = async |token: &str, query: &str| {
        let url = guarded.server.url(&format!("/api/v1/rooms?{query}"));
        let (status, list) = fetch(Client::new().get(url).bearer_auth(token)).await;
        assert_eq!(status, 200);
        let rooms = list["rooms"].as_array().expect("a list").clone();
        let names = rooms
            .iter()
            .map(|room| room["room"].as_str().expect("a name").to_owned());
        (names.collect::<Vec<_>>(), list["more"] == true)
    };

    let student = token(
        "bob",
        json!({"class-*": "r", "lobby": "rw", "post-box": "w"}),
    );
    let readable = ["class-1", "class-2", "lobby"].map(str::to_owned);
    assert_eq!(list(&student, "").await, (readable.to_vec(), false));
    assert_eq!(
        list(&student, "after=class-1&limit=1").await,
        (vec!["class-2".to_owned()], true)
    );
    assert_eq!(
        list(&student, "after=class-2&limit=1").await,
        (vec!["lobby".to_owned()], false)
    );
    assert!(list(&token("eve", json!({})), "").await.0.is_empty());

    let url = guarded.server.url("/api/v1/rooms");
    let (status, answer) = fetch(Client::new().get(url)).await;
    assert_eq!(
        (status, answer["error"]["code"].as_str()),
        (401, Some("no_token"))
    );
}

#[tokio::test]
async fn a_stream_of_rooms_needs_the_right_to_read_each_of_them() {
    let guarded = Guarded::start(&[]);
    let student = token("bob", json!({"class-*": "r", "lobby": "rw", "box": "w"}));
    let follow = async |query: &str, token: &str| {
        let url = guarded.server.url(&format!("/api/v1/stream?{query}"));
        let request = Client::new().get(url).bearer_auth(token);
        soon(request.send()).await.expect("an answer")
    };

    for query in ["room=lobby&room=class-*", "room=class-1*&room=class-2"] {
        let status = follow(query, &student).await.status().as_u16();
        assert_eq!(status, 200, "{query}");
    }

    for (query, room) in [
        ("room=lobby&room=box", "box"),
        ("room=class-*&room=cl*", "cl*"),
        ("room=*", "*"),
        ("room=staff&room=lobby", "staff"),
    ] {
        let refused = follow(query, &student).await;
        assert_eq!(refused.status().as_u16(), 403, "{query}");
        let answer: Value = soon(refused.json()).await.expect("JSON");
        let message = answer["error"]["message"].as_str().expect("text");
        assert!(message.ends_with(&format!("on room {room}")), "{message}");
    }
}
