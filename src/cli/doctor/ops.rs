//! The checks of the ops listener: version, readiness, file limit, and the client address that the server sees.

use std::net::{IpAddr, Ipv4Addr};

use super::reach::ProxyInfo;
use super::report::{DoctorReport, Finding, bad, describe, good, note};
use super::visit::{Visit, get};
use crate::cli::client::Endpoint;
use crate::protocol::Welcome;
use crate::server::version;

/// An invented client address (RFC 5737). The server uses it only if it trusts this client as a proxy.
pub(super) const INVENTED_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The percentage of open files at which a server is about to reach its limit.
const CROWDED_PERCENT: f64 = 90.0;

/// Runs the checks at the ops listener `ops`.
pub(super) async fn check(ops: &Endpoint, report: &mut DoctorReport) {
    match running_version(ops).await {
        Ok(finding) => report.add("version", Ok(finding)),
        Err(finding) => {
            let fix =
                "fanfare doctor: --ops http://HOST:PORT, the address of the server's --ops-listen";
            return report.add("ops", Err(finding.fix(fix)));
        }
    }

    report.add("ready", ready(ops).await);
    let metrics = get(ops, "/metrics").await;
    report.add(
        "files",
        match metrics {
            Ok(answer) => Ok(files(&String::from_utf8_lossy(&answer.body))),
            Err(error) => Err(bad(format!("{error:#}"))),
        },
    );
}

async fn running_version(ops: &Endpoint) -> Result<Finding, Finding> {
    let answer = get(ops, "/version").await;
    let answer =
        answer.map_err(|error| note(format!("the ops listener cannot be checked: {error:#}")))?;
    let json = answer.json();
    let number = json["version"].as_str().ok_or_else(|| {
        let answer = describe(&answer);
        bad(format!(
            "{ops} is not the ops listener of a Fanfare: {answer}"
        ))
    })?;

    let commit = json["commit"]
        .as_str()
        .map_or_else(String::new, |commit| format!(" ({commit})"));
    let own = version::VERSION;
    Ok(if number == own {
        good(format!("{number}{commit}"))
    } else {
        note(format!("{number}{commit}; this program is {own}"))
    })
}

/// Checks the address that the server sees for the connection of `welcome`, because limits apply per address.
pub(super) async fn address(
    ops: &Endpoint,
    visit: &Visit,
    welcome: &Welcome,
    proxy_info: &ProxyInfo,
) -> Option<Finding> {
    let path = format!("/api/v1/admin/connections?limit=1000&room={}", visit.room);
    let answer = get(ops, &path).await.ok()?.json();
    let of_ours = |connection: &&serde_json::Value| connection["number"] == welcome.connection;
    let seen = answer["connections"].as_array()?.iter().find(of_ours)?["address"]
        .as_str()?
        .parse()
        .ok()?;
    Some(judge_address(seen, proxy_info))
}

fn judge_address(seen: IpAddr, proxy_info: &ProxyInfo) -> Finding {
    let trust = |finding: Finding| {
        finding
            .fix(format!("fanfare: --trusted-proxy {seen}"))
            .fix("nginx: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;")
    };

    match &proxy_info.proxy {
        _ if seen == INVENTED_ADDRESS => {
            good("the server uses the client address that the proxy sends")
        }
        Some(proxy) if seen.is_loopback() && !proxy_info.own.is_loopback() => trust(bad(format!(
            "the server sees {proxy} ({seen}) instead of its clients, so they share one limit"
        ))),
        Some(proxy) if seen.is_loopback() => trust(note(format!(
            "the server sees {seen}: all clients behind {proxy} share one limit, unless it sends their addresses"
        ))),
        Some(_) | None => good(format!("the server sees {seen}")),
    }
}

async fn ready(ops: &Endpoint) -> Result<Finding, Finding> {
    let answer = get(ops, "/readyz").await;
    let answer = answer.map_err(|error| bad(format!("{error:#}")))?;
    if answer.status.is_success() {
        return Ok(good("the store accepts messages"));
    }

    let seen = String::from_utf8_lossy(&answer.body).trim().to_owned();
    let line = if seen.contains("disk") {
        "disk: free space in the --data folder, or fanfare: smaller --history-age and --history-bytes"
    } else if seen.contains("NATS") {
        "NATS: is nats-server running with -js, where --store says?"
    } else {
        "fanfare: its log has the error of the store"
    };
    Err(bad(seen).fix(line))
}

