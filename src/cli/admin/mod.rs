//! `fanfare admin`: the actions of operators on the command line. Each is a call of the admin API.
//!
//! The output is a table or a sentence. With `--json`, each row or response is a JSON object on one line.

mod api;
mod args;
mod table;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::cli::format::{escape, escape_json, utc};
use crate::cli::{Failure, interrupted, output, start};
use crate::protocol::admin::{
    BanList, BanRequest, Banned, CloseRequest, ConnectionFilter, ConnectionList, ConnectionQuery,
    ConnectionSummary, DeletedMessage, DeletedRoom, HookList, HookSummary, Kicked, MAX_PAGE,
    ReplayRequest, RoomClosure, RoomExpiry, RoomLife, RoomLifeRequest, RoomList, RoomQuery,
    RoomSummary, UnbanQuery, Unbanned,
};
use crate::protocol::{Offset, RoomName, Token};

use api::Api;
use args::{AdminCommand, FilterArgs, HooksCommand};
use table::{TableRow, table};

pub(super) use args::AdminArgs;

pub(super) fn run(args: AdminArgs) -> Result<(), Failure> {
    let api = Api {
        server: args.access.server(args.url)?,
        // A variable that was read from a file may end with a line break.
        token: args
            .access
            .token
            .map(|token| Token::new(token.trim().to_owned())),
    };
    start(execute(args.command, &api, args.json))
}

async fn execute(command: AdminCommand, api: &Api, is_json: bool) -> anyhow::Result<()> {
    match command {
        AdminCommand::Rooms { prefix } => {
            print_rows(&rooms(api, prefix.unwrap_or_default()).await?, is_json)
        }
        AdminCommand::Connections(filter) => print_rows(&connections(api, filter).await?, is_json),
        AdminCommand::Trace { number } => trace(api, number, is_json).await,
        AdminCommand::Bans => {
            let list: BanList = api.get("bans", &()).await?;
            print_rows(&list.bans, is_json)?;
            print_rows(&list.closed, is_json)
        }
        AdminCommand::Hooks { command: None } => {
            let list: HookList = api.get("hooks", &()).await?;
            print_rows(&list.hooks, is_json)
        }
        AdminCommand::Hooks {
            command: Some(command),
        } => command_hook(api, command, is_json).await,
        AdminCommand::Kick { number, filter } => {
            let kicked: Kicked = match number {
                Some(number) => api.post(&format!("connections/{number}/kick"), &()).await?,
                None => {
                    api.post("connections/kick", &ConnectionFilter::from(filter))
                        .await?
                }
            };

            let sentence = format!("{} closed", kicked.kicked);
            print_answer(&kicked, &sentence, is_json)
        }
        AdminCommand::Ban {
            filter,
            duration,
            reason,
        } => {
            let request = BanRequest {
                id: filter.id,
                address: filter.address,
                room: filter.room,
                seconds: duration.map(|duration| duration.as_secs().max(1)),
                reason,
            };

            let banned: Banned = api.post("bans", &request).await?;
            let sentence = format!("banned, {} closed", banned.kicked);
            print_answer(&banned, &sentence, is_json)
        }
        AdminCommand::Unban(FilterArgs { room, id, address }) => {
            let query = UnbanQuery { id, address, room };
            let unbanned: Unbanned = api.delete("bans", &query).await?;
            print_answer(&unbanned, "lifted", is_json)
        }
        AdminCommand::Delete { room, offset } => {
            let path = format!("rooms/{}/messages/{offset}", room.to_path_segment());
            let deleted: DeletedMessage = api.delete(&path, &()).await?;

            let sentence = if deleted.before {
                "it was deleted before"
            } else {
                "deleted"
            };
            print_answer(&deleted, sentence, is_json)
        }
        AdminCommand::Close { room, reason } => {
            let path = format!("rooms/{}/close", room.to_path_segment());
            let closed: RoomClosure = api.post(&path, &CloseRequest { reason }).await?;

            let sentence = format!("closed, with {} in it", closed.kicked);
            print_answer(&closed, &sentence, is_json)
        }
        AdminCommand::End { room } => {
            let request = RoomLifeRequest {
                end: true,
                ..RoomLifeRequest::default()
            };

            let life: RoomLife = api.patch(&room_path(&room), &request).await?;
            print_answer(&life, "ended", is_json)
        }
        AdminCommand::DeleteRoom { room } => {
            let deleted: DeletedRoom = api.delete(&room_path(&room), &()).await?;
            print_answer(&deleted, "deleted", is_json)
        }
        AdminCommand::SetRoom { room, life } => {
            let request = RoomLifeRequest::from(life);
            let life: RoomLife = api.patch(&room_path(&room), &request).await?;

            let sentence = match (life.expiry, life.expires_at) {
                (RoomExpiry::At(at), _) => format!("expires at {}", utc(at)),
                (_, Some(at)) => format!("expires at {}, unless it is used", utc(at)),
                (_, None) => "does not expire".to_owned(),
            };
            print_answer(&life, &sentence, is_json)
        }
        AdminCommand::Open { room } => {
            let path = format!("rooms/{}/open", room.to_path_segment());
            let opened: RoomClosure = api.post(&path, &()).await?;
            print_answer(&opened, "open", is_json)
        }
    }
}

