//! A table of the operator's page. On a narrow screen its rows become blocks, each cell with its column's words
//! (`data-label`), and the heads go.

use leptos::prelude::*;

/// What a column holds, and its words.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    /// Anything that is read.
    Words(&'static str),
    /// Numbers, which stand under each other.
    Number(&'static str),
}

/// The table, or what is said where there is no row.
#[component]
pub fn Table(
    /// Its columns, in order.
    columns: Vec<Column>,
    /// Its rows, each a `tr`.
    rows: Vec<AnyView>,
    /// What is said if there are none; nothing by default.
    #[prop(optional)]
    nothing: Option<&'static str>,
    /// Its id.
    #[prop(optional)]
    id: Option<&'static str>,
    /// What it is of, where no heading says so.
    #[prop(optional)]
    caption: Option<&'static str>,
) -> impl IntoView {
    if rows.is_empty() {
        return nothing
            .map(|words| view! { <p class="quiet">{words}</p> })
            .into_any();
    }
    let heads: Vec<_> = columns
        .into_iter()
        .map(|column| match column {
            Column::Words(words) => view! { <th scope="col">{words}</th> }.into_any(),
            Column::Number(words) => {
                view! { <th scope="col" class="number">{words}</th> }.into_any()
            }
        })
        .collect();
    let caption = caption.map(|words| view! { <caption>{words}</caption> });
    view! {
        <table id=id>
            {caption}
            <thead>
                <tr>{heads}</tr>
            </thead>
            <tbody>{rows}</tbody>
        </table>
    }
    .into_any()
}
