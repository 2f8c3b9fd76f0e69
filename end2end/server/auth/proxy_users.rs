//! Users whom a proxy with single sign-on names in a header: nginx with `auth_request`, as in the documentation.

use std::net::SocketAddr;
use std::path::Path;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::fetch;
use crate::daemon::{self, Daemon};
use crate::harness::{Server, open_socket, program};
use crate::typed::{find, joined, say};

/// The grants of the tests.
const GRANTS: &str = r#"
[[grant]]
rooms = { lobby = "rw" }

[[grant]]
group = "staff"
rooms = { "staff-*" = "rw", news = "admin" }
"#;
/// The header by which nginx passes the groups.
const FLAGS: [&str; 4] = [
    "--auth-header",
    "Remote-User",
    "--auth-groups-header",
    "Remote-Groups",
];

/// A server that believes the user header of `proxy`.
struct SignedOn {
    server: Server,
    /// The folder with its settings.
    _folder: TempDir,
}

impl SignedOn {
    fn start(proxy: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("fanfare.toml");
        std::fs::write(&file, GRANTS).expect("written");
        let file = file.to_str().expect("text");
        let own = ["--config", file, "--trusted-proxy", proxy];

        Self {
            server: Server::start(&[&own[..], &FLAGS, flags].concat()),
            _folder: folder,
        }
    }
}

/// Returns the example `name` of the documentation page on identity: the fenced code that begins with a comment with it.
fn example(name: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src/identity.md");
    let page = std::fs::read_to_string(page).expect("it is there");
    let begin = page.find(&format!("# {name}")).expect("the example");
    let example = &page[begin..];
    example[..example.find("```").expect("its end")].to_owned()
}

/// Starts the nginx of the documentation before `server`, with a service that knows the sessions of ann, of the group
/// staff, and of eve.
async fn nginx(server: &Server) -> Daemon {
    let (address, sign_on) = (daemon::free_address(), daemon::free_address());
    let site = example("/etc/nginx/conf.d/fanfare.conf");
    let mut site = site.replace("listen 443 ssl;", &format!("listen {address};"));
    for (from, to) in [
        ("127.0.0.1:12345", server.address.to_string()),
        ("127.0.0.1:4180", sign_on.to_string()),
    ] {
        assert!(site.contains(from), "{site}");
        site = site.replace(from, &to);
    }
    let without_certificate = site
        .lines()
        .filter(|line| !line.contains("ssl_certificate"));
    let site: Vec<&str> = without_certificate.collect();

    let service = format!(
        "map $cookie_session $known_user {{ ann-1 ann; eve-1 eve; }}\n\
         map $cookie_session $known_groups {{ ann-1 dev,staff; }}\n\
         server {{ listen {sign_on};\n\
         location / {{ if ($known_user = '') {{ return 401; }}\n\
         add_header Remote-User $known_user; add_header Remote-Groups $known_groups; return 200; }} }}\n"
    );
    daemon::nginx(address, &format!("{service}{}", site.join("\n"))).await
}

/// Returns a request for `path` of the API at `address` in the session `cookie`, which may be empty.
fn call(address: SocketAddr, method: Method, path: &str, session: &str) -> RequestBuilder {
    let url = format!("http://{address}/api/v1/rooms/{path}");
    let request = Client::new().request(method, url).body("x");
    request.header("cookie", format!("session={session}"))
}

