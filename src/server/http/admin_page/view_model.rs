//! Gathers the data of the page: one page of each list.

use crate::app::admin::{
    ActionOutcome, AdminRoute, Dashboard, MAX_MESSAGES, MessagePage, PendingAction,
};
use crate::protocol::admin::{ConnectionFilter, ConnectionList, ConnectionSummary, RoomList};
use crate::protocol::{Offset, Publication, RoomName, UserId};
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
    let rooms = rooms.await.unwrap_or_else(|error| {
        outcome.get_or_insert(ActionOutcome::Failed(error.to_string()));
        RoomList::default()
    });
    let messages = match &route.room {
        Some(room) if operator.administers(room) => messages(state, room, route.until).await,
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
        quoted: quoted(state, operator, route).await,
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

/// Returns the newest messages of `room` up to the offset `until`; `None` if they cannot be read now.
async fn messages(state: &AppState, room: &RoomName, until: Option<Offset>) -> Option<MessagePage> {
    let room = state.hub.room(room).await.ok()?;
    let span = until.map_or(Span::Newest, |until| {
        Span::Before(Offset(until.0.saturating_add(1)))
    });
    let page = room.history(span, MAX_MESSAGES).await.ok()?;
    let messages = page.frames.iter().map(|frame| frame.publication());
    Some(MessagePage {
        messages: messages.collect(),
        more: page.more,
    })
}

/// Returns the message that the confirmation dialog is about, if it is kept.
async fn quoted(state: &AppState, operator: &Operator, route: &AdminRoute) -> Option<Publication> {
    let Some(PendingAction::Delete(room, offset)) = &route.pending else {
        return None;
    };
    if !operator.administers(room) {
        return None;
    }

    let room = state.hub.room(room).await.ok()?;
    let before = Span::After(Offset(offset.0.saturating_sub(1)));
    let page = room.history(before, 1).await.ok()?;
    let message = page.frames.first()?.publication();
    (message.offset == *offset).then_some(message)
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
