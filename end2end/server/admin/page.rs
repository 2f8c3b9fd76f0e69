//! The admin page over HTTP: access and forms. Its appearance is tested in Chromium.

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use super::{list, listed};
use crate::client::publish;
use crate::eventually::{eventually, soon};
use crate::harness::Server;
use crate::typed::{find, join, say};

/// An answer of the page.
struct PageAnswer {
    status: u16,
    location: String,
    page: String,
}

impl PageAnswer {
    async fn of(request: RequestBuilder) -> Self {
        let response = soon(request.send()).await.expect("an answer");
        let location = response.headers().get("location");
        let location = location.map_or("", |to| to.to_str().expect("text"));

        Self {
            status: response.status().as_u16(),
            location: location.to_owned(),
            page: soon(response.text()).await.expect("text"),
        }
    }

    #[track_caller]
    fn assert_leads_to(&self, location: &str) {
        assert_eq!(self.status, 303, "{}", self.page);
        assert_eq!(self.location, location);
    }
}

/// Sends a form of the page on the ops listener, as a browser does.
async fn submit(server: &Server, fields: &str) -> PageAnswer {
    let own = format!("http://{}", server.ops);
    let client = Client::builder()
        .redirect(Policy::none())
        .build()
        .expect("a client");
    let request = client
        .post(format!("{own}/admin"))
        .header("origin", own)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(fields.to_owned());

    PageAnswer::of(request).await
}

#[tokio::test]
async fn a_form_acts_and_leads_back_to_its_route() {
    let server = Server::start(&[]);
    let (mut ann, welcome) = join(&server, "id=ann&room=class").await;
    listed(&server, 1).await;
    say(&mut ann, "oops", None).await;
    find(&mut ann, "message").await;

    let back = "back=room%3Dclass%26ask%3Dkick%26number%3D1";
    let delete = format!("act=delete&room=class&offset=1&{back}");
    let deleted = submit(&server, &delete).await;
    deleted.assert_leads_to("/admin?room=class&did=delete");
    find(&mut ann, "deleted").await;

    let kick = format!("act=kick&number={}&back=", welcome["connection"]);
    let kicked = submit(&server, &kick).await;
    kicked.assert_leads_to("/admin?did=kick");
    assert_eq!(ann.close_code().await, 4003);
}

#[tokio::test]
async fn a_form_leads_nowhere_but_to_the_page() {
    let server = Server::start(&[]);
    let ban = "act=ban&whom=eve&seconds=60&reason=floods&back=//evil.example";

    let banned = submit(&server, ban).await;

    banned.assert_leads_to("/admin?did=ban&count=0");
    let bans = list(&server, "bans").await;
    assert_eq!(bans["bans"][0]["id"], "eve", "{bans}");
    assert_eq!(bans["bans"][0]["reason"], "floods", "{bans}");
}

#[tokio::test]
async fn a_form_that_fails_shows_the_reason() {
    let server = Server::start(&[]);

    for (form, status, reason) in [
        (
            "act=kick&number=999&back=",
            404,
            "there is no connection 999",
        ),
        (
            "act=dance",
            422,
            "act must be one of kick, ban, lift, close, open, delete, pause",
        ),
    ] {
        let answer = submit(&server, form).await;

        assert_eq!(answer.status, status, "{form}");
        assert!(answer.page.contains(reason), "{}", answer.page);
    }
}

#[tokio::test]
async fn requests_of_other_pages_are_rejected() {
    let server = Server::start(&[]);
    let _ann = server.join("ann").await;
    listed(&server, 1).await;
    let ops = format!("http://{}/admin", server.ops);
    let host = format!("evil.example:{}", server.ops.port());
    let post = || {
        let client = Client::new()
            .post(&ops)
            .header("content-type", "application/x-www-form-urlencoded");
        client.body("act=kick&number=1")
    };
    let get = || Client::new().get(&ops);

    for (request, status) in [
        (post(), 403),
        (post().header("origin", "http://evil.example"), 403),
        (post().header("origin", "null"), 403),
        (post().header("origin", server.url("")), 403),
        (
            post()
                .header("host", &host)
                .header("origin", format!("http://{host}")),
            421,
        ),
        (get().header("host", &host), 421),
        (get().header("origin", "http://evil.example"), 403),
    ] {
        let answer = PageAnswer::of(request).await;

        assert_eq!(answer.status, status, "{}", answer.page);
        assert!(!answer.page.contains("ann"), "{}", answer.page);
    }

    listed(&server, 1).await;
}

#[tokio::test]
async fn without_keys_the_public_listener_shows_nothing_and_acts_on_nothing() {
    let server = Server::start(&[]);
    publish(&server, "hidden-room", "x").await;

    let seen = PageAnswer::of(Client::new().get(server.url("/admin"))).await;
    let close = Client::new()
        .post(server.url("/admin"))
        .header("origin", server.url(""))
        .body("act=close&room=hidden-room");
    let closed = PageAnswer::of(close).await;

    assert_eq!(seen.status, 403);
    assert!(seen.page.contains("--ops-listen"), "{}", seen.page);
    assert!(!seen.page.contains("hidden-room"), "{}", seen.page);
    assert_eq!(closed.status, 403);
    publish(&server, "hidden-room", "still open").await;
}

#[tokio::test]
async fn stats_have_the_rates_of_each_second() {
    let server = Server::start(&[]);
    let mut ann = server.join("ann").await;
    publish(&server, "lobby", "hello").await;
    ann.text().await;
    let is_counted = |stats: &Value, field: &str| {
        let seconds = stats["seconds"].as_array().expect("a list");
        seconds
            .iter()
            .any(|second| second[field].as_f64() > Some(0.0))
    };

    let fields = ["published", "delivered", "delivered_bytes", "connections"];
    let stats = eventually(
        async || list(&server, "stats").await,
        |stats| fields.into_iter().all(|field| is_counted(stats, field)),
    )
    .await;

    let expected =
        json!({ "ready": true, "published": 1, "delivered": 1, "connections": 1, "rooms": 1 });
    for (field, value) in expected.as_object().expect("an object") {
        assert_eq!(&stats[field], value, "{field} in {stats}");
    }
}

#[tokio::test]
async fn text_of_clients_and_addresses_is_escaped() {
    let server = Server::start(&[]);
    publish(&server, "lobby", "<script>alert(1)</script>").await;
    let _eve = server.join_with("id=%3Cimg%20src%3Dx%3E").await;
    listed(&server, 1).await;
    let get = async |query: &str| {
        let url = format!("http://{}/admin?{query}", server.ops);
        PageAnswer::of(Client::new().get(url)).await
    };

    let filtered = get("room=lobby&who=%22%3E%3Cb%3E").await;
    let all = get("room=lobby").await;

    for PageAnswer { status, page, .. } in [&filtered, &all] {
        assert_eq!(*status, 200);
        assert!(page.contains("&lt;script&gt;"), "{page}");
        for html in ["<script>alert", "<img", "\"><b>"] {
            assert!(!page.contains(html), "{html}: {page}");
        }
    }

    assert!(all.page.contains("&lt;img"), "{}", all.page);
}
