//! What a person or a script wants to see of a [`storm`](super::storm).

use std::fmt::{self, Write};
use std::time::Duration;

use serde_json::json;

use super::Plan;
use super::storm::Outcome;
use crate::cli::output::{self, OutputError};

/// Prints what came of it in words.
pub(super) fn print(plan: &Plan, outcome: &Outcome) -> Result<(), OutputError> {
    let mut text = String::new();
    let _infallible = write(&mut text, plan, outcome);
    output::print(text)
}

/// Prints the same as one JSON object; times in milliseconds.
pub(super) fn print_json(plan: &Plan, outcome: &Outcome) -> Result<(), OutputError> {
    let faults = &outcome.faults;
    let away = |quantile| quantile_of(&outcome.returns, quantile).as_secs_f64() * 1000.0;
    let figures = json!({
        "readers": plan.readers, "rooms": plan.rooms, "rate": plan.rate, "storms": plan.storms,
        "stored": outcome.stored, "repeated": outcome.repeated, "unanswered": outcome.unanswered,
        "expected": outcome.expected, "delivered": faults.delivered,
        "cuts": outcome.cuts, "returns": outcome.returns.len(), "resumed": faults.resumed, "misplaced": faults.misplaced,
        "lost": faults.lost, "doubled": faults.doubled, "reordered": faults.reordered,
        "altered": faults.altered, "gaps": faults.gaps,
        "away_p50_ms": away(0.5), "away_p99_ms": away(0.99), "away_max_ms": away(1.0),
    });
    output::print(format!("{figures}\n"))
}

fn write(out: &mut impl Write, plan: &Plan, outcome: &Outcome) -> fmt::Result {
    let Outcome {
        faults,
        stored,
        repeated,
        unanswered,
        expected,
        returns,
        cuts,
    } = outcome;
    let (clients, storms) = (plan.readers + plan.rooms, plan.storms);
    let away = |quantile| quantile_of(returns, quantile);
    writeln!(
        out,
        "storms       {storms}, each of all {clients} clients at once, in {} rooms",
        plan.rooms
    )?;
    writeln!(
        out,
        "back         {} of {cuts}, with all they missed after p50 {:.2?}  p99 {:.2?}  max {:.2?}",
        returns.len(),
        away(0.5),
        away(0.99),
        away(1.0)
    )?;
    writeln!(
        out,
        "stored       {stored} messages, {repeated} of them found stored when they were sent again"
    )?;
    writeln!(out, "unanswered   {unanswered}")?;
    writeln!(out, "deliveries   {} of {expected}", faults.delivered)?;
    for (name, count) in [
        ("lost", faults.lost),
        ("doubled", faults.doubled),
        ("reordered", faults.reordered),
        ("altered", faults.altered),
        ("gaps told", faults.gaps),
        ("place lost", faults.misplaced),
    ] {
        writeln!(out, "{name:<12} {count}")?;
    }
    Ok(())
}

/// The value below which `quantile` of the `sorted` ones are; zero if there are none.
fn quantile_of(sorted: &[Duration], quantile: f64) -> Duration {
    let at = (sorted.len() as f64 * quantile).ceil() as usize;
    sorted
        .get(at.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}
