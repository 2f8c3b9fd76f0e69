//! `fanfare admin` as a shell runs it.

use serde_json::Value;

use super::Client;
use crate::client::publish;
use crate::harness::Server;

/// Runs `fanfare admin` against the ops listener of `server`.
async fn admin(server: &Server, arguments: &[&str]) -> (Option<i32>, String, String) {
    let url = format!("http://{}", server.ops);
    let arguments: Vec<&str> = ["admin"]
        .iter()
        .chain(arguments)
        .copied()
        .chain(["--url", &url])
        .collect();
    let ended = Client::run(&arguments).await;
    (ended.code, ended.stdout, ended.stderr)
}

#[tokio::test]
async fn lists_are_tables_for_people_and_objects_for_scripts() {
    let server = Server::start(&[]);
    let _ann = server.join_with("id=ann&room=class").await;
    publish(&server, "class", "hello").await;
    let (code, table, said) =
        admin(&server, &["connections", "--room", "class", "--id", "ann"]).await;
    assert_eq!((code, said.as_str()), (Some(0), ""), "{table}");
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("NUMBER  ID") && lines[1].contains("ann  127.0.0.1  class"),
        "{table}"
    );
    let (code, json, _) = admin(&server, &["rooms", "--json"]).await;
    let rooms: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!((code, rooms.len()), (Some(0), 1), "{json}");
    assert_eq!(
        (&rooms[0]["name"], &rooms[0]["head"]),
        (&"class".into(), &1.into())
    );
}

#[tokio::test]
async fn a_connection_is_kicked_and_what_fails_says_why() {
    let server = Server::start(&[]);
    let mut ann = server.join("ann").await;
    let (code, out, _) = admin(&server, &["kick", "--id", "ann"]).await;
    assert_eq!((code, out.as_str()), (Some(0), "1 closed\n"));
    assert_eq!(ann.close_code().await, 4003);
    let (code, out, said) = admin(&server, &["kick", "999"]).await;
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(said.contains("no connection 999"), "{said}");
    publish(&server, "lobby", "oops").await;
    let (code, out, _) = admin(&server, &["delete", "lobby", "1"]).await;
    assert_eq!((code, out.as_str()), (Some(0), "deleted\n"));
    let (code, out, _) = admin(&server, &["delete", "lobby", "1", "--json"]).await;
    assert_eq!(
        (code, out.contains("\"before\":true")),
        (Some(0), true),
        "{out}"
    );
    let (code, _, said) = admin(&server, &["delete", "lobby", "7"]).await;
    assert!(
        code == Some(1) && said.contains("no message 7 in lobby"),
        "{said}"
    );
    let (code, out, _) = admin(
        &server,
        &["ban", "--id", "eve", "--for", "1h", "--reason", "floods"],
    )
    .await;
    assert_eq!((code, out.as_str()), (Some(0), "banned, 0 closed\n"));
    let (code, out, _) = admin(&server, &["close", "class"]).await;
    assert_eq!((code, out.as_str()), (Some(0), "closed, with 0 in it\n"));
    let (code, out, _) = admin(&server, &["bans"]).await;
    assert!(
        code == Some(0) && out.contains("eve") && out.contains("floods") && out.contains("class"),
        "{out}"
    );
    let (code, out, _) = admin(&server, &["unban", "--id", "eve"]).await;
    assert_eq!((code, out.as_str()), (Some(0), "lifted\n"));
    let (code, out, _) = admin(&server, &["open", "class"]).await;
    assert_eq!((code, out.as_str()), (Some(0), "open\n"));
    let public = format!("http://{}", server.address);
    let refused = Client::run(&["admin", "rooms", "--url", &public]).await;
    assert!(
        refused.code == Some(1) && refused.stderr.contains("--ops-listen"),
        "{refused:?}"
    );
    for arguments in [
        &["admin", "kick", "x"][..],
        &["admin", "connections", "--address", "here"],
        &["admin", "rooms", "--url", "ftp://x"],
        &["admin", "delete", "lobby", "x"],
        &["admin", "ban", "--id", "eve", "--for", "ever"],
        &["admin", "close", "A"],
        &["admin", "dance"],
    ] {
        assert_eq!(Client::run(arguments).await.code, Some(2), "{arguments:?}");
    }
}
