//! The report of a [`load`](super::load), for a person or a script.

use std::fmt::{self, Write};

use hdrhistogram::Histogram;
use serde_json::json;

use super::BenchArgs;
use super::tally::BenchResult;
use crate::cli::output::{self, OutputError};

/// The width of the longest bar in characters.
const BAR: u64 = 40;

/// Prints the figures, and a histogram of the latencies with a bar per power of two.
pub(super) fn print(options: &BenchArgs, result: &BenchResult) -> Result<(), OutputError> {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ =
        write_figures(&mut text, options, result).and_then(|()| write_histogram(&mut text, result));
    output::print(text)
}

/// Prints the result as one JSON object, with times in milliseconds.
pub(super) fn print_json(options: &BenchArgs, result: &BenchResult) -> Result<(), OutputError> {
    let at = |quantile| result.latency.value_at_quantile(quantile) as f64 / 1000.0;
    let mut figures = json!({
        "connections": options.connections, "rooms": options.rooms,
        "rooms_per_connection": options.per_connection.rooms_per_connection, "pattern": options.per_connection.pattern,
        "connecting_ms": result.connecting.as_secs_f64() * 1000.0, "rate": options.rate, "burst": options.burst,
        "size": options.size, "seconds": options.seconds, "dialect": options.dialect,
        "sent": result.sent, "expected": result.expected, "delivered": result.delivered,
        "lost": result.lost(), "disordered": result.disordered, "closed": result.closed,
        "p50_ms": at(0.5), "p90_ms": at(0.9), "p99_ms": at(0.99), "max_ms": result.latency.max() as f64 / 1000.0,
    });

    if let Some(acks) = &result.acks {
        let at = |quantile| acks.value_at_quantile(quantile) as f64 / 1000.0;
        figures["ack_p50_ms"] = at(0.5).into();
        figures["ack_p99_ms"] = at(0.99).into();
        figures["unacknowledged"] = result.unacknowledged().into();
    }

    output::print(format!("{figures}\n"))
}

fn write_figures(out: &mut impl Write, options: &BenchArgs, result: &BenchResult) -> fmt::Result {
    let BenchResult {
        sent,
        expected,
        delivered,
        disordered,
        closed,
        connecting,
        latency,
        acks,
    } = result;
    let per_second = *delivered as f64 / options.length().as_secs_f64();

    writeln!(
        out,
        "connections  {} in {} rooms, {}, connected in {connecting:.2?}",
        options.connections, options.rooms, options.per_connection
    )?;
    writeln!(out, "published    {sent} of {} bytes", options.size)?;
    writeln!(
        out,
        "deliveries   {delivered} of {expected}, {per_second:.0}/s"
    )?;
    writeln!(out, "lost         {}", result.lost())?;
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

fn write_histogram(out: &mut impl Write, result: &BenchResult) -> fmt::Result {
    let mut buckets = Vec::new();
    let mut low = 0;
    let mut high = 128;
    while low <= result.latency.max() {
        buckets.push((high, result.latency.count_between(low, high - 1)));
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
