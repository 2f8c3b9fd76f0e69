//! Tables for people. Pure.

use std::fmt::Display;

use crate::cli::format::{escape, utc};
use crate::protocol::RoomSelector;
use crate::protocol::admin::{Ban, ClosedRoom, ConnectionSummary, HookSummary, RoomSummary};

/// A row of a table.
pub(super) trait TableRow {
    /// The titles of the columns.
    const TITLES: &'static [&'static str];

    /// Returns the cells, one for each column.
    fn cells(&self) -> Vec<String>;
}

impl TableRow for RoomSummary {
    const TITLES: &'static [&'static str] = &[
        "ROOM",
        "MEMBERS",
        "CONNECTIONS",
        "HEAD",
        "FIRST",
        "IN MEMORY",
        "BYTES",
        "CLOSED",
    ];

    fn cells(&self) -> Vec<String> {
        let closed = if self.closed { "yes" } else { "no" };
        vec![
            self.name.to_string(),
            self.members.to_string(),
            self.connections.to_string(),
            self.head.to_string(),
            self.first.to_string(),
            self.ring_messages.to_string(),
            self.ring_bytes.to_string(),
            closed.to_owned(),
        ]
    }
}

impl TableRow for ConnectionSummary {
    const TITLES: &'static [&'static str] = &[
        "NUMBER", "ID", "ADDRESS", "ROOMS", "SINCE", "DIALECT", "OFFSET", "BEHIND", "WAITING",
        "SUB",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.number.to_string(),
            or_dash(self.id.as_ref()),
            self.address.to_string(),
            self.rooms
                .iter()
                .map(RoomSelector::as_str)
                .collect::<Vec<_>>()
                .join(" "),
            utc(self.since),
            self.dialect.clone(),
            self.offset.to_string(),
            self.behind.to_string(),
            self.waiting.to_string(),
            or_dash(self.sub.as_ref()),
        ]
    }
}

impl TableRow for Ban {
    const TITLES: &'static [&'static str] =
        &["ID", "ADDRESS", "ROOM", "UNTIL", "REASON", "BY", "SINCE"];

    fn cells(&self) -> Vec<String> {
        vec![
            or_dash(self.target.id()),
            or_dash(self.target.address()),
            or_dash(self.room.as_ref()),
            or_dash(self.until.map(utc)),
            or_dash(self.reason.as_ref()),
            self.by.clone(),
            utc(self.since),
        ]
    }
}

impl TableRow for ClosedRoom {
    const TITLES: &'static [&'static str] = &["CLOSED", "REASON", "BY", "SINCE"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.room.to_string(),
            or_dash(self.reason.as_ref()),
            self.by.clone(),
            utc(self.since),
        ]
    }
}

impl TableRow for HookSummary {
    const TITLES: &'static [&'static str] = &[
        "HOOK", "ROOMS", "STATE", "OFFSET", "LAG", "OLDEST", "FAILURES", "ERROR", "URL",
    ];

    fn cells(&self) -> Vec<String> {
        let rooms = self.rooms.iter().map(RoomSelector::as_str);
        vec![
            self.name.clone(),
            rooms.collect::<Vec<_>>().join(" "),
            self.status.clone(),
            self.offset.to_string(),
            or_dash(self.lag),
            or_dash(self.oldest.map(utc)),
            self.failures.to_string(),
            or_dash(self.error.as_ref()),
            self.url.clone(),
        ]
    }
}

fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Returns `rows` as a table with a line of titles; an empty text if there are no rows.
pub(super) fn table<T: TableRow>(rows: &[T]) -> String {
    if rows.is_empty() {
        return String::new();
    }

    let titles = T::TITLES.iter().map(|title| (*title).to_owned()).collect();
    let escaped = |row: &T| row.cells().iter().map(|cell| escape(cell)).collect();
    let lines: Vec<Vec<String>> = std::iter::once(titles)
        .chain(rows.iter().map(escaped))
        .collect();
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..T::TITLES.len()).map(width).collect();

    let mut table = String::new();
    for line in &lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        table.push_str(cells.join("  ").trim_end());
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pair(&'static str, u32);

    impl TableRow for Pair {
        const TITLES: &'static [&'static str] = &["ROOM", "N", "REASON"];

        fn cells(&self) -> Vec<String> {
            vec![
                self.0.to_owned(),
                self.1.to_string(),
                or_dash(None::<String>),
            ]
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [Pair("a", 7), Pair("室", 12345)];

        let expected = "ROOM  N      REASON\na     7      -\n室     12345  -\n";
        assert_eq!(table(&rows), expected);
    }

    #[test]
    fn control_characters_are_escaped() {
        assert!(table(&[Pair("a\nb", 7)]).contains("a\\nb"));
    }

    #[test]
    fn no_rows_are_no_table() {
        assert_eq!(table::<Pair>(&[]), "");
    }
}
