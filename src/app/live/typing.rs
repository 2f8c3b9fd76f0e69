//! The users who are typing in a room, from their signals. Pure: times are passed in.

use std::time::Duration;

use crate::protocol::UserId;

/// The kind of the signal of a user who is typing.
pub(super) const TYPING: &str = "typing";

/// The time after a signal for which a user counts as typing.
pub(super) const SHOWN_FOR: Duration = Duration::from_secs(6);

/// The time between two signals of a user who keeps typing.
pub(super) const SIGNAL_INTERVAL: Duration = Duration::from_secs(4);

/// The users who are typing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypingUsers {
    /// Each user with the end of the time.
    users: Vec<(UserId, Duration)>,
}

impl TypingUsers {
    /// Records a signal of `user` at `now`.
    pub(super) fn add(&mut self, user: UserId, now: Duration) {
        self.remove(&user);
        self.users.push((user, now + SHOWN_FOR));
    }

    /// Records that `user` has sent the message. Returns true if the user was typing.
    pub(super) fn remove(&mut self, user: &UserId) -> bool {
        let count = self.users.len();
        self.users.retain(|(other, _)| other != user);
        self.users.len() < count
    }

    /// Removes the users whose time has ended. Returns true if there were any.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        let count = self.users.len();
        self.users.retain(|(_, end)| *end > now);
        self.users.len() < count
    }

    /// Returns the names of the users, the first to begin first.
    pub fn names(&self) -> impl Iterator<Item = &UserId> {
        self.users.iter().map(|(user, _)| user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_user_is_typing_until_the_message_or_for_a_while() {
        let user = |name| UserId::parse(name).expect("a name");
        let mut typing = TypingUsers::default();
        typing.add(user("ann"), at(0));
        typing.add(user("bob"), at(1));
        typing.add(user("cid"), at(1));

        assert!(typing.remove(&user("bob")));
        assert!(!typing.remove(&user("bob")));
        assert!(typing.expire(at(6)));

        let names: Vec<&str> = typing.names().map(UserId::as_str).collect();
        assert_eq!(names, ["cid"]);
    }
}
