//! A server under a path of its host (`--base-path`), behind a real nginx that forwards the path: page, files, forms,
//! cookies, API, WebSockets and the commands.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, StatusCode, redirect};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::client::fetch;
use crate::daemon::{self, Daemon};
use crate::eventually::soon;
use crate::harness::{Peer, Server, program};

/// The settings of `deploy/nginx.conf`.
const NGINX: &str = "
proxy_http_version 1.1;
proxy_set_header Host $http_host;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $upgraded;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
proxy_buffering off;
proxy_read_timeout 75s;
client_max_body_size 2m;
";

/// A server under `/chat` with a small site, and the nginx in front of it.
struct UnderPath {
    server: Server,
    nginx: Daemon,
    _site: TempDir,
}

impl UnderPath {
    async fn start(flags: &[&str]) -> Self {
        let site = site();
        let own = [
            "--base-path",
            "/chat",
            "--trusted-proxy",
            "127.0.0.0/8",
            "--site",
        ];

        let folder = site.path().to_str().expect("text");
        let server = Server::start(&[&own[..], &[folder], flags].concat());

        let address = daemon::free_address();
        let nginx = format!(
            "map $http_upgrade $upgraded {{ default upgrade; '' ''; }}\n\
             server {{ listen {address}; location /chat/ {{ proxy_pass http://{};{NGINX}}} }}\n",
            server.address
        );

        let nginx = daemon::nginx(address, &nginx).await;
        Self {
            server,
            nginx,
            _site: site,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.nginx.address)
    }

    /// Sends a `GET` for `path` and follows no redirect.
    async fn get(&self, path: &str) -> (StatusCode, HeaderMap, String) {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .build()
            .expect("a client");
        answer(client.get(self.url(path))).await
    }
}

/// Sends `request`; returns the status, the headers and the body.
async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, HeaderMap, String) {
    let answer = soon(request.send()).await.expect("an answer");
    let status = answer.status();
    let headers = answer.headers().clone();
    (status, headers, soon(answer.text()).await.expect("text"))
}

/// Creates a small site.
fn site() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let public = Path::new(env!("CARGO_MANIFEST_DIR")).join("public");

    for entry in fs::read_dir(public).expect("a folder") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), folder.path().join(entry.file_name())).expect("copied");
    }

    fs::create_dir(folder.path().join("pkg")).expect("a folder");
    for name in ["fanfare.css", "fanfare.js", "fanfare.wasm"] {
        fs::write(folder.path().join("pkg").join(name), "x").expect("written");
    }

    folder
}

/// Returns the addresses of the links, files and forms of `html`.
fn addresses(html: &str) -> Vec<String> {
    [" href=\"", " src=\"", " action=\""]
        .iter()
        .flat_map(|attribute| html.split(attribute).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .map(str::to_owned)
        .collect()
}

/// Returns the header `name`, which may be missing.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).map(HeaderValue::to_str);
    value.transpose().expect("text").unwrap_or_default()
}

#[tokio::test]
async fn the_page_and_all_that_it_loads_are_under_the_path() {
    let path = UnderPath::start(&[]).await;

    let (status, _, page) = path.get("/chat/").await;
    assert_eq!(status, StatusCode::OK);

    let addresses = addresses(&page);
    assert!(addresses.len() > 5, "{page}");

    for address in addresses {
        let is_query = address.starts_with('?');
        assert!(is_query || address.starts_with("/chat/"), "{address}");

        let address = if is_query {
            format!("/chat/{address}")
        } else {
            address
        };

        let (status, ..) = path.get(&address).await;
        assert!(
            status.is_success() || status.is_redirection(),
            "{address}: {status}"
        );
    }

    assert!(page.contains("/chat/pkg/"), "the scripts too: {page}");

    let (_, _, manifest) = path.get("/chat/manifest.webmanifest").await;
    assert!(!manifest.contains("\"/"), "{manifest}");

    for file in ["fanfare.js", "example.html", "example.js"] {
        assert_eq!(path.get(&format!("/chat/{file}")).await.0, StatusCode::OK);
    }
}

