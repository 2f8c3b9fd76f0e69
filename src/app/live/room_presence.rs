//! The users who are present in a room.

use crate::protocol::UserId;

/// The users in the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomPresence {
    /// The number of users.
    pub count: usize,
    /// The names of the users, sorted; `None` in a large room.
    pub names: Option<Vec<UserId>>,
}

impl RoomPresence {
    /// Applies a change. `joined` and `left` are sorted, and empty in a large room.
    pub fn update(&mut self, count: usize, joined: &[UserId], left: &[UserId]) {
        self.count = count;
        let Some(names) = &mut self.names else { return };

        names.retain(|name| {
            left.binary_search(name).is_err() && joined.binary_search(name).is_err()
        });
        for name in joined {
            let at = names.partition_point(|other| other < name);
            names.insert(at, name.clone());
        }

        // The room has become too large for names.
        if names.len() != count {
            self.names = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(names: &[&str]) -> Vec<UserId> {
        let user = |name: &&str| UserId::parse(name).expect("a name");
        names.iter().map(user).collect()
    }

    #[test]
    fn users_who_join_and_leave_change_the_names() {
        let mut present = RoomPresence {
            count: 2,
            names: Some(users(&["ann", "cid"])),
        };

        present.update(2, &users(&["bob"]), &users(&["cid"]));

        assert_eq!(present.count, 2);
        assert_eq!(present.names, Some(users(&["ann", "bob"])));
    }

    #[test]
    fn a_room_that_becomes_large_has_no_names() {
        let mut present = RoomPresence {
            count: 1,
            names: Some(users(&["ann"])),
        };

        present.update(1000, &[], &[]);

        assert_eq!(present.count, 1000);
        assert_eq!(present.names, None);
    }
}
