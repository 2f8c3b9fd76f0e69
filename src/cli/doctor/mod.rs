//! `fanfare doctor`: looks at a running server from outside, the way its users come, for what goes wrong in practice,
//! and says for each thing the line that puts it right.
//!
//! - [`Finding`] one thing that was looked at, and [`Report`] all of them. Pure but for printing.
//! - [`Visit`] as whom and into which room it comes.
//! - `reach`, `certificate`: whether a Fanfare is there. Without one nothing else is looked at.
//! - `websocket`, `origin`, `stream`, `size`, `clock`, `silence`: what a client meets, whatever lies between.
//! - `ops`: what only the ops listener tells.
//! - `disk`, `nats`: what this machine tells, where the server is on it.
//!
//! Deliberately absent: changing anything. What it says stays in a room of its own, like anything that is said.

mod finding;
mod report;
mod visit;
mod certificate;
mod reach;
mod websocket;
mod origin;
mod stream;
mod size;
mod clock;
mod silence;
mod ops;
mod disk;
mod nats;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use hyper::header::{HeaderName, HeaderValue};

use self::finding::Finding;
use self::reach::Front;
use self::report::Report;
use self::visit::Visit;
use crate::cli::args::not_empty;
use crate::cli::client::{Pass, Remote, ca_flag, token_flag, url_argument};
use crate::cli::output::note;
use crate::cli::{Failure, Mistakes, settings, start};
use crate::protocol::RoomName;
use crate::server::config::Config;
use crate::server::store::{Retention, StoreSettings};

