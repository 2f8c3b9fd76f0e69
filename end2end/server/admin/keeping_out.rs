//! Bans and closed rooms: who is kept out, of what, how it is told, and that a restart forgives nobody.

use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::{call, each, list};
use crate::client::{Lines, ask, get, publish};
use crate::harness::{Server, soon};
use crate::metrics::until;
use crate::typed::{join, next};

async fn ban(server: &Server, body: Value) -> Value {
    let (status, answer) = call(server, Method::POST, "bans", body).await;
    assert_eq!(status, 201, "{answer}");
    answer
}

/// What a typed client is told that is turned away: the words, and the close code.
async fn turned_away(server: &Server, query: &str) -> (String, u16) {
    let mut peer = server
        .try_join(query, &[("sec-websocket-protocol", "fanfare.v1")])
        .await
        .expect("it is opened, to be told why");
    let error = next(&mut peer, "error").await;
    assert_eq!(
        (&error["code"], &error["retry"]),
        (&json!("not_allowed"), &json!(false)),
        "{error}"
    );
    (
        error["message"].as_str().expect("words").to_owned(),
        peer.close_code().await,
    )
}

/// Status and code of a publish in `room` by `from`.
async fn say(server: &Server, room: &str, from: &str) -> (u16, Value) {
    let url = server.url(&format!("/api/v1/rooms/{room}/messages"));
    let (status, answer) = ask(Client::new()
        .post(url)
        .json(&json!({ "text": "x", "from": from })))
    .await;
    (status, answer["error"]["code"].clone())
}

#[tokio::test]
async fn a_banned_id_is_out_at_once_and_is_told_why_wherever_it_comes_back() {
    let server = Server::start(&[]);
    let mut eve = server.join_with("id=eve&room=class").await;
    let (_ann, _) = join(&server, "id=ann&room=class").await;
    let answer = ban(
        &server,
        json!({ "id": "eve", "seconds": 3600, "reason": "floods" }),
    )
    .await;
    assert_eq!(
        (&answer["kicked"], &answer["ban"]["id"]),
        (&json!(1), &json!("eve")),
        "{answer}"
    );
    assert_eq!(eve.close_code().await, 4501);
    assert_eq!(
        server
            .join_with("id=eve&room=other")
            .await
            .close_code()
            .await,
        4501,
        "plain, in any room"
    );
    let (words, code) = turned_away(&server, "id=eve").await;
    assert!(
        code == 4501 && words.contains("banned until") && words.ends_with(": floods"),
        "{words}"
    );
    assert_eq!(say(&server, "class", "eve").await, (403, json!("banned")));
    let stream = Client::new().get(server.url("/api/v1/rooms/class/stream?id=eve"));
    assert_eq!(ask(stream).await.1["error"]["code"], "banned");
    assert_eq!(say(&server, "class", "ann").await.0, 201);
    let bans = list(&server, "bans").await;
    assert_eq!(each(&bans["bans"], "reason"), ["floods"]);
    let (status, lifted) = call(&server, Method::DELETE, "bans?id=eve", json!({})).await;
    assert_eq!((status, lifted), (200, json!({ "lifted": true })));
    assert_eq!(
        call(&server, Method::DELETE, "bans?id=eve", json!({}))
            .await
            .0,
        404
    );
    assert_eq!(say(&server, "class", "eve").await.0, 201);
    until(&server, "fanfare_admin_acts_total{act=\"ban\"}", 1).await;
    until(
        &server,
        "fanfare_requests_refused_total{code=\"banned\"}",
        2,
    )
    .await;
}

#[tokio::test]
async fn a_banned_address_is_out_of_everything_and_a_ban_in_one_room_is_not_one_in_another() {
    let server = Server::start(&["--trusted-proxy", "127.0.0.0/8"]);
    publish(&server, "class", "a secret").await;
    ban(&server, json!({ "address": "2001:db8::1" })).await;
    ban(&server, json!({ "address": "192.0.2.1", "room": "class" })).await;
    for (address, path, status) in [
        ("2001:db8::2", "/api/v1/rooms/lobby/messages", 403),
        ("2001:db8::2", "/api/v1/rooms/lobby/presence", 403),
        ("2001:db8:0:1::2", "/api/v1/rooms/lobby/messages", 200),
        ("192.0.2.1", "/api/v1/rooms/class/messages", 403),
        ("192.0.2.1", "/api/v1/rooms/lobby/messages", 200),
        ("192.0.2.2", "/api/v1/rooms/class/messages", 200),
    ] {
        let request = Client::new()
            .get(server.url(path))
            .header("x-forwarded-for", address);
        assert_eq!(ask(request).await.0, status, "{path} from {address}");
    }
    // The page comes, without what was said: it is where someone reads that the connection is not allowed.
    for (address, is_there) in [("192.0.2.1", false), ("192.0.2.2", true)] {
        let page = Client::new()
            .get(server.url("/r/class"))
            .header("x-forwarded-for", address);
        let html = soon(soon(page.send()).await.expect("an answer").text())
            .await
            .expect("text");
        assert_eq!(html.contains("a secret"), is_there, "{address}");
    }
}

