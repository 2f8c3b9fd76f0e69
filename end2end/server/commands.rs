//! The commands in the documentation, run as they are printed, in the order of their page. Only the address of the
//! server is another.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::client::publish;
use crate::eventually::soon;
use crate::harness::Server;

/// Functions that end the commands which follow a room for ever, at their first output. Without output they fail, and so
/// does a command that the server refuses.
const PRELUDE: &str = r#"
set -eo pipefail
curl() {
  case " $* " in
    *" -N "*) [ "$(command curl --fail-with-body -sS "$@" 2>/dev/null | head -c 1 | wc -c)" = 1 ] ;;
    *) command curl --fail-with-body -sS "$@" ;;
  esac
}
fanfare() {
  case $1 in
    listen) local line; line=$(command fanfare "$@" | head -n 1); [ -n "$line" ] && echo "$line" ;;
    *) command fanfare "$@" ;;
  esac
}
tail() { cat "${@: -1}"; }
"#;

/// Returns the commands of the shell blocks on a page, without the lines that contain one of `left_out`.
fn commands(page: &str, left_out: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = fs::read_to_string(path).expect("it is there");

    let blocks = text.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().expect("a part").lines());
    lines
        .filter(|line| !left_out.iter().any(|word| line.contains(word)))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Runs `commands` in a shell with a server that has messages in the lobby. Others arrive in the room `builds` meanwhile.
async fn run(commands: &str) -> Output {
    let server = Server::start(&["--heartbeat", "1s"]);
    // The pages answer and read the message at offset 17.
    for _ in 0..20 {
        publish(&server, "lobby", "an earlier message").await;
    }

    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in [
        ("build.log", "one\ntwo\n"),
        ("orders.json", r#"[{"dish":"soup"},{"dish":"tea"}]"#),
        ("icon.png", "\u{89}PNG"),
    ] {
        fs::write(folder.path().join(name), content).expect("written");
    }

    let program = Path::new(env!("CARGO_BIN_EXE_fanfare"));
    let programs = program.parent().expect("a folder").display();
    let path = std::env::var("PATH").expect("it is set");
    let address = server.address.to_string();
    let script = PRELUDE.to_owned() + &commands.replace("127.0.0.1:12345", &address);
    let mut shell = Command::new("bash");
    shell
        .args(["-c", &script])
        .current_dir(folder.path())
        .env("PATH", format!("{programs}:{path}"))
        .env("FANFARE_URL", server.url(""));

    let running = tokio::task::spawn_blocking(move || shell.output().expect("bash runs"));
    let publishing = async {
        loop {
            publish(&server, "builds", "a line").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        output = soon(running) => output.expect("joined"),
        () = publishing => unreachable!("it publishes for ever"),
    }
}

/// Checks that all commands of a page succeed. `left_out` are words in lines that are not run.
async fn check(page: &str, left_out: &[&str]) {
    let commands = commands(page, left_out);
    assert!(!commands.trim().is_empty(), "{page} has commands");

    let output = run(&commands).await;

    let [out, error] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(
        output.status.success(),
        "{page}: {error}\n{out}\n{commands}"
    );
}

#[tokio::test]
async fn the_commands_of_the_quick_start() {
    check("docs/src/start.md", &["make "]).await;
}

#[tokio::test]
async fn the_commands_to_publish_and_subscribe() {
    // Programs from a registry, the frames that are typed into one, and commands that need a token.
    let left_out = ["npx ", "> {", "$FANFARE_TOKEN"];

    check("docs/src/talk.md", &left_out).await;
}

#[tokio::test]
async fn the_commands_for_durable_streams() {
    // A later command reads the stream that this one deletes.
    check("docs/src/streams.md", &["-X DELETE"]).await;
}

#[tokio::test]
async fn a_command_that_the_server_refuses_fails() {
    let output =
        run("curl -d hello http://127.0.0.1:12345/api/v1/rooms/not%20a%20room/messages").await;

    assert!(!output.status.success(), "{output:?}");
}
