//! A small chart of the last minutes, rendered as SVG, with the current value and the maximum as a description for
//! screen readers.

use std::fmt::Write;

use leptos::prelude::*;

use super::format::{bytes, rate};
use crate::app::i18n::AdminText;

/// The size of the drawing in its own units; the page stretches it.
const WIDTH: f64 = 180.0;
const HEIGHT: f64 = 40.0;
/// Space above the highest point and below the lowest, so that the line is not cut off.
const HEADROOM: f64 = 2.0;
const BASE: f64 = HEIGHT - 1.0;

/// The unit of the values of a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A number.
    Count,
    /// Bytes.
    Bytes,
}

impl Unit {
    fn format(self, number: f64) -> String {
        match self {
            Self::Count => rate(number),
            Self::Bytes => bytes(number),
        }
    }
}

/// Returns the chart of `values`, one for each second, oldest first.
pub(super) fn sparkline(
    label: &'static str,
    values: &[f64],
    unit: Unit,
    text: &'static AdminText,
) -> AnyView {
    let most = values.iter().copied().fold(0.0, f64::max);
    let now = unit.format(values.last().copied().unwrap_or_default());
    let peak = unit.format(most);
    let description = (text.chart)(label, &now, &peak);
    let line = path(values, most);
    let ground = format!("{line}V{HEIGHT}H{}Z", WIDTH - used_width(values));

    view! {
        <figure class="chart">
            <figcaption>
                <span class="quiet">{label}</span>
                <strong>{now}</strong>
            </figcaption>
            <svg viewBox=format!("0 0 {WIDTH} {HEIGHT}") preserveAspectRatio="none" role="img" aria-label=description>
                <path class="ground" d=ground></path>
                <path class="curve" d=line></path>
            </svg>
            <p class="quiet">{(text.peak)(&peak)}</p>
        </figure>
    }
    .into_any()
}

/// Returns the width that the values use: a server that has just started has only a few.
fn used_width(values: &[f64]) -> f64 {
    values.len().saturating_sub(1).min(WIDTH as usize) as f64
}

/// Returns the path of the line through `values`, whose maximum is `most`. It ends at the right edge.
fn path(values: &[f64], most: f64) -> String {
    let scale = if most > 0.0 {
        (BASE - HEADROOM) / most
    } else {
        0.0
    };
    let start = WIDTH - used_width(values);
    let newest = values.len().saturating_sub(WIDTH as usize + 1);

    let mut path = String::new();
    for (at, value) in values[newest..].iter().enumerate() {
        let step = if at == 0 { 'M' } else { 'L' };
        let (x, y) = (start + at as f64, BASE - value * scale);
        // Writing to a string cannot fail.
        let _ = write!(path, "{step}{x:.0} {y:.1}");
    }
    if path.is_empty() {
        format!("M{WIDTH:.0} {BASE:.0}")
    } else {
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_value_is_at_the_right_edge_and_the_highest_at_the_top() {
        assert_eq!(path(&[0.0, 4.0, 2.0], 4.0), "M178 39.0L179 2.0L180 20.5");
    }

    #[test]
    fn without_values_there_is_only_a_point() {
        assert_eq!(path(&[], 0.0), "M180 39");
    }

    #[test]
    fn only_the_newest_values_are_drawn() {
        let path = path(&[1.0; 500], 1.0);

        assert!(path.starts_with("M0 2.0L1 2.0"), "{path}");
        assert!(path.ends_with("L180 2.0"), "{path}");
    }
}
