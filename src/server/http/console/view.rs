//! What an operator sees, gathered: a page's worth of each list.

use std::net::IpAddr;

use crate::app::admin::messages::NEWEST;
use crate::app::admin::{
    BannedRow, ClosedRow, ConnectionRow, Figures, Listed, Outcome, Part, Place, Question, RoomRow,
    Subject,
};
use crate::protocol::Publication;
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::http::AppState;
use crate::server::http::api::admin::bans;
use crate::server::http::api::admin::connections::{self, Which};
use crate::server::http::api::admin::now_millis;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::api::admin::rooms;
use crate::server::http::api::admin::stats::Stats;
use crate::server::moderation::{Ban, Closure, Whom};
use crate::server::release;
use crate::server::store::Span;

/// Rows of a list: each page is sent again every second.
const ROWS: usize = 50;

/// What `operator` sees from `place`, after `outcome`.
pub(super) async fn listed(
    state: &AppState,
    operator: &Operator,
    place: &Place,
    mut outcome: Option<Outcome>,
) -> Listed {
    let rooms = rooms_of(state, operator, place).unwrap_or_else(|reason| {
        outcome.get_or_insert(Outcome::Failed(reason));
        Part {
            some: Vec::new(),
            more: false,
        }
    });
    let messages = match &place.room {
        Some(room) if operator.administers(room) => newest(state, room).await,
        _ => None,
    };
    let in_force = bans::in_force(state, operator);
    let more_bans = in_force.bans.len() > ROWS;
    let banned = in_force
        .bans
        .into_iter()
        .rev()
        .take(ROWS)
        .map(banned)
        .collect();
    Listed {
        now: now_millis(),
        figures: operator
            .check_all(None)
            .is_ok()
            .then(|| figures(Stats::of(state))),
        has_token: operator.has_token(),
        rooms,
        connections: connections_of(state, operator, place).await,
        messages,
        bans: Part {
            some: banned,
            more: more_bans,
        },
        closed: in_force.closed.into_iter().map(closed).collect(),
        asked: asked(state, operator, place).await,
        outcome,
    }
}

fn figures(stats: Stats) -> Figures {
    let seconds = stats.seconds.iter();
    let seconds = seconds.map(|second| {
        [
            second.published,
            second.delivered,
            second.delivered_bytes,
            second.connections as f64,
        ]
    });
    Figures {
        version: release::describe(),
        uptime: stats.uptime,
        not_ready: stats.reason,
        held: (stats.held_bytes, stats.budget_bytes),
        rooms: stats.rooms,
        seconds: seconds.collect(),
    }
}

/// Some rooms; or why they cannot be listed, as the server says it.
fn rooms_of(state: &AppState, operator: &Operator, place: &Place) -> Result<Part<RoomRow>, String> {
    let rooms = rooms::list(state, operator, &place.prefix, &place.rooms_after, ROWS);
    let rooms = rooms.map_err(|error| error.to_string())?;
    let some = rooms.rooms.into_iter().map(|room| RoomRow {
        name: room.name,
        members: room.members,
        connections: room.connections,
        head: room.head,
        first: room.first,
        ring: (room.ring_messages, room.ring_bytes),
        closed: room.closed,
    });
    Ok(Part {
        some: some.collect(),
        more: rooms.more,
    })
}

async fn connections_of(
    state: &AppState,
    operator: &Operator,
    place: &Place,
) -> Part<ConnectionRow> {
    let who = place.who.as_str();
    let address = who.parse::<IpAddr>().ok();
    let id = match (who, address) {
        ("", _) | (_, Some(_)) => None,
        // What is no id is nobody's.
        _ => match UserId::parse(who) {
            Ok(id) => Some(id),
            Err(_) => {
                return Part {
                    some: Vec::new(),
                    more: false,
                };
            }
        },
    };
    let which = Which {
        room: place.room.clone(),
        id,
        address,
    };
    let found = connections::list(state, operator, &which, place.after, ROWS).await;
    let some = found
        .connections
        .into_iter()
        .map(|connection| ConnectionRow {
            number: connection.number,
            // A stream that nobody sees is still read by somebody.
            id: connection.id.or(connection.sub),
            address: connection.address,
            room: connection.room,
            since: connection.since,
            dialect: connection.dialect,
            behind: connection.behind,
            waiting: connection.waiting,
        });
    Part {
        some: some.collect(),
        more: found.more,
    }
}

/// The newest messages of `room`; nothing if they cannot be read now.
async fn newest(state: &AppState, room: &RoomName) -> Option<Vec<Publication>> {
    let room = state.hub.room(room).await.ok()?;
    let page = state.hub.history(&room, Span::Newest, NEWEST).await.ok()?;
    Some(
        page.frames
            .iter()
            .map(|frame| frame.publication())
            .collect(),
    )
}

/// The connection that the question is about, if it is still there.
async fn asked(state: &AppState, operator: &Operator, place: &Place) -> Option<Subject> {
    let (Question::Kick(number) | Question::Ban(Some(number))) = place.question.as_ref()? else {
        return None;
    };
    let which = Which::default();
    let found = connections::list(state, operator, &which, number.checked_sub(1)?, 1).await;
    let found = found
        .connections
        .into_iter()
        .find(|connection| connection.number == *number)?;
    Some(Subject {
        id: found.id.or(found.sub),
        address: found.address,
        room: found.room,
    })
}

fn banned(ban: Ban) -> BannedRow {
    let Ban {
        whom,
        room,
        until,
        reason,
        by,
        since,
    } = ban;
    let (id, address) = match whom {
        Whom::Id(id) => (Some(id), None),
        Whom::Address(address) => (None, Some(address)),
    };
    BannedRow {
        id,
        address,
        room,
        until,
        reason,
        by,
        since,
    }
}

fn closed(closure: Closure) -> ClosedRow {
    let Closure {
        room,
        reason,
        by,
        since,
    } = closure;
    ClosedRow {
        room,
        reason,
        by,
        since,
    }
}