/// Checks that the server may open enough files for its connections.
fn files(metrics: &str) -> Finding {
    let of = |series: &str| figure(metrics, series);
    let (Some(most), Some(open)) = (of("process_max_fds"), of("process_open_fds")) else {
        return note("the server does not report its file limit");
    };
    let limit = |what: &str| of(&format!("fanfare_connections_limit{{of=\"{what}\"}}"));
    let (Some(all), Some(address), Some(fit)) = (limit("all"), limit("address"), limit("files"))
    else {
        return note(format!("{open} of {most} files are open"));
    };

    let finding = if open >= most * CROWDED_PERCENT / 100.0 {
        bad(format!(
            "{open} of {most} files are open: new connections will fail"
        ))
    } else if fit < address {
        bad(format!(
            "{most} files are enough for {fit} connections; a single address may open {address} (--max-connections-per-ip)"
        ))
    } else if fit < all {
        note(format!(
            "{most} files are enough for {fit} connections, fewer than --max-connections {all}"
        ))
    } else {
        return good(format!("at most {most} files, for {all} connections"));
    };
    finding
        .fix("systemd: LimitNOFILE=1048576")
        .fix("shell: ulimit -n 1048576, before it is started")
        .fix(format!("fanfare: or --max-connections {:.0}", fit.max(1.0)))
}

/// Returns the value of `series` in `metrics`, the text format of Prometheus.
fn figure(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| {
        line.strip_prefix(series)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::Rating;

    #[test]
    fn too_few_files_are_bad_if_one_address_can_use_them_up() {
        let metrics = |most: u32, open: u32, fit: u32| {
            format!(
                "# TYPE process_max_fds gauge\nprocess_max_fds {most}\nprocess_open_fds {open}\n\
                 fanfare_connections_limit{{of=\"all\"}} 100000\nfanfare_connections_limit{{of=\"address\"}} 1000\n\
                 fanfare_connections_limit{{of=\"files\"}} {fit}\n"
            )
        };

        for (most, open, fit, outcome) in [
            (1_048_576, 20, 1_048_512, Rating::Good),
            (1_048_576, 20, 349_504, Rating::Good),
            (200_000, 20, 66_645, Rating::Note),
            (20_000, 20, 19_936, Rating::Note),
            (1000, 20, 936, Rating::Bad),
            (3000, 20, 978, Rating::Bad),
            (20_000, 18_000, 19_936, Rating::Bad),
        ] {
            assert_eq!(
                files(&metrics(most, open, fit)).outcome,
                outcome,
                "{most} {open} {fit}"
            );
        }

        assert_eq!(files("").outcome, Rating::Note);
    }

    #[test]
    fn all_clients_share_a_limit_if_the_proxy_is_not_trusted() {
        let proxy_info = |own: &str, proxy: Option<&str>| ProxyInfo {
            own: own.parse().expect("an address"),
            peer: own.parse().expect("an address"),
            proxy: proxy.map(str::to_owned),
        };
        let (home, proxy) = (IpAddr::V4(Ipv4Addr::LOCALHOST), Some("nginx"));

        for (seen, proxy_info, outcome) in [
            (home, proxy_info("198.51.100.7", proxy), Rating::Bad),
            (home, proxy_info("127.0.0.1", proxy), Rating::Note),
            (home, proxy_info("127.0.0.1", None), Rating::Good),
            (
                INVENTED_ADDRESS,
                proxy_info("127.0.0.1", proxy),
                Rating::Good,
            ),
            (
                "203.0.113.9".parse().expect("an address"),
                proxy_info("10.0.0.2", proxy),
                Rating::Good,
            ),
        ] {
            assert_eq!(
                judge_address(seen, &proxy_info).outcome,
                outcome,
                "{seen} {proxy_info:?}"
            );
        }
    }
}
