//! A real Prometheus reads a server, takes the alerts as they are, and answers every query of the dashboard.

use serde_json::Value;

use crate::daemon::{self, Daemon};
use crate::harness::{Server, soon};
use crate::observe::{busy, file};

/// A Prometheus that asks `server` five times a second.
async fn watching(server: &Server) -> Daemon {
    let alerts = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/alerts.yml");
    let settings = format!(
        "global: {{scrape_interval: 200ms, evaluation_interval: 200ms}}\nrule_files: ['{alerts}']\n\
         scrape_configs: [{{job_name: fanfare, static_configs: [{{targets: ['{}']}}]}}]\n",
        server.ops
    );
    let prometheus = daemon::prometheus(daemon::free_address(), &settings).await;
    // It listens before it can answer.
    let ready = format!("http://{}/-/ready", prometheus.address);
    soon(async {
        while !reqwest::get(&ready)
            .await
            .is_ok_and(|answer| answer.status() == 200)
        {}
    })
    .await;
    prometheus
}

/// What it answers at `path`.
async fn ask(prometheus: &Daemon, path: &str) -> Value {
    let url = format!("http://{}/api/v1/{path}", prometheus.address);
    soon(soon(reqwest::get(url)).await.expect("an answer").json())
        .await
        .expect("JSON")
}

/// The series that `query` finds now.
async fn found(prometheus: &Daemon, query: &str) -> usize {
    let escaped: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
    let answer = ask(prometheus, &format!("query?query={escaped}")).await;
    assert_eq!(answer["status"], "success", "{query}: {answer}");
    answer["data"]["result"].as_array().expect("a list").len()
}

/// Each alert, whether its query can be answered, and whether it holds.
async fn alerts(prometheus: &Daemon) -> Vec<(String, String, String)> {
    let answer = ask(prometheus, "rules").await;
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
    let prometheus = watching(&server).await;
    // A rate is of several readings.
    soon(async { while found(&prometheus, "count_over_time(up[1m]) > 3").await == 0 {} }).await;
    let dashboard: Value = serde_json::from_str(&file("deploy/grafana.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let mut asked = 0;
    for target in targets {
        let query = target["expr"].as_str().expect("a query");
        let query = query
            .replace("$instance", ".*")
            .replace("$__rate_interval", "10s");
        let query = query.replace("$__range", "1m");
        // Those that show only what happened may find nothing.
        let is_filtered = query.ends_with("> 0");
        assert!(
            found(&prometheus, &query).await > 0 || is_filtered,
            "{query} finds nothing"
        );
        asked += 1;
    }
    assert!(asked > 20, "{asked}");
}

#[tokio::test]
async fn prometheus_takes_the_alerts_and_they_say_when_the_server_is_gone() {
    let server = busy().await;
    let prometheus = watching(&server).await;
    let is_calm = |alerts: &[(String, String, String)]| {
        !alerts.is_empty()
            && alerts
                .iter()
                .all(|(_, health, state)| health == "ok" && state == "inactive")
    };
    soon(async { while !is_calm(&alerts(&prometheus).await) {} }).await;
    drop(server);
    let is_told = |alerts: &[(String, String, String)]| {
        alerts
            .iter()
            .any(|(name, _, state)| name == "FanfareDown" && state == "pending")
    };
    soon(async { while !is_told(&alerts(&prometheus).await) {} }).await;
}
