//! Tests of the list with simulated frames of a server.

mod receiving;
mod sending;
mod trimming;

use super::super::history_requests::PAUSE;
use super::super::row::{MessageContent, Reason};
use super::super::row_window::{FOLLOWED, WINDOW};
use super::*;
use crate::protocol::{
    Body, Epoch, ErrorCode, GapReason, Kind, MessageFields, Publication, Push, Recovery, RoomName,
    Subscribed, UnsubscribeCode, Welcome, samples,
};

const NOW: Duration = Duration::ZERO;

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a name")
}

fn key(key: &str) -> Key {
    Key::parse(key).expect("a key")
}

fn subscribed(epoch: u32, head: u64, recovery: Recovery) -> Push {
    Push::Subscribed(Subscribed {
        epoch: Epoch::new(epoch),
        head: Offset(head),
        first: Offset(1),
        recovery,
        ..samples::subscribed()
    })
}

fn welcome() -> Push {
    Push::Welcome(Welcome {
        id: user("me"),
        max_message: 20,
        ..samples::welcome()
    })
}

fn publication(offset: u64, from: &str, text: &str, given: Option<&str>) -> Publication {
    Publication {
        at: offset,
        from: user(from),
        fields: MessageFields::keyed(given.map(key)),
        ..samples::publication(offset, text)
    }
}

fn message(offset: u64, text: &str) -> Push {
    Push::Message(publication(offset, "ann", text, None))
}

fn own(offset: u64, text: &str, given: &str) -> Push {
    Push::Message(publication(offset, "me", text, Some(given)))
}

fn ack(given: &str, offset: u64, duplicate: bool) -> Push {
    Push::Ack {
        room: RoomName::lobby(),
        key: key(given),
        offset: Offset(offset),
        duplicate,
    }
}

fn refusal(given: &str, code: ErrorCode) -> Push {
    Push::Error {
        room: None,
        code,
        message: String::new(),
        retry: code.is_retryable(),
        key: Some(key(given)),
    }
}

fn gap(after: u64, before: u64, count: Option<u64>) -> Push {
    Push::Gap {
        room: RoomName::lobby().into(),
        after: Offset(after),
        before: Offset(before),
        count,
        reason: GapReason::Expired,
    }
}

fn deleted_room() -> Push {
    Push::Unsubscribed {
        room: RoomName::lobby().into(),
        code: UnsubscribeCode::RoomDeleted,
        message: String::new(),
    }
}

fn pending(text: &str, given: &str, position: Option<ReadPosition>) -> PendingMessage {
    PendingMessage {
        key: key(given),
        from: user("me"),
        at: 0,
        text: text.into(),
        reply_to: None,
        edits: None,
        position,
    }
}

fn position(epoch: u32, offset: u64) -> ReadPosition {
    ReadPosition {
        epoch: Some(Epoch::new(epoch)),
        offset: Offset(offset),
    }
}

/// Sends a message, and returns the resulting commands.
fn send(page: &mut MessageList, text: &str, given: &str) -> Vec<Command> {
    page.send(pending(text, given, None), NOW).send
}

/// Receives `pushes`, and returns the resulting commands.
/// Passes `pushes` to the page, with a welcome before each `subscribed`.
fn receive(page: &mut MessageList, pushes: Vec<Push>) -> Vec<Command> {
    let with_welcome = |push| match push {
        Push::Subscribed(_) => vec![welcome(), push],
        push => vec![push],
    };
    let pushes = pushes.into_iter().flat_map(with_welcome).collect();
    page.receive(pushes, NOW).send
}

/// Requests the missing messages of the row `id`, and returns the resulting commands.
fn load_gap(page: &mut MessageList, id: u64) -> Vec<Command> {
    page.load_gap(id, NOW).send
}

/// Moves the view, and returns the resulting commands.
fn scroll(page: &mut MessageList, viewport: Viewport) -> Vec<Command> {
    page.set_viewport(viewport, NOW).1.send
}

/// Returns a page that has joined an empty room.
fn joined() -> MessageList {
    let mut page = MessageList::default();
    page.set_user(user("me"));
    let commands = receive(&mut page, vec![subscribed(1, 0, Recovery::Fresh)]);
    assert_eq!(commands, []);
    page
}

/// Returns the drawn rows in short: `?` is queued, `>` sent, `!` failed.
fn shown(page: &MessageList) -> Vec<String> {
    let text = |row: &super::super::Row| match &row.entry {
        Entry::Gap(gap) => {
            let missing = match gap.missing {
                Missing::Count(count) => count.to_string(),
                Missing::Some => "some".to_owned(),
                Missing::Perhaps => "perhaps".to_owned(),
            };
            let state = match gap.state {
                GapState::Open => "",
                GapState::Requested => " requested",
                GapState::Gone => " gone",
            };
            format!("<{missing}{state}>")
        }
        Entry::Message(Message { content, state, .. }) => match (content, state) {
            (MessageContent::Deleted, _) => "deleted".to_owned(),
            (MessageContent::Joined, _) => "joined".to_owned(),
            (MessageContent::Left, _) => "left".to_owned(),
            (MessageContent::Binary { .. }, _) => "binary".to_owned(),
            (MessageContent::Json(json), _) => json.to_string(),
            (MessageContent::Text(text), MessageState::Stored) => text.to_string(),
            (MessageContent::Text(text), MessageState::Queued) => format!("{text}?"),
            (MessageContent::Text(text), MessageState::Sent) => format!("{text}>"),
            (MessageContent::Text(text), MessageState::Failed { .. }) => format!("{text}!"),
        },
    };

    page.views(|_| 0)
        .iter()
        .map(|view| text(&view.row))
        .collect()
}

fn id_of_row(page: &MessageList, at: usize) -> u64 {
    page.views(|_| 0)[at].row.id
}

fn history(offsets: std::ops::RangeInclusive<u64>, more: bool) -> Push {
    let messages = offsets
        .map(|offset| publication(offset, "ann", &offset.to_string(), None))
        .collect();
    Push::History {
        room: RoomName::lobby(),
        messages,
        more,
    }
}

fn request(before: u64) -> Command {
    Command::History {
        room: None,
        before: Some(Offset(before)),
        limit: Some(PAGE),
    }
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

fn messages(range: std::ops::RangeInclusive<u64>) -> Vec<Push> {
    range
        .map(|offset| message(offset, &offset.to_string()))
        .collect()
}

/// Returns a view of the top of the drawn rows.
const AT_TOP: Viewport = Viewport {
    at_end: false,
    above: 0.0,
    below: 2000.0,
    rows: 3000.0,
    first: 0,
};

/// Returns the keys of the messages that `commands` send.
fn sent(commands: &[Command]) -> Vec<&str> {
    commands
        .iter()
        .map(|command| match command {
            Command::Publish {
                room: None,
                fields: MessageFields { key: Some(key), .. },
                ..
            } => key.as_str(),
            other => panic!("{other:?} sends no message"),
        })
        .collect()
}
