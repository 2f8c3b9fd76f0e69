//! Who is in a room, and what of it is news.
//!
//! A member is an id; it may have several connections. Joins and leaves are gathered: whoever comes and goes
//! between two announcements is no news, and whoever comes back within the grace was never gone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::protocol::UserId;
use crate::server::room::Tick;
use crate::server::room::roster::MemberMap;

/// A member without a connection stays for this long.
const GRACE: Duration = Duration::from_secs(5);
/// In a larger room, or if more members came or went at once, only the count is sent: a frame with all their names
/// would exceed what may wait for a reader.
const MAX_NAMED: usize = 500;

/// The members of one room.
#[derive(Debug, Default)]
pub struct Presence {
    members: MemberMap<MemberState>,
    /// Something may have to be announced.
    is_restless: bool,
    /// The next announcement is told whether there is news or not.
    is_repeated: bool,
    /// The number of members in the last announcement.
    announced: usize,
}

#[derive(Debug)]
struct MemberState {
    connections: u32,
    /// When it came, in milliseconds since 1970 UTC.
    since: u64,
    /// Since when there is no connection.
    absent: Option<Tick>,
    is_announced: bool,
    /// Somebody was told of it before it was announced to all.
    is_named: bool,
}

/// One member as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresentMember {
    /// Who.
    pub id: UserId,
    /// Open connections; 0 for a moment after the last one went.
    pub connections: u32,
    /// When it came, in milliseconds since 1970 UTC.
    pub since: u64,
}

/// What has changed since it was last told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceChange {
    /// How many are here now.
    pub count: usize,
    /// Who came; empty in a large room.
    pub joined: Vec<UserId>,
    /// Who left; empty in a large room.
    pub left: Vec<UserId>,
}

impl Presence {
    /// A connection of `id` came at `at`, in milliseconds since 1970 UTC.
    pub fn join(&mut self, id: &UserId, at: u64) {
        let new = MemberState {
            connections: 0,
            since: at,
            absent: None,
            is_announced: false,
            is_named: false,
        };
        let member = self.members.get_or_insert(id, new);
        member.connections += 1;
        member.absent = None;
        self.is_restless |= !member.is_announced;
    }

    /// A connection of `id` went.
    pub fn leave(&mut self, id: &UserId, now: Tick) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        member.connections = member.connections.saturating_sub(1);
        if member.connections > 0 {
            return;
        }
        if member.is_announced || member.is_named {
            member.absent = Some(now);
            self.is_restless = true;
        } else {
            // Nobody knows of it: a storm that comes and goes leaves nothing to wait for.
            self.members.remove(id);
        }
    }

    /// How many members there are.
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// Who they are, in order, to be told to somebody; `None` in a large room.
    pub fn member_ids(&mut self) -> Option<Vec<UserId>> {
        if self.members.len() > MAX_NAMED {
            return None;
        }
        let name = |(id, member): (&UserId, &mut MemberState)| {
            member.is_named = true;
            id.clone()
        };
        Some(sorted(self.members.iter_mut().map(name).collect()))
    }

    /// All of them, however many, in no order, each with what is known of it.
    pub fn all(&self) -> impl Iterator<Item = PresentMember> {
        self.members.iter().map(|(id, member)| PresentMember {
            id: id.clone(),
            connections: member.connections,
            since: member.since,
        })
    }

    /// Returns whether `id` is a member, if only for the rest of its grace.
    pub fn has(&self, id: &UserId) -> bool {
        self.members.get(id).is_some()
    }

    /// Those of a small room, in order, each with what is known of it.
    pub fn present(&self) -> Option<Vec<PresentMember>> {
        let mut all: Vec<PresentMember> =
            (self.members.len() <= MAX_NAMED).then(|| self.all().collect())?;
        all.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        Some(all)
    }

    /// Whether [`Presence::announce`] may have something to tell, now or after the grace.
    pub const fn has_pending_change(&self) -> bool {
        self.is_restless
    }

    /// Tells how many are here with the next announcement, even if nobody came or went.
    pub const fn announce_again(&mut self) {
        self.is_repeated = true;
    }

    /// Returns the changes until `now` that were not announced yet; they count as announced. In a large room, where
    /// nobody is named, there are none while the number of members is the same.
    pub fn announce(&mut self, now: Tick) -> Option<PresenceChange> {
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        self.is_restless = false;
        self.members.retain(|id, member| {
            let is_gone = member.absent.is_some_and(|since| now.since(since) >= GRACE);
            if is_gone {
                left.push(id.clone());
            } else if !is_gone && member.absent.is_none() && !member.is_announced {
                member.is_announced = true;
                joined.push(id.clone());
            }
            self.is_restless |= !is_gone && member.absent.is_some();
            !is_gone
        });
        let is_repeated = std::mem::take(&mut self.is_repeated);
        let count = self.members.len();
        let changes = joined.len() + left.len();
        let is_news = if count > MAX_NAMED {
            count != self.announced
        } else {
            changes > 0
        };
        if !is_news && !is_repeated {
            return None;
        }

        if count > MAX_NAMED || changes > MAX_NAMED {
            (joined, left) = (Vec::new(), Vec::new());
        }
        self.announced = count;
        Some(PresenceChange {
            count,
            joined: sorted(joined),
            left: sorted(left),
        })
    }
}

