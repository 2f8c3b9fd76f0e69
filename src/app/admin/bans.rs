//! Who is kept out, and which rooms are closed.

use leptos::prelude::*;

use super::desk::{BannedRow, ClosedRow, Part};
use super::place::{PATH, Place, Question};
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
    let more = bans.more.then(|| view! { <p class="quiet">{(text.more_bans)(bans.some.len())}</p> });
    let is_empty = bans.some.is_empty();
    let rows: Vec<_> =
        bans.some.into_iter().map(|ban| view! { <Banned place=place.clone() ban now text/> }).collect();
    let table = match is_empty {
        true => view! { <p class="quiet">{text.no_bans}</p> }.into_any(),
        false => view! {
            <table>
                <thead>
                    <tr>
                        <th scope="col">{text.whom}</th>
                        <th scope="col">{text.room}</th>
                        <th scope="col">{text.until}</th>
                        <th scope="col">{text.reason}</th>
                        <th scope="col">{text.by}</th>
                        <th scope="col">{text.acts}</th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        }
        .into_any(),
    };
    let shut = (!closed.is_empty()).then(|| {
        let rows: Vec<_> =
            closed.into_iter().map(|room| view! { <Closed place=place.clone() room now text/> }).collect();
        view! {
            <table id="closed">
                <caption>{text.closed}</caption>
                <thead>
                    <tr>
                        <th scope="col">{text.room}</th>
                        <th scope="col">{text.reason}</th>
                        <th scope="col">{text.by}</th>
                        <th scope="col">{text.acts}</th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        }
    });
    view! {
        <section id="bans" aria-labelledby="bans-title">
            <div class="desk-bar">
                <h2 id="bans-title">{text.bans}</h2>
                <a class="tool" id="ban-somebody" href=place.asking(Question::Ban(None)).href()>
                    {text.ban_somebody}
                </a>
            </div>
            {more}
            {table}
            {shut}
        </section>
    }
}

#[component]
fn Banned(place: Place, ban: BannedRow, now: u64, text: &'static AdminText) -> impl IntoView {
    let BannedRow { id, address, room, until, reason, by, since } = ban;
    let address = address.map(|address| address.to_string());
    let whom = id.as_ref().map(|id| id.shown()).or_else(|| address.clone());
    let until = match until {
        Some(until) => (text.ends_in)(&(text.span)(until.saturating_sub(now) / 1000)),
        None => text.until_lifted.to_owned(),
    };
    let everywhere = || view! { <span class="quiet">{text.everywhere}</span> }.into_any();
    let room_cell = room.as_ref().map_or_else(everywhere, |room| room.to_string().into_any());
    let fields: Vec<_> = [
        ("act", Some("lift".to_owned())),
        ("id", id.map(|id| id.to_string())),
        ("address", address),
        ("room", room.map(|room| room.to_string())),
        ("back", Some(place.quiet().query())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some(view! { <input type="hidden" name=name value=value?/> }))
    .collect();
    view! {
        <tr>
            <th scope="row"><bdi>{whom}</bdi></th>
            <td data-label=text.room>{room_cell}</td>
            <td data-label=text.until>{until}</td>
            <td data-label=text.reason dir="auto">{reason}</td>
            <td data-label=text.by><Decided by since now text/></td>
            <td class="acts">
                <form method="post" action=PATH>{fields}<button class="tool" type="submit">{text.lift}</button></form>
            </td>
        </tr>
    }
}

#[component]
fn Closed(place: Place, room: ClosedRow, now: u64, text: &'static AdminText) -> impl IntoView {
    let ClosedRow { room, reason, by, since } = room;
    view! {
        <tr>
            <th scope="row">{room.to_string()}</th>
            <td data-label=text.reason dir="auto">{reason}</td>
            <td data-label=text.by><Decided by since now text/></td>
            <td class="acts">
                <form method="post" action=PATH>
                    <input type="hidden" name="act" value="open"/>
                    <input type="hidden" name="room" value=room.to_string()/>
                    <input type="hidden" name="back" value=place.quiet().query()/>
                    <button class="tool" type="submit">{text.open}</button>
                </form>
            </td>
        </tr>
    }
}

/// Who decided it, and how long ago.
#[component]
fn Decided(by: String, since: u64, now: u64, text: &'static AdminText) -> impl IntoView {
    let ago = (text.ago)(&(text.span)(now.saturating_sub(since) / 1000));
    view! { <span><bdi>{by}</bdi> ", " {ago}</span> }
}
