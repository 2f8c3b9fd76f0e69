//! The rooms of the page: the shown one, and their subscriptions.

use super::*;

impl PageState {
    /// Returns the room `name`, if it is a room of the page.
    pub(in crate::app) fn room(self, name: &str) -> Option<RoomState> {
        self.rooms.with_untracked(|rooms| find(rooms, name))
    }

    /// Returns the state of the shown room.
    pub(in crate::app) fn shown_room(self) -> RoomState {
        // Only the name decides. The list of rooms may change without another room being shown.
        self.shown
            .with(|name| self.room(name.as_str()))
            .expect("the shown room is one of the rooms")
    }

    /// Shows the room `name`, and adds a history entry for it. The room is subscribed to if it is new.
    pub(in crate::app) fn open(self, name: &RoomName) {
        if self.shown.with_untracked(|shown| shown != name) {
            dom::push_path(&self.path(name));
            self.show(name);
        }
    }

    /// Removes the room `name`, which is not shown, from the page.
    pub(in crate::app) fn leave(self, name: &RoomName) {
        if self.shown.with_untracked(|shown| shown == name) {
            return;
        }

        self.rooms
            .update(|rooms| rooms.retain(|room| room.name() != *name));
        self.send(Command::Unsubscribe {
            room: name.clone().into(),
        });
        self.profile().remove_room(name);
    }

    /// Shows the room `name`, which is added if it is new.
    pub(super) fn show(self, name: &RoomName) {
        untrack(|| self.shown_room()).on_hidden();
        let is_new = self.room(name.as_str()).is_none();
        if is_new {
            self.add(name.clone());
        }

        self.shown.set(name.clone());
        let room = untrack(|| self.shown_room());
        if is_new {
            room.restore();
            if let Some(welcome) = self.welcome.get_value() {
                room.receive(vec![Push::Welcome(welcome)]);
            }
            self.send(room.subscribe());
        }
        room.on_shown();
        // The list on the page keeps its order, because it must not move while the user clicks in it.
        self.profile().add_visit(name);
    }

    /// Adds the room `name`, unless it is a room of the page.
    pub(super) fn add(self, name: RoomName) {
        if self.room(name.as_str()).is_some() {
            return;
        }

        let owner = self.owner.get_value();
        let list = MessageList::in_background();
        let access = self.granted_access(&name);
        let room = owner.with(|| RoomState::new(self, name, access, list));
        room.messages
            .update(|list| list.set_browser(self.browser.get_value()));
        if let Some(user) = self.me.get_untracked() {
            room.messages.update(|list| list.set_user(user));
        }
        self.rooms.update(|rooms| rooms.push(room));
    }

    /// Returns the number of unread messages in all rooms.
    pub(in crate::app) fn unread(self) -> usize {
        self.rooms.with(|rooms| {
            let unread = |room: &RoomState| room.messages.with(|list| list.unread().count);
            rooms.iter().map(unread).sum()
        })
    }

    /// Returns the number of messages of this page that are not stored.
    pub(in crate::app) fn pending_count(self) -> usize {
        self.rooms.with(|rooms| {
            let pending = |room: &RoomState| room.messages.with(MessageList::pending_count);
            rooms.iter().map(pending).sum()
        })
    }

    /// Records frames of the server.
    pub(in crate::app::live) fn receive(self, pushes: &[Push]) {
        for room in self.rooms.get_untracked() {
            let name = room.name();
            let is_of_room = |push: &&Push| push.room().is_none_or(|other| other == name.as_str());
            let pushes: Vec<Push> = pushes.iter().filter(is_of_room).cloned().collect();
            if !pushes.is_empty() {
                room.receive(pushes);
            }
        }
    }

    /// Returns the room and the query of the next connection. The other rooms are subscribed to after the welcome.
    pub(in crate::app::live) fn query(self) -> (Option<RoomName>, String) {
        // With tokens, the token determines the id.
        let user = self.me.get_untracked().filter(|_| self.is_open);
        let room = untrack(|| self.shown_room());

        // A server that refuses the room would refuse the connection, and with it the other rooms.
        if room.is_deleted() || (room.is_refused() && self.has_others()) {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.extend_pairs(user.iter().map(|user| ("id", user.as_str())));
            return (None, query.finish());
        }

        let name = room.name();
        let query = room
            .messages
            .with_untracked(|list| list.cursor().query(&name, user.as_ref()));
        (Some(name), query)
    }

    /// Returns the commands that subscribe to all rooms but `subscribed`, and those that were deleted.
    pub(in crate::app::live) fn subscriptions(self, subscribed: Option<&RoomName>) -> Vec<Command> {
        self.rooms.with_untracked(|rooms| {
            let others = rooms
                .iter()
                .filter(|room| Some(&room.name()) != subscribed && !room.is_deleted());
            others.map(|room| room.subscribe()).collect()
        })
    }

    /// Returns the commands that subscribe to the rooms that the server has neither confirmed nor refused for good, and
    /// that were not deleted.
    pub(in crate::app::live) fn pending_subscriptions(self) -> Vec<Command> {
        self.rooms.with_untracked(|rooms| {
            let pending = rooms
                .iter()
                .filter(|room| !room.is_subscribed() && !room.is_refused() && !room.is_deleted());
            pending.map(|room| room.subscribe()).collect()
        })
    }

    /// Records that the server refuses the room `name`. Returns true if the page has others.
    pub(in crate::app::live) fn refuse(self, name: &RoomName) -> bool {
        if let Some(room) = self.room(name.as_str())
            && !room.is_refused()
        {
            room.on_refused(None, "");
        }
        self.has_others()
    }

    /// Returns true if the page has more than one room.
    pub(super) fn has_others(self) -> bool {
        self.rooms.with_untracked(|rooms| rooms.len() > 1)
    }
}

fn find(rooms: &[RoomState], name: &str) -> Option<RoomState> {
    rooms
        .iter()
        .find(|room| room.name().as_str() == name)
        .copied()
}