fn sorted(mut ids: Vec<UserId>) -> Vec<UserId> {
    ids.sort_unstable();
    ids
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Tick {
        Tick::after_start(Duration::from_millis(millis))
    }

    fn user(number: usize) -> UserId {
        UserId::parse(&format!("user-{number}")).expect("a name")
    }

    #[test]
    fn a_member_that_comes_back_within_the_grace_was_never_gone() {
        let mut presence = Presence::default();
        presence.join(&user(1), 0);
        assert_eq!(
            presence.announce(at(0)).map(|change| change.joined),
            Some(vec![user(1)])
        );
        presence.leave(&user(1), at(1000));
        assert_eq!(presence.announce(at(5999)), None);
        presence.join(&user(1), 0);
        assert_eq!(presence.announce(at(20_000)), None);
        presence.leave(&user(1), at(30_000));
        assert!(presence.has_pending_change());
        let gone = PresenceChange {
            count: 0,
            joined: vec![],
            left: vec![user(1)],
        };
        assert_eq!(presence.announce(at(35_000)), Some(gone));
        assert!(!presence.has_pending_change());
    }

    #[test]
    fn a_member_with_two_connections_leaves_with_the_second() {
        let mut presence = Presence::default();
        presence.join(&user(1), 0);
        presence.join(&user(1), 0);
        presence.announce(at(0));
        presence.leave(&user(1), at(0));
        assert_eq!((presence.announce(at(60_000)), presence.count()), (None, 1));
    }

    #[test]
    fn a_member_is_here_since_its_first_connection_came() {
        let mut presence = Presence::default();
        presence.join(&user(1), 1000);
        presence.join(&user(0), 2000);
        presence.join(&user(1), 3000);
        let present = |id: usize, connections, since| PresentMember {
            id: user(id),
            connections,
            since,
        };
        assert_eq!(
            presence.present(),
            Some(vec![present(0, 1, 2000), present(1, 2, 1000)])
        );
        presence.announce(at(0));
        (0..2).for_each(|_| presence.leave(&user(1), at(0)));
        presence.join(&user(1), 9000);
        assert_eq!(
            presence.present(),
            Some(vec![present(0, 1, 2000), present(1, 1, 1000)])
        );
    }

    #[test]
    fn in_a_large_room_only_the_count_is_told() {
        let mut presence = Presence::default();
        (0..501).for_each(|number| presence.join(&user(number), 0));
        assert_eq!(
            presence.announce(at(0)),
            Some(PresenceChange {
                count: 501,
                joined: vec![],
                left: vec![]
            })
        );
        assert_eq!(presence.member_ids(), None);
    }

    #[test]
    fn in_a_large_room_nothing_is_told_when_as_many_came_as_went() {
        let mut presence = Presence::default();
        (0..501).for_each(|number| presence.join(&user(number), 0));
        presence.announce(at(0));

        presence.leave(&user(1), at(0));
        presence.join(&user(501), 0);

        assert_eq!(
            presence.announce(at(4000)).map(|change| change.count),
            Some(502)
        );
        assert_eq!(
            presence.announce(at(5000)).map(|change| change.count),
            Some(501)
        );
        presence.leave(&user(2), at(5000));
        presence.announce(at(5000));
        presence.join(&user(502), 5000);
        assert_eq!(presence.announce(at(10_000)), None);
    }

    #[test]
    fn when_most_of_a_large_room_leave_at_once_those_who_stay_are_told_the_count() {
        let mut presence = Presence::default();
        (0..5000).for_each(|number| presence.join(&user(number), 0));
        presence.announce(at(0));

        (100..5000).for_each(|number| presence.leave(&user(number), at(0)));

        assert_eq!(
            presence.announce(at(5000)),
            Some(PresenceChange {
                count: 100,
                joined: vec![],
                left: vec![]
            })
        );
    }

    #[test]
    fn a_storm_that_nobody_was_told_of_leaves_nothing() {
        let mut presence = Presence::default();
        for number in 0..10_000 {
            presence.join(&user(number), 0);
            presence.leave(&user(number), at(0));
        }
        assert_eq!((presence.count(), presence.announce(at(0))), (0, None));
    }

    proptest! {
        /// A listener that was told who is here, at any time, and applies every change after that knows, after
        /// the grace, exactly who has a connection.
        #[test]
        fn whoever_applies_every_change_knows_who_is_here(
            steps in prop::collection::vec((0usize..6, 0u8..5, 0u64..4000), 0..100),
        ) {
            let mut presence = Presence::default();
            let mut connections = [0usize; 6];
            let mut listeners = vec![BTreeSet::new()];
            let mut now = 0;
            let apply = |listeners: &mut Vec<BTreeSet<UserId>>, change: Option<PresenceChange>| {
                let Some(change) = change else { return };
                for known in listeners {
                    known.retain(|id| !change.left.contains(id));
                    known.extend(change.joined.iter().cloned());
                }
            };
            for (who, what, pause) in steps {
                match what {
                    0 | 1 => {
                        connections[who] += 1;
                        presence.join(&user(who), 0);
                    }
                    2 => listeners.push(presence.member_ids().expect("a small room").into_iter().collect()),
                    _ if connections[who] > 0 => {
                        connections[who] -= 1;
                        presence.leave(&user(who), at(now));
                    }
                    _ => {}
                }
                now += pause;
                if pause % 3 > 0 {
                    apply(&mut listeners, presence.announce(at(now)));
                }
            }
            apply(&mut listeners, presence.announce(at(now + 5000)));
            let here: BTreeSet<UserId> = (0..6).filter(|who| connections[*who] > 0).map(user).collect();
            prop_assert!(listeners.iter().all(|known| *known == here), "{listeners:?} instead of {here:?}");
            prop_assert!(!presence.has_pending_change());
        }
    }
}
