//! Deliveries to receivers that accept, fail, hang, disappear and answer late.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::receiver::{Answer, Receiver};
use super::{Hooked, hook, publish, start, texts};
use crate::authority::CertificateAuthority;
use crate::client::{fetch, get};
use crate::eventually::{eventually, soon};
use crate::harness::{Server, program};

#[tokio::test]
async fn the_receiver_gets_the_messages_of_its_rooms_in_order_as_the_frames_of_the_protocol() {
    let Hooked { server, receiver } = Hooked::start(&["orders-*", "lobby"], "", &[]).await;

    publish(&server, "orders-1", &["one"]).await;
    publish(&server, "other", &["not for the hook"]).await;
    publish(&server, "lobby", &["two"]).await;
    publish(&server, "orders-2", &["three"]).await;

    let frames = receiver.until_accepted(3).await;
    assert_eq!(texts(&frames), ["one", "two", "three"]);
    let page = get(&server, "/api/v1/rooms/lobby/messages").await;
    assert_eq!(frames[1]["type"], "message");
    assert_eq!(
        (&frames[1]["room"], &frames[1]["offset"]),
        (&json!("lobby"), &json!(3))
    );
    assert_eq!(frames[1]["at"], page["messages"][0]["at"]);
    let deliveries = receiver.deliveries();
    let last = deliveries.last().expect("a delivery");
    let epoch = page["epoch"].as_str().expect("text");
    assert_eq!(last.headers["content-type"], "application/json");
    assert_eq!(
        last.headers["webhook-id"].to_str().ok(),
        Some(&*format!("{epoch}:4"))
    );
}

#[tokio::test]
async fn a_new_hook_begins_with_the_next_message_and_continues_after_a_restart() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);
    publish(&server, "lobby", &["before the hook"]).await;
    server.log().await;

    let receiver = Receiver::start().await;
    let settings = hook("all", &receiver.url(), &["*"]);
    let server = start(data.path(), &settings, &[]);
    publish(&server, "lobby", &["one", "two"]).await;
    receiver.until_accepted(2).await;
    server.log().await;
    let server = start(data.path(), &settings, &[]);
    publish(&server, "lobby", &["three"]).await;

    let frames = receiver.until_accepted(3).await;
    assert_eq!(texts(&frames), ["one", "two", "three"]);
}

#[tokio::test]
async fn messages_that_are_published_while_the_receiver_fails_arrive_later_in_order() {
    let Hooked { server, receiver } = Hooked::start(&["orders-*"], "", &[]).await;

    receiver.answer(Answer::Status(500));
    publish(&server, "orders-1", &["one"]).await;
    receiver.until_deliveries(2).await;
    publish(&server, "orders-2", &["two"]).await;
    receiver.answer(Answer::Status(204));

    let frames = receiver.until_accepted(2).await;
    assert_eq!(texts(&frames), ["one", "two"]);
    // A delivery that is repeated has the same id.
    let deliveries = receiver.deliveries();
    let id = |index: usize| &deliveries[index].headers["webhook-id"];
    assert_eq!(id(0), id(1));
    assert_eq!(deliveries[0].frames, deliveries[1].frames);
}

#[tokio::test]
async fn a_receiver_that_answers_too_late_gets_the_message_again() {
    let Hooked { server, receiver } = Hooked::start(&["orders"], "", &[]).await;

    let release = Arc::new(Notify::new());
    receiver.answer(Answer::Late(release.clone()));
    publish(&server, "orders", &["one"]).await;
    receiver.until_deliveries(1).await;
    receiver.answer(Answer::Status(200));
    let deliveries = receiver.until_deliveries(2).await;
    release.notify_waiters();
    publish(&server, "orders", &["two"]).await;

    let frames = receiver.until_accepted(3).await;
    assert_eq!(texts(&frames), ["one", "one", "two"]);
    assert_eq!(
        deliveries[0].headers["webhook-id"],
        deliveries[1].headers["webhook-id"]
    );
}

#[tokio::test]
async fn a_receiver_that_dies_and_returns_gets_everything() {
    let data = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::start().await;
    let settings = hook("orders", &receiver.url(), &["orders"]);
    let server = start(data.path(), &settings, &[]);
    publish(&server, "orders", &["one"]).await;
    receiver.until_accepted(1).await;

    let address = receiver.address;
    drop(receiver);
    publish(&server, "orders", &["two", "three"]).await;
    let receiver = Receiver::start_at(address).await;

    let frames = receiver.until_accepted(2).await;
    assert_eq!(texts(&frames), ["two", "three"]);
}

/// Reads one request; returns its frames. `None` at the end of the connection.
async fn read_delivery(stream: &mut TcpStream) -> Option<Vec<Value>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }

    let head = String::from_utf8(head).expect("text");
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.parse().expect("a length"))
    });
    let mut body = vec![0; length.expect("a length")];
    stream.read_exact(&mut body).await.ok()?;
    Some(serde_json::from_slice(&body).expect("a JSON array"))
}

