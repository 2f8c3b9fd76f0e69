//! What an operator decides on one node holds on all of them, also on one that was cut off and one that begins later.

use std::fs;
use std::path::Path;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::admin::call;
use crate::client::{Lines, ask, get, publish};
use crate::cluster::proxy::Proxy;
use crate::cluster::{Nats, log, messages, until};
use crate::harness::{Server, soon};
use crate::typed::{self, find, join};

/// Status and code of a publish by `from`.
async fn say(node: &Server, room: &str, from: &str) -> (u16, Value) {
    let url = node.url(&format!("/api/v1/rooms/{room}/messages"));
    let (status, answer) = ask(Client::new()
        .post(url)
        .json(&json!({ "text": "x", "from": from })))
    .await;
    (status, answer["error"]["code"].clone())
}

/// Waits until a publish by `from` is answered so.
async fn becomes(node: &Server, room: &str, from: &str, status: u16) {
    soon(async { while say(node, room, from).await.0 != status {} }).await;
}

#[tokio::test]
async fn whoever_is_kicked_or_banned_on_one_node_is_out_of_all_and_stays_so_over_restarts() {
    let nats = Nats::start().await;
    let [here, there]: [Server; 2] = nats.nodes();
    let mut eve = there.join_with("id=eve&room=class").await;
    let (mut ann, _) = join(&there, "id=ann&room=class").await;
    let (status, answer) = call(
        &here,
        Method::POST,
        "connections/kick",
        json!({ "id": "eve" }),
    )
    .await;
    assert_eq!(
        (status, &answer["kicked"]),
        (200, &json!(0)),
        "none of them is here"
    );
    assert_eq!(eve.close_code().await, 4003);
    let mut eve = there.join_with("id=eve&room=class").await;
    let ban = json!({ "id": "eve", "reason": "floods" });
    let (status, answer) = call(&here, Method::POST, "bans", ban).await;
    assert_eq!(status, 201, "{answer}");
    assert_eq!(eve.close_code().await, 4501);
    assert_eq!(say(&here, "class", "eve").await, (403, json!("banned")));
    becomes(&there, "class", "eve", 403).await;
    let (status, _) = call(&there, Method::POST, "rooms/class/close", json!({})).await;
    assert_eq!((status, ann.close_code().await), (200, 4003));
    becomes(&here, "class", "ann", 403).await;
    // One that begins later knows before anybody comes in.
    let [late]: [Server; 1] = nats.nodes();
    assert_eq!(say(&late, "other", "eve").await, (403, json!("banned")));
    assert_eq!(
        say(&late, "class", "ann").await,
        (403, json!("room_closed"))
    );
    let (_, rules) = call(&late, Method::GET, "bans", json!({})).await;
    assert_eq!(
        (&rules["bans"][0]["reason"], &rules["closed"][0]["room"]),
        (&json!("floods"), &json!("class"))
    );
    // And what is lifted there is lifted on all, and after that too.
    assert_eq!(
        call(&late, Method::DELETE, "bans?id=eve", json!({}))
            .await
            .0,
        200
    );
    assert_eq!(
        call(&late, Method::POST, "rooms/class/open", json!({}))
            .await
            .1["closed"],
        false
    );
    becomes(&here, "class", "eve", 201).await;
    becomes(&there, "class", "eve", 201).await;
    let [last]: [Server; 1] = nats.nodes();
    assert_eq!(say(&last, "class", "eve").await.0, 201);
    assert_eq!(
        call(&last, Method::DELETE, "bans?id=eve", json!({}))
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn a_node_that_was_cut_off_does_what_was_decided_meanwhile_when_it_is_back() {
    let nats = Nats::start().await;
    let proxy = Proxy::before(nats.port).await;
    let [whole]: [Server; 1] = nats.nodes();
    let cut = Nats::node_behind(&proxy).await;
    let (mut ann, _) = join(&cut, "id=ann").await;
    let mut eve = cut.join_with("id=eve").await;
    let mut bob = cut.join_with("id=bob").await;
    let said = publish(&whole, "lobby", "a slip").await;
    assert_eq!(messages(&mut ann, 1).await[0]["offset"], said["offset"]);
    proxy.silence(true);
    until(&cut, 503).await;
    assert_eq!(
        call(&whole, Method::POST, "bans", json!({ "id": "eve" }))
            .await
            .0,
        201
    );
    assert_eq!(
        call(
            &whole,
            Method::POST,
            "connections/kick",
            json!({ "id": "bob" })
        )
        .await
        .0,
        200
    );
    let path = format!("rooms/lobby/messages/{}", said["offset"]);
    assert_eq!(call(&whole, Method::DELETE, &path, json!({})).await.0, 200);
    // What cannot be kept for all is not done here either, and says so.
    let (status, answer) = call(&cut, Method::POST, "bans", json!({ "id": "ann" })).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (503, &json!("not_kept")),
        "{answer}"
    );
    let (status, answer) = call(&cut, Method::DELETE, &path, json!({})).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (503, &json!("store_unavailable")),
        "{answer}"
    );
    proxy.silence(false);
    assert_eq!(eve.close_code().await, 4501);
    while bob.text_or_end().await.is_some() {}
    assert_eq!(find(&mut ann, "deleted").await["offset"], said["offset"]);
    until(&cut, 200).await;
    assert_eq!(say(&cut, "lobby", "eve").await, (403, json!("banned")));
    assert_eq!(say(&cut, "lobby", "bob").await.0, 201, "a kick is no ban");
}

