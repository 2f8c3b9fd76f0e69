//! `fanfare send` and `fanfare listen` while the server restarts.

use super::Client;
use super::proxy::Proxy;
use crate::harness::Server;

#[tokio::test]
async fn restarts_of_the_server_lose_and_repeat_no_line() {
    const EACH: usize = 2000;
    const RESTARTS: [&str; 4] = ["KILL", "TERM", "KILL", "TERM"];
    const LINES: usize = EACH * (RESTARTS.len() + 1);

    let data = tempfile::tempdir().expect("a folder");
    let mut server = Server::start_in(data.path(), &[]);
    // The port changes with each start; the clients use the address of the proxy.
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

    let mut received = 0;
    let mut receive_to = async |last: usize| {
        while received < last {
            received += 1;
            let message = listen.json().await;
            let text = received.to_string();
            assert_eq!(message["offset"], received);
            assert_eq!(message["prev"], received - 1);
            assert_eq!(message["text"], text);
        }
    };

    for (at, signal) in RESTARTS.iter().enumerate() {
        let lines: String = (at * EACH + 1..=(at + 1) * EACH)
            .map(|number| format!("{number}\n"))
            .collect();

        send.write(&lines).await;

        // Some are stored by now, some in flight, some not sent.
        receive_to(at * EACH + 1).await;
        server.signal(signal);
        server.end().await;
        server = Server::start_in(data.path(), &[]);
        proxy.forward_to(server.address);
    }

    let lines: String = (LINES - EACH + 1..=LINES)
        .map(|number| format!("{number}\n"))
        .collect();
    send.write(&lines).await;

    let sent = send.end().await;
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);

    receive_to(LINES).await;
    listen.signal("INT").await;

    let listened = listen.end().await;
    assert_eq!(listened.code, Some(0), "{}", listened.stderr);
    assert_eq!(listened.stdout, "", "{}", listened.stderr);
    assert!(!listened.stderr.contains("missing"), "{}", listened.stderr);
}

#[tokio::test]
async fn a_new_log_is_reported_and_read_from_its_beginning() {
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
    proxy.forward_to(server.address);

    assert!(listen.line().await.ends_with("ann: of the new log"));

    listen.until_stderr("messages may be missing").await;
}
