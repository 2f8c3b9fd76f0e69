//! A server behind nginx and Caddy with the settings in `deploy/`, except for addresses: pages, WebSockets, streams that
//! are not buffered, and quiet connections that stay open.

use std::fs;
use std::path::Path;

use futures::StreamExt;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::daemon::{self, Daemon};
use crate::eventually::soon;
use crate::harness::Server;

/// The number of heartbeats to wait for on a quiet connection: together longer than [`SHORT`].
const BEATS: usize = 15;
/// The host name in the examples.
const NAME: &str = "chat.example.org";
/// The timeout that replaces the 75 s of the examples.
const SHORT: &str = "1s";

/// Reads the file `name` in `deploy/` and replaces each text of `exchanged`, which must be in it.
fn example(name: &str, exchanged: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(name);
    let text = fs::read_to_string(path).expect("it is there");
    exchanged.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{name} has {from}");
        text.replace(from, to)
    })
}

async fn nginx(server: &Server) -> Daemon {
    let address = daemon::free_address();
    let site = example(
        "nginx.conf",
        &[
            ("127.0.0.1:12345", &server.address.to_string()),
            ("listen 443 ssl;", &format!("listen {address};")),
            (
                "    ssl_certificate     /etc/letsencrypt/live/chat.example.org/fullchain.pem;\n",
                "",
            ),
            (
                "    ssl_certificate_key /etc/letsencrypt/live/chat.example.org/privkey.pem;\n",
                "",
            ),
            ("75s", SHORT),
        ],
    );

    daemon::nginx(address, &site).await
}

async fn caddy(server: &Server) -> Daemon {
    let address = daemon::free_address();
    let site = example(
        "Caddyfile",
        &[
            ("127.0.0.1:12345", &server.address.to_string()),
            (
                "chat.example.org {",
                &format!("http://{NAME}:{} {{\n\tbind 127.0.0.1", address.port()),
            ),
        ],
    );

    daemon::caddy(address, &site).await
}

/// Loads the page, publishes, and receives by WebSocket and stream through `proxy`.
async fn use_through(proxy: &Daemon) {
    // The name resolves to the proxy, and TLS is left out.
    let client = reqwest::Client::builder()
        .resolve(NAME, proxy.address)
        .build()
        .expect("a client");
    let site = format!("http://{NAME}:{}", proxy.address.port());

    let page = soon(client.get(&site).header("host", NAME).send())
        .await
        .expect("an answer");
    assert_eq!(page.status(), 200);
    assert!(
        soon(page.text())
            .await
            .expect("text")
            .contains("id=\"msg\"")
    );

    let mut request = format!("ws://{}/ws?id=ann", proxy.address)
        .into_client_request()
        .expect("an address");
    request
        .headers_mut()
        .insert("host", HeaderValue::from_static(NAME));
    request.headers_mut().insert(
        "origin",
        HeaderValue::from_static("https://chat.example.org"),
    );
    request
        .headers_mut()
        .insert("x-forwarded-for", HeaderValue::from_static("203.0.113.7"));

    let (mut ann, _) = soon(tokio_tungstenite::connect_async(request))
        .await
        .expect("accepted");

    let rooms = format!("{site}/api/v1/rooms/lobby");
    let stream = client
        .get(format!("{rooms}/stream?after=0"))
        .header("host", NAME)
        .send();
    let mut stream = soon(stream).await.expect("an answer").bytes_stream();

    let published = client
        .post(format!("{rooms}/messages"))
        .header("host", NAME)
        .body("through")
        .send();
    assert_eq!(soon(published).await.expect("an answer").status(), 201);

    let mut beats = 0;
    let mut has_message = false;

    while beats < BEATS || !has_message {
        match soon(ann.next())
            .await
            .expect("the connection stays open")
            .expect("a frame")
        {
            Message::Ping(_) => beats += 1,
            Message::Text(text) => {
                assert_eq!(text.as_str(), "through");
                has_message = true;
            }
            other => panic!("{other:?}"),
        }
    }

    let mut received = String::new();
    let mut comments = 0;

    while comments < BEATS {
        let part = soon(stream.next())
            .await
            .expect("the connection stays open")
            .expect("bytes");
        let part = String::from_utf8_lossy(&part).into_owned();
        comments += part.lines().filter(|line| line.starts_with(':')).count();
        received.push_str(&part);
    }

    assert!(received.contains(r#""text":"through""#), "{received}");
}

/// Starts a server with the flags of the examples.
fn server() -> Server {
    let flags = [
        "--heartbeat",
        "100ms",
        "--public-host",
        "https://chat.example.org",
    ];
    Server::start(&[&flags[..], &["--trusted-proxy", "127.0.0.0/8"]].concat())
}

#[tokio::test]
async fn everything_works_behind_nginx() {
    let server = server();
    use_through(&nginx(&server).await).await;

    let log = server.log().await;
    assert!(
        log.contains("203.0.113.7"),
        "the client's address, not the proxy's: {log}"
    );
}

#[tokio::test]
async fn everything_works_behind_caddy() {
    let server = server();
    use_through(&caddy(&server).await).await;
}