/// Executes `command` on a hook, and prints its position.
async fn command_hook(api: &Api, command: HooksCommand, is_json: bool) -> anyhow::Result<()> {
    let path = |name: &str, action| format!("hooks/{}/{action}", encode(name));
    let hook: HookSummary = match command {
        HooksCommand::Pause { name } => api.post(&path(&name, "pause"), &()).await?,
        HooksCommand::Resume { name } => api.post(&path(&name, "resume"), &()).await?,
        HooksCommand::Replay { name, from } => {
            let request = ReplayRequest { from: Offset(from) };
            api.post(&path(&name, "replay"), &request).await?
        }
    };

    let sentence = format!("{}, delivered up to offset {}", hook.status, hook.offset);
    print_answer(&hook, &sentence, is_json)
}

/// Returns `name` as a segment of a path.
fn encode(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

/// Returns the path of `room` in the API.
fn room_path(room: &RoomName) -> String {
    format!("rooms/{}", room.to_path_segment())
}

/// Returns all rooms whose names begin with `prefix`, page by page.
async fn rooms(api: &Api, prefix: String) -> anyhow::Result<Vec<RoomSummary>> {
    let mut rooms: Vec<RoomSummary> = Vec::new();
    loop {
        let last = rooms.last().map(|room| room.name.as_str());
        let query = RoomQuery {
            prefix: prefix.clone(),
            after: last.unwrap_or_default().to_owned(),
            limit: Some(MAX_PAGE),
        };
        let page: RoomList = api.get("rooms", &query).await?;

        let is_last = !page.more || page.rooms.is_empty();
        rooms.extend(page.rooms);
        if is_last {
            return Ok(rooms);
        }
    }
}

/// Returns all connections that match `filter`, page by page.
async fn connections(api: &Api, filter: FilterArgs) -> anyhow::Result<Vec<ConnectionSummary>> {
    let mut connections: Vec<ConnectionSummary> = Vec::new();
    let mut query = ConnectionQuery {
        room: filter.room,
        id: filter.id,
        address: filter.address,
        after: None,
        limit: Some(MAX_PAGE),
    };
    loop {
        let page: ConnectionList = api.get("connections", &query).await?;

        let is_last = !page.more || page.connections.is_empty();
        connections.extend(page.connections);
        if is_last {
            return Ok(connections);
        }
        query.after = connections.last().map(|connection| connection.number);
    }
}

/// Prints the events of the connection `number`, until it ends or standard output is closed.
async fn trace(api: &Api, number: u64, is_json: bool) -> anyhow::Result<()> {
    let path = format!("connections/{number}/trace");
    let mut unprinted = None;
    let print = |line: &str| {
        unprinted = output::print(event_line(line, is_json) + "\n").err();
        unprinted.is_none()
    };

    tokio::select! {
        ended = api.follow(&path, print) => ended?,
        stopped = interrupted() => stopped?,
    }
    Ok(unprinted.map_or(Ok(()), Err)?)
}

/// Returns an event of a trace as `name=value` pairs, or unchanged if `is_json`.
fn event_line(line: &str, is_json: bool) -> String {
    match serde_json::from_str::<Map<String, Value>>(line) {
        Ok(event) if !is_json => {
            let fields = event.iter().map(|(name, value)| match value {
                Value::Number(at) if name == "at" => {
                    format!("at={}", utc(at.as_u64().unwrap_or_default()))
                }
                Value::String(text) => format!("{name}={}", escape(text)),
                other => format!("{name}={}", escape(&other.to_string())),
            });
            fields.collect::<Vec<_>>().join(" ")
        }
        _ => escape_json(line),
    }
}

/// Prints `rows` as a table, or as one object per line if `is_json`.
fn print_rows<T: TableRow + Serialize>(rows: &[T], is_json: bool) -> anyhow::Result<()> {
    if !is_json {
        return Ok(output::print(table(rows))?);
    }

    let lines: Result<String, _> = rows.iter().map(json_line).collect();
    Ok(output::print(lines?)?)
}

/// Prints `sentence`, or `answer` as JSON if `is_json`.
fn print_answer(answer: &impl Serialize, sentence: &str, is_json: bool) -> anyhow::Result<()> {
    let line = if is_json {
        json_line(answer)?
    } else {
        escape(sentence) + "\n"
    };
    Ok(output::print(line)?)
}

fn json_line(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(escape_json(&serde_json::to_string(value)?) + "\n")
}