#[tokio::test]
async fn a_deleted_message_is_gone_on_every_node_and_in_the_files_of_nats_and_its_place_is_not() {
    let nats = Nats::start().await;
    let [here, there]: [Server; 2] = nats.nodes();
    let (mut ann, _) = join(&here, "id=ann").await;
    let (mut bob, _) = join(&there, "id=bob").await;
    const SECRET: &str = "the secret of the stream";
    for (key, text) in [("k1", "one"), ("k2", SECRET), ("k3", "three")] {
        typed::say(&mut ann, text, Some(key)).await;
        find(&mut ann, "ack").await;
    }
    let heard = messages(&mut bob, 3).await;
    let (one, secret) = (heard[0]["offset"].clone(), heard[1]["offset"].clone());
    assert!(
        holds(nats.folder.path(), SECRET),
        "it is in the files before"
    );
    let path = format!("rooms/lobby/messages/{secret}");
    let both = futures::join!(
        call(&there, Method::DELETE, &path, json!({})),
        call(&here, Method::DELETE, &path, json!({}))
    );
    let before = [&both.0, &both.1].map(|(status, answer)| (*status, answer["before"].clone()));
    assert!(
        before.contains(&(200, json!(false))) && before.iter().all(|(status, _)| *status == 200),
        "{both:?}"
    );
    for peer in [&mut ann, &mut bob] {
        assert_eq!(find(peer, "deleted").await["offset"], secret);
    }
    assert!(
        !holds(nats.folder.path(), SECRET),
        "its bytes are written over"
    );
    let kept = log(&here, "lobby").await;
    assert_eq!(
        (kept.len(), &kept[1]["deleted"], kept[1].get("text")),
        (3, &json!(true), None),
        "{kept:?}"
    );
    assert_eq!(
        (&kept[1]["from"], &kept[1]["key"]),
        (&json!("ann"), &json!("k2"))
    );
    assert_eq!(log(&there, "lobby").await, kept);
    // A node that begins later reads the same from the stream alone, and whoever resumes there misses nothing.
    let [late]: [Server; 1] = nats.nodes();
    assert_eq!(log(&late, "lobby").await, kept);
    let (mut back, welcome) = join(&late, &format!("id=back&after={one}")).await;
    assert_eq!(welcome["recovery"], "resumed");
    let missed = messages(&mut back, 2).await;
    assert_eq!(
        (&missed[0]["deleted"], &missed[1]["text"]),
        (&json!(true), &json!("three"))
    );
    assert_eq!(
        call(&late, Method::DELETE, &path, json!({})).await.1["before"],
        true
    );
    // The key is still known, and a number of another room is none of this one.
    typed::say(&mut ann, SECRET, Some("k2")).await;
    let ack = find(&mut ann, "ack").await;
    assert_eq!((&ack["offset"], &ack["duplicate"]), (&secret, &json!(true)));
    publish(&here, "other", "elsewhere").await;
    let elsewhere = get(&here, "/api/v1/rooms/other/messages").await["head"].clone();
    let path = format!("rooms/lobby/messages/{elsewhere}");
    assert_eq!(call(&here, Method::DELETE, &path, json!({})).await.0, 404);
}

#[tokio::test]
async fn a_room_whose_newest_and_oldest_were_deleted_stands_where_it_stood() {
    let nats = Nats::start().await;
    let [here]: [Server; 1] = nats.nodes();
    let first = publish(&here, "lobby", "first").await["offset"].clone();
    assert_eq!(
        call(
            &here,
            Method::DELETE,
            &format!("rooms/lobby/messages/{first}"),
            json!({})
        )
        .await
        .0,
        200
    );
    let [there]: [Server; 1] = nats.nodes();
    let (mut ann, welcome) = join(&there, "id=ann&after=0").await;
    assert_eq!((&welcome["head"], &welcome["first"]), (&first, &first));
    assert_eq!(messages(&mut ann, 1).await[0]["deleted"], true);
    let second = publish(&there, "lobby", "second").await["offset"].clone();
    let heard = messages(&mut ann, 1).await.remove(0);
    assert_eq!((&heard["offset"], &heard["prev"]), (&second, &first));
    let [late]: [Server; 1] = nats.nodes();
    for node in [&here, &there, &late] {
        let kept = log(node, "lobby").await;
        assert_eq!(kept.len(), 2, "{kept:?}");
        assert_eq!(
            (&kept[0]["deleted"], &kept[1]["text"]),
            (&json!(true), &json!("second"))
        );
    }
    let mut lines = Lines::open(&late, "after=0").await;
    assert_eq!(
        (
            lines.next().await["offset"].clone(),
            lines.next().await["offset"].clone()
        ),
        (first, second)
    );
}

/// Whether any file under `folder` holds `words`.
fn holds(folder: &Path, words: &str) -> bool {
    fs::read_dir(folder).expect("a folder").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return holds(&path, words);
        }
        // One that is gone meanwhile holds nothing.
        let bytes = fs::read(&path).unwrap_or_default();
        bytes
            .windows(words.len())
            .any(|window| window == words.as_bytes())
    })
}
