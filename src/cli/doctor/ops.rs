//! What only the ops listener tells: which program it is, whether it takes messages, whether it has files for all
//! that it would let in, and under which address it sees who comes.

use std::net::{IpAddr, Ipv4Addr};

use super::finding::Finding;
use super::reach::Front;
use super::visit::{Answer, Visit, get};
use crate::cli::client::Remote;
use crate::protocol::Welcome;
use crate::server::release;

/// The address that the doctor makes up for itself (RFC 5737): only who believes it as a proxy will see it.
pub(super) const MADE_UP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// Of so many hundredths of its files in use, a server is about to run out.
const CROWDED: f64 = 90.0;

/// Asks at `ops`.
pub(super) async fn check(ops: &Remote) -> Vec<Finding> {
    let version = match get(ops, "/version").await {
        Ok(answer) => answer,
        Err(error) => {
            return vec![
                Finding::note(
                    "ops",
                    format!("what only the ops listener tells is not known: {error:#}"),
                )
                .fix("fanfare doctor: --ops http://HOST:PORT, that of the server's --ops-listen"),
            ];
        }
    };
    let Some(number) = version.json()["version"].as_str().map(str::to_owned) else {
        let seen = format!("{ops} is no ops listener of a Fanfare: {}", version.told());
        return vec![
            Finding::bad("ops", seen)
                .fix("fanfare doctor: --ops http://HOST:PORT, that of --ops-listen"),
        ];
    };
    let commit = version.json()["commit"]
        .as_str()
        .map_or_else(String::new, |commit| format!(" ({commit})"));
    let mut findings = vec![if number == release::VERSION {
        Finding::good("version", format!("{number}{commit}"))
    } else {
        Finding::note(
            "version",
            format!("{number}{commit}; this program is {}", release::VERSION),
        )
    }];
    match get(ops, "/readyz").await {
        Ok(answer) => findings.push(ready(&answer)),
        Err(error) => findings.push(Finding::bad("ready", format!("{error:#}"))),
    }
    match get(ops, "/metrics").await {
        Ok(answer) => findings.push(files(&String::from_utf8_lossy(&answer.body))),
        Err(error) => findings.push(Finding::bad("files", format!("{error:#}"))),
    }
    findings
}

/// Under which address the server sees the connection that `welcome` opened, by which it counts and limits.
pub(super) async fn address(
    ops: &Remote,
    visit: &Visit,
    welcome: &Welcome,
    front: &Front,
) -> Option<Finding> {
    let path = format!("/api/v1/admin/connections?limit=1000&room={}", visit.room);
    let answer = get(ops, &path).await.ok()?.json();
    let of_ours = |connection: &&serde_json::Value| connection["number"] == welcome.connection;
    let seen = answer["connections"].as_array()?.iter().find(of_ours)?["address"]
        .as_str()?
        .parse()
        .ok()?;
    Some(judge_address(seen, front))
}

fn judge_address(seen: IpAddr, front: &Front) -> Finding {
    let trust = |finding: Finding| {
        finding
            .fix(format!("fanfare: --trusted-proxy {seen}"))
            .fix("nginx: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;")
    };
    match &front.proxy {
        _ if seen == MADE_UP => Finding::good(
            "address",
            "the server goes by the client's address that the proxy names",
        ),
        Some(proxy) if seen.is_loopback() && !front.own.is_loopback() => trust(Finding::bad(
            "address",
            format!(
                "the server sees {proxy} ({seen}) in place of its clients: all of them share one limit"
            ),
        )),
        Some(proxy) if seen.is_loopback() => trust(Finding::note(
            "address",
            format!(
                "the server sees {seen}: all who come by {proxy} share one limit, unless it names their addresses itself"
            ),
        )),
        Some(_) | None => Finding::good("address", format!("the server sees {seen}")),
    }
}

fn ready(answer: &Answer) -> Finding {
    if answer.status.is_success() {
        return Finding::good("ready", "the store takes messages");
    }
    let seen = String::from_utf8_lossy(&answer.body).trim().to_owned();
    let line = if seen.contains("disk") {
        "disk: make room in the --data folder, or fanfare: smaller --history-age and --history-bytes"
    } else if seen.contains("NATS") {
        "NATS: is nats-server running with -js, where --store says?"
    } else {
        "fanfare: its log says what the store refused, and why"
    };
    Finding::bad("ready", seen).fix(line)
}

