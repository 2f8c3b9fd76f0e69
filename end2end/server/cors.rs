//! CORS headers. `foreign.hydrate.spec.ts` tests them with real pages of other origins.

use reqwest::{Client, Method, Response};

use crate::eventually::soon;
use crate::harness::Server;

const SHOP: &str = "https://shop.example";

/// Headers that clients and libraries send.
const HEADERS: &str = "authorization,cache-control,content-type,idempotency-key,if-none-match,last-event-id,producer-epoch,producer-id,producer-seq,stream-closed,stream-seq,traceparent,tracestate,x-app-9,x-requested-with";

/// Sends the preflight request of a page at `origin`.
async fn preflight(server: &Server, path: &str, origin: &str) -> Response {
    let request = Client::new()
        .request(Method::OPTIONS, server.url(path))
        .header("origin", origin);
    let request = request
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", HEADERS);
    soon(request.send()).await.expect("an answer")
}

/// Returns the header `name`, or an empty text.
fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().expect("text"))
}

#[tokio::test]
async fn an_allowed_origin_may_use_every_method_and_header_of_the_api() {
    let server = Server::start(&["--allow-origin", SHOP]);

    for path in [
        "/api/v1/rooms/lobby/messages",
        "/api/v1/rooms/lobby/stream",
        "/streams/lobby",
        "/favicon.svg",
    ] {
        let response = preflight(&server, path, SHOP).await;
        assert!(response.status().is_success(), "{path}");
        assert_eq!(header(&response, "access-control-allow-origin"), SHOP);
        assert_eq!(
            header(&response, "access-control-allow-methods"),
            "GET,POST,PUT,PATCH,DELETE"
        );

        let headers = header(&response, "access-control-allow-headers");
        assert_eq!(headers, HEADERS);
        assert_eq!(header(&response, "access-control-max-age"), "7200");
        assert_eq!(header(&response, "vary"), "origin");
        assert_eq!(header(&response, "access-control-allow-credentials"), "");
    }
}

#[tokio::test]
async fn an_allowed_origin_may_read_responses_and_errors() {
    let server = Server::start(&["--allow-origin", SHOP]);

    for (path, status) in [
        ("/api/v1/rooms/lobby/messages", 200),
        ("/api/v1/rooms/lobby/stream", 200),
        ("/api/v1/rooms/a%20b/messages", 400),
        ("/nowhere", 404),
    ] {
        let response = soon(
            Client::new()
                .get(server.url(path))
                .header("origin", SHOP)
                .send(),
        )
        .await;

        let response = response.expect("an answer");
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(
            header(&response, "access-control-allow-origin"),
            SHOP,
            "{path}"
        );
        let exposed = header(&response, "access-control-expose-headers");
        for name in ["retry-after", "last-event-id", "stream-next-offset"] {
            assert!(exposed.split(',').any(|one| one == name), "{exposed}");
        }
        assert!(
            response
                .headers()
                .get_all("vary")
                .iter()
                .any(|vary| vary == "origin"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_foreign_origin_gets_no_cors_headers() {
    let server = Server::start(&["--allow-origin", SHOP]);

    for origin in [
        "https://evil.example",
        "https://shop.example.evil.example",
        "null",
    ] {
        let response = preflight(&server, "/api/v1/rooms/lobby/messages", origin).await;
        assert_eq!(response.status().as_u16(), 403, "{origin}");

        let names_cors = |name: &str| name.starts_with("access-control-");
        assert!(
            !response
                .headers()
                .keys()
                .any(|name| names_cors(name.as_str())),
            "{:?}",
            response.headers()
        );
    }
}

#[tokio::test]
async fn with_any_origin_allowed_credentials_are_still_refused() {
    let server = Server::start(&["--allow-origin", "any"]);

    let response = preflight(
        &server,
        "/api/v1/rooms/lobby/messages",
        "https://evil.example",
    )
    .await;
    assert_eq!(header(&response, "access-control-allow-origin"), "*");
    assert_eq!(header(&response, "access-control-allow-headers"), HEADERS);
    assert_eq!(header(&response, "access-control-allow-credentials"), "");
    assert_eq!(
        header(&response, "cross-origin-resource-policy"),
        "cross-origin"
    );
}

#[tokio::test]
async fn an_allowed_origin_may_have_the_scheme_of_an_app() {
    let app = "capacitor://localhost";
    let extension = "moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc";
    let server = Server::start(&["--allow-origin", app, "--allow-origin", extension]);

    for (origin, passes) in [
        (app, true),
        (extension, true),
        ("http://localhost", false),
        ("ionic://localhost", false),
        ("capacitor://localhost.evil.example", false),
        (
            "moz-extension://00000000-62c7-7e4f-90e5-472b45eecfdc",
            false,
        ),
    ] {
        let response = preflight(&server, "/api/v1/rooms/lobby/messages", origin).await;
        assert_eq!(response.status().is_success(), passes, "{origin}");

        let joined = server.try_join("id=app", &[("origin", origin)]).await;
        assert_eq!(joined.is_ok(), passes, "{origin}");
    }
}