#[tokio::test]
async fn redirects_forms_and_cookies_stay_under_the_path() {
    let path = UnderPath::start(&[]).await;

    for (requested, location, cookie) in [
        ("/chat", "/chat/", ""),
        ("/chat/?room=class", "/chat/r/class", ""),
        ("/chat/?language=zh-CN", "/chat/", "Path=/chat/;"),
        ("/chat/r/class?theme=dark", "/chat/r/class", "Path=/chat/;"),
    ] {
        let (status, headers, _) = path.get(requested).await;
        assert!(status.is_redirection(), "{requested}: {status}");
        let found = text(&headers, "location");
        let found = found.strip_prefix(&path.url("")).unwrap_or(found);
        assert_eq!(found, location, "{requested}");
        assert!(text(&headers, "set-cookie").contains(cookie), "{headers:?}");
    }

    let form = Client::builder()
        .redirect(redirect::Policy::none())
        .build()
        .expect("a client")
        .post(path.url("/chat/r/lobby"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("text=by+form&from=ann");

    let (status, headers, _) = answer(form).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert_eq!(text(&headers, "location"), "/chat/r/lobby");
    assert!(text(&headers, "set-cookie").contains("Path=/chat/;"));
    assert!(path.get("/chat/r/lobby").await.2.contains("by form"));
}

#[tokio::test]
async fn the_api_and_the_websocket_are_under_the_path() {
    let path = UnderPath::start(&[]).await;
    let request = format!("ws://{}/chat/ws?id=ann", path.nginx.address)
        .into_client_request()
        .expect("an address");

    let (socket, _) = soon(tokio_tungstenite::connect_async(request))
        .await
        .expect("accepted");
    let mut ann = Peer { socket };

    let messages = path.url("/chat/api/v1/rooms/lobby/messages");
    let (status, _) = fetch(Client::new().post(messages).body("through")).await;
    assert_eq!(status, 201);
    assert_eq!(ann.text().await, "through");

    let document = path.url("/chat/api/v1/openapi.json");
    let (_, document) = fetch(Client::new().get(document)).await;
    assert_eq!(document["servers"][0]["url"], "/chat");
}

#[tokio::test]
async fn addresses_outside_the_path_are_404_and_the_ops_listener_has_no_path() {
    let path = UnderPath::start(&[]).await;

    for outside in [
        "/",
        "/ws",
        "/chats/",
        "/r/lobby",
        "/api/v1/openapi.json",
        "/admin",
    ] {
        let (status, error) = fetch(Client::new().get(path.server.url(outside))).await;
        assert_eq!(status, 404, "{outside}");
        let message = error["error"]["message"].as_str().expect("a message");
        assert!(message.contains("/chat/"), "{message}");
    }

    for inside in ["/healthz", "/admin", "/admin.js"] {
        let url = format!("http://{}{inside}", path.server.ops);
        let status = soon(reqwest::get(url)).await.expect("an answer").status();
        assert_eq!(status, StatusCode::OK, "{inside}");
    }
}

#[tokio::test]
async fn the_admin_page_works_on_both_listeners() {
    let path = UnderPath::start(&[]).await;
    let ops = format!("http://{}", path.server.ops);

    for (page, base) in [
        (format!("{ops}/admin"), format!("{ops}/")),
        (path.url("/chat/admin"), path.url("/chat/")),
    ] {
        let (_, _, html) = answer(Client::new().get(&page)).await;
        let found = addresses(&html);
        assert!(found.contains(&"admin.js".to_owned()), "{html}");

        for address in found
            .iter()
            .filter(|address| !address.starts_with("admin?"))
        {
            assert!(!address.starts_with('/'), "{address}");
            let (status, ..) = answer(Client::new().get(format!("{base}{address}"))).await;
            assert!(status.is_success(), "{page}: {address}: {status}");
        }
    }
}

/// Runs the program to its end.
async fn run(arguments: &[&str]) -> Output {
    let mut command = program();
    command.args(arguments);
    soon(tokio::task::spawn_blocking(move || command.output()))
        .await
        .expect("joined")
        .expect("it runs")
}

/// Returns the first line that `command` prints, and kills it.
async fn first_line(mut command: Command) -> String {
    let reading = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().expect("it runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("text");
        child.kill().expect("it runs on");
        child.wait().expect("it ends");

        line
    });

    soon(reading).await.expect("joined")
}

#[tokio::test]
async fn the_commands_accept_a_url_with_the_path() {
    let path = UnderPath::start(&["--heartbeat", "1s"]).await;
    let url = path.url("/chat");

    let sent = run(&["send", "lobby", "by command", "--url", &url]).await;
    assert_eq!(sent.status.code(), Some(0), "{sent:?}");

    let mut listen = program();
    listen
        .args(["listen", "lobby", "--after", "0", "--url", &url])
        .stdout(Stdio::piped());

    let line = first_line(listen).await;
    assert!(line.contains("by command"), "{line}");

    let verify = [
        "verify",
        "--readers",
        "4",
        "--rooms",
        "1",
        "--storms",
        "1",
        "--every",
        "1",
        &url,
    ];
    let verified = run(&verify).await;
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");

    let ops = format!("http://{}", path.server.ops);
    let doctor = run(&["doctor", &url, "--quick", "--ops", &ops]).await;
    assert_eq!(doctor.status.code(), Some(0), "{doctor:?}");

    let outside = run(&["send", "lobby", "x", "--url", &path.server.url("")]).await;
    assert_eq!(outside.status.code(), Some(1), "{outside:?}");

    let why = String::from_utf8_lossy(&outside.stderr).into_owned();
    assert!(why.contains("/chat/"), "the error names the path: {why}");
}
