//! The plain dialect: each text or binary message is relayed unchanged to everyone in the room, including the sender.
//! Nothing else is sent.

use futures::future::join_all;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::Server;

#[tokio::test]
async fn text_and_binary_arrive_unchanged_also_at_the_sender() {
    let server = Server::start(&["--max-message", "1MiB"]);
    let mut ann = server.join("ann").await;
    let mut bob = server.join("bob").await;

    let everything: Vec<u8> = (0..=255).collect();
    let messages = [
        Message::text("我是abc123-已建立连接"),
        Message::text(""),
        Message::binary(everything.clone()),
        Message::binary(Vec::new()),
        Message::text("x".repeat(125)),
        Message::text("x".repeat(126)),
        Message::binary(everything.repeat(256)),
        Message::text("é".repeat(300_000)),
    ];
    for message in messages {
        ann.send(message.clone()).await;
        assert_eq!(ann.next().await, message);
        assert_eq!(bob.next().await, message);
    }
}

#[tokio::test]
async fn every_client_receives_the_same_messages_in_the_same_order() {
    const SPEAKERS: usize = 8;
    const EACH: usize = 250;

    let server = Server::start(&[]);

    let mut peers = Vec::new();
    for id in 0..SPEAKERS {
        peers.push(server.join(&format!("speaker-{id}")).await);
    }

    let received = join_all(peers.iter_mut().enumerate().map(|(id, peer)| async move {
        for number in 0..EACH {
            peer.send(format!("{id} {number}")).await;
        }
        peer.texts(SPEAKERS * EACH).await
    }))
    .await;
    assert!(
        received.iter().all(|other| *other == received[0]),
        "one order for all"
    );

    for id in 0..SPEAKERS {
        let prefix = format!("{id} ");
        let own: Vec<_> = received[0]
            .iter()
            .filter_map(|text| text.strip_prefix(&prefix))
            .collect();
        let expected: Vec<_> = (0..EACH).map(|number| number.to_string()).collect();
        assert_eq!(own, expected, "each speaker's own order is kept");
    }
}

#[tokio::test]
async fn a_room_receives_only_its_own_messages() {
    let server = Server::start(&[]);
    let mut lobby = server.join("ann").await;
    let mut named_lobby = server.join_with("room=lobby").await;
    let mut class = server.join_with("id=bob&room=class-7b").await;

    class.send("in class").await;
    lobby.send("in the lobby").await;
    assert_eq!(class.text().await, "in class");
    assert_eq!(lobby.text().await, "in the lobby");
    assert_eq!(named_lobby.text().await, "in the lobby");
}

#[tokio::test]
async fn a_client_receives_messages_from_its_join_on() {
    let server = Server::start(&[]);
    let mut ann = server.join("ann").await;

    ann.send("before").await;
    assert_eq!(ann.text().await, "before");

    let mut late = server.join("late").await;
    ann.send("after").await;
    assert_eq!(late.text().await, "after");
}

#[tokio::test]
async fn an_invalid_room_or_id_is_closed_with_4502() {
    let server = Server::start(&[]);

    let long = "x".repeat(129);

    for query in [
        "room=a%20b".to_owned(),
        "room=a%2F%2Fb".to_owned(),
        "room=.".to_owned(),
        "room=..".to_owned(),
        "room=".to_owned(),
        "id=".to_owned(),
        "id=a%0Ab".to_owned(),
        format!("id={long}"),
        format!("room={long}"),
    ] {
        assert_eq!(
            server.join_with(&query).await.close_code().await,
            4502,
            "{query}"
        );
    }

    server
        .join_with("id=%E6%9D%8E%E9%9B%B7%20%3Cb%3E")
        .await
        .leave()
        .await;
}

#[tokio::test]
async fn the_log_has_joins_and_leaves_but_never_messages() {
    let server = Server::start(&[]);
    let mut ann = server.join_with("id=ann&room=class").await;

    ann.send("my secret").await;
    assert_eq!(ann.text().await, "my secret");

    ann.leave().await;
    let log = server.log().await;

    let line = |word: &str| {
        log.lines()
            .find(|line| line.contains(word))
            .unwrap_or_else(|| panic!("{log}"))
    };
    assert!(line("connected").contains("id=ann"), "{log}");
    assert!(line("connected").contains("room=class"), "{log}");
    assert!(
        line("disconnected").contains("client closed with 1000"),
        "{log}"
    );
    assert!(!log.contains("secret"), "{log}");
}
