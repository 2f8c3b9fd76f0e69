//! Requests and answers of the admin API under `/api/v1/admin`: shared by the server, the admin page that it renders,
//! and `fanfare admin`.
//!
//! All times are in milliseconds since 1970 UTC. An address stands for its whole /64 if it is IPv6.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Offset, RoomName, RoomSelector, UserId};

/// The largest page of a list.
pub const MAX_PAGE: u16 = 1000;

/// The query of `GET rooms`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RoomQuery {
    /// Only rooms whose names begin with this.
    #[serde(default)]
    pub prefix: String,
    /// Only rooms after this name, in alphabetical order.
    #[serde(default)]
    pub after: String,
    /// At most this many rooms: 1 to 1000, by default 100.
    #[serde(default, deserialize_with = "optional")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u16>,
}

/// Rooms in memory, ordered by name.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct RoomList {
    /// The rooms of this page.
    pub rooms: Vec<RoomSummary>,
    /// More rooms follow the last one.
    pub more: bool,
}

/// A room in memory.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RoomSummary {
    /// The name.
    #[schema(value_type = String)]
    pub name: RoomName,
    /// Ids that are present.
    pub members: usize,
    /// Open connections, including streams that show no id.
    pub connections: usize,
    /// The newest offset; 0 if the room is empty.
    #[schema(value_type = u64)]
    pub head: Offset,
    /// The oldest offset kept; 0 if none is.
    #[schema(value_type = u64)]
    pub first: Offset,
    /// Messages in memory, for readers that fall behind.
    pub ring_messages: usize,
    /// The bytes of these messages.
    pub ring_bytes: usize,
    /// The room is closed: it accepts no joins and no messages.
    pub closed: bool,
}

/// The request that closes a room.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseRequest {
    /// The reason, at most 200 characters. Clients that try to join see it.
    pub reason: Option<String>,
}

/// The state of a room after it was closed or opened.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = RoomState)]
pub struct RoomClosure {
    /// The room.
    #[schema(value_type = String)]
    pub room: RoomName,
    /// The room is closed now.
    pub closed: bool,
    /// Connections that were ended on this node. Those on other nodes are ended too.
    pub kicked: usize,
}

/// The request that changes the life of a room. What is absent stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoomLifeRequest {
    /// The media type of its content. A room that began with a message becomes a stream, which keeps all messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The new expiry of the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry: Option<RoomExpiry>,
    /// True ends the room: it accepts no more messages, for ever.
    #[serde(default)]
    pub end: bool,
}

/// The expiry of a room, after which it is deleted with its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoomExpiry {
    /// No expiry of its own. A rule of the settings file may set one.
    Never,
    /// The time without reads and writes, in seconds.
    Ttl(u64),
    /// The time of day, in milliseconds since 1970 UTC.
    At(u64),
}

/// The life of a room after a change.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RoomLife {
    /// The room.
    #[schema(value_type = String)]
    pub room: RoomName,
    /// The media type of a stream; null for a room that began with a message.
    pub content_type: Option<String>,
    /// The expiry of the room itself; a rule of the settings file may set another.
    pub expiry: RoomExpiry,
    /// The time at which it expires if it is not used until then, in milliseconds since 1970 UTC; null if it does not.
    pub expires_at: Option<u64>,
    /// The room has ended: it accepts no more messages.
    pub ended: bool,
}

/// A room that was deleted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeletedRoom {
    /// The room.
    #[schema(value_type = String)]
    pub room: RoomName,
}

/// A message that was deleted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeletedMessage {
    /// The room.
    #[schema(value_type = String)]
    pub room: RoomName,
    /// The message's offset.
    #[schema(value_type = u64)]
    pub offset: Offset,
    /// The message was already deleted before.
    pub before: bool,
}

/// The query of `GET connections`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ConnectionQuery {
    /// Only connections in this room.
    #[param(value_type = Option<String>)]
    pub room: Option<RoomName>,
    /// Only connections of this id: the `sub` of the token, else the id that the client claims.
    #[param(value_type = Option<String>)]
    pub id: Option<UserId>,
    /// Only connections from this address; from the same /64 if it is IPv6.
    #[param(value_type = Option<String>)]
    pub address: Option<IpAddr>,
    /// Only connections after this number.
    #[serde(default, deserialize_with = "optional")]
    pub after: Option<u64>,
    /// At most this many connections: 1 to 1000, by default 100.
    #[serde(default, deserialize_with = "optional")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u16>,
}

