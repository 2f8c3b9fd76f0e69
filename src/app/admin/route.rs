//! The route of the admin page. Its URL contains the listed page of each list, the open dialog and the completed
//! action. There is no other state, so links, reloads and the back button work the same with and without JavaScript.
//!
//! Pure. Invalid fields of a URL count as absent.

use crate::protocol::{Offset, RoomName};

/// The URL of the page, relative to itself, so that it works on every listener and behind every proxy.
pub const PATH: &str = "admin";

/// The state of the page, as its URL contains it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminRoute {
    /// The beginning of the names of the listed rooms.
    pub prefix: String,
    /// The name after which the list of rooms begins.
    pub rooms_after: String,
    /// The selected room.
    pub room: Option<RoomName>,
    /// The newest of the listed messages; `None` for the newest of the room.
    pub until: Option<Offset>,
    /// The id or the address of the listed connections.
    pub who: String,
    /// The number after which the list of connections begins.
    pub after: u64,
    /// The number of the traced connection.
    pub trace: Option<u64>,
    /// The action that waits for confirmation.
    pub pending: Option<PendingAction>,
    /// The action that was completed last.
    pub completed: Option<CompletedAction>,
}

/// An action of an operator, by its name in URLs and forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageAction {
    /// Ends a connection.
    Kick,
    /// Bans a client.
    Ban,
    /// Lifts a ban.
    Unban,
    /// Closes a room.
    Close,
    /// Opens a room.
    Open,
    /// Deletes a message.
    Delete,
    /// Pauses a hook.
    PauseHook,
    /// Resumes a hook.
    ResumeHook,
    /// Lets a hook deliver messages again.
    ReplayHook,
}

/// An action that needs confirmation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PendingAction {
    /// Ends the connection with this number.
    Kick(u64),
    /// Bans the client of the connection with this number, or any client.
    Ban(Option<u64>),
    /// Closes this room.
    Close(RoomName),
    /// Deletes the message of this room at this offset.
    Delete(RoomName, Offset),
}

/// An action that was completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletedAction {
    /// The action.
    pub action: PageAction,
    /// The number of connections that a ban or a closed room ended.
    pub kicked: Option<usize>,
}

impl PageAction {
    /// Every action.
    pub const ALL: [Self; 9] = [
        Self::Kick,
        Self::Ban,
        Self::Unban,
        Self::Close,
        Self::Open,
        Self::Delete,
        Self::PauseHook,
        Self::ResumeHook,
        Self::ReplayHook,
    ];

    /// Returns the name of the action.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kick => "kick",
            Self::Ban => "ban",
            Self::Unban => "lift",
            Self::Close => "close",
            Self::Open => "open",
            Self::Delete => "delete",
            Self::PauseHook => "pause",
            Self::ResumeHook => "resume",
            Self::ReplayHook => "replay",
        }
    }

    /// Returns the action with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }
}

impl PendingAction {
    /// Returns the action.
    pub const fn action(&self) -> PageAction {
        match self {
            Self::Kick(_) => PageAction::Kick,
            Self::Ban(_) => PageAction::Ban,
            Self::Close(_) => PageAction::Close,
            Self::Delete(..) => PageAction::Delete,
        }
    }

    /// Returns the number of the connection that the action is about.
    pub const fn connection(&self) -> Option<u64> {
        match self {
            Self::Kick(number) => Some(*number),
            Self::Ban(number) => *number,
            Self::Close(_) | Self::Delete(..) => None,
        }
    }

    /// Returns the form fields that identify its object.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Kick(number) => vec![("number", number.to_string())],
            Self::Ban(_) => vec![],
            Self::Close(room) => vec![("room", room.to_string())],
            Self::Delete(room, offset) => {
                vec![("room", room.to_string()), ("offset", offset.to_string())]
            }
        }
    }
}

impl AdminRoute {
    /// Parses the query of a URL.
    pub fn parse(query: &str) -> Self {
        let fields: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        let field = |name: &str| {
            let found = fields.iter().find(|(found, _)| found == name);
            found.map_or("", |(_, value)| value.as_ref())
        };
        let number = |name| field(name).parse::<u64>().ok();
        let room = |name| RoomName::parse(field(name).trim()).ok();

        let pending = match PageAction::parse(field("ask")) {
            Some(PageAction::Kick) => number("number").map(PendingAction::Kick),
            Some(PageAction::Ban) => Some(PendingAction::Ban(number("number"))),
            Some(PageAction::Close) => room("of").map(PendingAction::Close),
            Some(PageAction::Delete) => room("of")
                .zip(number("offset"))
                .map(|(room, offset)| PendingAction::Delete(room, Offset(offset))),
            _ => None,
        };
        let completed = PageAction::parse(field("did")).map(|action| CompletedAction {
            action,
            kicked: field("count").parse().ok(),
        });

        Self {
            prefix: field("prefix").trim().to_owned(),
            rooms_after: field("rooms-after").to_owned(),
            room: room("room"),
            until: number("until").map(Offset),
            who: field("who").trim().to_owned(),
            after: number("after").unwrap_or_default(),
            trace: number("trace"),
            pending,
            completed,
        }
    }

