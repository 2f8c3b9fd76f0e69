//! The check of the server's clock, which affects tokens, bans and displayed times.

use std::time::Duration;

use jiff::Timestamp;

use super::report::{Finding, bad, describe, good, note};
use super::visit::Visit;

/// The tolerated difference. With NTP, clocks differ by milliseconds.
const ALLOWED: Duration = Duration::from_secs(2);

/// Publishes a message, and compares its time with the clock of this machine.
pub(super) async fn check(visit: &Visit) -> Result<Finding, Finding> {
    let sent = Timestamp::now().as_millisecond();
    let text = b"what time is it?".to_vec();
    let answer = visit.publish("text/plain", text).await?;
    let received = Timestamp::now().as_millisecond();

    match answer.json()["at"].as_i64() {
        Some(at) => Ok(judge(sent, at, received)),
        None => Err(note(format!("unknown: {}", describe(&answer)))),
    }
}

/// Returns the finding for a message that was stored `at`, between `sent` and `received`, all in milliseconds since
/// 1970.
fn judge(sent: i64, at: i64, received: i64) -> Finding {
    // A time between the two counts as no difference.
    let off = if at < sent {
        at - sent
    } else {
        (at - received).max(0)
    };
    if off.unsigned_abs() <= ALLOWED.as_millis() as u64 {
        let within = off.abs() + (received - sent);
        return good(format!(
            "the server's clock and this machine's agree within {within} ms"
        ));
    }

    let seconds = off.abs() as f64 / 1000.0;
    let which = if off > 0 { "ahead of" } else { "behind" };
    bad(format!(
        "the server's clock is {seconds:.1} s {which} this machine's: tokens expire at the wrong time"
    ))
    .fix("both machines: timedatectl set-ntp true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::Rating;

    #[test]
    fn a_clock_is_wrong_if_the_network_does_not_explain_the_difference() {
        for (at, outcome) in [
            (1_000_500, Rating::Good),
            (1_000_000 - 2_000, Rating::Good),
            (1_000_000 - 2_001, Rating::Bad),
            (1_003_000 + 2_000, Rating::Good),
            (1_003_000 + 2_001, Rating::Bad),
        ] {
            assert_eq!(judge(1_000_000, at, 1_003_000).outcome, outcome, "{at}");
        }
    }
}
