//! The sign-in of the page: its settings, and the name of a user whom a proxy has authenticated.

use std::process::Command;

use reqwest::{Client, Method};

use crate::auth::{Guarded, SECRET};
use crate::client::fetch;
use crate::daemon;
use crate::eventually::eventually;
use crate::harness::{Server, program};
use crate::snippets::Snippet;

/// Returns the policy and the HTML of the page of the lobby of `server`, for a request with the user header `user`.
async fn page(server: &Server, user: Option<&str>) -> (String, String) {
    let mut request = Client::new().get(server.url("/r/lobby"));
    if let Some(user) = user {
        request = request.header("remote-user", user);
    }
    let response = crate::eventually::soon(request.send())
        .await
        .expect("a page");

    let policy = response.headers()["content-security-policy"].to_str();
    let policy = policy.expect("text").to_owned();
    (policy, response.text().await.expect("text"))
}

#[tokio::test]
async fn the_page_may_connect_to_the_origin_of_the_token_url_and_to_no_other() {
    let elsewhere = Guarded::start(&["--token-url", "https://id.example.org:8443/token?for=chat"]);
    let own = Guarded::start(&["--token-url", "/session/token"]);

    let (elsewhere, html) = page(&elsewhere.server, None).await;
    let (own, _) = page(&own.server, None).await;

    assert!(
        elsewhere.contains("connect-src 'self' https://id.example.org:8443;"),
        "{elsewhere}"
    );
    assert!(html.contains("https://id.example.org:8443/token?for=chat"));
    assert!(own.contains("connect-src 'self';"), "{own}");
}

#[tokio::test]
async fn the_page_links_to_the_sign_in_url_without_javascript() {
    let guarded = Guarded::start(&["--sign-in-url", "/login?to=chat"]);
    let open = Server::start(&[]);

    let (_, html) = page(&guarded.server, None).await;
    let (_, other) = page(&open, None).await;

    assert!(html.contains("href=\"/login?to=chat\""), "{html}");
    assert!(!other.contains("class=\"sign-in\""), "{other}");
}

#[tokio::test]
async fn the_page_names_the_user_of_the_proxy_without_javascript() {
    let flags = [
        "--trusted-proxy",
        "127.0.0.1",
        "--auth-header",
        "remote-user",
    ];
    let server = Server::start(&flags);

    let (_, signed_in) = page(&server, Some("ann")).await;
    let (_, other) = page(&server, None).await;

    assert!(signed_in.contains("<bdi>ann"), "{signed_in}");
    assert!(!other.contains("<bdi>ann"), "{other}");
    assert!(
        !signed_in.contains("name=\"from\""),
        "nobody chooses a name there"
    );
}

#[test]
fn wrong_settings_of_the_sign_in_prevent_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    std::fs::write(&file, SECRET).expect("written");
    let keys = ["--auth-key-file", file.to_str().expect("text")];
    let proxy = [
        "--trusted-proxy",
        "127.0.0.1",
        "--auth-header",
        "remote-user",
    ];
    let check = |access: &[&str], flags: &[&str]| {
        let mut command = program();
        let output = command
            .arg("check-config")
            .args(access)
            .args(flags)
            .output();
        let output = output.expect("it runs");
        (
            output.status.code(),
            String::from_utf8(output.stderr).expect("text"),
        )
    };

    for (access, flags) in [
        (&keys[..], ["--token-url", "/token"]),
        (&keys, ["--token-url", "http://localhost:8080/token"]),
        (&proxy, ["--sign-in-url", "https://id.example.org/login"]),
    ] {
        assert_eq!(check(access, &flags).0, Some(0), "{flags:?}");
    }
    for (access, flags, expected) in [
        (&[][..], ["--token-url", "/token"], "beside --auth-key-file"),
        (&proxy, ["--token-url", "/token"], "beside --auth-key-file"),
        (&[], ["--sign-in-url", "/login"], "choose their names"),
        (
            &keys,
            ["--token-url", "http://id.example.org/token"],
            "a path like",
        ),
        (
            &keys,
            ["--sign-in-url", "javascript:alert(1)"],
            "a path like",
        ),
    ] {
        let (code, stderr) = check(access, &flags);
        assert_eq!(code, Some(2), "{flags:?}: {stderr}");
        assert!(stderr.contains(expected), "{flags:?}: {stderr}");
    }
}

#[tokio::test]
async fn the_token_endpoint_in_the_documentation_gives_the_page_of_another_origin_a_valid_token() {
    let guarded = Guarded::start(&[]);
    std::fs::write(guarded.folder.path().join("fanfare.key"), SECRET).expect("written");
    let programs = program();
    let programs = std::path::Path::new(programs.get_program()).parent();
    let path = std::env::var("PATH").expect("a path");
    let path = format!("{}:{path}", programs.expect("a folder").display());
    let address = daemon::free_address();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/docs/clients/token_endpoint.py"
    );

    let mut command = Command::new("python3");
    command
        .arg(script)
        .arg(address.port().to_string())
        .env("PATH", path)
        .current_dir(guarded.folder.path());
    let _endpoint = Snippet::start(&mut command);
    let url = format!("http://{address}/token");
    let answer = eventually(async || reqwest::get(&url).await, Result::is_ok).await;
    let answer = answer.expect("an answer");
    let headers = answer.headers().clone();
    let token = answer.text().await.expect("text");

    let origin = &headers["access-control-allow-origin"];
    assert_eq!(origin, "http://localhost:12345", "the port of the page");
    assert_eq!(headers["access-control-allow-credentials"], "true");
    let publish = guarded.call(Method::POST, "lobby/messages", token.trim());
    let (status, stored) = fetch(publish.body("hello")).await;
    assert_eq!(status, 201, "{stored}");
    let (_, history) = fetch(guarded.call(Method::GET, "lobby/messages", token.trim())).await;
    assert_eq!(history["messages"][0]["from"], "ann");
}
