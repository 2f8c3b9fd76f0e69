//! Reading from a position: history, resuming, and slow readers.

use serde_json::{Value, json};

use crate::client::publish;
use crate::harness::Server;
use crate::metrics::{figure, until};
use crate::raw::masked;
use crate::typed::{join, next, say};

#[tokio::test]
async fn history_is_read_backwards_in_pages() {
    let server = Server::start(&["--history-messages", "7"]);

    let (mut ann, _) = join(&server, "id=ann").await;
    for number in 1..=10 {
        say(&mut ann, &number.to_string(), None).await;
        next(&mut ann, "message").await;
    }

    let mut page = async |request: Value| {
        ann.send(request.to_string()).await;
        let page = next(&mut ann, "history").await;
        let offsets: Vec<u64> = page["messages"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|m| m["offset"].as_u64().expect("one"))
            .collect();

        (offsets, page["more"].as_bool().expect("a bool"))
    };

    assert_eq!(
        page(json!({ "type": "history", "limit": 3 })).await,
        (vec![8, 9, 10], true)
    );
    assert_eq!(
        page(json!({ "type": "history", "before": 8, "limit": 3 })).await,
        (vec![5, 6, 7], true)
    );
    assert_eq!(
        page(json!({ "type": "history", "before": 5 })).await,
        (vec![4], false)
    );
}

#[tokio::test]
async fn a_client_that_resumes_gets_the_missed_messages_or_a_gap() {
    let server = Server::start(&["--history-messages", "5"]);

    let (mut ann, welcome) = join(&server, "id=ann").await;
    let epoch = welcome["epoch"].as_str().expect("text").to_owned();
    let mut speaker = server.join("speaker").await;

    for number in 1..=8 {
        speaker.send(number.to_string()).await;
        next(&mut ann, "message").await;
    }

    let (mut back, welcome) = join(&server, &format!("id=back&after=5&epoch={epoch}")).await;
    assert_eq!(welcome["recovery"], "resumed");

    for offset in 6..=8 {
        let message = next(&mut back, "message").await;
        assert_eq!(message["offset"], offset);
        assert_eq!(message["prev"], offset - 1);
    }

    let (mut late, welcome) = join(&server, &format!("id=late&after=1&epoch={epoch}")).await;
    assert_eq!(welcome["recovery"], "lost");

    let gap = next(&mut late, "gap").await;
    assert_eq!(
        gap,
        json!({ "type": "gap", "room": "lobby", "after": 1, "before": 4, "count": 2, "reason": "expired" })
    );
    assert_eq!(next(&mut late, "message").await["offset"], 4);

    let (_, welcome) = join(&server, "id=other&after=3&epoch=ffffffff").await;
    assert_eq!(welcome["recovery"], "lost");

    let (mut all, welcome) = join(&server, "id=all&after=0").await;
    assert_eq!(welcome["recovery"], "resumed");
    assert_eq!(next(&mut all, "message").await["offset"].as_u64(), Some(4));
}

/// Publishes `messages` messages in the lobby and as many in another room, in turn. Returns the offsets of those in the
/// lobby and of those in the other room, and the epoch.
async fn publish_in_turn(server: &Server, messages: usize) -> (Vec<u64>, Vec<u64>, String) {
    let (mut lobby, mut other, mut epoch) = (Vec::new(), Vec::new(), String::new());

    for number in 0..messages {
        for (room, offsets) in [("lobby", &mut lobby), ("other", &mut other)] {
            let stored = publish(server, room, &number.to_string()).await;
            offsets.push(stored["offset"].as_u64().expect("an offset"));
            epoch = stored["epoch"].as_str().expect("text").to_owned();
        }
    }

    (lobby, other, epoch)
}

#[tokio::test]
async fn a_gap_counts_the_messages_of_its_room_only() {
    for store in ["memory", "sqlite:fanfare.db"] {
        let server = Server::start(&["--history-messages", "3", "--store", store]);
        let (offsets, _, epoch) = publish_in_turn(&server, 8).await;

        let query = format!("id=late&after={}&epoch={epoch}", offsets[0]);
        let (mut late, welcome) = join(&server, &query).await;

        assert_eq!(welcome["recovery"], "lost");
        let gap = json!({
            "type": "gap", "room": "lobby", "after": offsets[0], "before": offsets[4] + 1, "count": 4, "reason": "expired"
        });
        assert_eq!(next(&mut late, "gap").await, gap);
        for kept in 5..8 {
            let message = next(&mut late, "message").await;
            assert_eq!(message["offset"], offsets[kept]);
            assert_eq!(message["prev"], offsets[kept - 1]);
        }
    }
}