/// The server's own settings that say where it keeps messages and where its ops listener is.
const SETTINGS: &[&str] = &[
    "data",
    "store",
    "nats-creds",
    "nats-nkey",
    "nats-ca",
    "history-bytes",
    "ops-listen",
];
/// Those of them that say that the server is on this machine.
const LOCAL: &[&str] = &["config", "data", "store"];
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The subcommand's arguments.
pub(super) fn command() -> Command {
    settings::add_some(Command::new("doctor"), SETTINGS)
        .about("Check a running server for common problems, and print how to fix them")
        .arg(url_argument())
        .arg(ca_flag())
        .arg(token_flag())
        .arg(Arg::new("ops").long("ops").value_name("URL").value_parser(not_empty()).help(
            "The server's ops listener, if it can be reached from here [default: the address of --ops-listen if the server is on this machine]",
        ))
        .arg(
            Arg::new("quick")
                .long("quick")
                .action(ArgAction::SetTrue)
                .help("Skip the check of idle connections, which takes one --heartbeat"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print each finding as a JSON object"))
        .after_help(
            "Use the address that your users use, so that proxies are checked too. With --config, --data or --store it also \
             checks the disk or NATS: run it on the server's machine then, as the server's user.\n\
             Exits 0 if no check is bad, else 1. Its messages stay in a room whose name begins with 'doctor-' until \
             they expire. A token must grant doctor-*:rw.",
        )
}

/// Where to look.
struct Plan {
    visit: Visit,
    /// A room in which nobody speaks.
    quiet_room: RoomName,
    ops: Option<Remote>,
    store: Option<StoreSettings>,
    is_quick: bool,
    is_json: bool,
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let plan = Plan::new(matches)?;
    start(examine(plan))
}

impl Plan {
    fn new(matches: &ArgMatches) -> Result<Self, Failure> {
        let config = Config::check(&settings::collect(matches))?;
        let mut mistakes = Mistakes::default();
        let server = Remote::given(matches, "URL", &mut mistakes);
        let pass = Pass::given(matches, &mut mistakes);
        let name = format!("doctor-{:08x}", fastrand::u32(..));
        let room = mistakes.check("ROOM", &name, RoomName::parse);
        let quiet_room = mistakes.check("ROOM", &format!("{name}-quiet"), RoomName::parse);
        let ca = matches.get_one::<String>("ca").map(String::as_str);
        let is_here = server.as_ref().is_some_and(Remote::is_on_loopback);
        // By a name that everybody uses for it, it may be on this machine too; then somebody has said so.
        let is_told = LOCAL.iter().any(|name| matches.contains_id(name));
        let named = matches.get_one::<String>("ops").cloned();
        let ops = match named.or_else(|| {
            config
                .ops_listen
                .filter(|_| is_here || is_told)
                .map(local_url)
        }) {
            Some(url) => Remote::at(&url, ca, "--ops", &mut mistakes).map(Some),
            None => Some(None),
        };
        let (Some(server), Some(pass), Some(room), Some(quiet_room), Some(ops)) =
            (server, pass, room, quiet_room, ops)
        else {
            return Err(mistakes.into());
        };
        // Nobody has said where it keeps anything: then only what is where it would be by itself is looked at.
        let is_local = is_told || (is_here && is_there(&config.store));
        Ok(Self {
            visit: Visit { server, pass, room },
            quiet_room,
            ops,
            store: is_local.then_some(config.store),
            is_quick: matches.get_flag("quick"),
            is_json: matches.get_flag("json"),
        })
    }
}

/// Where a listener at `address` is asked from the same machine.
fn local_url(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    format!("http://{address}")
}

fn is_there(store: &StoreSettings) -> bool {
    matches!(store, StoreSettings::Sqlite(settings) if settings.path.is_file())
}

async fn examine(plan: Plan) -> anyhow::Result<()> {
    let mut report = Report::new(plan.is_json);
    if let Some(front) = reach::check(&plan.visit, &mut report).await {
        meet(&plan, &front, &mut report).await;
    }
    if let Some(ops) = &plan.ops {
        report.add_all(ops::check(ops).await);
    }
    if let Some(store) = plan.store {
        report.add_all(keeping(store).await);
    }
    report.end()
}

/// What a client meets at a Fanfare behind `front`.
async fn meet(plan: &Plan, front: &Front, report: &mut Report) {
    let Plan {
        visit,
        quiet_room,
        ops,
        is_quick,
        ..
    } = plan;
    let made_up = HeaderValue::try_from(ops::MADE_UP.to_string())
        .ok()
        .filter(|_| ops.is_some());
    let headers: Vec<_> = made_up
        .map(|address| (X_FORWARDED_FOR, address))
        .into_iter()
        .collect();
    let Some((socket, welcome)) = websocket::check(visit, &headers, report).await else {
        return;
    };
    let heartbeat = Duration::from_millis(welcome.heartbeat_ms);
    let is_watched = !is_quick && !front.is_bare();
    // It only waits, so it may do that beside all that follows.
    let silence = is_watched
        .then(|| tokio::spawn(silence::check(visit.clone(), quiet_room.clone(), heartbeat)));
    if let Some(ops) = ops {
        report.add_all(ops::address(ops, visit, &welcome, front).await);
    }
    drop(socket);
    report.add_all(origin::check(visit).await);
    report.add_all(stream::check(visit).await);
    report.add_all(size::check(visit, welcome.max_message).await);
    report.add(&clock::check(visit).await);
    report.add(&match silence {
        Some(silence) => {
            note(&format!(
                "watching a quiet connection for {heartbeat:.0?} (--quick leaves it out)"
            ));
            silence
                .await
                .unwrap_or_else(|error| Finding::note("silence", format!("not known: {error}")))
        }
        None if *is_quick => Finding::note(
            "silence",
            "whether quiet connections are kept was not tried (--quick)",
        ),
        None => Finding::good(
            "silence",
            "this machine answers itself and no proxy shows itself, so it was not watched",
        ),
    });
}

/// What this machine tells of `store`.
async fn keeping(store: StoreSettings) -> Vec<Finding> {
    match store {
        StoreSettings::Memory(_) => vec![
            Finding::note(
                "disk",
                "what is said is kept in memory, and ends with the process",
            )
            .fix("fanfare: --store sqlite:fanfare.db"),
        ],
        StoreSettings::Sqlite(settings) => {
            let folder = settings
                .path
                .parent()
                .map_or_else(PathBuf::new, PathBuf::from);
            let Retention { bytes, .. } = settings.retention;
            // It waits for the disk, and a quiet connection may be watched meanwhile.
            let looking = tokio::task::spawn_blocking(move || disk::check(&folder, bytes));
            looking
                .await
                .unwrap_or_else(|error| vec![Finding::note("disk", format!("not known: {error}"))])
        }
        StoreSettings::Nats(settings) => {
            let addresses = settings.servers.to_string();
            let greeting = addresses.split(',').map(nats::check);
            futures::future::join_all(greeting).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ops_listener_is_asked_where_the_server_is_said_to_be_on_this_machine() {
        for (arguments, asked) in [
            (
                &["http://127.0.0.1:12345"][..],
                Some("http://127.0.0.1:12346"),
            ),
            (&["https://chat.example.org"], None),
            (
                &["https://chat.example.org", "--data", "data"],
                Some("http://127.0.0.1:12346"),
            ),
            (
                &[
                    "https://chat.example.org",
                    "--data",
                    "data",
                    "--ops-listen",
                    "off",
                ],
                None,
            ),
            (
                &["https://chat.example.org", "--ops", "http://192.0.2.1:1"],
                Some("http://192.0.2.1:1"),
            ),
        ] {
            let given = command().get_matches_from(std::iter::once(&"doctor").chain(arguments));
            let plan = Plan::new(&given).ok().expect("no mistake");
            assert_eq!(
                plan.ops.map(|ops| ops.to_string()).as_deref(),
                asked,
                "{arguments:?}"
            );
        }
    }
}
