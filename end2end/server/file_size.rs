//! A limit on the size of files has the effect of a full disk.

use std::process::{Command, Stdio};

use crate::eventually::soon;
use crate::harness::Server;

#[tokio::test]
async fn a_write_beyond_the_file_size_limit_is_refused_and_readers_are_served() {
    let data = tempfile::tempdir().expect("a folder");

    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -f 2048 && exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_fanfare"))
        .arg("--data")
        .arg(data.path())
        .stdin(Stdio::null());

    let mut server = Server::start_by(&mut command, &["--publish-rate", "0"]);

    let client = reqwest::Client::new();
    let url = server.url("/api/v1/rooms/lobby/messages");
    let mut stored = 0;

    let refused = loop {
        let post = client.post(&url).body("x".repeat(50_000)).send();
        let answer = soon(post).await.expect("the server answers");
        if answer.status() != 201 {
            break answer;
        }
        stored += 1;
        assert!(stored < 200, "more is stored than a file may hold");
    };
    assert_eq!(refused.status(), 503);
    assert!(server.is_running());

    let page = soon(reqwest::get(format!("{url}?limit=1"))).await;
    let page: serde_json::Value = soon(page.expect("an answer").json()).await.expect("JSON");
    assert_eq!(page["head"], stored);
}
