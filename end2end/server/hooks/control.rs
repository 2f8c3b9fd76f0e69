//! Operators pause and resume hooks, replay messages, and see the lag and the last error.

use reqwest::Client;
use serde_json::{Value, json};
use tokio::process::Command;

use super::receiver::{Answer, Receiver};
use super::{Hooked, hook, publish, start, texts};
use crate::client::fetch;
use crate::eventually::{eventually, soon};
use crate::harness::{Server, program};
use crate::metrics::until;

/// Sends `action` to the hook `orders`; returns the status and the answer.
async fn command(server: &Server, action: &str, body: Value) -> (u16, Value) {
    let url = format!("http://{}/api/v1/admin/hooks/{action}", server.ops);
    fetch(Client::new().post(url).json(&body)).await
}

/// Returns the hook `orders`.
async fn summary(server: &Server) -> Value {
    let url = format!("http://{}/api/v1/admin/hooks", server.ops);
    let (status, list) = fetch(Client::new().get(url)).await;
    assert_eq!(status, 200, "{list}");
    list["hooks"][0].clone()
}

#[tokio::test]
async fn a_paused_hook_delivers_nothing_until_it_is_resumed_also_over_a_restart() {
    let data = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::start().await;
    let other = Receiver::start().await;
    let settings = hook("orders", &receiver.url(), &["*"]) + &hook("other", &other.url(), &["*"]);
    let server = start(data.path(), &settings, &[]);

    let (status, paused) = command(&server, "orders/pause", json!({})).await;
    assert_eq!(
        (status, &paused["status"]),
        (200, &json!("paused")),
        "{paused}"
    );
    publish(&server, "orders", &["one"]).await;
    other.until_accepted(1).await;
    server.log().await;
    let server = start(data.path(), &settings, &[]);
    publish(&server, "orders", &["two"]).await;
    other.until_accepted(2).await;
    assert!(receiver.deliveries().is_empty());
    assert_eq!(summary(&server).await["lag"], 2);
    let (status, resumed) = command(&server, "orders/resume", json!({})).await;

    assert_eq!(
        (status, &resumed["status"]),
        (200, &json!("active")),
        "{resumed}"
    );
    let frames = receiver.until_accepted(2).await;
    assert_eq!(texts(&frames), ["one", "two"]);
}

#[tokio::test]
async fn a_hook_that_was_disabled_by_410_is_resumed() {
    let Hooked { server, receiver } = Hooked::start(&["orders"], "", &[]).await;

    receiver.answer(Answer::Status(410));
    publish(&server, "orders", &["one"]).await;
    let probe = async || summary(&server).await;
    eventually(probe, |hook| hook["status"] == "gone").await;
    receiver.answer(Answer::Status(200));
    command(&server, "orders/resume", json!({})).await;

    assert_eq!(texts(&receiver.until_accepted(1).await), ["one"]);
}

#[tokio::test]
async fn a_replay_delivers_the_messages_from_an_offset_on_again() {
    let Hooked { server, receiver } = Hooked::start(&["orders"], "", &[]).await;
    publish(&server, "orders", &["one", "two", "three"]).await;
    receiver.until_accepted(3).await;

    let (status, replayed) = command(&server, "orders/replay", json!({ "from": 2 })).await;
    assert_eq!(status, 200, "{replayed}");
    let frames = receiver.until_accepted(5).await;
    assert_eq!(texts(&frames), ["one", "two", "three", "two", "three"]);

    let (status, refused) = command(&server, "orders/replay", json!({ "from": 4 })).await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (404, &json!("no_such_message"))
    );
    let (status, refused) = command(&server, "billing/replay", json!({ "from": 1 })).await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (404, &json!("no_such_hook"))
    );
}

#[tokio::test]
async fn a_command_is_executed_while_a_receiver_hangs() {
    let Hooked { server, receiver } = Hooked::start(&["orders"], "", &[]).await;

    receiver.answer(Answer::Late(std::sync::Arc::default()));
    publish(&server, "orders", &["one"]).await;
    receiver.until_deliveries(1).await;
    let (status, paused) = command(&server, "orders/pause", json!({})).await;

    assert_eq!(
        (status, &paused["status"]),
        (200, &json!("paused")),
        "{paused}"
    );
    assert_eq!(paused["lag"], 1);
}

