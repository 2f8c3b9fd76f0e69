//! `fanfare doctor`: checks a running server over the network path of its users, and prints a fix for each problem.
//!
//! - [`DoctorReport`] prints the findings.
//! - [`Visit`] is the user and the room of the checks.
//! - `reach`, `certificate`: the server responds. Otherwise there are no other checks.
//! - `websocket`, `origin`, `stream`, `size`, `clock`, `silence`: the path of a client, with its proxies.
//! - `ops`: figures of the ops listener.
//! - `disk`, `nats`: the machine of the server, if it is this one.
//!
//! The doctor changes no settings, and its messages stay in a room of its own.

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

use clap::{ArgMatches, Args, Command};
use hyper::header::{HeaderName, HeaderValue};

use self::reach::ProxyInfo;
use self::report::{DoctorReport, good, note};
use self::visit::Visit;
use crate::cli::args::{ServerArgs, server_url};
use crate::cli::client::{Endpoint, ServerUrl};
use crate::cli::{Failure, output, settings, start, with_positional_url, with_settings};
use crate::protocol::RoomName;
use crate::server::config::Config;
use crate::server::store::StoreSettings;

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
    server: ServerArgs,
    /// The server's ops listener, if it can be reached from here [default: the address of --ops-listen if the server is on
    /// this machine]
    #[arg(long, value_name = "URL", value_parser = server_url())]
    ops: Option<ServerUrl>,
    /// Skip the check of idle connections, which takes one --heartbeat
    #[arg(long)]
    quick: bool,
    /// Print each finding as a JSON object
    #[arg(long)]
    json: bool,
}

/// The server to check, and the checks to run.
struct DoctorOptions {
    visit: Visit,
    /// A room without messages.
    quiet_room: RoomName,
    ops: Option<Endpoint>,
    store: Option<StoreSettings>,
    is_quick: bool,
    is_json: bool,
}

pub(super) fn command() -> Command {
    with_positional_url(with_settings::<DoctorArgs>("doctor", SETTINGS))
}

pub(super) fn run(args: DoctorArgs, matches: &ArgMatches) -> Result<(), Failure> {
    let options = DoctorOptions::new(args, matches)?;
    start(examine(options))
}

impl DoctorOptions {
    fn new(args: DoctorArgs, matches: &ArgMatches) -> Result<Self, Failure> {
        let config = Config::check(&settings::collect(matches))?;
        let (server, credentials) = args.server.open()?;
        let name = format!("doctor-{:08x}", fastrand::u32(..));
        let room = |name: &str| RoomName::parse(name).map_err(anyhow::Error::from);

        let is_loopback = server.is_on_loopback();
        // A server with a public name may be on this machine too. A flag then indicates that.
        let has_local_setting = LOCAL.iter().any(|name| matches.contains_id(name));
        let ops_listen = config
            .ops_listen
            .filter(|_| is_loopback || has_local_setting);
        let ops = match args.ops {
            Some(url) => Some(url),
            None => ops_listen.map(local_url).transpose()?,
        };

        // Without such a flag, only the default store is checked, if it exists.
        let is_local = has_local_setting || (is_loopback && is_existing_file(&config.store));
        Ok(Self {
            quiet_room: room(&format!("{name}-quiet"))?,
            visit: Visit {
                server,
                credentials,
                room: room(&name)?,
            },
            ops: ops.map(|url| args.server.access.server(url)).transpose()?,
            store: is_local.then_some(config.store),
            is_quick: args.quick,
            is_json: args.json,
        })
    }
}

/// Returns the URL of a listener at `address` on this machine.
fn local_url(mut address: SocketAddr) -> anyhow::Result<ServerUrl> {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    Ok(ServerUrl::parse(&format!("http://{address}"))?)
}

fn is_existing_file(store: &StoreSettings) -> bool {
    matches!(store, StoreSettings::Sqlite(settings) if settings.path.is_file())
}

async fn examine(options: DoctorOptions) -> anyhow::Result<()> {
    let mut report = DoctorReport::new(options.is_json);
    if let Some(proxy_info) = reach::check(&options.visit, &mut report).await {
        check_path(&options, &proxy_info, &mut report).await?;
    }

    if let Some(ops) = &options.ops {
        ops::check(ops, &mut report).await;
    }
    if let Some(store) = options.store {
        check_store(store, &mut report).await?;
    }

    report.end()
}

/// Checks the path of a client to the server behind `proxy_info`.
async fn check_path(
    options: &DoctorOptions,
    proxy_info: &ProxyInfo,
    report: &mut DoctorReport,
) -> anyhow::Result<()> {
    let DoctorOptions {
        visit,
        quiet_room,
        ops,
        is_quick,
        ..
    } = options;

    let invented = HeaderValue::try_from(ops::INVENTED_ADDRESS.to_string())?;
    let headers = [(X_FORWARDED_FOR, invented)];
    let headers = if ops.is_some() { &headers[..] } else { &[] };
    let opened = websocket::welcome(visit, headers).await;
    let Some((mut socket, welcome)) = report.step("websocket", opened) else {
        return Ok(());
    };
    report.add("message", websocket::round_trip(&mut socket).await);

    let heartbeat = Duration::from_millis(welcome.heartbeat_ms);
    let is_watched = !is_quick && !proxy_info.is_bare();
    // The check only waits, so it runs beside the others.
    let silence = is_watched
        .then(|| tokio::spawn(silence::check(visit.clone(), quiet_room.clone(), heartbeat)));

    if let Some(ops) = ops
        && let Some(finding) = ops::address(ops, visit, &welcome, proxy_info).await
    {
        report.add("address", Ok(finding));
    }
    drop(socket);
    report.add("origin", origin::own(visit).await);
    report.add("foreign page", origin::foreign(visit).await);
    stream::check(visit, report).await;
    size::check(visit, welcome.max_message, report).await;
    report.add("clock", clock::check(visit).await);

    let silence = match silence {
        Some(silence) => {
            output::note(&format!(
                "watching an idle connection for {heartbeat:.0?} (skip it with --quick)"
            ));
            silence.await?
        }
        None if *is_quick => Ok(note("not tried (--quick)")),
        None => Ok(good(
            "not needed: the server is on this machine, without a proxy",
        )),
    };
    report.add("silence", silence);
    Ok(())
}

/// Checks the server's `store` on this machine.
async fn check_store(store: StoreSettings, report: &mut DoctorReport) -> anyhow::Result<()> {
    match store {
        StoreSettings::Memory(_) => {
            let finding = note("messages are kept in memory, and are lost when the process ends")
                .fix("fanfare: --store sqlite:fanfare.db");
            report.add("disk", Ok(finding));
        }
        StoreSettings::Sqlite(settings) => {
            let folder = settings.path.parent().map(PathBuf::from);
            let folder = folder.unwrap_or_default();
            let bytes = settings.retention.bytes;

            // The checks block on the disk, so they run on a thread of their own.
            let checks = move || (disk::space(&folder, bytes), disk::sync(&folder));
            let (space, sync) = tokio::task::spawn_blocking(checks).await?;
            report.add("disk", space);
            report.add("fsync", sync);
        }
        StoreSettings::Nats(settings) => {
            for address in settings.servers.to_string().split(',') {
                report.add("nats", nats::check(address).await);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

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
            let matches = command().get_matches_from(std::iter::once(&"doctor").chain(arguments));
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
