//! Gathers the data of the page: one page of each list.

use crate::app::admin::{ActionOutcome, AdminRoute, Dashboard, NEWEST, PendingAction};
use crate::protocol::admin::{ConnectionFilter, ConnectionList, ConnectionSummary, RoomList};
use crate::protocol::{Publication, RoomName, UserId};
use crate::server::http::AppState;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::api::admin::{bans, connections, rooms, stats};
use crate::server::store::{Span, now_millis};

/// The most rows of a list: the page is sent again every second.
const MAX_ROWS: usize = 50;

/// Returns the page that `operator` sees at `route`, after `outcome`.
pub(super) async fn dashboard(
    state: &AppState,
    operator: &Operator,
    route: &AdminRoute,
    mut outcome: Option<ActionOutcome>,
) -> Dashboard {
    let rooms = rooms::list(state, operator, &route.prefix, &route.rooms_after, MAX_ROWS);
    let rooms = rooms.unwrap_or_else(|error| {
        outcome.get_or_insert(ActionOutcome::Failed(error.to_string()));
        RoomList::default()
    });
    let messages = match &route.room {
        Some(room) if operator.administers(room) => newest(state, room).await,
        _ => None,
    };
    let mut bans = bans::in_force(state, operator);
    let has_more_bans = bans.bans.len() > MAX_ROWS;
    bans.bans.reverse();
    bans.bans.truncate(MAX_ROWS);
    let administers_all = operator.check_all(None).is_ok();
    let hooks = if administers_all {
        state.hooks.list().await
    } else {
        Vec::new()
    };

    Dashboard {
        now: now_millis(),
        stats: administers_all.then(|| stats::current(state)),
        has_token: operator.has_token(),
        rooms,
        connections: connections_of(state, operator, route).await,
        messages,
        bans,
        has_more_bans,
        hooks,
        subject: subject_of(state, operator, route).await,
        outcome,
    }
}

async fn connections_of(
    state: &AppState,
    operator: &Operator,
    route: &AdminRoute,
) -> ConnectionList {
    let mut filter = ConnectionFilter {
        room: route.room.clone(),
        ..ConnectionFilter::default()
    };
    if let Ok(address) = route.who.parse() {
        filter.address = Some(address);
    } else if !route.who.is_empty() {
        // No connection has an invalid id.
        let Ok(id) = UserId::parse(&route.who) else {
            return ConnectionList::default();
        };
        filter.id = Some(id);
    }
    connections::list(state, operator, &filter, route.after, MAX_ROWS).await
}

/// Returns the newest messages of `room`; `None` if they cannot be read now.
async fn newest(state: &AppState, room: &RoomName) -> Option<Vec<Publication>> {
    let room = state.hub.room(room).await.ok()?;
    let page = room.history(Span::Newest, NEWEST).await.ok()?;
    let messages = page.frames.iter().map(|frame| frame.publication());
    Some(messages.collect())
}

/// Returns the connection that the confirmation dialog is about, if it is still open.
async fn subject_of(
    state: &AppState,
    operator: &Operator,
    route: &AdminRoute,
) -> Option<ConnectionSummary> {
    let number = route.pending.as_ref().and_then(PendingAction::connection)?;
    let all = ConnectionFilter::default();
    let found = connections::list(state, operator, &all, number.checked_sub(1)?, 1).await;
    let mut found = found.connections.into_iter();
    found.find(|connection| connection.number == number)
}
