//! The rooms of a load, spread over its connections, for `bench` and `verify`.

use std::fmt;

use clap::Args;

use crate::cli::Failure;
use crate::cli::args::count;
use crate::protocol::{NameError, RoomName, RoomPattern, RoomSelector};

/// The arguments that select the subscriptions of a connection.
#[derive(Clone, Debug, Args)]
pub(super) struct RoomsPerConnection {
    /// Rooms that each connection subscribes to
    #[arg(long, value_name = "N", default_value = "1", value_parser = count())]
    pub(super) rooms_per_connection: u32,
    /// Subscribe each connection to all rooms by one pattern
    #[arg(long, conflicts_with = "rooms_per_connection")]
    pub(super) pattern: bool,
}

impl fmt::Display for RoomsPerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pattern {
            true => f.write_str("all on each by a pattern"),
            false => write!(f, "{} on each", self.rooms_per_connection),
        }
    }
}

/// The rooms of a load. They are numbered from 0, and so are the connections.
#[derive(Clone, Debug)]
pub(super) struct LoadRooms {
    /// The prefix of the names. It is unique: messages of other users would count as faults.
    prefix: String,
    count: u32,
    /// The number of rooms of each connection; `None` if each has the pattern that matches all rooms.
    per_connection: Option<u32>,
}

impl LoadRooms {
    /// Creates `count` rooms, whose names begin with `command`, for `connections` connections.
    ///
    /// # Errors
    /// If a room would have no reader, or a connection more rooms than there are.
    pub(super) fn new(
        command: &str,
        count: u32,
        connections: u32,
        args: &RoomsPerConnection,
    ) -> Result<Self, Failure> {
        let each = args.rooms_per_connection;
        if !args.pattern && each > count {
            let problem = format!("{each} rooms on each connection are more than --rooms {count}");
            return Err(Failure::argument("--rooms-per-connection", problem));
        }
        let subscriptions = u64::from(connections) * u64::from(each);
        if !args.pattern && u64::from(count) > subscriptions {
            let problem = format!(
                "{count} rooms are more than the {subscriptions} subscriptions of all connections: a room would have no reader"
            );
            return Err(Failure::argument("--rooms", problem));
        }

        Ok(Self {
            prefix: format!("{command}-{:08x}-", fastrand::u32(..)),
            count,
            per_connection: (!args.pattern).then_some(each),
        })
    }

    /// Returns the number of rooms.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// Returns the name of the room `number`.
    pub(super) fn name(&self, number: u32) -> Result<RoomName, NameError> {
        RoomName::parse(&format!("{}{number}", self.prefix))
    }

    /// Returns the numbers of the rooms that the connection `number` reads.
    pub(super) fn of_connection(&self, number: u32) -> Vec<u32> {
        let Some(each) = self.per_connection else {
            return (0..self.count).collect();
        };
        let first = u64::from(number) * u64::from(each);
        let numbers = (first..).take(each as usize);
        numbers
            .map(|number| (number % u64::from(self.count)) as u32)
            .collect()
    }

    /// Returns the subscriptions of the connection `number`.
    pub(super) fn subscriptions(&self, number: u32) -> Result<Vec<RoomSelector>, NameError> {
        if self.per_connection.is_none() {
            let pattern = RoomPattern::parse(&format!("{}*", self.prefix))?;
            return Ok(vec![pattern.into()]);
        }
        let names = self.of_connection(number).into_iter();
        names.map(|room| Ok(self.name(room)?.into())).collect()
    }

    /// Returns the number of readers of each room, if there are `connections`.
    pub(super) fn readers(&self, connections: u32) -> Vec<u64> {
        let mut readers = vec![0; self.count as usize];
        for room in (0..connections).flat_map(|number| self.of_connection(number)) {
            readers[room as usize] += 1;
        }
        readers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(count: u32, connections: u32, each: u32, pattern: bool) -> Result<LoadRooms, Failure> {
        let args = RoomsPerConnection {
            rooms_per_connection: each,
            pattern,
        };
        LoadRooms::new("load", count, connections, &args)
    }

    #[test]
    fn connections_have_different_rooms_and_each_room_has_a_reader() {
        let Ok(rooms) = rooms(5, 3, 2, false) else {
            panic!("5 rooms are at most 6 subscriptions");
        };

        assert_eq!(rooms.of_connection(0), [0, 1]);
        assert_eq!(rooms.of_connection(2), [4, 0]);
        assert_eq!(rooms.readers(3), [2, 1, 1, 1, 1]);
    }

    #[test]
    fn a_pattern_is_one_subscription_to_all_rooms() {
        let Ok(rooms) = rooms(3, 2, 1, true) else {
            panic!("a pattern has any number of rooms");
        };
        let subscriptions = rooms.subscriptions(1).expect("valid names");
        let name = rooms.name(2).expect("a valid name");

        assert!(matches!(subscriptions.as_slice(), [one] if one.matches(&name)));
        assert_eq!(rooms.readers(2), [2, 2, 2]);
    }

    #[test]
    fn a_room_without_a_reader_and_more_rooms_than_there_are_are_refused() {
        assert!(rooms(7, 3, 2, false).is_err());
        assert!(rooms(2, 3, 3, false).is_err());
    }
}
