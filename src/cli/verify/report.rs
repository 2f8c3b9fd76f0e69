//! The report of a run, for a person or a script.

use std::time::Duration;

use serde_json::json;

use super::VerifyArgs;
use super::reconnect_rounds::VerifyResult;
use crate::cli::output::{self, OutputError};

/// Prints the result for a person.
pub(super) fn print(options: &VerifyArgs, result: &VerifyResult) -> Result<(), OutputError> {
    let VerifyResult {
        faults,
        stored,
        repeated,
        unanswered,
        expected,
        returns,
        cuts,
    } = result;
    let (clients, storms) = (options.readers + options.rooms, options.storms);
    let away = |quantile| quantile_of(returns, quantile);

    let mut text = format!(
        "storms       {storms}, each of all {clients} clients at once, in {} rooms, {}\n\
         back         {} of {cuts}, with all they missed after p50 {:.2?}  p99 {:.2?}  max {:.2?}\n\
         stored       {stored} messages, {repeated} of them found stored when they were sent again\n\
         unanswered   {unanswered}\n\
         deliveries   {} of {expected}\n",
        options.rooms,
        options.per_connection,
        returns.len(),
        away(0.5),
        away(0.99),
        away(1.0),
        faults.delivered,
    );
    for (name, count) in [
        ("lost", faults.lost),
        ("doubled", faults.doubled),
        ("reordered", faults.reordered),
        ("unlinked", faults.unlinked),
        ("altered", faults.altered),
        ("gaps told", faults.gaps),
        ("place lost", faults.misplaced),
    ] {
        text.push_str(&format!("{name:<12} {count}\n"));
    }
    output::print(text)
}

/// Prints the result as one JSON object, with times in milliseconds.
pub(super) fn print_json(options: &VerifyArgs, result: &VerifyResult) -> Result<(), OutputError> {
    let faults = &result.faults;
    let away = |quantile| quantile_of(&result.returns, quantile).as_secs_f64() * 1000.0;
    let figures = json!({
        "readers": options.readers, "rooms": options.rooms,
        "rooms_per_connection": options.per_connection.rooms_per_connection, "pattern": options.per_connection.pattern,
        "rate": options.rate, "storms": options.storms,
        "stored": result.stored, "repeated": result.repeated, "unanswered": result.unanswered,
        "expected": result.expected, "delivered": faults.delivered,
        "cuts": result.cuts, "returns": result.returns.len(), "resumed": faults.resumed, "misplaced": faults.misplaced,
        "lost": faults.lost, "doubled": faults.doubled, "reordered": faults.reordered,
        "unlinked": faults.unlinked, "altered": faults.altered, "gaps": faults.gaps,
        "away_p50_ms": away(0.5), "away_p99_ms": away(0.99), "away_max_ms": away(1.0),
    });

    output::print(format!("{figures}\n"))
}

/// Returns the value below which `quantile` of the `sorted` values are; zero if there are none.
fn quantile_of(sorted: &[Duration], quantile: f64) -> Duration {
    let at = (sorted.len() as f64 * quantile).ceil() as usize;
    sorted
        .get(at.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}
