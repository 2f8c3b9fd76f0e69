//! `fanfare doctor`: checks a running server over the network path of its users, and prints a fix for each problem.
//!
//! - [`Finding`] is the result of one check, [`DoctorReport`] prints all of them.
//! - [`Visit`] is the user and the room of the checks.
//! - `reach`, `certificate`: the server responds. Otherwise there are no other checks.
//! - `websocket`, `origin`, `stream`, `size`, `clock`, `silence`: the path of a client, with its proxies.
//! - `ops`: figures of the ops listener.
//! - `disk`, `nats`: the machine of the server, if it is this one.
//!
//! The doctor changes no settings, and its messages stay in a room of its own.

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

use clap::{ArgMatches, Args};
use hyper::header::{HeaderName, HeaderValue};

use self::finding::Finding;
use self::reach::ProxyInfo;
use self::report::DoctorReport;
use self::visit::Visit;
use crate::cli::args::{PositionalServerArgs, not_empty};
use crate::cli::client::Server;
use crate::cli::output::note;
use crate::cli::{ConfigErrors, Failure, settings, start};
use crate::protocol::RoomName;
use crate::server::config::Config;
use crate::server::store::{Retention, StoreSettings};

/// The server settings that determine its store and its ops listener.
pub(super) const SETTINGS: &[&str] = &[
    "data",
    "store",
    "nats-creds",
    "nats-nkey",
    "nats-ca",
    "history-bytes",
    "ops-listen",
];
/// The settings which imply that the server is on this machine.
const LOCAL: &[&str] = &["config", "data", "store"];
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The arguments of the command.
#[derive(Debug, Args)]
#[command(
    about = "Check a running server for common problems, and print how to fix them",
    after_help = "Use the address that your users use, so that proxies are checked too. With --config, --data or --store it also \
             checks the disk or NATS: run it on the server's machine then, as the server's user.\n\
             Exits 0 if no check is bad, else 1. Its messages stay in a room whose name begins with 'doctor-' until \
             they expire. A token must grant doctor-*:rw."
)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    server: PositionalServerArgs,
    /// The server's ops listener, if it can be reached from here [default: the address of --ops-listen if the server is on
    /// this machine]
    #[arg(long, value_name = "URL", value_parser = not_empty())]
    ops: Option<String>,
    /// Skip the check of idle connections, which takes one --heartbeat
    #[arg(long)]
    quick: bool,
    /// Print each finding as a JSON object
    #[arg(long)]
    json: bool,
}

/// The arguments of `fanfare doctor`.
struct DoctorOptions {
    visit: Visit,
    /// A room without messages.
    quiet_room: RoomName,
    ops: Option<Server>,
    store: Option<StoreSettings>,
    is_quick: bool,
    is_json: bool,
}

pub(super) fn run(args: DoctorArgs, matches: &ArgMatches) -> Result<(), Failure> {
    let options = DoctorOptions::new(args, matches)?;
    start(examine(options))
}

impl DoctorOptions {
    fn new(args: DoctorArgs, matches: &ArgMatches) -> Result<Self, Failure> {
        let config = Config::check(&settings::collect(matches))?;
        let mut errors = ConfigErrors::default();
        let PositionalServerArgs { url, access } = &args.server;
        let server = access.server(url, "URL", &mut errors);
        let credentials = access.credentials(&mut errors);
        let name = format!("doctor-{:08x}", fastrand::u32(..));
        let room = errors.check("ROOM", &name, RoomName::parse);
        let quiet_room = errors.check("ROOM", &format!("{name}-quiet"), RoomName::parse);

        let is_here = server.as_ref().is_some_and(Server::is_on_loopback);
        // A server with a public name may be on this machine too. A flag then indicates that.
        let is_told = LOCAL.iter().any(|name| matches.contains_id(name));
        let ops = match args.ops.or_else(|| {
            config
                .ops_listen
                .filter(|_| is_here || is_told)
                .map(local_url)
        }) {
            Some(url) => access.server(&url, "--ops", &mut errors).map(Some),
            None => Some(None),
        };
        let (Some(server), Some(credentials), Some(room), Some(quiet_room), Some(ops)) =
            (server, credentials, room, quiet_room, ops)
        else {
            return Err(errors.into());
        };
        // Without such a flag, only the default store is checked, if it exists.
        let is_local = is_told || (is_here && is_there(&config.store));
        Ok(Self {
            visit: Visit {
                server,
                credentials,
                room,
            },
            quiet_room,
            ops,
            store: is_local.then_some(config.store),
            is_quick: args.quick,
            is_json: args.json,
        })
    }
}

