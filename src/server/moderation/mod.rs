//! Bans and closed rooms, made by operators. Every join, read and publish is checked against them. They are stored in
//! a file, so they survive a restart. If several nodes share a store, the rules are in the store, and this is a copy.
//!
//! # Invariants
//!
//! - A rule is stored before it takes effect. A change that cannot be stored is not made.
//! - A check costs a few look-ups, independent of the number of bans.
//! - A ban ends by the wall clock, because it must survive restarts.

mod rules;
mod file;
mod kick;
mod rule_change;

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};

use crate::protocol::admin::BanList;
use crate::protocol::{RoomName, UserId};

pub use file::{LoadError, load};
pub use kick::Kick;
pub use rule_change::{ClusterCommand, RuleChange};
pub use rules::{AccessRequest, Denied, Rules, TooManyBans};

/// A cheap handle on the rules; see the [module docs](self).
#[derive(Clone, Debug)]
pub struct Moderation(Arc<ModerationState>);

#[derive(Debug)]
struct ModerationState {
    /// The file of the rules; `None` if they are in the store.
    path: Option<PathBuf>,
    rules: Mutex<Rules>,
    /// The lock for writing the file, so that changes are made one at a time.
    writing: Mutex<()>,
}

impl Moderation {
    /// Reads the rules in the file at `path`. There are no rules if the file does not exist.
    ///
    /// # Errors
    /// If the file cannot be read or parsed.
    pub fn open(path: PathBuf) -> Result<Self, LoadError> {
        file::restrict_permissions(&path);
        Ok(Self::new(file::load(&path)?, Some(path)))
    }

    /// Applies `changes` from the store, in order.
    ///
    /// # Errors
    /// If there are too many bans.
    pub fn from_cluster(
        changes: impl IntoIterator<Item = RuleChange>,
    ) -> Result<Self, TooManyBans> {
        let mut rules = Rules::default();
        for change in changes {
            change.apply(&mut rules)?;
        }
        Ok(Self::new(rules, None))
    }

    fn new(rules: Rules, path: Option<PathBuf>) -> Self {
        Self(Arc::new(ModerationState {
            path,
            rules: Mutex::new(rules),
            writing: Mutex::default(),
        }))
    }

    /// Checks that a client may join the room and publish in it.
    ///
    /// # Errors
    /// If the client is banned or the room is closed.
    pub fn admit(&self, request: &AccessRequest<'_>) -> Result<(), Denied> {
        self.rules().admit(request, now_millis())
    }

    /// Checks that a client may read the history of the room, which may be closed.
    ///
    /// # Errors
    /// If the client is banned.
    pub fn admit_reader(&self, request: &AccessRequest<'_>) -> Result<(), Denied> {
        self.rules().admit_reader(request, now_millis())
    }

    /// Checks that no ban applies to the operator `id` at `address`: in `room`, or in all rooms if it is `None`. The
    /// room may be closed.
    ///
    /// # Errors
    /// If a ban applies.
    pub fn admit_admin(
        &self,
        id: &UserId,
        address: IpAddr,
        room: Option<&RoomName>,
    ) -> Result<(), Denied> {
        self.rules()
            .check_bans(Some(id), address, room, now_millis())
    }

    /// Returns the rooms from which the client with this id and address is banned by name.
    pub fn banned_rooms(&self, id: Option<&UserId>, address: IpAddr) -> Vec<RoomName> {
        self.rules().banned_rooms(id, address, now_millis())
    }

    /// Returns the rules in force.
    pub fn list(&self) -> BanList {
        self.rules().list(now_millis())
    }

    /// Returns the closed rooms.
    pub fn closed_rooms(&self) -> HashSet<RoomName> {
        self.rules().closed_rooms()
    }

    /// Writes `change` to the file, if there is one, and applies it. Blocks on the disk. Returns true if anything
    /// changed.
    ///
    /// # Errors
    /// If the change cannot be written, or there are too many bans. Nothing has changed then.
    pub fn change(&self, change: &RuleChange) -> io::Result<Result<bool, TooManyBans>> {
        let _one_at_a_time = self.0.writing.lock();

        let mut rules = self.rules().clone();
        let has_changed = change.apply(&mut rules);
        if let (Ok(true), Some(path)) = (has_changed, &self.0.path) {
            file::save(path, &rules)?;
        }

        *self.rules() = rules;
        Ok(has_changed)
    }

    /// Returns true if `change` would change anything.
    ///
    /// # Errors
    /// If there would be too many bans.
    pub fn would_change(&self, change: &RuleChange) -> Result<bool, TooManyBans> {
        let mut rules = self.rules().clone();
        change.apply(&mut rules)
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.0.rules.lock()
    }
}

/// Returns the time in milliseconds since 1970 UTC.
fn now_millis() -> u64 {
    Timestamp::now().as_millisecond().unsigned_abs()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::protocol::admin::{Ban, BanTarget};

    fn ban(id: &str) -> RuleChange {
        RuleChange::Ban(Ban {
            target: BanTarget::Id(UserId::parse(id).expect("a name")),
            room: None,
            until: None,
            reason: Some("floods".to_owned()),
            by: "ops".to_owned(),
            since: 1,
        })
    }

    fn add(moderation: &Moderation, change: &RuleChange) {
        let changed = moderation.change(change).expect("written");
        assert_eq!(changed, Ok(true));
    }

    #[test]
    fn only_its_owner_may_read_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("moderation.json");
        let mode = || {
            let metadata = std::fs::metadata(&path).expect("a file");
            metadata.permissions().mode() & 0o777
        };
        let earlier = Moderation::open(path.clone()).expect("no rules yet");
        add(&earlier, &ban("ann"));
        let readable = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&path, readable).expect("set");

        let moderation = Moderation::open(path.clone()).expect("rules");
        assert_eq!(mode(), 0o600, "restricted when it is opened");

        add(&moderation, &ban("eve"));
        assert_eq!(mode(), 0o600, "restricted when it is replaced");
    }

    #[test]
    fn a_change_that_cannot_be_stored_is_not_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("new");
        let eve = UserId::parse("eve").expect("a name");
        let lobby = RoomName::lobby();
        let request = AccessRequest::new(Some(&eve), IpAddr::from([192, 0, 2, 1]), &lobby);
        let moderation = Moderation::open(data.join("moderation.json")).expect("no rules yet");
        add(&moderation, &ban("eve"));
        std::fs::remove_dir_all(&data).expect("removed");
        std::fs::write(&data, "a file where the folder should be").expect("written");

        let unban = moderation.change(&RuleChange::Unban {
            target: BanTarget::Id(eve.clone()),
            room: None,
        });

        assert!(unban.is_err());
        assert!(moderation.admit(&request).is_err(), "still in force");
    }

    #[test]
    fn a_file_that_cannot_be_parsed_is_an_error_and_left_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("moderation.json");

        for text in [
            "",
            "{",
            "[]",
            r#"{"bans":[{"id":"a\u0000b"}]}"#,
            r#"{"bans":[],"closed":[{"room":"a b"}]}"#,
        ] {
            std::fs::write(&path, text).expect("written");

            let error = Moderation::open(path.clone()).expect_err(text).to_string();

            assert!(error.contains("moderation.json"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).expect("text"), text);
        }
    }
}