#[tokio::test]
async fn what_operators_decided_survives_a_kill() {
    let data = tempfile::tempdir().expect("a folder");
    for store in ["sqlite:fanfare.db", "memory"] {
        let server = Server::start_in(data.path(), &["--store", store]);
        ban(&server, json!({ "id": "eve" })).await;
        call(
            &server,
            Method::POST,
            "rooms/class/close",
            json!({ "reason": "over" }),
        )
        .await;
        server.signal("KILL");
        drop(server.end().await);
        let server = Server::start_in(data.path(), &["--store", store]);
        assert_eq!(
            say(&server, "lobby", "eve").await,
            (403, json!("banned")),
            "{store}"
        );
        assert_eq!(
            say(&server, "class", "ann").await,
            (403, json!("room_closed")),
            "{store}"
        );
        let bans = list(&server, "bans").await;
        assert_eq!(each(&bans["bans"], "id"), ["eve"], "{store}");
        assert_eq!(each(&bans["closed"], "reason"), ["over"], "{store}");
    }
    std::fs::write(data.path().join("moderation.json"), "{").expect("written");
    let ended = crate::harness::program()
        .args(["--listen", "127.0.0.1:0", "--ops-listen", "off", "--data"])
        .arg(data.path())
        .output()
        .expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(
        ended.status.code() == Some(1) && said.contains("moderation.json"),
        "{said}"
    );
}

#[tokio::test]
async fn a_closed_room_is_left_by_all_entered_by_none_and_may_be_read_and_opened() {
    let server = Server::start(&[]);
    publish(&server, "class", "kept").await;
    let mut ann = server.join_with("id=ann&room=class").await;
    let (mut bob, _) = join(&server, "id=bob&room=class").await;
    let _other = server.join_with("id=ann&room=other").await;
    let (_, door) = call(
        &server,
        Method::POST,
        "rooms/class/close",
        json!({ "reason": "the hour is over" }),
    )
    .await;
    assert_eq!(
        door,
        json!({ "room": "class", "closed": true, "kicked": 2 })
    );
    assert_eq!(
        (ann.close_code().await, bob.close_code().await),
        (4003, 4003)
    );
    let (words, code) = turned_away(&server, "id=bob&room=class").await;
    assert!(
        code == 4501 && words.contains("closed") && words.ends_with(": the hour is over"),
        "{words}"
    );
    assert_eq!(
        say(&server, "class", "ann").await,
        (403, json!("room_closed"))
    );
    assert_eq!(say(&server, "other", "ann").await.0, 201);
    assert_eq!(
        get(&server, "/api/v1/rooms/class/messages").await["messages"][0]["text"],
        "kept"
    );
    assert_eq!(
        list(&server, "rooms?prefix=class").await["rooms"][0]["closed"],
        json!(true)
    );
    let (_, door) = call(&server, Method::POST, "rooms/class/open", json!({})).await;
    assert_eq!(door["closed"], json!(false));
    assert_eq!(say(&server, "class", "ann").await.0, 201);
    let (_back, welcome) = join(&server, "id=ann&room=class&after=0").await;
    assert_eq!(
        welcome["head"],
        json!(2),
        "nothing was lost, and nothing stored while it was closed"
    );
}

#[tokio::test]
async fn a_ban_that_says_too_little_or_too_much_is_refused() {
    let server = Server::start(&[]);
    for body in [
        json!({}),
        json!({ "room": "class" }),
        json!({ "id": "eve", "address": "192.0.2.1" }),
        json!({ "id": "eve", "seconds": 0 }),
        json!({ "id": "eve", "reason": "two\nlines" }),
        json!({ "id": "eve", "reason": "x".repeat(201) }),
        json!({ "id": "eve", "for": "1h" }),
        json!({ "address": "here" }),
    ] {
        let (status, answer) = call(&server, Method::POST, "bans", body.clone()).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (422, &json!("bad_body")),
            "{body}"
        );
    }
    for query in [
        "",
        "?id=eve&address=192.0.2.1",
        "?address=here",
        "?room=A&id=eve",
    ] {
        assert_eq!(
            call(&server, Method::DELETE, &format!("bans{query}"), json!({}))
                .await
                .0,
            400,
            "{query}"
        );
    }
    assert_eq!(
        list(&server, "bans").await,
        json!({ "bans": [], "closed": [] })
    );
    let _lines = Lines::open(&server, "id=eve").await;
}
