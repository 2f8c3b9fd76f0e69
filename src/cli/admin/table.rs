//! JSON objects as a table for people. Pure.

use serde_json::Value;

use crate::cli::text;

/// A column: its title, and the field that it shows.
pub(super) type Column = (&'static str, &'static str);

/// `rows` with a line of titles above; nothing for no rows.
pub(super) fn table(columns: &[Column], rows: &[Value]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let titles = columns
        .iter()
        .map(|(title, _)| (*title).to_owned())
        .collect();
    let cells = |row: &Value| {
        columns
            .iter()
            .map(|(_, field)| cell(field, &row[*field]))
            .collect()
    };
    let lines: Vec<Vec<String>> = std::iter::once(titles)
        .chain(rows.iter().map(cells))
        .collect();
    let width = |at: usize| {
        lines
            .iter()
            .map(|line| line[at].chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut out = String::new();
    for line in lines {
        let padded: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        out.push_str(padded.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// A value as it is shown: times as dates, and what is not there as a dash.
pub(super) fn cell(field: &str, value: &Value) -> String {
    match (field, value) {
        ("since" | "until" | "at", Value::Number(at)) => text::utc(at.as_u64().unwrap_or_default()),
        (_, Value::Null) => "-".to_owned(),
        (_, Value::String(words)) => text::escape(words),
        (_, Value::Bool(true)) => "yes".to_owned(),
        (_, Value::Bool(false)) => "no".to_owned(),
        (_, other) => text::escape(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_nothing_moves_the_cursor() {
        let rows = [
            json!({ "name": "a\nb", "since": 0, "n": 7 }),
            json!({ "name": "室", "n": 12345 }),
        ];
        let shown = table(&[("ROOM", "name"), ("N", "n"), ("SINCE", "since")], &rows);
        let expected = "ROOM  N      SINCE\na\\nb  7      1970-01-01T00:00:00Z\n室     12345  -\n";
        assert_eq!(shown, expected);
        assert_eq!(table(&[("ROOM", "name")], &[]), "");
    }
}
