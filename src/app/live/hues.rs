//! The colours of the names in a room, as numbers. The first users whose messages are loaded get different ones.

use crate::protocol::UserId;

/// The number of colours.
pub const HUES: usize = 12;

/// The colours that are taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Hues {
    /// The user with each colour.
    users: [Option<UserId>; HUES],
}

impl Hues {
    /// Gives `user` a colour of its own: the preferred one, or else the next that is free. Once all are taken, further users
    /// share the preferred ones.
    pub(super) fn add(&mut self, user: &UserId) {
        let preferred = preferred(user);
        let places = (0..HUES).map(|step| (preferred + step) % HUES);
        let mut free = None;

        for place in places {
            match &self.users[place] {
                Some(other) if other == user => return,
                Some(_) => {}
                None => free = free.or(Some(place)),
            }
        }
        if let Some(place) = free {
            self.users[place] = Some(user.clone());
        }
    }

    /// Returns the colour of `user`.
    pub(super) fn of(&self, user: &UserId) -> usize {
        let own = self
            .users
            .iter()
            .position(|other| other.as_ref() == Some(user));
        own.unwrap_or_else(|| preferred(user))
    }
}

/// Returns the colour that `user` has unless it is taken: the same in each room and on each page (FNV-1a).
fn preferred(user: &UserId) -> usize {
    let hash = user.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash as usize % HUES
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn user(number: usize) -> UserId {
        UserId::parse(&format!("user {number}")).expect("a name")
    }

    #[test]
    fn as_many_users_as_there_are_colours_have_different_ones() {
        let mut hues = Hues::default();
        (0..HUES).for_each(|number| hues.add(&user(number)));
        let before: Vec<_> = (0..HUES).map(|number| hues.of(&user(number))).collect();

        (0..100).for_each(|number| hues.add(&user(number)));

        assert_eq!(before.iter().collect::<HashSet<_>>().len(), HUES);
        let after: Vec<_> = (0..HUES).map(|number| hues.of(&user(number))).collect();
        assert_eq!(before, after, "a name keeps its colour");
    }

    #[test]
    fn a_user_has_the_preferred_colour_if_it_is_free() {
        let mut hues = Hues::default();
        hues.add(&user(1));

        assert_eq!(hues.of(&user(1)), preferred(&user(1)));
        assert_eq!(hues.of(&user(2)), preferred(&user(2)));
    }
}
