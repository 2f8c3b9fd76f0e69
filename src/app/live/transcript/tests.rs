//! The transcript against a server that says what each test needs.

mod reading;
mod speaking;

use super::super::row::{Reason, Words};
use super::super::window::{FOLLOWED, WINDOW};
use super::*;
use crate::protocol::Body;
use crate::protocol::ErrorCode;
use crate::protocol::GapReason;
use crate::protocol::Publication;
use crate::protocol::Push;
use crate::protocol::Recovery;
use crate::protocol::RoomName;
use crate::protocol::Welcome;

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a name")
}

fn key(key: &str) -> Key {
    Key::parse(key).expect("a key")
}

fn welcome(epoch: u32, head: u64, recovery: Recovery) -> Push {
    Push::Welcome(Welcome {
        room: RoomName::lobby(),
        id: user("me"),
        connection: 1,
        epoch: Epoch::new(epoch),
        head: Offset(head),
        first: Offset(1),
        recovery,
        heartbeat_ms: 25_000,
        expire_ms: 60_000,
        max_message: 20,
        message_rate: None,
        message_burst: None,
        count: 1,
        members: None,
    })
}

fn said(offset: u64, from: &str, text: &str, given: Option<&str>) -> Publication {
    Publication {
        offset: Offset(offset),
        prev: Offset(offset - 1),
        at: offset,
        from: user(from),
        body: Body::Text(text.into()),
        key: given.map(key),
    }
}

fn message(offset: u64, text: &str) -> Push {
    Push::Message(said(offset, "ann", text, None))
}

fn own(offset: u64, text: &str, given: &str) -> Push {
    Push::Message(said(offset, "me", text, Some(given)))
}

fn ack(given: &str, offset: u64, duplicate: bool) -> Push {
    Push::Ack {
        key: key(given),
        offset: Offset(offset),
        duplicate,
    }
}

fn refusal(given: &str, code: ErrorCode) -> Push {
    Push::Error {
        code,
        message: String::new(),
        retry: code.invites_retry(),
        key: Some(key(given)),
    }
}

fn gap(after: u64, before: u64, count: Option<u64>) -> Push {
    Push::Gap {
        after: Offset(after),
        before: Offset(before),
        count,
        reason: GapReason::Expired,
    }
}

fn waiting(text: &str, given: &str, position: Option<(Epoch, Offset)>) -> Waiting {
    Waiting {
        key: key(given),
        from: user("me"),
        at: 0,
        text: text.into(),
        position,
    }
}

fn say(page: &mut Transcript, text: &str, given: &str) -> Vec<Command> {
    page.say(waiting(text, given, None)).send
}

fn hear(page: &mut Transcript, pushes: Vec<Push>) -> Vec<Command> {
    page.hear(pushes).send
}

/// A page that has just joined an empty room.
fn joined() -> Transcript {
    let mut page = Transcript::default();
    page.introduce(user("me"));
    assert_eq!(hear(&mut page, vec![welcome(1, 0, Recovery::Fresh)]), []);
    page
}

/// What the page shows, a word for each row: `?` waits, `>` is on its way, `!` has failed.
fn shown(page: &Transcript) -> Vec<String> {
    let word = |row: &super::super::Row| match &row.entry {
        Entry::Gap(Gap {
            missing, outlook, ..
        }) => {
            let missing = match missing {
                Missing::Count(count) => count.to_string(),
                Missing::Some => "some".to_owned(),
                Missing::Perhaps => "perhaps".to_owned(),
            };
            let outlook = match outlook {
                Outlook::Open => "",
                Outlook::Asked => " asked",
                Outlook::Gone => " gone",
            };
            format!("<{missing}{outlook}>")
        }
        Entry::Message(Message {
            words: Words::Deleted,
            ..
        }) => "deleted".to_owned(),
        Entry::Message(Message {
            words: Words::Binary { .. },
            ..
        }) => "binary".to_owned(),
        Entry::Message(Message {
            words: Words::Text(text),
            state,
            ..
        }) => match state {
            State::Stored => text.to_string(),
            State::Queued => format!("{text}?"),
            State::Sent => format!("{text}>"),
            State::Failed { .. } => format!("{text}!"),
        },
    };
    page.shown(|_| 0)
        .iter()
        .map(|shown| word(&shown.row))
        .collect()
}

fn id_of_row(page: &Transcript, at: usize) -> u64 {
    page.shown(|_| 0)[at].row.id
}

fn history(offsets: std::ops::RangeInclusive<u64>, more: bool) -> Push {
    let messages = offsets
        .map(|offset| said(offset, "ann", &offset.to_string(), None))
        .collect();
    Push::History { messages, more }
}

fn ask(before: u64) -> Command {
    Command::History {
        before: Some(Offset(before)),
        limit: Some(PAGE),
    }
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// A reader who sees the top of what is drawn.
const AT_TOP: Sight = Sight {
    at_end: false,
    above: 0.0,
    below: 2000.0,
    rows: 3000.0,
};

fn says(command: &Command) -> &str {
    match command {
        Command::Say { key: Some(key), .. } => key.as_str(),
        other => panic!("{other:?} says nothing"),
    }
}

fn sent(commands: &[Command]) -> Vec<&str> {
    commands.iter().map(says).collect()
}
