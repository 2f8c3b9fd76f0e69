//! What a person wants to see of a [`load`](super::load).

use std::fmt::{self, Write};

use hdrhistogram::Histogram;
use serde_json::json;

use super::Plan;
use super::tally::Outcome;
use crate::cli::output::{self, OutputError};

/// Width of the longest bar.
const BAR: u64 = 40;

/// Prints the figures and a histogram of the latencies, a bar for each doubling.
pub(super) fn print(plan: &Plan, outcome: &Outcome) -> Result<(), OutputError> {
    let mut text = String::new();
    let _infallible =
        write_figures(&mut text, plan, outcome).and_then(|()| write_histogram(&mut text, outcome));
    output::print(text)
}

/// Prints the same as one JSON object; times in milliseconds.
pub(super) fn print_json(plan: &Plan, outcome: &Outcome) -> Result<(), OutputError> {
    let at = |quantile| outcome.latency.value_at_quantile(quantile) as f64 / 1000.0;
    let mut figures = json!({
        "connections": plan.connections, "rooms": plan.rooms, "rate": plan.rate, "burst": plan.burst,
        "size": plan.size, "seconds": plan.length.as_secs(), "dialect": if plan.is_typed { "fanfare.v1" } else { "plain" },
        "sent": outcome.sent, "expected": outcome.expected, "delivered": outcome.delivered,
        "lost": outcome.lost(), "disordered": outcome.disordered, "closed": outcome.closed,
        "p50_ms": at(0.5), "p90_ms": at(0.9), "p99_ms": at(0.99), "max_ms": outcome.latency.max() as f64 / 1000.0,
    });
    if let Some(acks) = &outcome.acks {
        let at = |quantile| acks.value_at_quantile(quantile) as f64 / 1000.0;
        figures["ack_p50_ms"] = at(0.5).into();
        figures["ack_p99_ms"] = at(0.99).into();
        figures["unacknowledged"] = outcome.unacknowledged().into();
    }
    output::print(format!("{figures}\n"))
}

fn write_figures(out: &mut impl Write, plan: &Plan, outcome: &Outcome) -> fmt::Result {
    let Outcome {
        sent,
        expected,
        delivered,
        disordered,
        closed,
        connecting,
        latency,
        acks,
    } = outcome;
    let per_second = *delivered as f64 / plan.length.as_secs_f64();
    writeln!(
        out,
        "connections  {} in {} rooms, connected in {connecting:.2?}",
        plan.connections, plan.rooms
    )?;
    writeln!(out, "published    {sent} of {} bytes", plan.size)?;
    writeln!(
        out,
        "deliveries   {delivered} of {expected}, {per_second:.0}/s"
    )?;
    writeln!(out, "lost         {}", outcome.lost())?;
    writeln!(out, "disordered   {disordered}")?;
    writeln!(out, "closed       {closed}")?;
    if let Some(acks) = acks {
        write_latency(out, "ack ms", acks)?;
    }
    write_latency(out, "latency ms", latency)
}

fn write_latency(out: &mut impl Write, name: &str, latency: &Histogram<u64>) -> fmt::Result {
    let at = |quantile| latency.value_at_quantile(quantile) as f64 / 1000.0;
    writeln!(
        out,
        "{name:<12} p50 {:.2}  p90 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        latency.max() as f64 / 1000.0
    )
}

fn write_histogram(out: &mut impl Write, outcome: &Outcome) -> fmt::Result {
    let mut buckets = Vec::new();
    let mut low = 0;
    let mut high = 128;
    while low <= outcome.latency.max() {
        buckets.push((high, outcome.latency.count_between(low, high - 1)));
        (low, high) = (high, high * 2);
    }
    let most = buckets
        .iter()
        .map(|(_, count)| *count)
        .max()
        .unwrap_or_default()
        .max(1);
    for (high, count) in buckets {
        let bar = "#".repeat((count * BAR).div_ceil(most) as usize);
        writeln!(
            out,
            "  < {:>9.2} ms {count:>10} {bar}",
            high as f64 / 1000.0
        )?;
    }
    Ok(())
}
