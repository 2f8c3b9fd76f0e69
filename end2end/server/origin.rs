//! Which pages may connect. (A real page on another port is tested in a browser: `original.hydrate.spec.ts`.)

use crate::harness::Server;

#[tokio::test]
async fn a_page_of_another_host_is_refused_unless_it_was_named() {
    let server = Server::start(&["--allow-origin", "https://shop.example", "--allow-origin", "null"]);
    let own = format!("http://{}", server.address);
    for (origin, passes) in [
        (own.as_str(), true),
        ("https://shop.example", true),
        ("null", true),
        ("http://shop.example", false),
        ("https://shop.example.evil.example", false),
        ("http://127.0.0.1", false),
    ] {
        let result = server.try_join("id=page", &[("origin", origin)]).await;
        match result {
            Ok(_) => assert!(passes, "{origin}"),
            Err(refused) => {
                assert!(
                    !passes && refused.status == 403 && refused.body.contains("origin_not_allowed"),
                    "{origin} {refused:?}"
                );
            }
        }
    }
    let two = [("origin", own.as_str()), ("origin", "https://evil.example")];
    assert_eq!(server.try_join("id=page", &two).await.err().expect("two origins").status, 403);
}

#[tokio::test]
async fn any_origin_may_be_allowed() {
    let server = Server::start(&["--allow-origin", "any"]);
    assert!(server.try_join("id=page", &[("origin", "https://evil.example")]).await.is_ok());
}
