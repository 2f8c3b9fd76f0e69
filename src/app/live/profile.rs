//! The profile of the user that this browser keeps: the id, the rooms, the read marks and the choices.

use crate::browser::storage::PageStorage;
use crate::client::ReadPosition;
use crate::protocol::{RoomName, UserId};

/// The storage key of the user's id.
const ID: &str = "fanfare.id";

/// The storage key of the number of this browser.
const BROWSER: &str = "fanfare.browser";

/// The storage key of the user's rooms, the latest first.
const ROOMS: &str = "fanfare.rooms";

/// The prefix of the storage keys of read marks.
const READ: &str = "fanfare.read.";

/// The most rooms of a page.
const MAX_ROOMS: usize = 50;

/// The cookie with the user's id, from which the server fills in the form.
const NAME_COOKIE: &str = "name";

/// A choice of the user, which is off at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Mentions are shown as notifications of the system.
    Notifications,
    /// Mentions play a sound.
    Sound,
}

impl Choice {
    const fn key(self) -> &'static str {
        match self {
            Self::Notifications => "fanfare.notify",
            Self::Sound => "fanfare.sound",
        }
    }
}

/// The stored profile. Without storage, it is lost with the page.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    storage: PageStorage,
}

impl Profile {
    /// Returns the profile that is in `storage`.
    pub(super) const fn new(storage: PageStorage) -> Self {
        Self { storage }
    }

    /// Returns the user's id, if there is one.
    pub(super) fn id(&self) -> Option<UserId> {
        let stored = self.storage.read(ID)?;
        UserId::parse(&stored).ok()
    }

    /// Returns the user's id. Creates and stores one at the first visit.
    pub(super) fn id_or_guest(&self) -> UserId {
        if let Some(id) = self.id() {
            return id;
        }

        let id = UserId::guest((crate::browser::random() * f64::from(u32::MAX)) as u64);
        self.set_id(&id);
        id
    }

    /// Stores the user's id.
    pub(super) fn set_id(&self, id: &UserId) {
        self.storage.write(ID, id.as_str());
    }

    /// Stores the user's id where the server finds it.
    pub(super) fn set_name_cookie(&self, id: &UserId) {
        self.storage.set_cookie(NAME_COOKIE, id.as_str());
    }

    /// Returns the number of this browser. Creates and stores one at the first visit.
    pub(super) fn browser(&self) -> u32 {
        let stored = self.storage.read(BROWSER);
        if let Some(number) = stored.and_then(|number| number.parse().ok()) {
            return number;
        }

        let number = (crate::browser::random() * f64::from(u32::MAX)) as u32;
        self.storage.write(BROWSER, &number.to_string());
        number
    }

    /// Returns the user's rooms, the latest first.
    pub(super) fn rooms(&self) -> Vec<RoomName> {
        let stored = self.storage.read(ROOMS).unwrap_or_default();
        let names = stored
            .split(' ')
            .filter_map(|name| RoomName::parse(name).ok());
        names.take(MAX_ROOMS).collect()
    }

    /// Stores `name` as the latest of the rooms.
    pub(super) fn add_visit(&self, name: &RoomName) {
        let mut names = self.rooms();
        names.retain(|other| other != name);
        names.insert(0, name.clone());
        self.set_rooms(&names);
    }

    /// Removes the room `name`.
    pub(super) fn remove_room(&self, name: &RoomName) {
        let mut names = self.rooms();
        names.retain(|other| other != name);
        self.set_rooms(&names);
    }

    fn set_rooms(&self, names: &[RoomName]) {
        let names: Vec<&str> = names.iter().take(MAX_ROOMS).map(RoomName::as_str).collect();
        self.storage.write(ROOMS, &names.join(" "));
    }

    /// Returns the read mark of the room `name`.
    pub(super) fn read_mark(&self, name: &RoomName) -> Option<ReadPosition> {
        self.storage.read(&read_key(name))?.parse().ok()
    }

    /// Stores the read mark of the room `name`.
    pub(super) fn set_read_mark(&self, name: &RoomName, position: &ReadPosition) {
        self.storage.write(&read_key(name), &position.to_string());
    }

    /// Returns true if the user has chosen `choice`.
    pub(super) fn has(&self, choice: Choice) -> bool {
        self.storage.read(choice.key()).is_some()
    }

    /// Stores whether the user has chosen `choice`.
    pub(super) fn set(&self, choice: Choice, is_on: bool) {
        if is_on {
            self.storage.write(choice.key(), "on");
        } else {
            self.storage.remove(choice.key());
        }
    }
}

fn read_key(name: &RoomName) -> String {
    format!("{READ}{name}")
}
