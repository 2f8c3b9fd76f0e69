//! The operator's page as it answers over HTTP: who gets it, what its forms do, and who may not send them. (What
//! people see of it is tested in Chromium.)

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use super::{list, listed};
use crate::client::publish;
use crate::harness::{Server, soon};
use crate::typed::{find, join, say};

/// The status, where it leads, and the page.
async fn ask(request: RequestBuilder) -> (u16, String, String) {
    let response = soon(request.send()).await.expect("an answer");
    let status = response.status().as_u16();
    let location = response
        .headers()
        .get("location")
        .map_or("", |to| to.to_str().expect("text"))
        .to_owned();
    (status, location, soon(response.text()).await.expect("text"))
}

/// Sends a form of the page on the ops listener, as a browser does that shows it.
fn form(server: &Server, fields: &str) -> RequestBuilder {
    let own = format!("http://{}", server.ops);
    let client = Client::builder()
        .redirect(Policy::none())
        .build()
        .expect("a client");
    client
        .post(format!("{own}/admin"))
        .header("origin", own)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(fields.to_owned())
}

#[tokio::test]
async fn a_form_does_what_the_api_does_and_leads_back_to_where_it_was() {
    let server = Server::start(&[]);
    let (mut ann, welcome) = join(&server, "id=ann&room=class").await;
    listed(&server, 1).await;
    say(&mut ann, "oops", None).await;
    find(&mut ann, "message").await;
    let back = "back=room%3Dclass%26ask%3Dkick%26number%3D1";
    let delete = ask(form(
        &server,
        &format!("act=delete&room=class&offset=1&{back}"),
    ))
    .await;
    assert_eq!(
        (delete.0, delete.1.as_str()),
        (303, "/admin?room=class&did=delete"),
        "{}",
        delete.2
    );
    find(&mut ann, "deleted").await;
    let kick = ask(form(
        &server,
        &format!("act=kick&number={}&back=", welcome["connection"]),
    ))
    .await;
    assert_eq!(
        (kick.0, kick.1.as_str()),
        (303, "/admin?did=kick"),
        "{}",
        kick.2
    );
    assert_eq!(ann.close_code().await, 4003);
    let ban = ask(form(
        &server,
        "act=ban&whom=eve&seconds=60&reason=floods&back=//evil.example",
    ))
    .await;
    assert_eq!(
        (ban.0, ban.1.as_str()),
        (303, "/admin?did=ban&count=0"),
        "and nowhere else: {}",
        ban.2
    );
    let bans = list(&server, "bans").await;
    assert_eq!(
        (&bans["bans"][0]["id"], &bans["bans"][0]["reason"]),
        (&json!("eve"), &json!("floods")),
        "{bans}"
    );
    let (status, _, page) = ask(form(&server, "act=kick&number=999&back=")).await;
    assert!(
        status == 404 && page.contains("there is no connection 999"),
        "{status} {page}"
    );
    let (status, _, page) = ask(form(&server, "act=dance")).await;
    assert!(
        status == 422 && page.contains("act must be kick, ban, lift, close, open or delete"),
        "{page}"
    );
}

#[tokio::test]
async fn no_other_page_sends_its_forms() {
    let server = Server::start(&[]);
    let _ann = server.join("ann").await;
    listed(&server, 1).await;
    let ops = format!("http://{}/admin", server.ops);
    let port = server.ops.port();
    let post = || {
        let client = Client::new()
            .post(&ops)
            .header("content-type", "application/x-www-form-urlencoded");
        client.body("act=kick&number=1")
    };
    for (request, status) in [
        (post(), 403),
        (post().header("origin", "http://evil.example"), 403),
        (post().header("origin", "null"), 403),
        (post().header("origin", server.url("")), 403),
        (
            post()
                .header("host", format!("evil.example:{port}"))
                .header("origin", format!("http://evil.example:{port}")),
            421,
        ),
        (
            Client::new()
                .get(&ops)
                .header("host", format!("evil.example:{port}")),
            421,
        ),
        (
            Client::new()
                .get(&ops)
                .header("origin", "http://evil.example"),
            403,
        ),
    ] {
        let (found, _, page) = ask(request).await;
        assert_eq!(found, status, "{page}");
        assert!(!page.contains("ann"), "{page}");
    }
    listed(&server, 1).await;
}

#[tokio::test]
async fn where_there_are_no_keys_the_public_listener_says_where_to_ask_and_shows_nothing() {
    let open = Server::start(&[]);
    publish(&open, "hidden-room", "x").await;
    let (status, _, page) = ask(Client::new().get(open.url("/admin"))).await;
    assert!(
        status == 403 && page.contains("--ops-listen") && !page.contains("hidden-room"),
        "{page}"
    );
    let close = Client::new()
        .post(open.url("/admin"))
        .header("origin", open.url(""));
    assert_eq!(ask(close.body("act=close&room=hidden-room")).await.0, 403);
    publish(&open, "hidden-room", "still open").await;
}

#[tokio::test]
async fn the_figures_count_what_passes_in_each_second() {
    let server = Server::start(&[]);
    let mut ann = server.join("ann").await;
    publish(&server, "lobby", "hello").await;
    ann.text().await;
    let passed = |now: &Value, field: &str| {
        let seconds = now["seconds"].as_array().expect("a list");
        seconds
            .iter()
            .any(|second| second[field].as_f64() > Some(0.0))
    };
    let fields = ["published", "delivered", "delivered_bytes", "connections"];
    let now = soon(async {
        loop {
            let now = list(&server, "stats").await;
            if fields.into_iter().all(|field| passed(&now, field)) {
                return now;
            }
        }
    })
    .await;
    assert_eq!(
        (&now["ready"], &now["published"], &now["delivered"]),
        (&json!(true), &json!(1), &json!(1)),
        "{now}"
    );
    assert_eq!(
        (&now["connections"], &now["rooms"]),
        (&json!(1), &json!(1)),
        "{now}"
    );
}

#[tokio::test]
async fn what_people_say_is_no_html_there_and_its_files_come_from_the_same_listener() {
    let server = Server::start(&[]);
    publish(&server, "lobby", "<script>alert(1)</script>").await;
    let _eve = server.join_with("id=%3Cimg%20src%3Dx%3E").await;
    listed(&server, 1).await;
    let ops = format!("http://{}", server.ops);
    let (status, _, page) =
        ask(Client::new().get(format!("{ops}/admin?room=lobby&who=%22%3E%3Cb%3E"))).await;
    assert_eq!(status, 200);
    let (_, _, all) = ask(Client::new().get(format!("{ops}/admin?room=lobby"))).await;
    for page in [&page, &all] {
        assert!(
            page.contains("&lt;script&gt;") && !page.contains("<script>alert"),
            "{page}"
        );
        assert!(!page.contains("<img") && !page.contains("\"><b>"), "{page}");
    }
    assert!(all.contains("&lt;img"), "{all}");
}
