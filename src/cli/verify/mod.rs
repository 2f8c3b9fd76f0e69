//! `fanfare verify`: cuts all clients of a running server off at once, several times while others publish, and compares
//! the messages that each received with those that were stored.
//!
//! - [`DeliveryChecker`](delivery_checker::DeliveryChecker) finds the faults in the deliveries to one reader. Pure.
//! - [`reconnect_rounds`] runs the clients and cuts them off.
//! - [`report`] prints the result.

mod delivery_checker;
mod reconnect_rounds;
mod report;

use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::cli::args::{number, number_flag};
use crate::cli::client::{Credentials, Server, ca_flag, token_flag, url_argument};
use crate::cli::{ConfigErrors, Failure};
use crate::protocol::RoomName;

/// The arguments of `fanfare verify`.
#[derive(Clone, Debug)]
struct VerifyOptions {
    server: Server,
    /// The token of all clients.
    credentials: Option<Credentials>,
    /// Clients that listen. Each room has one more that publishes.
    readers: u32,
    rooms: u32,
    /// Messages per second, of all rooms together.
    rate: u32,
    storms: u32,
    /// The time between two rounds, before the first and after the last.
    every: Duration,
    /// The prefix of unique rooms: messages of others would count as faults.
    prefix: String,
}

/// The subcommand's arguments.
pub(super) fn command() -> Command {
    Command::new("verify")
        .about("Check that a running server loses nothing when all clients are disconnected at once")
        .arg(url_argument())
        .arg(ca_flag())
        .arg(token_flag())
        .arg(number_flag("readers", "200", "Clients that subscribe"))
        .arg(number_flag("rooms", "4", "Rooms that the clients are spread over; one more client publishes in each"))
        .arg(number_flag("rate", "40", "Messages per second, over all rooms"))
        .arg(number_flag("storms", "5", "Number of times that all clients are disconnected at once"))
        .arg(number_flag("every", "2", "Seconds between two disconnections"))
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print one JSON object"))
        .after_help(
            "Exits 0 if every stored message reached every subscriber once and in order, else 1.\n\
             The names of its rooms begin with 'verify-' and a random number. The rooms stay until their messages \
             expire. A token must grant verify-*:rw.",
        )
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let options = VerifyOptions::new(matches)?;
    // If the limit stays lower, a connection fails and says so.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let outcome = runtime.block_on(reconnect_rounds::run(&options))?;
    runtime.shutdown_background();
    if matches.get_flag("json") {
        report::print_json(&options, &outcome)?;
    } else {
        report::print(&options, &outcome)?;
    }
    match outcome.is_whole() {
        true => Ok(()),
        false => Err(anyhow!("the server did not keep its promises, see above").into()),
    }
}

impl VerifyOptions {
    fn new(matches: &ArgMatches) -> Result<Self, Failure> {
        let number = |name: &str| number(matches, name);
        let mut errors = ConfigErrors::default();
        let server = Server::given(matches, "URL", &mut errors);
        let rooms = errors.check("--rooms", &number("rooms").to_string(), |_| {
            match number("rooms") {
                rooms if rooms <= number("readers") => Ok(rooms),
                _ => Err("it is more than --readers: a room would have none"),
            }
        });
        let credentials = Credentials::given(matches, &mut errors);
        let (Some(server), Some(credentials), Some(rooms)) = (server, credentials, rooms) else {
            return Err(errors.into());
        };
        Ok(Self {
            server,
            credentials,
            readers: number("readers"),
            rooms,
            rate: number("rate"),
            storms: number("storms"),
            every: Duration::from_secs(number("every").into()),
            prefix: format!("verify-{:08x}", fastrand::u32(..)),
        })
    }

    /// Returns the room of the client `number`.
    fn room(&self, number: u32) -> anyhow::Result<RoomName> {
        Ok(RoomName::parse(&format!(
            "{}-{}",
            self.prefix,
            number % self.rooms
        ))?)
    }
}
