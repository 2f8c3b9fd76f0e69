//! `fanfare send` and `fanfare listen` while the server under them ends and comes back.

use serde_json::json;

use super::Client;
use super::proxy::Proxy;
use crate::harness::Server;

#[tokio::test]
async fn a_server_that_is_killed_or_drained_and_comes_back_costs_no_line_and_doubles_none() {
    const EACH: usize = 2000;
    const RESTARTS: [&str; 4] = ["KILL", "TERM", "KILL", "TERM"];
    const LINES: usize = EACH * (RESTARTS.len() + 1);
    let data = tempfile::tempdir().expect("a folder");
    let mut server = Server::start_in(data.path(), &[]);
    // It has another port each time; the clients know one address.
    let proxy = Proxy::to(server.address).await;
    let mut listen = Client::start(&[
        "listen",
        "lobby",
        "--json",
        "--after",
        "0",
        "--url",
        &proxy.url(),
    ]);
    let mut send = Client::start(&["send", "lobby", "--url", &proxy.url()]);
    let mut heard = 0;
    let mut hear_to = async |last: usize| {
        while heard < last {
            heard += 1;
            let message = listen.json().await;
            let text = heard.to_string();
            assert_eq!(
                (&message["offset"], &message["prev"], &message["text"]),
                (&json!(heard), &json!(heard - 1), &json!(text))
            );
        }
    };
    for (at, signal) in RESTARTS.iter().enumerate() {
        let lines: String = (at * EACH + 1..=(at + 1) * EACH)
            .map(|number| format!("{number}\n"))
            .collect();
        send.write(&lines).await;
        // Some are stored by now, some on their way, some not sent.
        hear_to(at * EACH + 1).await;
        server.signal(signal);
        server.end().await;
        server = Server::start_in(data.path(), &[]);
        proxy.lead_to(server.address);
    }
    let lines: String = (LINES - EACH + 1..=LINES)
        .map(|number| format!("{number}\n"))
        .collect();
    send.write(&lines).await;
    let sent = send.end().await;
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    hear_to(LINES).await;
    listen.signal("INT").await;
    let listened = listen.end().await;
    assert_eq!(
        (listened.code, listened.stdout.as_str()),
        (Some(0), ""),
        "{}",
        listened.stderr
    );
    assert!(!listened.stderr.contains("missing"), "{}", listened.stderr);
}

#[tokio::test]
async fn a_log_that_began_anew_is_told_and_heard_from_its_beginning() {
    let memory = &["--store", "memory"][..];
    let mut server = Server::start(memory);
    let proxy = Proxy::to(server.address).await;
    server.join("ann").await.send("of the old log").await;
    let mut listen = Client::start(&["listen", "lobby", "--after", "0", "--url", &proxy.url()]);
    assert!(listen.line().await.ends_with("ann: of the old log"));
    server.signal("KILL");
    server.end().await;
    server = Server::start(memory);
    server.join("ann").await.send("of the new log").await;
    proxy.lead_to(server.address);
    assert!(listen.line().await.ends_with("ann: of the new log"));
    listen.tells("messages may be missing").await;
}