#[tokio::test]
async fn a_second_answer_to_a_delivery_is_not_taken_for_the_answer_to_the_next_one() {
    let data = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let url = format!("http://{address}/");
    let server = start(data.path(), &hook("orders", &url, &["orders"]), &[]);

    // The second answer arrives with the first one, before the next delivery.
    publish(&server, "orders", &["one"]).await;
    let answer = |status: &str| format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
    let (mut stream, _) = soon(listener.accept()).await.expect("a connection");
    let first = soon(read_delivery(&mut stream)).await.expect("a delivery");
    let twice = answer("500 Internal Server Error") + &answer("200 OK");
    soon(stream.write_all(twice.as_bytes()))
        .await
        .expect("written");

    let (mut stream, _) = soon(listener.accept()).await.expect("a new connection");
    let second = soon(read_delivery(&mut stream)).await.expect("a delivery");
    assert_eq!((texts(&first), texts(&second)), (vec!["one"], vec!["one"]));
}

#[tokio::test]
async fn a_receiver_that_answers_410_disables_its_hook_over_a_restart() {
    let data = tempfile::tempdir().expect("a folder");
    let (gone, other) = (Receiver::start().await, Receiver::start().await);
    let settings = hook("gone", &gone.url(), &["*"]) + &hook("other", &other.url(), &["*"]);
    let server = start(data.path(), &settings, &[]);

    gone.answer(Answer::Status(410));
    publish(&server, "lobby", &["one"]).await;
    gone.until_deliveries(1).await;
    gone.answer(Answer::Status(200));
    publish(&server, "lobby", &["two"]).await;
    other.until_accepted(2).await;
    let log = server.log().await;
    let server = start(data.path(), &settings, &[]);
    publish(&server, "lobby", &["three"]).await;
    other.until_accepted(3).await;

    assert_eq!(gone.deliveries().len(), 1);
    assert!(log.contains("410 Gone"), "{log}");
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_not_followed() {
    let data = tempfile::tempdir().expect("a folder");
    let (receiver, target) = (Receiver::start().await, Receiver::start().await);
    let settings = hook("orders", &receiver.url(), &["orders"]);
    let server = start(data.path(), &settings, &[]);

    receiver.answer(Answer::Redirect(target.url()));
    publish(&server, "orders", &["one"]).await;
    receiver.until_deliveries(2).await;
    receiver.answer(Answer::Status(200));
    receiver.until_accepted(1).await;

    assert!(target.deliveries().is_empty());
}

#[tokio::test]
async fn a_delivery_has_at_most_100_messages_and_about_256_kib() {
    let Hooked { server, receiver } = Hooked::start(&["small", "large"], "", &[]).await;
    receiver.answer(Answer::Status(500));

    let lines: Vec<String> = (0..250).map(|number| format!("{number}")).collect();
    let batch: Vec<String> = lines
        .iter()
        .map(|text| json!({ "text": text }).to_string())
        .collect();
    let request = reqwest::Client::new()
        .post(server.url("/api/v1/rooms/small/messages"))
        .header("content-type", "application/x-ndjson")
        .body(batch.join("\n"));
    let (status, answer) = fetch(request).await;
    assert_eq!(status, 201, "{answer}");
    let long = "x".repeat(60_000);
    publish(&server, "large", &[&*long; 6]).await;
    receiver.answer(Answer::Status(200));

    let frames = receiver.until_accepted(256).await;
    assert_eq!(texts(&frames)[..250], lines);
    for delivery in receiver.deliveries() {
        let bytes: usize = delivery
            .frames
            .iter()
            .map(|frame| frame.to_string().len())
            .sum();
        assert!(delivery.frames.len() <= 100, "{}", delivery.frames.len());
        assert!(bytes <= 256 * 1024, "{bytes}");
    }
}

/// Waits until `room` keeps only messages from the offset `first` on.
async fn until_first(server: &Server, room: &str, first: u64) {
    let path = format!("/api/v1/rooms/{room}");
    let probe = async || get(server, &path).await["first"].clone();
    eventually(probe, |found| *found == first).await;
}

#[tokio::test]
async fn messages_that_expire_before_they_are_delivered_are_a_gap_with_their_number() {
    let Hooked { server, receiver } =
        Hooked::start(&["orders-*", "lobby"], "", &["--history-messages", "2"]).await;

    receiver.answer(Answer::Status(503));
    publish(&server, "orders-1", &["1", "2", "3", "4", "5"]).await;
    publish(&server, "lobby", &["6", "7", "8"]).await;
    until_first(&server, "orders-1", 4).await;
    until_first(&server, "lobby", 7).await;
    receiver.answer(Answer::Status(200));

    // Attempts that failed are sent again up to the same message, so the gaps may come in several deliveries.
    let probe = async || receiver.accepted();
    let is_complete = |frames: &Vec<Value>| frames.last().is_some_and(|last| last["text"] == "8");
    let frames = eventually(probe, is_complete).await;
    assert_eq!(texts(&frames), ["4", "5", "7", "8"]);
    let lost = |room: &str| -> u64 {
        let gaps = frames.iter().filter(|frame| frame["type"] == "gap");
        let of_room = gaps.filter(|gap| gap["room"] == room);
        let counts = of_room.map(|gap| {
            assert_eq!(gap["reason"], "expired", "{gap}");
            gap["count"].as_u64().expect("a number")
        });
        counts.sum()
    };
    assert_eq!((lost("orders-*"), lost("lobby")), (3, 1), "{frames:?}");
}

#[tokio::test]
async fn after_a_restored_backup_everything_that_is_kept_follows_a_gap() {
    let data = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::start().await;
    let settings = hook("orders", &receiver.url(), &["orders"]);
    let server = start(data.path(), &settings, &[]);
    publish(&server, "orders", &["one"]).await;
    receiver.until_accepted(1).await;
    server.log().await;

    let database = data.path().join("fanfare.db");
    let backup = data.path().join("backup.db");
    std::fs::copy(&database, &backup).expect("copied");
    let restore = program()
        .arg("restore")
        .arg(&backup)
        .arg("--data")
        .arg(data.path().join("restored"))
        .output()
        .expect("it runs");
    assert!(restore.status.success(), "{restore:?}");
    let restored = data.path().join("restored");
    let server = start(&restored, &settings, &[]);
    publish(&server, "orders", &["two"]).await;

    let probe = async || receiver.accepted();
    let is_complete = |frames: &Vec<Value>| frames.last().is_some_and(|last| last["text"] == "two");
    let frames = eventually(probe, is_complete).await;
    assert_eq!(texts(&frames), ["one", "one", "two"]);
    assert_eq!(frames[1]["type"], "gap");
    assert_eq!(frames[1]["count"], Value::Null);
}

#[tokio::test]
async fn a_message_that_is_deleted_before_its_delivery_arrives_without_its_content() {
    let Hooked { server, receiver } = Hooked::start(&["orders"], "", &[]).await;

    receiver.answer(Answer::Status(500));
    publish(&server, "orders", &["secret"]).await;
    receiver.until_deliveries(1).await;
    let url = format!("http://{}/api/v1/admin/rooms/orders/messages/1", server.ops);
    let deleted = soon(reqwest::Client::new().delete(url).send()).await;
    assert!(deleted.expect("an answer").status().is_success());
    receiver.answer(Answer::Status(200));

    let frames = receiver.until_accepted(1).await;
    assert_eq!(frames[0]["deleted"], true, "{frames:?}");
    assert_eq!(frames[0].get("text"), None);
}

#[tokio::test]
async fn deliveries_over_tls_go_only_to_a_receiver_whose_certificate_is_trusted() {
    let data = tempfile::tempdir().expect("a folder");
    let authority = CertificateAuthority::new();
    let certificate = authority.certify("IP:127.0.0.1", -1, 20);
    let file = |path: &std::path::Path| path.to_str().expect("text").to_owned();
    // A stream of JSON accepts arrays of messages, as those of a hook.
    let receiver = Server::start(&[
        "--tls-cert",
        &file(&certificate.certificate),
        "--tls-key",
        &file(&certificate.key),
    ]);
    let trusted = stream_reader(&authority, &receiver).await;

    let url = format!("https://{}/streams/copy", receiver.address);
    let settings = data.path().join("settings.toml");
    std::fs::write(&settings, hook("copy", &url, &["lobby"])).expect("written");
    let command = || {
        let mut command = program();
        command.arg("--data").arg(data.path());
        command.arg("--config").arg(&settings);
        command
    };
    let server = Server::start_by(&mut command(), &[]);
    publish(&server, "lobby", &["one"]).await;
    server.log().await;
    assert!(!trusted().await.contains("\"text\":\"one\""));

    let mut trusting = command();
    trusting.env("SSL_CERT_FILE", authority.file());
    let _server = Server::start_by(&mut trusting, &[]);
    let probe = async || trusted().await;
    eventually(probe, |text| text.contains("\"text\":\"one\"")).await;
}

/// Creates the stream `copy` of `receiver`, and returns a function that reads it.
async fn stream_reader(
    authority: &CertificateAuthority,
    receiver: &Server,
) -> impl AsyncFn() -> String {
    let url = format!("https://{}/streams/copy", receiver.address);
    let ca = authority.file();
    let curl = move |arguments: Vec<String>| {
        let mut command = tokio::process::Command::new("curl");
        command.args(["--silent", "--show-error", "--cacert"]);
        command.arg(&ca).args(arguments);
        async move {
            let output = soon(command.output()).await.expect("curl runs");
            String::from_utf8(output.stdout).expect("text")
        }
    };

    let put = ["-X", "PUT", "-H", "content-type: application/json", &url];
    curl(put.map(str::to_owned).to_vec()).await;
    async move || curl(vec![url.clone()]).await
}
