//! Whether the server's clock and this machine's agree: a token's end, a ban's end and what readers see go by it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::finding::Finding;
use super::visit::Visit;

/// Clocks that are kept by NTP differ by milliseconds.
const ALLOWED: Duration = Duration::from_secs(2);

/// Says something, and compares when it was stored with when it was said.
pub(super) async fn check(visit: &Visit) -> Finding {
    let sent = now_millis();
    let answer = match visit
        .publish("text/plain", b"what time is it?".to_vec())
        .await
    {
        Ok(answer) => answer,
        Err(error) => return Finding::note("clock", format!("not known: {error:#}")),
    };
    let received = now_millis();
    match answer.json()["at"].as_i64() {
        Some(at) => judge(sent, at, received),
        None => Finding::note("clock", format!("not known: {}", answer.told())),
    }
}

/// What it means that something was stored `at`, sent and answered at these times; all in milliseconds since 1970.
fn judge(sent: i64, at: i64, received: i64) -> Finding {
    // Inside the time that it was on its way, nothing can be told.
    let off = if at < sent {
        at - sent
    } else {
        (at - received).max(0)
    };
    let seconds = off as f64 / 1000.0;
    if off.unsigned_abs() > ALLOWED.as_millis() as u64 {
        let which = if off > 0 { "ahead of" } else { "behind" };
        Finding::bad(
            "clock",
            format!(
                "the server's is {:.1} s {which} this machine's: tokens end at the wrong time",
                seconds.abs()
            ),
        )
        .fix("both machines: timedatectl set-ntp true")
    } else {
        Finding::good(
            "clock",
            format!(
                "the server's is this machine's, to {} ms",
                off.abs() + (received - sent)
            ),
        )
    }
}

fn now_millis() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Outcome;

    #[test]
    fn a_clock_is_wrong_only_by_more_than_the_network_explains() {
        for (at, outcome) in [
            (1_000_500, Outcome::Good),
            (1_000_000 - 2_000, Outcome::Good),
            (1_000_000 - 2_001, Outcome::Bad),
            (1_003_000 + 2_000, Outcome::Good),
            (1_003_000 + 2_001, Outcome::Bad),
        ] {
            assert_eq!(judge(1_000_000, at, 1_003_000).outcome, outcome, "{at}");
        }
        assert!(judge(0, -60_000, 10).seen.contains("60.0 s behind"));
    }
}
