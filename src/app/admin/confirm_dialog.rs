//! The dialog that confirms an action. The URL opens it. The script makes it modal; without JavaScript it is at the
//! top of the page.

use leptos::prelude::*;

use super::AdminPage;
use super::form::{action_fields, hidden};
use super::messages::quote;
use super::route::{PATH, PendingAction};
use crate::app::i18n::AdminText;
use crate::protocol::admin::ConnectionSummary;
use crate::protocol::{Publication, RoomSelector};

/// The choices for the duration of a ban, in seconds; `None` has no end.
const DURATIONS: [Option<u64>; 5] = [Some(600), Some(3600), Some(86_400), Some(7 * 86_400), None];
/// The default choice, one day.
const DEFAULT_DURATION: Option<u64> = Some(86_400);

/// Returns the dialog for `pending`. The `subject` is its connection, if that is still open, and `quoted` its message, if that
/// is kept.
pub(super) fn confirm_dialog(
    page: &AdminPage,
    pending: &PendingAction,
    subject: Option<ConnectionSummary>,
    quoted: Option<Publication>,
) -> AnyView {
    let AdminPage { route, text, .. } = page;
    let is_gone = pending.connection().is_some() && subject.is_none();
    let (title, body, label) = match pending {
        _ if is_gone => (text.gone.to_owned(), ().into_any(), None),
        PendingAction::Kick(number) => {
            let id = subject.as_ref().and_then(ConnectionSummary::shown_id);
            let id = id.map_or_else(|| text.nobody.to_owned(), |id| id.shown());
            let title = (text.ask_kick)(*number, &id);
            (title, note(text.kick_note), Some(text.kick))
        }
        PendingAction::Ban(_) => {
            let body = view! { {ban_fields(subject, text)} {note(text.ban_note)} };
            (text.ask_ban.to_owned(), body.into_any(), Some(text.ban))
        }
        PendingAction::Close(room) => {
            let body = view! { {reason_field(text)} {note(text.close_note)} };
            ((text.ask_close)(room), body.into_any(), Some(text.close))
        }
        PendingAction::Delete(room, offset) => {
            let title = (text.ask_delete)(room, *offset);
            let quoted = quoted.map(|message| quote(page, message));
            let body = view! { {quoted} {note(text.delete_note)} };
            (title, body.into_any(), Some(text.delete))
        }
    };
    let confirm =
        label.map(|label| view! { <button class="go harm" type="submit">{label}</button> });
    let fields = pending
        .fields()
        .into_iter()
        .chain(action_fields(pending.action(), route));

    view! {
        <dialog open id=format!("ask-{}", route.query()) class="ask" aria-labelledby="ask-title">
            <form method="post" action=PATH>
                <h2 id="ask-title">{title}</h2>
                {hidden(fields)}
                {body}
                <div class="answers">
                    {confirm}
                    <a class="tool" id="cancel" href=route.base().href() autofocus>{text.cancel}</a>
                </div>
            </form>
        </dialog>
    }
    .into_any()
}

fn note(text: &'static str) -> AnyView {
    view! { <p class="quiet">{text}</p> }.into_any()
}

/// Returns the fields of a ban: the client, the room, the duration and the reason.
fn ban_fields(subject: Option<ConnectionSummary>, text: &'static AdminText) -> AnyView {
    let client = match subject {
        Some(subject) => client_of_connection(&subject, text),
        None => any_client(text),
    };
    let durations: Vec<_> = DURATIONS
        .into_iter()
        .map(|duration| {
            let label = duration.map_or_else(|| text.until_lifted.to_owned(), text.span);
            let value = duration.map(|seconds| seconds.to_string());
            view! { <option value=value.unwrap_or_default() selected=duration == DEFAULT_DURATION>{label}</option> }
        })
        .collect();

    view! {
        {client}
        <label for="seconds">{text.how_long}</label>
        <select id="seconds" name="seconds">{durations}</select>
        {reason_field(text)}
    }
    .into_any()
}

/// Returns a choice between the id and the address of a connection, and between one of its rooms and all rooms.
fn client_of_connection(subject: &ConnectionSummary, text: &'static AdminText) -> AnyView {
    let by_id = subject.shown_id().map(|id| {
        view! {
            <label>
                <input type="radio" name="kind" value="id" checked/> <bdi>{(text.this_id)(&id.shown())}</bdi>
            </label>
            <input type="hidden" name="id" value=id.to_string()/>
        }
    });
    let has_id = by_id.is_some();
    let address = subject.address.to_string();
    // A ban names one room, so patterns are left out.
    let names = subject.rooms.iter().filter_map(|rooms| match rooms {
        RoomSelector::Room(room) => Some(room),
        RoomSelector::Pattern(_) => None,
    });
    let rooms = names.enumerate().map(|(index, room)| {
        let room = room.to_string();
        view! {
            <label>
                <input type="radio" name="room" value=room.clone() checked=index == 0/>
                {(text.only_in)(&room)}
            </label>
        }
    });
    let rooms: Vec<_> = rooms.collect();
    let is_nowhere = rooms.is_empty();

    view! {
        {by_id}
        <label>
            <input type="radio" name="kind" value="address" checked=!has_id/>
            {(text.this_address)(&address)}
        </label>
        <input type="hidden" name="address" value=address/>
        <fieldset>
            <legend>{text.place}</legend>
            {rooms}
            <label><input type="radio" name="room" value="" checked=is_nowhere/> {text.everywhere}</label>
        </fieldset>
    }
    .into_any()
}

/// Returns fields for an id or an address, and for a room.
fn any_client(text: &'static AdminText) -> AnyView {
    view! {
        <label for="whom">{text.id_or_address}</label>
        <input id="whom" name="whom" maxlength="64" autocomplete="off" required/>
        <label for="ban-room">{text.only_room}</label>
        <input id="ban-room" name="room" maxlength="128" autocomplete="off"/>
    }
    .into_any()
}

fn reason_field(text: &'static AdminText) -> impl IntoView {
    view! {
        <label for="reason">{text.reason_shown}</label>
        <input id="reason" name="reason" maxlength="200" autocomplete="off"/>
    }
}