#[tokio::test]
async fn a_client_may_resume_after_an_offset_of_another_room() {
    let server = Server::start(&[]);
    let (lobby, other, epoch) = publish_in_turn(&server, 3).await;

    let query = |after| format!("id=ann&after={after}&epoch={epoch}");
    let (mut ann, welcome) = join(&server, &query(other[1])).await;
    assert_eq!(welcome["recovery"], "resumed");
    assert_eq!(next(&mut ann, "message").await["offset"], lobby[2]);

    let (mut ann, welcome) = join(&server, &query(other[2])).await;
    assert_eq!(welcome["recovery"], "resumed");
    let stored = publish(&server, "lobby", "new").await;
    let message = next(&mut ann, "message").await;
    assert_eq!(message["offset"], stored["offset"]);
    assert_eq!(message["prev"], lobby[2]);

    let (_, welcome) = join(&server, &query(other[2] + 100)).await;
    assert_eq!(
        welcome["recovery"], "lost",
        "no message has that offset yet"
    );
}

#[tokio::test]
async fn a_reader_that_falls_behind_the_ring_is_served_from_the_store() {
    const MESSAGES: u64 = 6000;

    let server = Server::start(&["--history-messages", "10000", "--send-buffer", "64KiB"]);
    let mut slow = server.raw_with("id=slow&room=lobby", "fanfare.v1").await;
    let mut speaker = server.join("speaker").await;

    // More than the ring and the kernel can hold together: 6,000 messages of 10 KB.
    speaker.publish_long(MESSAGES, 10_000).await;

    assert!(
        figure(&server, "fanfare_lag_messages").await > 1000,
        "the reader is far behind"
    );

    let mut seen = 0;

    while seen < MESSAGES {
        let (first, payload) = slow.frame().await;
        if first != 0x81 {
            slow.write(&masked(0x8A, b"")).await;
            continue;
        }

        let frame: Value = serde_json::from_slice(&payload).expect("JSON");

        if frame["type"] == "message" {
            assert_eq!(frame["prev"], seen);
            assert_eq!(frame["offset"], seen + 1);
            seen += 1;
        } else {
            assert!(
                ["welcome", "subscribed", "presence"]
                    .contains(&frame["type"].as_str().expect("a type")),
                "{frame}"
            );
        }
    }

    until(&server, "fanfare_lag_messages", 0).await;
}

#[tokio::test]
async fn a_page_of_history_is_bounded_by_bytes_and_marked_as_incomplete() {
    let server = Server::start(&[]);

    let (mut ann, _) = join(&server, "id=ann").await;
    for _message in 0..10 {
        say(&mut ann, &"x".repeat(60_000), None).await;
        next(&mut ann, "message").await;
    }

    ann.send(json!({ "type": "history", "limit": 1000 }).to_string())
        .await;

    let page = next(&mut ann, "history").await;
    let count = page["messages"].as_array().expect("a list").len();
    assert!(
        (1..10).contains(&count),
        "{count} messages of 60 kB in one page"
    );
    assert_eq!(page["more"], true, "{count} messages of 60 kB in one page");
}

#[tokio::test]
async fn repeated_reconnects_miss_and_repeat_nothing() {
    let server = Server::start(&["--message-rate", "0"]);

    let (_first, welcome) = join(&server, "id=first").await;
    let epoch = welcome["epoch"].as_str().expect("text").to_owned();
    let mut speakers = Vec::new();

    for number in 0..3 {
        let mut speaker = server.join(&format!("speaker-{number}")).await;
        speakers.push(tokio::spawn(async move {
            for text in 0..400 {
                speaker.send(text.to_string()).await;
                speaker.text().await;
            }
            // The socket stays open: dropping it with unread bytes would discard the last messages.
            speaker
        }));
    }

    // The position before the first message.
    let mut seen = 0;
    let mut rounds = 0;

    while rounds < 30 || seen < 1200 {
        let (mut back, welcome) =
            join(&server, &format!("id=back&after={seen}&epoch={epoch}")).await;
        assert_eq!(welcome["recovery"], "resumed");

        let head = welcome["head"].as_u64().expect("an offset");

        // The client reads nothing, only the missed messages, or new ones too.
        let until = match rounds % 3 {
            0 if rounds < 30 => seen,
            1 => head,
            _ => (head + 3).min(1200),
        };

        while seen < until {
            let message = next(&mut back, "message").await;
            assert_eq!(message["prev"], seen);
            assert_eq!(message["offset"], seen + 1);
            seen += 1;
        }

        rounds += 1;
    }

    for speaker in speakers {
        drop(speaker.await.expect("no panic"));
    }
}
