//! What is asked before something is done that somebody would miss. A dialog that the address opens: the script makes
//! it a modal one; without it, it stands above the page.

use leptos::prelude::*;

use super::desk::Subject;
use super::form::hidden;
use super::place::{PATH, Place, Question};
use crate::app::i18n::AdminText;

/// For how long one can be kept out, in seconds; the last without an end.
const SPANS: [Option<u64>; 5] = [Some(600), Some(3600), Some(86_400), Some(7 * 86_400), None];
/// The one that is proposed: a day.
const PROPOSED: Option<u64> = Some(86_400);

/// The dialog.
#[component]
pub fn Asked(
    /// Where the operator stands.
    place: Place,
    /// What is asked.
    question: Question,
    /// Whom it is about, if it is about somebody who is still here.
    subject: Option<Subject>,
    /// The language's phrases.
    text: &'static AdminText,
) -> impl IntoView {
    let key = place.query();
    let back = place.quiet();
    let (act, to) = match &question {
        Question::Kick(number) => ("kick", vec![("number", number.to_string())]),
        Question::Ban(_) => ("ban", vec![]),
        Question::Close(room) => ("close", vec![("room", room.to_string())]),
        Question::Delete(room, offset) => (
            "delete",
            vec![("room", room.to_string()), ("offset", offset.to_string())],
        ),
    };
    let (title, body, verb) = match (question, subject) {
        (Question::Kick(_) | Question::Ban(Some(_)), None) => {
            (text.gone.to_owned(), ().into_any(), None)
        }
        (Question::Kick(number), Some(subject)) => {
            let id = subject
                .id
                .map_or_else(|| text.nobody.to_owned(), |id| id.shown());
            (
                (text.ask_kick)(number, &id),
                note(text.kick_note),
                Some(text.kick),
            )
        }
        (Question::Ban(_), subject) => {
            let body = view! { <Terms subject text/> {note(text.ban_note)} }.into_any();
            (text.ask_ban.to_owned(), body, Some(text.ban))
        }
        (Question::Close(room), _) => {
            let body = view! { <Reason text/> {note(text.close_note)} }.into_any();
            ((text.ask_close)(&room), body, Some(text.close))
        }
        (Question::Delete(room, offset), _) => (
            (text.ask_delete)(&room, offset),
            note(text.delete_note),
            Some(text.delete),
        ),
    };
    let fields = hidden(
        to.into_iter()
            .chain([("act", act.to_owned()), ("back", back.query())]),
    );
    let verb = verb.map(|verb| view! { <button class="go harm" type="submit">{verb}</button> });
    view! {
        <dialog open id=format!("ask-{key}") class="ask" aria-labelledby="ask-title">
            <form method="post" action=PATH>
                <h2 id="ask-title">{title}</h2>
                {fields}
                {body}
                <div class="answers">
                    {verb}
                    <a class="tool" id="cancel" href=back.href() autofocus>{text.cancel}</a>
                </div>
            </form>
        </dialog>
    }
}

fn note(words: &'static str) -> AnyView {
    view! { <p class="quiet">{words}</p> }.into_any()
}

/// The terms of a ban: whom, where, for how long, and why.
#[component]
fn Terms(subject: Option<Subject>, text: &'static AdminText) -> impl IntoView {
    let (whom, room) = match subject {
        None => (
            view! {
                <label for="whom">{text.id_or_address}</label>
                <input id="whom" name="whom" maxlength="64" autocomplete="off" required/>
            }
            .into_any(),
            view! {
                <label for="ban-room">{text.only_room}</label>
                <input id="ban-room" name="room" maxlength="64" autocomplete="off"/>
            }
            .into_any(),
        ),
        Some(Subject { id, address, room }) => {
            let has_id = id.is_some();
            let by_id = id.map(|id| {
                let words = (text.this_id)(&id.shown());
                view! {
                    <label><input type="radio" name="kind" value="id" checked/> <bdi>{words}</bdi></label>
                    <input type="hidden" name="id" value=id.to_string()/>
                }
            });
            (
                view! {
                    {by_id}
                    <label>
                        <input type="radio" name="kind" value="address" checked=!has_id/>
                        {(text.this_address)(&address.to_string())}
                    </label>
                    <input type="hidden" name="address" value=address.to_string()/>
                }
                .into_any(),
                view! {
                    <fieldset>
                        <legend>{text.place}</legend>
                        <label>
                            <input type="radio" name="room" value=room.to_string() checked/>
                            {(text.only_in)(room.as_str())}
                        </label>
                        <label><input type="radio" name="room" value=""/> {text.everywhere}</label>
                    </fieldset>
                }
                .into_any(),
            )
        }
    };
    let spans: Vec<_> = SPANS
        .into_iter()
        .map(|span| {
            let words = span.map_or_else(|| text.until_lifted.to_owned(), text.span);
            let value = span.map(|seconds| seconds.to_string()).unwrap_or_default();
            view! { <option value=value selected=span == PROPOSED>{words}</option> }
        })
        .collect();
    view! {
        {whom}
        {room}
        <label for="seconds">{text.how_long}</label>
        <select id="seconds" name="seconds">{spans}</select>
        <Reason text/>
    }
}

#[component]
fn Reason(text: &'static AdminText) -> impl IntoView {
    view! {
        <label for="reason">{text.reason_shown}</label>
        <input id="reason" name="reason" maxlength="200" autocomplete="off"/>
    }
}