/// Whether the files that the server may open are enough for those that it would let in.
fn files(metrics: &str) -> Finding {
    let of = |series: &str| figure(metrics, series);
    let (Some(most), Some(open)) = (of("process_max_fds"), of("process_open_fds")) else {
        return Finding::note(
            "files",
            "the server does not say how many files it may open",
        );
    };
    let limit = |what: &str| of(&format!("fanfare_connections_limit{{of=\"{what}\"}}"));
    let (Some(all), Some(address), Some(fit)) = (limit("all"), limit("address"), limit("files"))
    else {
        return Finding::note("files", format!("{open} of {most} are open"));
    };
    let raise = |finding: Finding| {
        finding
            .fix("systemd: LimitNOFILE=1048576")
            .fix("shell: ulimit -n 1048576, before it is started")
            .fix(format!("fanfare: or --max-connections {:.0}", fit.max(1.0)))
    };
    if open >= most * CROWDED / 100.0 {
        raise(Finding::bad(
            "files",
            format!("{open} of {most} are open: nobody else will get in"),
        ))
    } else if fit < address {
        let seen = format!(
            "{most} are enough for {fit} connections, and one address alone may open {address} (--max-connections-per-ip)"
        );
        raise(Finding::bad("files", seen))
    } else if fit < all {
        let seen =
            format!("{most} are enough for {fit} connections, fewer than --max-connections {all}");
        raise(Finding::note("files", seen))
    } else {
        Finding::good("files", format!("{most} at most, for {all} connections"))
    }
}

/// The value of `series` among `metrics`, in the text format of Prometheus.
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
    use crate::cli::doctor::finding::Outcome;

    #[test]
    fn files_are_too_few_when_one_address_alone_can_use_them_up() {
        let metrics = |most: u32, open: u32, fit: u32| {
            format!(
                "# TYPE process_max_fds gauge\nprocess_max_fds {most}\nprocess_open_fds {open}\n\
                 fanfare_connections_limit{{of=\"all\"}} 100000\nfanfare_connections_limit{{of=\"address\"}} 1000\n\
                 fanfare_connections_limit{{of=\"files\"}} {fit}\n"
            )
        };
        for (most, open, fit, outcome) in [
            (1_048_576, 20, 1_048_512, Outcome::Good),
            (1_048_576, 20, 349_504, Outcome::Good),
            (200_000, 20, 66_645, Outcome::Note),
            (20_000, 20, 19_936, Outcome::Note),
            (1000, 20, 936, Outcome::Bad),
            (3000, 20, 978, Outcome::Bad),
            (20_000, 18_000, 19_936, Outcome::Bad),
        ] {
            assert_eq!(
                files(&metrics(most, open, fit)).outcome,
                outcome,
                "{most} {open} {fit}"
            );
        }
        assert_eq!(files("").outcome, Outcome::Note);
    }

    #[test]
    fn all_clients_are_one_where_the_proxy_is_not_believed() {
        let front = |own: &str, proxy: Option<&str>| Front {
            own: own.parse().expect("an address"),
            peer: own.parse().expect("an address"),
            proxy: proxy.map(str::to_owned),
        };
        let (home, proxy) = (IpAddr::V4(Ipv4Addr::LOCALHOST), Some("nginx"));
        for (seen, front, outcome) in [
            (home, front("198.51.100.7", proxy), Outcome::Bad),
            (home, front("127.0.0.1", proxy), Outcome::Note),
            (home, front("127.0.0.1", None), Outcome::Good),
            (MADE_UP, front("127.0.0.1", proxy), Outcome::Good),
            (
                "203.0.113.9".parse().expect("an address"),
                front("10.0.0.2", proxy),
                Outcome::Good,
            ),
        ] {
            assert_eq!(
                judge_address(seen, &front).outcome,
                outcome,
                "{seen} {front:?}"
            );
        }
    }
}