/// Connections, ordered by number, which is the order in which they were opened.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ConnectionList {
    /// The connections of this page.
    pub connections: Vec<ConnectionSummary>,
    /// More connections follow the last one.
    pub more: bool,
}

/// An open connection.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConnectionSummary {
    /// The number, as in the log and in `welcome`.
    pub number: u64,
    /// The id under which it is present; absent for a stream that shows none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub id: Option<UserId>,
    /// The `sub` of its token; absent without a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub sub: Option<UserId>,
    /// The client's address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// The rooms and patterns that it reads, of those that you administer.
    #[schema(value_type = Vec<String>)]
    pub rooms: Vec<RoomSelector>,
    /// The time when it was opened, in milliseconds since 1970 UTC.
    pub since: u64,
    /// `plain`, `fanfare.v1`, `sse` or `ndjson`.
    pub dialect: String,
    /// The last offset that was written to it.
    #[schema(value_type = u64)]
    pub offset: Offset,
    /// The number of messages of its rooms that it has not received; an upper bound if not all of them are in memory.
    pub behind: u64,
    /// Bytes in its send buffer.
    pub waiting: usize,
}

impl ConnectionSummary {
    /// Returns the id that is shown, else the one that the token proves.
    pub fn shown_id(&self) -> Option<&UserId> {
        self.id.as_ref().or(self.sub.as_ref())
    }
}

/// The request that ends connections: those that match all fields that are given, at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionFilter {
    /// Connections in this room.
    #[schema(value_type = Option<String>)]
    pub room: Option<RoomName>,
    /// Connections of this id: the `sub` of the token, else the id that the client claims.
    #[schema(value_type = Option<String>)]
    pub id: Option<UserId>,
    /// Connections from this address; from the same /64 if it is IPv6.
    #[schema(value_type = Option<String>)]
    pub address: Option<IpAddr>,
}

impl From<ConnectionQuery> for ConnectionFilter {
    fn from(query: ConnectionQuery) -> Self {
        Self {
            room: query.room,
            id: query.id,
            address: query.address,
        }
    }
}

/// The number of connections that were ended on this node.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Kicked {
    /// Connections.
    pub kicked: usize,
}

/// The client that a ban applies to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BanTarget {
    /// Clients with this id.
    #[schema(value_type = String)]
    Id(UserId),
    /// Clients from this address; from the same /64 if it is IPv6.
    #[schema(value_type = String)]
    Address(IpAddr),
}

impl BanTarget {
    /// Returns the target that exactly one of `id` and `address` names.
    pub fn new(id: Option<UserId>, address: Option<IpAddr>) -> Option<Self> {
        match (id, address) {
            (Some(id), None) => Some(Self::Id(id)),
            (None, Some(address)) => Some(Self::Address(address)),
            _ => None,
        }
    }

    /// Returns the id, if the ban applies to one.
    pub const fn id(&self) -> Option<&UserId> {
        match self {
            Self::Id(id) => Some(id),
            Self::Address(_) => None,
        }
    }

    /// Returns the address, if the ban applies to one.
    pub const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Id(_) => None,
            Self::Address(address) => Some(*address),
        }
    }
}

/// The request that bans a client, by `id` or by `address`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BanRequest {
    /// Clients with this id. Without tokens, clients choose their id themselves.
    #[schema(value_type = Option<String>)]
    pub id: Option<UserId>,
    /// Clients from this address; from the same /64 if it is IPv6.
    #[schema(value_type = Option<String>)]
    pub address: Option<IpAddr>,
    /// Only in this room; in all rooms if absent.
    #[schema(value_type = Option<String>)]
    pub room: Option<RoomName>,
    /// The duration in seconds; until the ban is lifted if absent.
    pub seconds: Option<u64>,
    /// The reason, at most 200 characters. Banned clients see it.
    pub reason: Option<String>,
}

/// The query of `DELETE bans`: `id` or `address`, and the room of the ban.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UnbanQuery {
    /// The id of the ban.
    #[param(value_type = Option<String>)]
    pub id: Option<UserId>,
    /// The address of the ban.
    #[param(value_type = Option<String>)]
    pub address: Option<IpAddr>,
    /// The room of the ban; absent for a ban in all rooms.
    #[param(value_type = Option<String>)]
    pub room: Option<RoomName>,
}