/// Returns the status of `request`.
async fn status(request: RequestBuilder) -> u16 {
    let answer = crate::eventually::soon(request.send()).await;
    answer.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn people_behind_nginx_with_auth_request_are_who_they_are() {
    let SignedOn { server, _folder } = SignedOn::start("127.0.0.1", &[]);
    let proxy = nginx(&server).await;
    let publish = |room: &str, session: &str| {
        call(
            proxy.address,
            Method::POST,
            &format!("{room}/messages"),
            session,
        )
    };

    assert_eq!(status(publish("lobby", "ann-1")).await, 201);
    assert_eq!(status(publish("lobby", "eve-1")).await, 201);
    assert_eq!(status(publish("staff-1", "ann-1")).await, 201);
    assert_eq!(status(publish("staff-1", "eve-1")).await, 403);
    assert_eq!(status(publish("lobby", "")).await, 401, "nginx refuses it");

    let history = call(proxy.address, Method::GET, "lobby/messages", "eve-1");
    let (_, history) = fetch(history).await;
    let senders: Vec<&Value> = history["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|message| &message["from"])
        .collect();
    assert_eq!(senders, [&json!("ann"), &json!("eve")]);
}

#[tokio::test]
async fn a_websocket_through_nginx_with_auth_request_has_the_user_of_the_session() {
    let SignedOn { server, _folder } = SignedOn::start("127.0.0.1", &[]);
    let proxy = nginx(&server).await;
    let open = async |session: &str, query: &str| {
        let url = format!("ws://{}/ws?{query}", proxy.address);
        let headers = [
            ("sec-websocket-protocol", "fanfare.v1"),
            ("cookie", session),
            // A forged name, which nginx replaces.
            ("remote-user", "root"),
        ];
        open_socket(&url, &headers).await
    };

    let mut ann = open("session=ann-1", "room=staff-1")
        .await
        .expect("accepted");
    let welcome = joined(&mut ann).await;
    say(&mut ann, "hello", Some("one")).await;
    find(&mut ann, "ack").await;
    let mut eve = open("session=eve-1", "room=staff-1").await.expect("opened");
    let nobody = open("", "room=lobby").await;

    assert_eq!(welcome["id"], "ann");
    assert_eq!(eve.close_code().await, 4501, "eve is not of the staff");
    let refused = nobody.expect_err("nginx refuses a client that is not signed in");
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn the_user_header_of_a_client_behind_the_proxy_is_replaced() {
    let SignedOn { server, _folder } = SignedOn::start("127.0.0.1", &[]);
    let proxy = nginx(&server).await;
    let forged = |request: RequestBuilder| {
        let request = request.header("remote-user", "ann");
        request.header("remote-groups", "staff")
    };

    let staff = call(proxy.address, Method::POST, "staff-1/messages", "eve-1");
    let lobby = call(proxy.address, Method::POST, "lobby/messages", "eve-1");

    assert_eq!(status(forged(staff)).await, 403);
    assert_eq!(status(forged(lobby)).await, 201);
    let history = call(proxy.address, Method::GET, "lobby/messages", "eve-1");
    assert_eq!(fetch(history).await.1["messages"][0]["from"], "eve");
}

#[tokio::test]
async fn the_user_header_of_other_peers_is_ignored() {
    let SignedOn { server, _folder } = SignedOn::start("192.0.2.1", &[]);
    let forged = |method, path: &str| {
        let request = call(server.address, method, path, "");
        request
            .header("remote-user", "ann")
            .header("x-forwarded-for", "192.0.2.1")
    };

    let (read, answer) = fetch(forged(Method::GET, "lobby/messages")).await;
    let (write, _) = fetch(forged(Method::POST, "lobby/messages")).await;
    let mut socket = server
        .try_join("", &[("remote-user", "ann")])
        .await
        .expect("opened, so that a page can read the code");

    assert_eq!((read, write), (401, 401));
    assert_eq!(answer["error"]["code"], "no_token");
    assert_eq!(socket.close_code().await, 4500);
}

#[tokio::test]
async fn without_keys_the_error_of_a_guest_names_the_proxy_and_no_token() {
    let SignedOn { server, _folder } = SignedOn::start("192.0.2.1", &[]);

    for path in ["rooms", "rooms/lobby/messages", "stream?room=builds-*"] {
        let url = server.url(&format!("/api/v1/{path}"));
        let (status, answer) = fetch(Client::new().get(url)).await;

        let message = answer["error"]["message"].as_str().expect("text");
        assert_eq!(status, 401, "{path}: {message}");
        for fix in ["--auth-header", "--trusted-proxy"] {
            assert!(message.contains(fix), "{path}: {message}");
        }
        assert!(!message.contains("token"), "{path}: {message}");
    }
}

#[tokio::test]
async fn a_websocket_has_the_user_of_the_proxy_and_its_rights() {
    let SignedOn { server, _folder } = SignedOn::start("127.0.0.1", &[]);
    let headers = [
        ("sec-websocket-protocol", "fanfare.v1"),
        ("remote-user", "ann"),
        ("remote-groups", "dev|staff"),
    ];
    let mut ann = server
        .try_join("room=staff-1", &headers)
        .await
        .expect("accepted");

    let welcome = joined(&mut ann).await;
    say(&mut ann, "hello", Some("one")).await;
    find(&mut ann, "ack").await;
    let mut as_eve = server.try_join("id=eve", &headers).await.expect("opened");

    assert_eq!(welcome["id"], "ann");
    assert_eq!(as_eve.close_code().await, 4501, "another id");
}

#[tokio::test]
async fn several_user_headers_and_names_that_are_not_valid_are_refused() {
    let SignedOn { server, _folder } = SignedOn::start("127.0.0.1", &[]);
    let read = || call(server.address, Method::GET, "lobby/messages", "");

    let several = read()
        .header("remote-user", "ann")
        .header("remote-user", "eve");
    let invalid = read().header("remote-user", "x".repeat(65));

    for (request, expected) in [(several, "2 user headers"), (invalid, "--auth-header")] {
        let (status, answer) = fetch(request).await;
        assert_eq!(status, 401, "{answer}");
        let message = answer["error"]["message"].as_str().expect("text");
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test]
async fn a_user_of_the_proxy_does_not_administer_the_server() {
    let SignedOn { server, _folder } = SignedOn::start("127.0.0.1", &[]);
    let request = Client::new()
        .get(server.url("/api/v1/admin/connections"))
        .header("remote-user", "ann")
        .header("remote-groups", "staff");

    let (status, answer) = fetch(request).await;

    assert_eq!(status, 403, "{answer}");
}

#[test]
fn wrong_settings_of_the_proxy_user_prevent_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("fanfare.toml");
    let check = |settings: &str, flags: &[&str]| {
        std::fs::write(&file, settings).expect("written");
        let mut command = program();
        command.args(["check-config", "--config"]).arg(&file);
        let output = command.args(flags).output().expect("it runs");
        (
            output.status.code(),
            String::from_utf8(output.stderr).expect("text"),
        )
    };
    let proxy = [
        "--auth-header",
        "remote-user",
        "--trusted-proxy",
        "127.0.0.1",
    ];

    assert_eq!(check(GRANTS, &proxy).0, Some(0));
    for (settings, flags, expected) in [
        ("", &proxy[..2], "--trusted-proxy"),
        (
            "",
            &["--auth-groups-header", "remote-groups"],
            "beside --auth-header",
        ),
        (
            "",
            &["--auth-header", "cookie", "--trusted-proxy", "127.0.0.1"],
            "remote-user",
        ),
        (GRANTS, &[], "have no effect"),
        ("[grant]\nrooms = {}", &proxy, "[[grant]]"),
        ("[[grant]]\nroom = {}", &proxy, "[[grant]] 1"),
        (
            "[[grant]]\nrooms = { lobby = \"x\" }",
            &proxy,
            "r, w, rw or admin",
        ),
    ] {
        let (code, stderr) = check(settings, flags);
        assert_eq!(code, Some(2), "{settings} {flags:?}: {stderr}");
        assert!(stderr.contains(expected), "{settings} {flags:?}: {stderr}");
    }
}
