//! Metrics: correct counts, and a dashboard, alerts and documentation that name only existing series.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::Value;

use crate::eventually::soon;
use crate::harness::Server;
use crate::hooks;
use crate::metrics::{figure, until};
use crate::typed::{find, join, say};

/// Returns the text of `/metrics`.
async fn metrics(server: &Server) -> String {
    let answer = soon(reqwest::get(format!("http://{}/metrics", server.ops)))
        .await
        .expect("an answer");
    soon(answer.text()).await.expect("text")
}

/// Reads a file of the repository.
pub(crate) fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("it is there")
}

/// Returns the names of series in `text`: the words with a prefix of this program.
fn series(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| {
            ["fanfare_", "process_"]
                .iter()
                .any(|prefix| word.starts_with(prefix))
        })
        .map(str::to_owned)
        .collect()
}

/// Returns the families that have a `# TYPE` line in `metrics`.
fn families(metrics: &str) -> BTreeSet<String> {
    let types = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

/// Starts a server and uses it in every way that is counted.
pub(crate) async fn busy() -> Server {
    // A hook has series of its own.
    let mut settings = tempfile::NamedTempFile::new().expect("a file");
    let hook = hooks::hook("unused", "http://127.0.0.1:9/", &["unused"]);
    settings.write_all(hook.as_bytes()).expect("written");
    let file = settings.path().to_str().expect("text");
    let server = Server::start(&["--config", file]);

    let (mut ann, _) = join(&server, "id=ann").await;
    let (mut bob, _) = join(&server, "id=bob").await;

    for (text, key) in [
        ("one", Some("k")),
        ("one", Some("k")),
        ("two", None),
        ("three", None),
    ] {
        say(&mut ann, text, key).await;
    }

    for reader in [&mut ann, &mut bob] {
        while find(reader, "message").await["text"] != "three" {}
    }

    let refused = soon(reqwest::get(server.url("/api/v1/rooms/No%20Room/messages")))
        .await
        .expect("an answer");
    assert_eq!(refused.status(), 400);

    server
}

#[tokio::test]
async fn published_stored_and_delivered_messages_are_counted() {
    let server = busy().await;
    until(&server, "fanfare_messages_delivered_total", 6).await;

    assert_eq!(
        figure(
            &server,
            "fanfare_messages_published_total{result=\"stored\"}"
        )
        .await,
        3
    );
    assert_eq!(
        figure(
            &server,
            "fanfare_messages_published_total{result=\"duplicate\"}"
        )
        .await,
        1
    );
    assert_eq!(
        figure(
            &server,
            "fanfare_messages_published_total{result=\"refused\"}"
        )
        .await,
        0
    );
    assert_eq!(figure(&server, "fanfare_commit_messages_sum").await, 4);
    assert_eq!(figure(&server, "fanfare_store_ready").await, 1);

    for histogram in ["ack", "commit", "fan_out"] {
        assert!(
            figure(&server, &format!("fanfare_{histogram}_seconds_count")).await > 0,
            "{histogram}"
        );
    }

    // Three frames for each of two readers, each of more than 50 bytes.
    assert!(figure(&server, "fanfare_delivered_bytes_total").await > 6 * 50);
}

#[tokio::test]
async fn dashboard_and_alerts_query_only_existing_series() {
    let server = busy().await;
    let metrics = metrics(&server).await;
    let live = series(&metrics);

    let dashboard: Value = serde_json::from_str(&file("deploy/grafana.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let alerts = file("deploy/alerts.yml");
    let rules = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "));

    let queries: Vec<&str> = targets
        .map(|target| target["expr"].as_str().expect("a query"))
        .chain(rules)
        .collect();
    assert!(queries.len() > 20);

    for query in queries {
        let named = series(query);
        assert!(!named.is_empty() || query.starts_with("up{"), "{query}");

        for name in named {
            assert!(live.contains(&name), "there is no {name}: {query}");
        }

        // The values of labels must exist too.
        for label in ["result", "reason"] {
            for (at, _) in query.match_indices(&format!("{label}=\"")) {
                let matcher: String = query[at..].split_inclusive('"').take(2).collect();
                assert!(metrics.contains(&matcher), "nothing has {matcher}: {query}");
            }
        }
    }
}

#[tokio::test]
async fn the_documentation_lists_every_series_and_no_other() {
    let server = busy().await;
    let live = families(&metrics(&server).await);
    let documented = series(&file("docs/src/metrics.md"));

    for name in live.iter().filter(|name| name.starts_with("fanfare_")) {
        assert!(
            documented.contains(name),
            "docs/src/metrics.md does not list {name}"
        );
    }

    for name in documented {
        assert!(
            live.contains(&name),
            "docs/src/metrics.md has {name}, which no server has"
        );
    }
}
