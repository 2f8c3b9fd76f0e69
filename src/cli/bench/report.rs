//! The report of a [`load`](super::load), for a person or a script.

use hdrhistogram::Histogram;
use serde_json::json;

use super::BenchArgs;
use super::tally::BenchResult;
use crate::cli::output::{self, OutputError};

/// The width of the longest bar in characters.
const BAR: u64 = 40;

/// Prints the figures, and a histogram of the latencies with a bar per power of two.
pub(super) fn print(options: &BenchArgs, result: &BenchResult) -> Result<(), OutputError> {
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

    let mut text = format!(
        "connections  {} in {} rooms, {}, connected in {connecting:.2?}\n\
         published    {sent} of {} bytes\n\
         deliveries   {delivered} of {expected}, {per_second:.0}/s\n\
         lost         {}\n\
         disordered   {disordered}\n\
         closed       {closed}\n",
        options.connections,
        options.rooms,
        options.per_connection,
        options.size,
        result.lost(),
    );
    if let Some(acks) = acks {
        text.push_str(&latency_line("ack ms", acks));
    }
    text.push_str(&latency_line("latency ms", latency));
    text.push_str(&histogram_lines(latency));
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

fn latency_line(name: &str, latency: &Histogram<u64>) -> String {
    let at = |quantile| latency.value_at_quantile(quantile) as f64 / 1000.0;
    format!(
        "{name:<12} p50 {:.2}  p90 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2}\n",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        latency.max() as f64 / 1000.0
    )
}

fn histogram_lines(latency: &Histogram<u64>) -> String {
    let mut buckets = Vec::new();
    let mut low = 0;
    let mut high = 128;
    while low <= latency.max() {
        buckets.push((high, latency.count_between(low, high - 1)));
        (low, high) = (high, high * 2);
    }

    let counts = buckets.iter().map(|(_, count)| *count);
    let most = counts.max().unwrap_or_default().max(1);
    let line = |(high, count): (u64, u64)| {
        let bar = "#".repeat((count * BAR).div_ceil(most) as usize);
        format!("  < {:>9.2} ms {count:>10} {bar}\n", high as f64 / 1000.0)
    };
    buckets.into_iter().map(line).collect()
}