#[tokio::test]
async fn lag_age_errors_and_deliveries_are_shown_and_counted() {
    let Hooked { server, receiver } = Hooked::start(&["orders-*", "lobby"], "", &[]).await;
    publish(&server, "lobby", &["accepted"]).await;
    receiver.until_accepted(1).await;

    receiver.answer(Answer::Status(503));
    publish(&server, "orders-1", &["two", "three"]).await;
    publish(&server, "other", &["not for the hook"]).await;
    let probe = async || summary(&server).await;
    let is_failing = |hook: &Value| hook["lag"] == 2 && hook["failures"].as_u64() >= Some(1);
    let hook = eventually(probe, is_failing).await;

    assert!(
        hook["error"].as_str().expect("text").contains("503"),
        "{hook}"
    );
    assert!(hook["oldest"].as_u64() > Some(0), "{hook}");
    assert_eq!(
        (&hook["status"], &hook["offset"]),
        (&json!("active"), &json!(1))
    );
    let deliveries = "fanfare_hook_deliveries_total{hook=\"orders\",result=";
    until(&server, &format!("{deliveries}\"accepted\"}}"), 1).await;
    until(&server, "fanfare_hook_lag_messages{hook=\"orders\"}", 2).await;
    receiver.answer(Answer::Status(200));
    until(&server, "fanfare_hook_lag_messages{hook=\"orders\"}", 0).await;
    until(&server, "fanfare_hook_oldest_seconds{hook=\"orders\"}", 0).await;
    assert!(crate::metrics::figure(&server, &format!("{deliveries}\"refused\"}}")).await > 0);
}

#[tokio::test]
async fn the_lag_is_exact_beyond_the_messages_in_memory() {
    let data = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::start().await;
    let settings = hook("orders", &receiver.url(), &["orders", "lobby"]);
    let server = start(data.path(), &settings, &[]);
    receiver.answer(Answer::Status(500));
    publish(&server, "orders", &["one", "two"]).await;
    publish(&server, "other", &["x"; 3]).await;
    publish(&server, "lobby", &["three"]).await;
    server.log().await;

    let server = start(data.path(), &settings, &[]);
    publish(&server, "lobby", &["four"]).await;

    let probe = async || summary(&server).await;
    eventually(probe, |hook| hook["lag"] == 4).await;
}

#[tokio::test]
async fn the_commands_of_the_shell_and_the_forms_of_the_page_control_a_hook() {
    let Hooked { server, receiver } = Hooked::start(&["orders"], "", &[]).await;
    let url = format!("http://{}", server.ops);
    let admin = async |arguments: &[&str]| {
        let mut command = Command::from(program());
        command
            .args(["admin", "hooks"])
            .args(arguments)
            .args(["--url", &url]);
        let output = soon(command.output()).await.expect("it runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };

    let paused = admin(&["pause", "orders"]).await;
    assert_eq!(paused, "paused, delivered up to offset 0\n");
    publish(&server, "orders", &["one"]).await;
    let table = admin(&[]).await;
    assert!(
        table.starts_with("HOOK    ROOMS   STATE   OFFSET  LAG"),
        "{table}"
    );
    assert!(
        table.contains("orders  orders  paused  0       1"),
        "{table}"
    );
    admin(&["resume", "orders"]).await;
    receiver.until_accepted(1).await;
    admin(&["replay", "orders", "0"]).await;
    receiver.until_accepted(2).await;

    let post = Client::new()
        .post(format!("{url}/admin"))
        .header("origin", &url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body("act=pause&hook=orders&back=");
    let page = soon(post.send()).await.expect("an answer");
    assert_eq!(page.status(), 200);
    let html = soon(page.text()).await.expect("text");
    assert!(html.contains("The hook is paused."), "{html}");
    assert!(html.contains("id=\"hook-orders\""), "{html}");
    assert_eq!(summary(&server).await["status"], "paused");
}

#[tokio::test]
async fn no_request_creates_a_hook_or_changes_its_address() {
    let data = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::start().await;
    let other = Receiver::start().await;
    let server = start(data.path(), &hook("orders", &receiver.url(), &["*"]), &[]);
    let hooks = format!("http://{}/api/v1/admin/hooks", server.ops);
    let address = json!({ "name": "mine", "url": other.url(), "rooms": ["*"] });

    let client = Client::new();
    let (created, _) = fetch(client.post(&hooks).json(&address)).await;
    let (put, _) = fetch(client.put(format!("{hooks}/mine")).json(&address)).await;
    let (patched, _) = fetch(client.patch(format!("{hooks}/orders")).json(&address)).await;
    let replay = json!({ "from": 1, "url": other.url() });
    let (replayed, _) = command(&server, "orders/replay", replay).await;

    assert_eq!((created, put, patched, replayed), (405, 404, 404, 422));
    publish(&server, "orders", &["one"]).await;
    receiver.until_accepted(1).await;
    assert!(other.deliveries().is_empty());
}