    /// Returns the fields of the route, as [`AdminRoute::parse`] reads them.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let list = [
            ("prefix", text(&self.prefix)),
            ("rooms-after", text(&self.rooms_after)),
            ("room", self.room.as_ref().map(RoomName::to_string)),
            ("until", self.until.map(|until| until.to_string())),
            ("who", text(&self.who)),
            ("after", (self.after > 0).then(|| self.after.to_string())),
            ("trace", self.trace.map(|number| number.to_string())),
        ];
        let list = list.into_iter();
        let mut fields: Vec<_> = list
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();

        if let Some(pending) = &self.pending {
            fields.push(("ask", pending.action().as_str().to_owned()));
            match pending {
                PendingAction::Kick(number) | PendingAction::Ban(Some(number)) => {
                    fields.push(("number", number.to_string()));
                }
                PendingAction::Ban(None) => {}
                PendingAction::Close(room) => fields.push(("of", room.to_string())),
                PendingAction::Delete(room, offset) => {
                    fields.push(("of", room.to_string()));
                    fields.push(("offset", offset.to_string()));
                }
            }
        }
        if let Some(CompletedAction { action, kicked }) = self.completed {
            fields.push(("did", action.as_str().to_owned()));
            fields.extend(kicked.map(|kicked| ("count", kicked.to_string())));
        }
        fields
    }

    /// Returns the query of the route.
    pub fn query(&self) -> String {
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(self.fields())
            .finish()
    }

    /// Returns the URL of the route.
    pub fn href(&self) -> String {
        match self.query() {
            query if query.is_empty() => PATH.to_owned(),
            query => format!("{PATH}?{query}"),
        }
    }

    /// Returns the same route without a pending or completed action.
    #[must_use]
    pub fn base(&self) -> Self {
        Self {
            pending: None,
            completed: None,
            ..self.clone()
        }
    }

    /// Returns the same route with the confirmation dialog of `pending`.
    #[must_use]
    pub fn with_pending(&self, pending: PendingAction) -> Self {
        Self {
            pending: Some(pending),
            ..self.base()
        }
    }

    /// Returns the same route after `completed`.
    #[must_use]
    pub fn with_completed(&self, completed: CompletedAction) -> Self {
        Self {
            completed: Some(completed),
            ..self.base()
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

    fn pending() -> impl Strategy<Value = PendingAction> {
        prop_oneof![
            any::<u64>().prop_map(PendingAction::Kick),
            any::<Option<u64>>().prop_map(PendingAction::Ban),
            room().prop_map(PendingAction::Close),
            (room(), any::<u64>())
                .prop_map(|(room, offset)| PendingAction::Delete(room, Offset(offset))),
        ]
    }

    fn completed() -> impl Strategy<Value = CompletedAction> {
        let action = prop::sample::select(&PageAction::ALL);
        (action, any::<Option<usize>>())
            .prop_map(|(action, kicked)| CompletedAction { action, kicked })
    }

    proptest! {
        #[test]
        fn a_route_is_parsed_from_its_own_query(
            (prefix, rooms_after, who) in ("[!-~é李]{0,9}", "[!-~é李]{0,9}", "[!-~é李]{0,9}"),
            (room, after, trace) in (prop::option::of(room()), any::<u64>(), any::<Option<u64>>()),
            (pending, completed) in (prop::option::of(pending()), prop::option::of(completed())),
            until in prop::option::of(any::<u64>().prop_map(Offset)),
        ) {
            let route = AdminRoute { prefix, rooms_after, room, until, who, after, trace, pending, completed };

            prop_assert_eq!(AdminRoute::parse(&route.query()), route);
        }

        #[test]
        fn any_query_leads_to_the_page_itself(query in "\\PC{0,80}") {
            let href = AdminRoute::parse(&query).href();

            prop_assert!(href == PATH || href.starts_with("admin?"));
        }
    }
}
