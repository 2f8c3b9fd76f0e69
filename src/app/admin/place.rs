//! Where an operator stands in the page, as its address says it: what is listed from where, what is looked at, what
//! was asked and what was done. Nothing else remembers it, so that a link, a reload and the button back are all the
//! same, with a script and without one.
//!
//! Pure. What an address says that makes no sense is as if it were not said.

use crate::protocol::Offset;
use crate::protocol::RoomName;

/// The address of the page, from itself: whatever stands before it, on every listener and behind every proxy.
pub const PATH: &str = "admin";

/// See the [module docs](self).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Rooms are listed whose names begin so.
    pub prefix: String,
    /// Those behind this name.
    pub rooms_after: String,
    /// The room that is looked into.
    pub room: Option<RoomName>,
    /// Connections are listed of this id, or from this address.
    pub who: String,
    /// Those behind this number.
    pub after: u64,
    /// The connection that is traced.
    pub trace: Option<u64>,
    /// What is asked before it is done.
    pub question: Option<Question>,
    /// What was done.
    pub done: Option<Done>,
}

/// Something that is not done without asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// End this connection?
    Kick(u64),
    /// Keep out whoever has this connection, or somebody who is not here?
    Ban(Option<u64>),
    /// Close this room?
    Close(RoomName),
    /// Delete the message of this room that has this offset?
    Delete(RoomName, Offset),
}

/// Something that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// A connection was ended.
    Kicked,
    /// Somebody is kept out, and so many connections were ended.
    Banned(usize),
    /// A ban holds no longer.
    Lifted,
    /// A room was closed, and so many connections ended.
    Closed(usize),
    /// A room was opened.
    Opened,
    /// A message was deleted.
    Deleted,
}

impl Place {
    /// What the query of an address says.
    pub fn parse(query: &str) -> Self {
        let fields: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        let field = |name: &str| {
            fields
                .iter()
                .find(|(found, _)| found == name)
                .map(|(_, value)| value.as_ref())
        };
        let number = |name| field(name).and_then(|value| value.parse::<u64>().ok());
        let room = |name| field(name).and_then(|value| RoomName::parse(value.trim()).ok());
        let question = match field("ask") {
            Some("kick") => number("number").map(Question::Kick),
            Some("ban") => Some(Question::Ban(number("number"))),
            Some("close") => room("of").map(Question::Close),
            Some("delete") => room("of")
                .zip(number("offset"))
                .map(|(room, offset)| Question::Delete(room, Offset(offset))),
            _ => None,
        };
        let count = number("count")
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or_default();
        let done = match field("did") {
            Some("kick") => Some(Done::Kicked),
            Some("ban") => Some(Done::Banned(count)),
            Some("lift") => Some(Done::Lifted),
            Some("close") => Some(Done::Closed(count)),
            Some("open") => Some(Done::Opened),
            Some("delete") => Some(Done::Deleted),
            _ => None,
        };
        Self {
            prefix: field("prefix").unwrap_or_default().trim().to_owned(),
            rooms_after: field("rooms-after").unwrap_or_default().to_owned(),
            room: room("room"),
            who: field("who").unwrap_or_default().trim().to_owned(),
            after: number("after").unwrap_or_default(),
            trace: number("trace"),
            question,
            done,
        }
    }

    /// Its fields, as [`Place::parse`] reads them.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let text = |name, value: &str| (!value.is_empty()).then(|| (name, value.to_owned()));
        let mut fields: Vec<(&'static str, String)> = [
            text("prefix", &self.prefix),
            text("rooms-after", &self.rooms_after),
            self.room.as_ref().map(|room| ("room", room.to_string())),
            text("who", &self.who),
            (self.after > 0).then(|| ("after", self.after.to_string())),
            self.trace.map(|number| ("trace", number.to_string())),
        ]
        .into_iter()
        .flatten()
        .collect();
        let word = |word: &str| word.to_owned();
        fields.extend(match &self.question {
            None => vec![],
            Some(Question::Kick(number)) => {
                vec![("ask", word("kick")), ("number", number.to_string())]
            }
            Some(Question::Ban(None)) => vec![("ask", word("ban"))],
            Some(Question::Ban(Some(number))) => {
                vec![("ask", word("ban")), ("number", number.to_string())]
            }
            Some(Question::Close(room)) => vec![("ask", word("close")), ("of", room.to_string())],
            Some(Question::Delete(room, offset)) => {
                vec![
                    ("ask", word("delete")),
                    ("of", room.to_string()),
                    ("offset", offset.to_string()),
                ]
            }
        });
        fields.extend(match self.done {
            None => vec![],
            Some(Done::Kicked) => vec![("did", word("kick"))],
            Some(Done::Banned(count)) => vec![("did", word("ban")), ("count", count.to_string())],
            Some(Done::Lifted) => vec![("did", word("lift"))],
            Some(Done::Closed(count)) => vec![("did", word("close")), ("count", count.to_string())],
            Some(Done::Opened) => vec![("did", word("open"))],
            Some(Done::Deleted) => vec![("did", word("delete"))],
        });
        fields
    }

    /// Its query.
    pub fn query(&self) -> String {
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(self.fields())
            .finish()
    }

    /// Its address.
    pub fn href(&self) -> String {
        let query = self.query();
        if query.is_empty() {
            PATH.to_owned()
        } else {
            format!("{PATH}?{query}")
        }
    }

    /// The same place, where nothing is asked and nothing was done.
    #[must_use]
    pub fn quiet(&self) -> Self {
        Self {
            question: None,
            done: None,
            ..self.clone()
        }
    }

    /// The same place, where this is asked.
    #[must_use]
    pub fn asking(&self, question: Question) -> Self {
        Self {
            question: Some(question),
            ..self.quiet()
        }
    }

    /// The same place, where this was done.
    #[must_use]
    pub fn after_doing(&self, done: Done) -> Self {
        Self {
            done: Some(done),
            ..self.quiet()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn room() -> impl Strategy<Value = RoomName> {
        "[a-z0-9._-]{1,64}".prop_filter_map("a room", |name| RoomName::parse(&name).ok())
    }

    fn question() -> impl Strategy<Value = Question> {
        prop_oneof![
            any::<u64>().prop_map(Question::Kick),
            any::<Option<u64>>().prop_map(Question::Ban),
            room().prop_map(Question::Close),
            (room(), any::<u64>())
                .prop_map(|(room, offset)| Question::Delete(room, Offset(offset))),
        ]
    }

    fn done() -> impl Strategy<Value = Done> {
        prop_oneof![
            Just(Done::Kicked),
            any::<usize>().prop_map(Done::Banned),
            Just(Done::Lifted),
            any::<usize>().prop_map(Done::Closed),
            Just(Done::Opened),
            Just(Done::Deleted),
        ]
    }

    proptest! {
        #[test]
        fn an_address_says_all_that_a_place_is(
            (prefix, rooms_after, who) in ("[!-~é李]{0,9}", "[!-~é李]{0,9}", "[!-~é李]{0,9}"),
            (room, after, trace) in (prop::option::of(room()), any::<u64>(), any::<Option<u64>>()),
            (question, done) in (prop::option::of(question()), prop::option::of(done())),
        ) {
            let place = Place { prefix, rooms_after, room, who, after, trace, question, done };
            prop_assert_eq!(Place::parse(&place.query()), place);
        }

        #[test]
        fn no_address_upsets_it_and_none_leads_elsewhere(query in "\\PC{0,80}") {
            let href = Place::parse(&query).href();
            prop_assert!(href == PATH || href.starts_with("admin?"));
        }
    }
}
