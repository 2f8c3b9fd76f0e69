//! Tables of the admin page. On a narrow screen, rows become blocks, and each cell shows the title of its column
//! (`data-label`).

use leptos::prelude::*;

/// A row. Its first cell is its header.
pub(super) struct AdminRow {
    pub(super) id: Option<String>,
    pub(super) is_selected: bool,
    pub(super) cells: Vec<Cell>,
}

/// A cell, with the title of its column.
pub(super) struct Cell {
    title: &'static str,
    class: Option<&'static str>,
    content: AnyView,
}

impl Cell {
    /// Returns a cell of text.
    pub(super) fn text(title: &'static str, content: impl IntoAny) -> Self {
        Self {
            title,
            class: None,
            content: content.into_any(),
        }
    }

    /// Returns a number, aligned to the right.
    pub(super) fn number(title: &'static str, number: String) -> Self {
        Self {
            class: Some("number"),
            ..Self::text(title, number)
        }
    }

    /// Returns the buttons and links of the row.
    pub(super) fn actions(title: &'static str, actions: impl IntoAny) -> Self {
        Self {
            class: Some("acts"),
            ..Self::text(title, actions)
        }
    }
}

/// Returns a table of `rows`; nothing if there are none.
pub(super) fn table(
    rows: Vec<AdminRow>,
    id: Option<&'static str>,
    caption: Option<&'static str>,
) -> Option<AnyView> {
    let titles: Vec<_> = rows
        .first()?
        .cells
        .iter()
        .map(|cell| {
            let class = cell.class.filter(|class| *class == "number");
            view! { <th scope="col" class=class>{cell.title}</th> }
        })
        .collect();
    let caption = caption.map(|caption| view! { <caption>{caption}</caption> });
    let rows: Vec<_> = rows.into_iter().map(row).collect();

    let table = view! {
        <table id=id>
            {caption}
            <thead>
                <tr>{titles}</tr>
            </thead>
            <tbody>{rows}</tbody>
        </table>
    };
    Some(table.into_any())
}

fn row(row: AdminRow) -> AnyView {
    let mut cells = row.cells.into_iter();
    let header = cells
        .next()
        .map(|cell| view! { <th scope="row">{cell.content}</th> });
    let cells: Vec<_> = cells
        .map(|cell| {
            let label = (cell.class != Some("acts")).then_some(cell.title);
            view! { <td class=cell.class data-label=label>{cell.content}</td> }
        })
        .collect();

    view! {
        <tr id=row.id class=row.is_selected.then_some("chosen")>
            {header}
            {cells}
        </tr>
    }
    .into_any()
}
