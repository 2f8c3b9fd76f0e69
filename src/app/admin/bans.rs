//! The lists of bans and of closed rooms.

use leptos::prelude::*;

use super::AdminPage;
use super::form::{action_button, link};
use super::route::{PageAction, PendingAction};
use super::table::{AdminRow, Cell, table};
use crate::protocol::admin::{Ban, BanList, BanTarget, ClosedRoom};

/// Returns both lists: the newest bans, with a note if there are more, and the closed rooms.
pub(super) fn bans(page: &AdminPage, list: BanList, has_more: bool) -> AnyView {
    let text = page.text;
    let any_client = page.route.with_pending(PendingAction::Ban(None));
    let note = match list.bans.len() {
        0 => Some(text.no_bans.to_owned()),
        count => has_more.then(|| (text.more_bans)(count)),
    };
    let bans = list.bans.into_iter().map(|ban| ban_row(page, ban));
    let closed = list.closed.into_iter().map(|room| closed_row(page, room));

    view! {
        <section id="bans" aria-labelledby="bans-title">
            <div class="admin-bar">
                <h2 id="bans-title">{text.bans}</h2>
                {link("ban-somebody", &any_client, text.ban_somebody)}
            </div>
            {note.map(|note| view! { <p class="quiet">{note}</p> })}
            {table(bans.collect(), None, None)}
            {table(closed.collect(), Some("closed"), Some(text.closed))}
        </section>
    }
    .into_any()
}

fn ban_row(page: &AdminPage, ban: Ban) -> AdminRow {
    let text = page.text;
    let (client, target) = match &ban.target {
        BanTarget::Id(id) => (id.shown(), ("id", id.to_string())),
        BanTarget::Address(address) => (address.to_string(), ("address", address.to_string())),
    };
    let room = ban.room.map(|room| ("room", room.to_string()));
    let room_cell = match &room {
        Some((_, room)) => room.clone().into_any(),
        None => view! { <span class="quiet">{text.everywhere}</span> }.into_any(),
    };
    let until = match ban.until {
        Some(until) => (text.ends_in)(&(text.span)(until.saturating_sub(page.now) / 1000)),
        None => text.until_lifted.to_owned(),
    };
    let fields = std::iter::once(target).chain(room);
    let unban = action_button(PageAction::Unban, fields, &page.route, text.lift, None);

    AdminRow {
        id: None,
        is_selected: false,
        cells: vec![
            Cell::text(text.whom, view! { <bdi>{client}</bdi> }),
            Cell::text(text.room, room_cell),
            Cell::text(text.until, until),
            Cell::text(text.reason, reason(ban.reason)),
            Cell::text(text.by, made_by(page, ban.by, ban.since)),
            Cell::actions(text.acts, unban),
        ],
    }
}

fn closed_row(page: &AdminPage, closed: ClosedRoom) -> AdminRow {
    let text = page.text;
    let name = closed.room.to_string();
    let fields = [("room", name.clone())];
    let open = action_button(PageAction::Open, fields, &page.route, text.open, None);

    AdminRow {
        id: None,
        is_selected: false,
        cells: vec![
            Cell::text(text.room, name),
            Cell::text(text.reason, reason(closed.reason)),
            Cell::text(text.by, made_by(page, closed.by, closed.since)),
            Cell::actions(text.acts, open),
        ],
    }
}

fn reason(reason: Option<String>) -> impl IntoAny {
    reason.map(|reason| view! { <span dir="auto">{reason}</span> })
}

/// Returns the operator that made a rule, and the time since then.
fn made_by(page: &AdminPage, operator: String, since: u64) -> impl IntoAny + use<> {
    let ago = (page.text.ago)(&page.time_since(since));
    view! { <span><bdi>{operator}</bdi> ", " {ago}</span> }
}