/// Returns the URL of a listener at `address` on this machine.
fn local_url(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    format!("http://{address}")
}

fn is_there(store: &StoreSettings) -> bool {
    matches!(store, StoreSettings::Sqlite(settings) if settings.path.is_file())
}

async fn examine(options: DoctorOptions) -> anyhow::Result<()> {
    let mut report = DoctorReport::new(options.is_json);
    if let Some(proxy_info) = reach::check(&options.visit, &mut report).await {
        check_path(&options, &proxy_info, &mut report).await;
    }

    if let Some(ops) = &options.ops {
        report.add_all(ops::check(ops).await);
    }
    if let Some(store) = options.store {
        report.add_all(check_store(store).await);
    }

    report.end()
}

/// Checks the path of a client to the server behind `proxy_info`.
async fn check_path(options: &DoctorOptions, proxy_info: &ProxyInfo, report: &mut DoctorReport) {
    let DoctorOptions {
        visit,
        quiet_room,
        ops,
        is_quick,
        ..
    } = options;

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
    let is_watched = !is_quick && !proxy_info.is_bare();

    // The check only waits, so it runs beside the others.
    let silence = is_watched
        .then(|| tokio::spawn(silence::check(visit.clone(), quiet_room.clone(), heartbeat)));

    if let Some(ops) = ops {
        report.add_all(ops::address(ops, visit, &welcome, proxy_info).await);
    }

    drop(socket);
    report.add_all(origin::check(visit).await);
    report.add_all(stream::check(visit).await);
    report.add_all(size::check(visit, welcome.max_message).await);
    report.add(&clock::check(visit).await);

    report.add(&match silence {
        Some(silence) => {
            note(&format!(
                "watching an idle connection for {heartbeat:.0?} (skip it with --quick)"
            ));
            silence
                .await
                .unwrap_or_else(|error| Finding::note("silence", format!("unknown: {error}")))
        }
        None if *is_quick => Finding::note("silence", "not tried (--quick)"),
        None => Finding::good(
            "silence",
            "not needed: the server is on this machine, without a proxy",
        ),
    });
}

/// Checks the server's `store` on this machine.
async fn check_store(store: StoreSettings) -> Vec<Finding> {
    match store {
        StoreSettings::Memory(_) => vec![
            Finding::note(
                "disk",
                "messages are kept in memory, and are lost when the process ends",
            )
            .fix("fanfare: --store sqlite:fanfare.db"),
        ],
        StoreSettings::Sqlite(settings) => {
            let folder = settings
                .path
                .parent()
                .map_or_else(PathBuf::new, PathBuf::from);
            let Retention { bytes, .. } = settings.retention;

            // The check blocks on the disk, so it runs on a thread of its own.
            let looking = tokio::task::spawn_blocking(move || disk::check(&folder, bytes));
            looking
                .await
                .unwrap_or_else(|error| vec![Finding::note("disk", format!("unknown: {error}"))])
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
    use clap::FromArgMatches;

    use super::*;
    use crate::cli::with_settings;

    #[test]
    fn the_ops_listener_is_checked_if_the_server_is_on_this_machine() {
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
            let command = with_settings::<DoctorArgs>("doctor", SETTINGS);
            let matches = command.get_matches_from(std::iter::once(&"doctor").chain(arguments));
            let args = DoctorArgs::from_arg_matches(&matches).expect("arguments");

            let options = DoctorOptions::new(args, &matches).ok().expect("no error");

            assert_eq!(
                options.ops.map(|ops| ops.to_string()).as_deref(),
                asked,
                "{arguments:?}"
            );
        }
    }
}
