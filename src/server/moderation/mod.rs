//! Who is kept out and which rooms are closed, as operators decided: asked on every way in, and kept in a file, so
//! that a restart forgives nobody. Where several nodes share a store they are kept there, and only held here.
//!
//! # Invariants
//!
//! - What is in force is kept: a change that cannot be is not made.
//! - Asking costs a few look-ups, however many bans there are.
//! - A ban ends by the wall clock, because it is to last over restarts.

mod rules;
mod file;
mod eviction;
mod decree;

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::protocol::RoomName;
use crate::protocol::UserId;

pub use decree::{Decided, Decree};
pub use eviction::Eviction;
pub use file::{LoadError, load};
pub use rules::{Ban, Barred, Closure, Guest, Rules, TooManyBans, Whom};

/// A cheap handle; see the [module docs](self).
#[derive(Clone, Debug)]
pub struct Moderation(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Where they are kept; `None` if others keep them.
    path: Option<PathBuf>,
    rules: Mutex<Rules>,
    /// Held while the file is written: changes come one after the other.
    writing: Mutex<()>,
}

impl Moderation {
    /// What the file at `path` says; nobody is kept out if there is none.
    ///
    /// # Errors
    /// If it cannot be read, or not as rules.
    pub fn open(path: PathBuf) -> Result<Self, LoadError> {
        file::restrict_permissions(&path);
        Ok(Self::new(file::load(&path)?, Some(path)))
    }

    /// What `decrees`, which others keep, have led to one after the other.
    ///
    /// # Errors
    /// If there are too many bans.
    pub fn kept_elsewhere(decrees: impl IntoIterator<Item = Decree>) -> Result<Self, TooManyBans> {
        let mut rules = Rules::default();
        for decree in decrees {
            decree.change(&mut rules)?;
        }
        Ok(Self::new(rules, None))
    }

    fn new(rules: Rules, path: Option<PathBuf>) -> Self {
        Self(Arc::new(Shared {
            path,
            rules: Mutex::new(rules),
            writing: Mutex::default(),
        }))
    }

    /// That `guest` may come into its room, and say something.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, guest: &Guest<'_>) -> Result<(), Barred> {
        self.rules().admit(guest, now_millis())
    }

    /// That `guest` may read what was said in its room, which may be closed.
    ///
    /// # Errors
    /// Why not.
    pub fn admit_reader(&self, guest: &Guest<'_>) -> Result<(), Barred> {
        self.rules().admit_reader(guest, now_millis())
    }

    /// Checks that no ban applies to the admin `id` at `address`: in `room`, or without one in all rooms. A closed room
    /// is no obstacle.
    ///
    /// # Errors
    /// The ban.
    pub fn admit_admin(
        &self,
        id: &UserId,
        address: IpAddr,
        room: Option<&RoomName>,
    ) -> Result<(), Barred> {
        self.rules()
            .check_bans(Some(id), address, room, now_millis())
    }

    /// Everything that is in force.
    pub fn list(&self) -> (Vec<Ban>, Vec<Closure>) {
        self.rules().list(now_millis())
    }

    /// Which rooms are closed.
    pub fn closed_rooms(&self) -> HashSet<RoomName> {
        self.rules().closed_rooms()
    }

    /// Puts `decree` in force, in the file first, if there is one. Waits for the disk. Whether anything was there to
    /// be changed.
    ///
    /// # Errors
    /// If it cannot be written, or there are too many bans; then nothing has changed.
    pub fn change(&self, decree: &Decree) -> io::Result<Result<bool, TooManyBans>> {
        let _one_at_a_time = self
            .0
            .writing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut rules = self.rules().clone();
        let was = decree.change(&mut rules);
        if let (Ok(true), Some(path)) = (was, &self.0.path) {
            file::save(path, &rules)?;
        }
        *self.rules() = rules;
        Ok(was)
    }

    /// Whether anything is there that `decree` would change.
    ///
    /// # Errors
    /// If there would be too many bans.
    pub fn would_change(&self, decree: &Decree) -> Result<bool, TooManyBans> {
        let mut rules = self.rules().clone();
        decree.change(&mut rules)
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.0.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Guest<'a> {
    /// Someone of this id, if it has one, from this address, at the door of `room`.
    pub const fn new(id: Option<&'a UserId>, address: IpAddr, room: &'a RoomName) -> Self {
        Self { id, address, room }
    }
}

/// Milliseconds since 1970 UTC.
fn now_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn ban(id: &str, until: Option<u64>) -> Ban {
        let whom = Whom::Id(UserId::parse(id).expect("a name"));
        Ban {
            whom,
            room: None,
            until,
            reason: Some("floods".to_owned()),
            by: "ops".to_owned(),
            since: 1,
        }
    }

    #[test]
    fn nobody_else_may_read_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("moderation.json");
        let earlier = Moderation::open(path.clone()).expect("there is none yet");
        let change = earlier.change(&Decree::Ban(ban("ann", None)));
        assert_eq!(change.expect("written"), Ok(true));
        let set = |mode| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, permissions).expect("set");
        };
        let mode = || {
            std::fs::metadata(&path)
                .expect("a file")
                .permissions()
                .mode()
                & 0o777
        };
        set(0o644);

        let moderation = Moderation::open(path.clone()).expect("rules");
        assert_eq!(mode(), 0o600, "it was there");

        let change = moderation.change(&Decree::Ban(ban("eve", None)));
        assert_eq!(change.expect("written"), Ok(true));
        assert_eq!(mode(), 0o600, "it was replaced");
    }

    #[test]
    fn a_change_is_in_the_file_before_it_is_in_force_and_one_that_cannot_be_kept_is_not_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/moderation.json");
        let moderation = Moderation::open(path.clone()).expect("there is none yet");
        let (eve, lobby) = (UserId::parse("eve").expect("a name"), RoomName::lobby());
        let address = IpAddr::from([192, 0, 2, 1]);
        let guest = Guest::new(Some(&eve), address, &lobby);
        assert_eq!(moderation.admit(&guest), Ok(()));
        moderation
            .change(&Decree::Ban(ban("eve", None)))
            .expect("written")
            .expect("room for it");
        let barred = Barred::Banned {
            until: None,
            reason: Some("floods".to_owned()),
        };
        assert_eq!(moderation.admit(&guest), Err(barred.clone()));
        let again = Moderation::open(path.clone()).expect("rules");
        assert_eq!(
            (again.admit(&guest), again.list()),
            (Err(barred), moderation.list())
        );
        std::fs::remove_dir_all(folder.path().join("new")).expect("removed");
        std::fs::write(
            folder.path().join("new"),
            "a file where the folder should be",
        )
        .expect("written");
        assert!(
            again
                .change(&Decree::Lift {
                    whom: Whom::Id(eve.clone()),
                    room: None
                })
                .is_err()
        );
        assert!(again.admit(&guest).is_err(), "still in force");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_and_not_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("moderation.json");
        for text in [
            "",
            "{",
            "[]",
            r#"{"bans":[{"id":"a\u0000b"}]}"#,
            r#"{"bans":[],"closed":[{"room":"A"}]}"#,
        ] {
            std::fs::write(&path, text).expect("written");
            let error = Moderation::open(path.clone()).expect_err(text).to_string();
            assert!(error.contains("moderation.json"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).expect("text"), text);
        }
    }
}
