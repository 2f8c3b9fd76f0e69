//! A small chart of the last minutes: a line over its ground, drawn by the server as SVG. Whoever does not see it
//! hears what it says: now, and the most.

use std::fmt::Write;

use leptos::prelude::*;

use super::quantity;
use crate::app::i18n::AdminText;

/// The size of the drawing in units of its own; the page stretches it.
const WIDTH: f64 = 180.0;
const HEIGHT: f64 = 40.0;
/// Room above the highest point and below the lowest, so that the line is whole there.
const HEADROOM: f64 = 2.0;
const BASE: f64 = HEIGHT - 1.0;

/// How a chart's numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// As they are.
    Count,
    /// As bytes.
    Bytes,
}

impl Unit {
    fn write(self, number: f64) -> String {
        match self {
            Self::Count => quantity::rate(number),
            Self::Bytes => quantity::bytes(number),
        }
    }
}

/// The chart.
#[component]
pub fn Sparkline(
    /// What it is of.
    label: &'static str,
    /// One value for each second, oldest first.
    values: Vec<f64>,
    /// What they are.
    unit: Unit,
    /// The language's phrases.
    text: &'static AdminText,
) -> impl IntoView {
    let now = values.last().copied().unwrap_or_default();
    let most = values.iter().copied().fold(0.0, f64::max);
    let (now, peak) = (unit.write(now), unit.write(most));
    let heard = (text.chart)(label, &now, &peak);
    let line = path(&values, most);
    let ground = format!("{line}V{HEIGHT}H{}Z", WIDTH - run(&values));
    view! {
        <figure class="chart">
            <figcaption>
                <span class="quiet">{label}</span>
                <strong>{now}</strong>
            </figcaption>
            <svg viewBox=format!("0 0 {WIDTH} {HEIGHT}") preserveAspectRatio="none" role="img" aria-label=heard>
                <path class="ground" d=ground></path>
                <path class="curve" d=line></path>
            </svg>
            <p class="quiet">{(text.peak)(&peak)}</p>
        </figure>
    }
}

/// How much of the width they take: a server that has just started has not filled it.
fn run(values: &[f64]) -> f64 {
    values.len().saturating_sub(1).min(WIDTH as usize) as f64
}

/// The line through `values`, of which `most` is the highest; it ends at the right edge. Nothing on the way down.
fn path(values: &[f64], most: f64) -> String {
    let scale = if most > 0.0 {
        (BASE - HEADROOM) / most
    } else {
        0.0
    };
    let start = WIDTH - run(values);
    let mut path = String::new();
    for (at, value) in values
        .iter()
        .rev()
        .take(WIDTH as usize + 1)
        .rev()
        .enumerate()
    {
        let step = if at == 0 { 'M' } else { 'L' };
        let (x, y) = (start + at as f64, BASE - value * scale);
        // A String takes everything.
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
        assert_eq!(path(&[], 0.0), "M180 39");
        let many = vec![1.0; 500];
        assert!(
            path(&many, 1.0).starts_with("M0 2.0L1 2.0") && path(&many, 1.0).ends_with("L180 2.0")
        );
    }
}
