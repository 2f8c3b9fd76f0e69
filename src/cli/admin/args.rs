//! The arguments of `fanfare admin`.

use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;

use crate::cli::args::{AccessArgs, parse_duration, server_url};
use crate::cli::client::ServerUrl;
use crate::protocol::admin::{ConnectionFilter, RoomExpiry, RoomLifeRequest};
use crate::protocol::{RoomName, UserId};

/// The arguments of the command.
#[derive(Debug, Parser)]
#[command(
    name = "admin",
    about = "List and control the rooms, connections and bans of a running server",
    after_help = "Exits 0 on success, 1 if the server refuses or cannot be reached, 2 on wrong usage.",
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(in crate::cli) struct AdminArgs {
    /// URL of the server's ops listener, or of its public listener (needs --token)
    #[arg(
        long,
        global = true,
        env = "FANFARE_ADMIN_URL",
        hide_env_values = true,
        value_name = "URL",
        value_parser = server_url(),
        default_value = "http://127.0.0.1:12346"
    )]
    pub(super) url: ServerUrl,
    #[command(flatten)]
    pub(super) access: AccessArgs,
    /// Print JSON objects, one per line
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: AdminCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum AdminCommand {
    /// List the rooms
    Rooms {
        /// List only rooms whose names begin with PREFIX
        prefix: Option<String>,
    },
    /// List the connections
    Connections(FilterArgs),
    /// Show one connection's frames live: type and size, never content
    Trace {
        /// Number of the connection
        number: u64,
    },
    /// List bans and closed rooms
    Bans,
    /// List the hooks, or control one
    Hooks {
        #[command(subcommand)]
        command: Option<HooksCommand>,
    },
    /// Disconnect a connection (4003), or all that match; clients may reconnect
    Kick {
        /// Number of the connection, from the list of connections or the log
        #[arg(conflicts_with_all = ["room", "id", "address"])]
        number: Option<u64>,
        #[command(flatten)]
        filter: FilterArgs,
    },
    /// Ban an id or an address (4501) from one room, or from all
    Ban {
        #[command(flatten)]
        filter: FilterArgs,
        /// Duration of the ban, like 10m or 2h [default: until it is lifted]
        #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
        duration: Option<Duration>,
        /// Reason, which is shown to the clients that are refused
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Lift a ban
    Unban(FilterArgs),
    /// Delete a message; its offset stays, so readers see no gap
    Delete {
        /// The room
        #[arg(value_parser = RoomName::parse)]
        room: RoomName,
        /// Offset of the message
        offset: u64,
    },
    /// Close a room: disconnect everyone, and refuse joins and messages until it is opened
    Close {
        /// The room
        #[arg(value_parser = RoomName::parse)]
        room: RoomName,
        /// Reason, which is shown to the clients that are refused
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// End a room for ever: its readers get the end after the last message, and it accepts no more
    End {
        /// The room
        #[arg(value_parser = RoomName::parse)]
        room: RoomName,
    },
    /// Delete a room with all its messages
    DeleteRoom {
        /// The room
        #[arg(value_parser = RoomName::parse)]
        room: RoomName,
    },
    /// Set the expiry or the content type of a room
    SetRoom {
        /// The room
        #[arg(value_parser = RoomName::parse)]
        room: RoomName,
        #[command(flatten)]
        life: RoomLifeArgs,
    },
    /// Open a closed room
    Open {
        /// The room
        #[arg(value_parser = RoomName::parse)]
        room: RoomName,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum HooksCommand {
    /// Deliver nothing until the hook is resumed, also after a restart
    Pause {
        /// Name of the hook
        name: String,
    },
    /// Continue after the last message that was delivered; also after the receiver has answered 410
    Resume {
        /// Name of the hook
        name: String,
    },
    /// Deliver the messages from an offset on again
    Replay {
        /// Name of the hook
        name: String,
        /// Offset of the first message to deliver; 0 for everything that is kept
        from: u64,
    },
}

/// The expiry and the content type of a room.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct RoomLifeArgs {
    /// Delete the room when it was not read or written for this time, like 30m or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "never")]
    pub(super) ttl: Option<Duration>,
    /// Delete the room at this time, like 2030-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with_all = ["ttl", "never"])]
    pub(super) expires_at: Option<Timestamp>,
    /// Remove the expiry
    #[arg(long)]
    pub(super) never: bool,
    /// Media type of its content; it then keeps all messages, as a stream
    #[arg(long, value_name = "TYPE")]
    pub(super) content_type: Option<String>,
}

impl From<RoomLifeArgs> for RoomLifeRequest {
    fn from(args: RoomLifeArgs) -> Self {
        let millis = |time: Timestamp| u64::try_from(time.as_millisecond()).unwrap_or_default();
        let ttl = args.ttl.map(|ttl| RoomExpiry::Ttl(ttl.as_secs().max(1)));
        let at = args.expires_at.map(|time| RoomExpiry::At(millis(time)));

        Self {
            content_type: args.content_type,
            expiry: ttl.or(at).or(args.never.then_some(RoomExpiry::Never)),
            end: false,
        }
    }
}

/// A room, an id and an address, each optional.
#[derive(Debug, Args)]
pub(super) struct FilterArgs {
    /// In this room
    #[arg(long, value_parser = RoomName::parse)]
    pub(super) room: Option<RoomName>,
    /// With this id
    #[arg(long, value_parser = UserId::parse)]
    pub(super) id: Option<UserId>,
    /// From this address (IPv6: its /64)
    #[arg(long)]
    pub(super) address: Option<IpAddr>,
}

impl From<FilterArgs> for ConnectionFilter {
    fn from(FilterArgs { room, id, address }: FilterArgs) -> Self {
        Self { room, id, address }
    }
}
