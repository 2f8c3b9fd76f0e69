//! `fanfare admin` as a shell runs it.

use serde_json::Value;

use super::{Client, Ended};
use crate::client::{get, publish};
use crate::harness::Server;

/// Runs `fanfare admin` against the ops listener of `server`.
async fn admin(server: &Server, arguments: &[&str]) -> Ended {
    let url = format!("http://{}", server.ops);
    Client::run(&[&["admin"][..], arguments, &["--url", &url]].concat()).await
}

/// Runs `fanfare admin` and returns its output. It must succeed.
async fn output(server: &Server, arguments: &[&str]) -> String {
    let ended = admin(server, arguments).await;
    assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    assert_eq!(ended.stderr, "", "{arguments:?}");
    ended.stdout
}

#[tokio::test]
async fn a_list_is_a_table() {
    let server = Server::start(&[]);
    let _ann = server.join_with("id=ann&room=class").await;

    let filter = ["connections", "--room", "class", "--id", "ann"];
    let table = output(&server, &filter).await;

    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("NUMBER  ID"), "{table}");
    assert!(lines[1].contains("ann  127.0.0.1  class"), "{table}");
}

#[tokio::test]
async fn with_json_a_list_has_an_object_per_line() {
    let server = Server::start(&[]);
    publish(&server, "class", "hello").await;
    publish(&server, "other", "hello").await;

    let json = output(&server, &["rooms", "cl", "--json"]).await;

    let rooms: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(rooms.len(), 1, "{json}");
    assert_eq!(rooms[0]["name"], "class");
    assert_eq!(rooms[0]["head"], 1);
}

#[tokio::test]
async fn a_kicked_connection_is_closed() {
    let server = Server::start(&[]);
    let mut ann = server.join("ann").await;

    let kicked = output(&server, &["kick", "--id", "ann"]).await;

    assert_eq!(kicked, "1 closed\n");
    assert_eq!(ann.close_code().await, 4003);
}

#[tokio::test]
async fn a_message_is_deleted_once() {
    let server = Server::start(&[]);
    publish(&server, "lobby", "oops").await;

    let first = output(&server, &["delete", "lobby", "1"]).await;
    let second = output(&server, &["delete", "lobby", "1"]).await;
    let third = output(&server, &["delete", "lobby", "1", "--json"]).await;

    assert_eq!(first, "deleted\n");
    assert_eq!(second, "it was deleted before\n");
    assert!(third.contains("\"before\":true"), "{third}");
}

#[tokio::test]
async fn bans_and_closed_rooms_are_made_listed_and_lifted() {
    let server = Server::start(&[]);

    let ban = ["ban", "--id", "eve", "--for", "1h", "--reason", "floods"];
    assert_eq!(output(&server, &ban).await, "banned, 0 closed\n");

    let close = output(&server, &["close", "class"]).await;
    assert_eq!(close, "closed, with 0 in it\n");

    let list = output(&server, &["bans"]).await;
    for word in ["eve", "floods", "class"] {
        assert!(list.contains(word), "{word}: {list}");
    }

    let unban = output(&server, &["unban", "--id", "eve"]).await;
    assert_eq!(unban, "lifted\n");
    assert_eq!(output(&server, &["open", "class"]).await, "open\n");
    assert_eq!(output(&server, &["bans"]).await, "");
}

#[tokio::test]
async fn what_the_server_rejects_ends_with_1_and_its_reason() {
    let server = Server::start(&[]);

    for (arguments, reason) in [
        (&["kick", "999"][..], "no connection 999"),
        (&["delete", "lobby", "7"], "no message 7 in lobby"),
        (&["unban", "--id", "eve"], "no such ban"),
    ] {
        let ended = admin(&server, arguments).await;

        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert_eq!(ended.stdout, "");
        assert!(ended.stderr.contains(reason), "{ended:?}");
    }

    let public = format!("http://{}", server.address);
    let refused = Client::run(&["admin", "rooms", "--url", &public]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("--ops-listen"), "{refused:?}");
}

#[tokio::test]
async fn bad_usage_ends_with_2() {
    for arguments in [
        &["admin"][..],
        &["admin", "kick", "x"],
        &["admin", "kick", "7", "--id", "eve"],
        &["admin", "connections", "--address", "here"],
        &["admin", "rooms", "--url", "ftp://x"],
        &["admin", "delete", "lobby", "x"],
        &["admin", "ban", "--id", "eve", "--for", "ever"],
        &["admin", "close", "a b"],
        &["admin", "dance"],
    ] {
        assert_eq!(Client::run(arguments).await.code, Some(2), "{arguments:?}");
    }
}

#[tokio::test]
async fn the_expiry_of_a_room_is_set_and_removed() {
    let server = Server::start(&[]);
    publish(&server, "class", "x").await;

    let idle = output(&server, &["set-room", "class", "--ttl", "7d"]).await;
    let at = ["set-room", "class", "--expires-at", "2030-01-31T12:00:00Z"];
    let dated = output(&server, &at).await;
    let never = output(&server, &["set-room", "class", "--never"]).await;
    let stream = [
        "set-room",
        "class",
        "--content-type",
        "text/plain",
        "--json",
    ];
    let json = output(&server, &stream).await;

    assert!(idle.starts_with("expires at 2"), "{idle}");
    assert!(idle.ends_with(", unless it is used\n"), "{idle}");
    assert_eq!(dated, "expires at 2030-01-31T12:00:00Z\n");
    assert_eq!(never, "does not expire\n");
    assert!(json.contains("\"content_type\":\"text/plain\""), "{json}");

    let nothing = admin(&server, &["set-room", "class"]).await;
    assert_eq!(nothing.code, Some(2), "{nothing:?}");
}

#[tokio::test]
async fn a_room_is_ended_for_ever_and_deleted() {
    let server = Server::start(&[]);
    publish(&server, "class", "x").await;

    assert_eq!(output(&server, &["end", "class"]).await, "ended\n");
    output(&server, &["open", "class"]).await;
    let room = get(&server, "/api/v1/rooms/class").await;
    assert_eq!(room["closed"], true, "only a closing is undone");

    assert_eq!(
        output(&server, &["delete-room", "class"]).await,
        "deleted\n"
    );
    let again = admin(&server, &["delete-room", "class"]).await;
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.stderr.contains("there is no room class"), "{again:?}");
}