/// A ban in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ban {
    /// The client.
    #[serde(flatten)]
    pub target: BanTarget,
    /// The room; all rooms if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub room: Option<RoomName>,
    /// The end; absent if the ban lasts until it is lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// The reason, shown to banned clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The operator that made it.
    pub by: String,
    /// The time when it was made, in milliseconds since 1970 UTC.
    pub since: u64,
}

/// A closed room: it accepts no joins and no messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClosedRoom {
    /// The room.
    #[schema(value_type = String)]
    pub room: RoomName,
    /// The reason, shown to clients that try to join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The operator that closed it.
    pub by: String,
    /// The time when it was closed, in milliseconds since 1970 UTC.
    pub since: u64,
}

/// The bans and closed rooms in force.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BanList {
    /// The bans, oldest first.
    pub bans: Vec<Ban>,
    /// The closed rooms, by name.
    pub closed: Vec<ClosedRoom>,
}

/// A new ban.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Banned {
    /// The ban.
    pub ban: Ban,
    /// Connections that were ended on this node. Those on other nodes are ended too.
    pub kicked: usize,
}

/// A ban that was lifted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Unbanned {
    /// Always true.
    pub lifted: bool,
}

/// The state of the server and its rates over the last three minutes.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// The version.
    pub version: String,
    /// The commit that it was built from; null in a development build.
    pub commit: Option<String>,
    /// Seconds since the start.
    pub uptime: u64,
    /// The store accepts messages.
    pub ready: bool,
    /// The reason why the store accepts none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Open connections.
    pub connections: usize,
    /// Rooms in memory.
    pub rooms: usize,
    /// Bytes of memory in use for clients.
    pub held_bytes: usize,
    /// The limit of these bytes: `--memory-budget`.
    pub budget_bytes: usize,
    /// Messages stored since the start.
    pub published: u64,
    /// Messages delivered since the start, counted once for each reader.
    pub delivered: u64,
    /// The bytes of these deliveries.
    pub delivered_bytes: u64,
    /// The last three minutes, oldest first.
    pub seconds: Vec<SecondStats>,
}

/// The rates of one second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SecondStats {
    /// Connections open at its end.
    pub connections: usize,
    /// Messages stored.
    pub published: f64,
    /// Messages delivered, counted once for each reader.
    pub delivered: f64,
    /// The bytes of these deliveries.
    pub delivered_bytes: f64,
}

/// The hooks, by name.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct HookList {
    /// The hooks of the settings.
    pub hooks: Vec<HookSummary>,
}

/// A hook.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HookSummary {
    /// The name.
    pub name: String,
    /// The URL of the receiver, without its query.
    pub url: String,
    /// The rooms and patterns.
    #[schema(value_type = Vec<String>)]
    pub rooms: Vec<RoomSelector>,
    /// `active`, `paused`, `gone` (the receiver answered 410), `standby` (another node runs the hook), or `opening` (its
    /// position cannot be read from the store yet).
    pub status: String,
    /// The offset up to which everything was delivered.
    #[schema(value_type = u64)]
    pub offset: Offset,
    /// Messages that were not delivered yet; null if the store does not know their number.
    pub lag: Option<u64>,
    /// The time at which the oldest of them was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<u64>,
    /// Failed attempts since the last success.
    pub failures: u32,
    /// The reason of the last failure, if the newest attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The request that delivers messages again.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// The offset of the first message to deliver; 0 for everything that is kept.
    #[schema(value_type = u64)]
    pub from: Offset,
}

/// Reads an optional field of a query. An empty value counts as absent, because scripts write `after=$AFTER`.
fn optional<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }

    let value = text.parse();
    value
        .map(Some)
        .map_err(|error| D::Error::custom(format!("{text:?}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_has_its_target_beside_its_other_fields() {
        let json = r#"{"id":"eve","room":"class","until":9,"by":"ops","since":1}"#;

        let ban: Ban = serde_json::from_str(json).expect("a ban");

        assert_eq!(ban.target.id().map(UserId::as_str), Some("eve"));
        assert_eq!(serde_json::to_string(&ban).expect("JSON"), json);
    }

    #[test]
    fn a_request_with_an_unknown_field_is_rejected() {
        let kick = serde_json::from_str::<ConnectionFilter>(r#"{"room":"a","ip":"192.0.2.1"}"#);
        let ban = serde_json::from_str::<BanRequest>(r#"{"id":"eve","minutes":5}"#);

        assert!(kick.is_err());
        assert!(ban.is_err());
    }
}
