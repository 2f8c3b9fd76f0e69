//! The OpenAPI document matches the responses of the API.

use std::fs;
use std::path::Path;

use reqwest::{Client, Method};
use serde_json::Value;

use crate::client::{get, publish};
use crate::eventually::soon;
use crate::harness::Server;

const DOCUMENT: &str = "/api/v1/openapi.json";
const METHODS: [Method; 5] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

#[tokio::test]
async fn every_described_call_answers_and_every_other_method_is_refused() {
    let server = Server::start(&[]);
    // A stream that does not exist is answered with 404 too.
    publish(&server, "lobby", "x").await;

    let document = get(&server, DOCUMENT).await;
    assert!(
        document["openapi"]
            .as_str()
            .expect("a version")
            .starts_with("3."),
        "{document}"
    );

    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.contains_key(DOCUMENT), "{paths:?}");
    assert!(paths.len() >= 4, "{paths:?}");

    for (path, calls) in paths {
        let url = server.url(
            &path
                .replace("{room}", "lobby")
                .replace("{number}", "1")
                .replace("{offset}", "1")
                .replace("{hook}", "orders"),
        );

        for method in METHODS {
            let request = Client::new().request(method.clone(), &url).body("x");
            let status = soon(request.send())
                .await
                .expect("an answer")
                .status()
                .as_u16();

            let is_described = calls.get(method.as_str().to_ascii_lowercase()).is_some();
            assert_eq!(
                is_described,
                ![404, 405].contains(&status),
                "{method} {path}: {status}"
            );

            if is_described {
                let described = &calls[method.as_str().to_ascii_lowercase()]["responses"];
                assert!(
                    described.get(status.to_string()).is_some(),
                    "{method} {path} must not answer {status}"
                );
            }
        }
    }
}

#[tokio::test]
async fn every_route_under_api_is_described() {
    let server = Server::start(&[]);

    let document = get(&server, DOCUMENT).await;
    let mut routes = Vec::new();
    let http = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server/http");

    for folder in [http.clone(), http.join("api"), http.join("api/admin")] {
        for file in fs::read_dir(folder)
            .expect("a folder")
            .map(|file| file.expect("a file").path())
        {
            let text = if file.is_file() {
                fs::read_to_string(file).expect("text")
            } else {
                String::new()
            };
            let quoted = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            routes.extend(
                quoted.flat_map(|line| line.split('"').map(str::to_owned).collect::<Vec<_>>()),
            );
        }
    }

    routes.retain(|text| text.starts_with("/api/"));
    assert!(routes.len() >= 5, "{routes:?}");

    for route in routes {
        assert!(
            document["paths"].get(&route).is_some(),
            "{route} is not described"
        );
    }
}

/// Collects every `$ref` in `value`.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|field| references(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_reference_in_the_description_resolves() {
    let server = Server::start(&[]);

    let document = get(&server, DOCUMENT).await;
    let mut found = Vec::new();
    references(&document, &mut found);

    assert!(!found.is_empty());

    for reference in found {
        let pointer = reference.strip_prefix('#').expect("within the document");
        assert!(
            document.pointer(pointer).is_some(),
            "{reference} does not exist"
        );
    }
}

#[tokio::test]
async fn the_description_names_the_ways_to_send_a_token() {
    let server = Server::start(&[]);

    let document = get(&server, DOCUMENT).await;
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(schemes["bearer"]["type"], "http");
    assert_eq!(schemes["bearer"]["scheme"], "bearer");
    assert_eq!(schemes["query"]["in"], "query");
    assert_eq!(schemes["query"]["name"], "token");

    let allowed = document["security"].as_array().expect("a list");
    let names = allowed
        .iter()
        .flat_map(|one| one.as_object().expect("an object").keys());
    let names: Vec<&str> = names.map(String::as_str).collect();

    assert_eq!(allowed.len(), 3, "{allowed:?}");
    assert_eq!(names, ["bearer", "query"], "{allowed:?}");
}
