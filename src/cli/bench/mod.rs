//! `fanfare bench`: puts a known load on a running server, and measures it.

mod tally;
mod load;
mod report;

use std::time::Duration;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::cli::args::{not_empty, number, number_flag};
use crate::cli::client::{Credentials, Server, ca_flag, token_flag, url_flag};
use crate::cli::{ConfigErrors, Failure};

/// The arguments of `fanfare bench`.
#[derive(Clone, Debug)]
struct BenchOptions {
    /// At least one. Clients are spread over them.
    servers: Vec<Server>,
    credentials: Option<Credentials>,
    connections: u32,
    rooms: u32,
    publishers: u32,
    /// Messages per second, of all publishers together.
    rate: u32,
    /// Messages that a publisher sends at once.
    burst: u32,
    /// Bytes of a message's text, at least [`load::MIN_SIZE`].
    size: usize,
    length: Duration,
    is_typed: bool,
    /// Set if each message has a key, and its `ack` is measured.
    wants_acks: bool,
}

/// The subcommand's arguments.
pub(super) fn command() -> Command {
    Command::new("bench")
        .about("Measure a running server: deliveries, latency, lost and reordered messages")
        .arg(url_flag().help(
            "The server; start it with --message-rate 0 --connect-rate 0 --max-connections-per-ip 100000",
        ))
        .arg(
            Arg::new("node")
                .long("node")
                .value_name("URL")
                .value_parser(not_empty())
                .action(ArgAction::Append)
                .help("Another node of the same service; clients are spread over all nodes; may be repeated"),
        )
        .arg(ca_flag())
        .arg(token_flag())
        .arg(number_flag("connections", "500", "Clients that subscribe"))
        .arg(number_flag("rooms", "1", "Rooms that the clients are spread over"))
        .arg(number_flag("publishers", "1", "Clients that publish, spread over the rooms; at least one per room"))
        .arg(number_flag("rate", "100", "Messages per second, over all publishers"))
        .arg(number_flag("burst", "1", "Messages that a publisher sends at once"))
        .arg(number_flag("size", "64", "Bytes per message"))
        .arg(number_flag("seconds", "10", "Duration in seconds"))
        .arg(
            Arg::new("acks")
                .long("acks")
                .action(ArgAction::SetTrue)
                .help("Give each message a key and measure the time to its ack (needs --dialect fanfare.v1)"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print one JSON object"))
        .arg(
            Arg::new("dialect")
                .long("dialect")
                .value_name("DIALECT")
                .default_value("plain")
                .value_parser(["plain", "fanfare.v1"])
                .help("Dialect of the clients"),
        )
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let options = BenchOptions::new(matches)?;
    // If the limit stays lower, a connection fails and says so.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let result = runtime.block_on(load::run(&options))?;
    if matches.get_flag("json") {
        report::print_json(&options, &result)?;
    } else {
        report::print(&options, &result)?;
    }
    if result.is_whole() {
        Ok(())
    } else {
        Err(anyhow::anyhow!(
            "{} messages were lost, {} came out of order, {} were not acknowledged",
            result.lost(),
            result.disordered,
            result.unacknowledged()
        )
        .into())
    }
}

impl BenchOptions {
    fn new(matches: &ArgMatches) -> Result<Self, Failure> {
        let number = |name: &str| number(matches, name);
        let text = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
        let mut errors = ConfigErrors::default();
        let server = Server::given(matches, "--url", &mut errors);
        let ca = matches.get_one::<String>("ca").map(String::as_str);
        let nodes = matches.get_many::<String>("node").into_iter().flatten();
        let nodes: Vec<_> = nodes
            .map(|node| Server::at(node, ca, "--node", &mut errors))
            .collect();

        let rooms = errors.check("--rooms", &number("rooms").to_string(), |_| {
            match number("rooms") {
                rooms if rooms <= number("connections") => Ok(rooms),
                _ => Err("it is more than --connections: a room would be empty"),
            }
        });
        let (is_typed, wants_acks) = (text("dialect") != "plain", matches.get_flag("acks"));
        let acks = errors.check("--acks", text("dialect"), |_| {
            if is_typed || !wants_acks {
                Ok(())
            } else {
                Err("only --dialect fanfare.v1 has them")
            }
        });

        let credentials = Credentials::given(matches, &mut errors);
        let servers: Option<Vec<_>> = std::iter::once(server).chain(nodes).collect();
        let (Some(servers), Some(credentials), Some(rooms), Some(())) =
            (servers, credentials, rooms, acks)
        else {
            return Err(errors.into());
        };
        Ok(Self {
            servers,
            credentials,
            connections: number("connections"),
            rooms,
            publishers: number("publishers").max(rooms),
            rate: number("rate"),
            burst: number("burst"),
            size: (number("size") as usize).max(load::MIN_SIZE),
            length: Duration::from_secs(number("seconds").into()),
            is_typed,
            wants_acks,
        })
    }
}
