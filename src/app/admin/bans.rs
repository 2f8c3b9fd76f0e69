//! Who is kept out, and which rooms are closed.

use leptos::prelude::*;

use super::desk::{BannedRow, ClosedRow, Part};
use super::form::Deed;
use super::place::{Place, Question};
use super::table::{Column, Table};
use crate::app::i18n::AdminText;

/// Both lists.
#[component]
pub fn Bans(
    /// Where the operator stands.
    place: Place,
    /// Bans, the newest first.
    bans: Part<BannedRow>,
    /// Closed rooms.
    closed: Vec<ClosedRow>,
    /// Now, in milliseconds since 1970 UTC.
    now: u64,
    /// The language's phrases.
    text: &'static AdminText,
) -> impl IntoView {
    let more = bans
        .more
        .then(|| view! { <p class="quiet">{(text.more_bans)(bans.some.len())}</p> });
    let rows: Vec<_> = bans
        .some
        .into_iter()
        .map(|ban| view! { <Banned place=place.clone() ban now text/> }.into_any())
        .collect();
    let columns = vec![
        Column::Words(text.whom),
        Column::Words(text.room),
        Column::Words(text.until),
        Column::Words(text.reason),
        Column::Words(text.by),
        Column::Words(text.acts),
    ];
    let shut: Vec<_> = closed
        .into_iter()
        .map(|room| view! { <Closed place=place.clone() room now text/> }.into_any())
        .collect();
    let columns_of_shut = [text.room, text.reason, text.by, text.acts]
        .into_iter()
        .map(Column::Words)
        .collect::<Vec<_>>();
    view! {
        <section id="bans" aria-labelledby="bans-title">
            <div class="desk-bar">
                <h2 id="bans-title">{text.bans}</h2>
                <a class="tool" id="ban-somebody" href=place.asking(Question::Ban(None)).href()>
                    {text.ban_somebody}
                </a>
            </div>
            {more}
            <Table columns rows nothing=text.no_bans/>
            <Table columns=columns_of_shut rows=shut id="closed" caption=text.closed/>
        </section>
    }
}

#[component]
fn Banned(place: Place, ban: BannedRow, now: u64, text: &'static AdminText) -> impl IntoView {
    let BannedRow {
        id,
        address,
        room,
        until,
        reason,
        by,
        since,
    } = ban;
    let address = address.map(|address| address.to_string());
    let whom = id.as_ref().map(|id| id.shown()).or_else(|| address.clone());
    let until = match until {
        Some(until) => (text.ends_in)(&(text.span)(until.saturating_sub(now) / 1000)),
        None => text.until_lifted.to_owned(),
    };
    let everywhere = || view! { <span class="quiet">{text.everywhere}</span> }.into_any();
    let room_cell = room
        .as_ref()
        .map_or_else(everywhere, |room| room.to_string().into_any());
    let to = [
        ("id", id.map(|id| id.to_string())),
        ("address", address),
        ("room", room.map(|room| room.to_string())),
    ];
    let to: Vec<_> = to
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    view! {
        <tr>
            <th scope="row"><bdi>{whom}</bdi></th>
            <td data-label=text.room>{room_cell}</td>
            <td data-label=text.until>{until}</td>
            <td data-label=text.reason dir="auto">{reason}</td>
            <td data-label=text.by><Decided by since now text/></td>
            <td class="acts"><Deed act="lift" to place verb=text.lift/></td>
        </tr>
    }
}

#[component]
fn Closed(place: Place, room: ClosedRow, now: u64, text: &'static AdminText) -> impl IntoView {
    let ClosedRow {
        room,
        reason,
        by,
        since,
    } = room;
    let name = room.to_string();
    view! {
        <tr>
            <th scope="row">{name.clone()}</th>
            <td data-label=text.reason dir="auto">{reason}</td>
            <td data-label=text.by><Decided by since now text/></td>
            <td class="acts"><Deed act="open" to=vec![("room", name)] place verb=text.open/></td>
        </tr>
    }
}

/// Who decided it, and how long ago.
#[component]
fn Decided(by: String, since: u64, now: u64, text: &'static AdminText) -> impl IntoView {
    let ago = (text.ago)(&(text.span)(now.saturating_sub(since) / 1000));
    view! { <span><bdi>{by}</bdi> ", " {ago}</span> }
}
