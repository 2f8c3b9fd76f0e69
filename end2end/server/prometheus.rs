//! A real Prometheus scrapes a server, loads the alerts and answers every query of the dashboard.

use std::path::{Path, PathBuf};

use reqwest::StatusCode;
use serde_json::Value;

use crate::daemon::{self, Daemon};
use crate::eventually::{eventually, soon};
use crate::harness::Server;
use crate::hooks::Hooked;
use crate::hooks::receiver::Answer;
use crate::observe::{busy, file};

/// The file of the alerts.
const ALERTS: &str = "deploy/alerts.yml";

/// Starts a Prometheus that scrapes `server` five times a second, with the rules in the file `rules`.
async fn watching(server: &Server, rules: &Path) -> Daemon {
    let rules = rules.display();
    let settings = format!(
        "global: {{scrape_interval: 200ms, evaluation_interval: 200ms}}\nrule_files: ['{rules}']\n\
         scrape_configs: [{{job_name: fanfare, static_configs: [{{targets: ['{}']}}]}}]\n",
        server.ops
    );

    let prometheus = daemon::prometheus(daemon::free_address(), &settings).await;
    // It listens before it is ready.
    let ready = format!("http://{}/-/ready", prometheus.address);

    let probe = async || reqwest::get(&ready).await.map(|answer| answer.status());
    eventually(probe, |status| matches!(status, Ok(StatusCode::OK)))
        .await
        .expect("ready");

    prometheus
}

/// Returns the path of the file of the alerts.
fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(ALERTS)
}

/// Returns the JSON of Prometheus at `path`.
async fn get(prometheus: &Daemon, path: &str) -> Value {
    let url = format!("http://{}/api/v1/{path}", prometheus.address);
    soon(soon(reqwest::get(url)).await.expect("an answer").json())
        .await
        .expect("JSON")
}

/// Returns the number of series that `query` finds.
async fn found(prometheus: &Daemon, query: &str) -> usize {
    let escaped: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
    let answer = get(prometheus, &format!("query?query={escaped}")).await;
    assert_eq!(answer["status"], "success", "{query}: {answer}");
    answer["data"]["result"].as_array().expect("a list").len()
}

/// The name, the health and the state of an alert.
type Alert = (String, String, String);

/// Returns all alerts.
async fn alerts(prometheus: &Daemon) -> Vec<Alert> {
    let answer = get(prometheus, "rules").await;
    let rules = answer["data"]["groups"][0]["rules"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let text = |rule: &Value, field: &str| rule[field].as_str().expect("text").to_owned();

    rules
        .iter()
        .map(|rule| {
            (
                text(rule, "name"),
                text(rule, "health"),
                text(rule, "state"),
            )
        })
        .collect()
}

#[tokio::test]
async fn prometheus_answers_every_query_of_the_dashboard() {
    let server = busy().await;
    let prometheus = watching(&server, &shipped()).await;

    // A rate needs several readings.
    let readings = async || found(&prometheus, "count_over_time(up[1m]) > 3").await;
    eventually(readings, |series| *series > 0).await;

    let dashboard: Value = serde_json::from_str(&file("deploy/grafana.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let mut queries = 0;

    for target in targets {
        let query = target["expr"].as_str().expect("a query");
        let query = query
            .replace("$instance", ".*")
            .replace("$__rate_interval", "10s");
        let query = query.replace("$__range", "1m");

        // Queries for events may find nothing.
        let is_filtered = query.ends_with("> 0");
        assert!(
            found(&prometheus, &query).await > 0 || is_filtered,
            "{query} finds nothing"
        );

        queries += 1;
    }

    assert!(queries > 20, "{queries}");
}

#[tokio::test]
async fn prometheus_accepts_the_alerts_and_detects_a_server_that_is_down() {
    let server = busy().await;
    let prometheus = watching(&server, &shipped()).await;
    let is_calm = |alerts: &Vec<Alert>| {
        !alerts.is_empty()
            && alerts
                .iter()
                .all(|(_, health, state)| health == "ok" && state == "inactive")
    };

    eventually(async || alerts(&prometheus).await, is_calm).await;

    drop(server);

    let is_pending = |alerts: &Vec<Alert>| {
        alerts
            .iter()
            .any(|(name, _, state)| name == "FanfareDown" && state == "pending")
    };
    eventually(async || alerts(&prometheus).await, is_pending).await;
}

/// Returns the alert `name`, as Prometheus evaluates it.
async fn alert(prometheus: &Daemon, name: &str) -> Value {
    let answer = get(prometheus, "rules").await;
    let rules = answer["data"]["groups"][0]["rules"].as_array().cloned();
    let mut rules = rules.unwrap_or_default().into_iter();
    rules.find(|rule| rule["name"] == name).unwrap_or_default()
}

#[tokio::test]
async fn the_alert_of_a_lagging_hook_fires_until_its_receiver_accepts_the_messages() {
    let shipped = file(ALERTS);
    let times = "fanfare_hook_oldest_seconds > 300\n        for: 5m";
    assert!(shipped.contains(times), "{shipped}");
    let rules = tempfile::NamedTempFile::new().expect("a file");
    let shortened = shipped.replace(times, "fanfare_hook_oldest_seconds > 0\n        for: 1s");
    std::fs::write(rules.path(), shortened).expect("written");

    let Hooked { server, receiver } = Hooked::start(&["orders"], "", &[]).await;
    let prometheus = watching(&server, rules.path()).await;
    let probe = async || alert(&prometheus, "FanfareHookLags").await;
    eventually(probe, |alert| alert["state"] == "inactive").await;

    receiver.answer(Answer::Status(503));
    crate::client::publish(&server, "orders", "one").await;
    let firing = eventually(probe, |alert| alert["state"] == "firing").await;

    let summary = &firing["alerts"][0]["annotations"]["summary"];
    let summary = summary.as_str().expect("text");
    assert!(
        summary.starts_with("The receiver of the hook orders on "),
        "{summary}"
    );
    receiver.answer(Answer::Status(200));
    eventually(probe, |alert| alert["state"] == "inactive").await;
}
