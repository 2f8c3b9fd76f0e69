//! Times as text. Pure: the offset of the local time from UTC is passed in.

const SECOND: i64 = 1000;
const DAY: i64 = 24 * 60 * 60 * SECOND;

/// A time as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownTime {
    /// ISO 8601, in UTC, to the second.
    pub iso: String,
    /// Hours and minutes, marked if in UTC.
    pub short: String,
    /// Date and time to the second, marked if in UTC.
    pub exact: String,
    /// The day.
    pub day: Day,
}

/// A day of a year, for the text of a language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// The day of the week, from 0 for Sunday to 6.
    pub weekday: usize,
    /// The month, from 0 for January to 11.
    pub month: usize,
    /// The day of the month, from 1.
    pub date: i64,
}

impl ShownTime {
    /// Returns `at`, in milliseconds since 1970 UTC, on a clock that is `ahead` milliseconds ahead of UTC. `None`
    /// means that the zone is unknown, and the time is shown in UTC.
    pub(super) fn new(at: u64, ahead: Option<i64>) -> Self {
        let iso = format!("{}Z", written(at, 0, 'T'));
        let local = written(at, ahead.unwrap_or(0), ' ');
        let zone = if ahead.is_some() { "" } else { " UTC" };
        let short = local.get(11..16).unwrap_or_default();
        let day = Day::new(day(at, ahead.unwrap_or(0)));

        Self {
            iso,
            short: format!("{short}{zone}"),
            exact: format!("{local}{zone}"),
            day,
        }
    }
}

impl Day {
    /// Returns the day that is `day` days after 1 January 1970, a Thursday.
    const fn new(day: i64) -> Self {
        let (_, month, date) = civil(day);
        Self {
            weekday: (day + 4).rem_euclid(7) as usize,
            month: month as usize - 1,
            date,
        }
    }
}

/// Returns the number of the day of `at` on a clock that is `ahead` milliseconds ahead of UTC.
pub(super) const fn day(at: u64, ahead: i64) -> i64 {
    (at as i64).saturating_add(ahead).div_euclid(DAY)
}

fn written(at: u64, ahead: i64, between: char) -> String {
    let (year, month, date) = civil(day(at, ahead));
    let second = (at as i64).saturating_add(ahead).rem_euclid(DAY) / SECOND;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{date:02}{between}{hour:02}:{minute:02}:{second:02}")
}

/// Returns year, month and day of the month of the day that is `day` days after 1 January 1970 (Gregorian; Howard
/// Hinnant's `civil_from_days`: years begin in March, so that the leap day is their last).
const fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);

    let of_era = day.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);

    let march_month = (5 * of_year + 2) / 153;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let date = of_year - (153 * march_month + 2) / 5 + 1;
    (year_of_era + era * 400 + (month <= 2) as i64, month, date)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times_are_written_in_iso_8601() {
        for (at, iso) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399_999, "2000-02-28T23:59:59Z"),
            (951_868_800_000, "2000-03-01T00:00:00Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00Z"),
            (1_795_554_863_123, "2026-11-24T21:14:23Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(ShownTime::new(at, None).iso, iso);
        }
    }

    #[test]
    fn a_clock_that_is_ahead_shows_its_own_day_and_hour() {
        let clock = ShownTime::new(1_795_554_863_123, Some(8 * 3600 * SECOND));
        assert_eq!(
            (clock.short.as_str(), clock.exact.as_str()),
            ("05:14", "2026-11-25 05:14:23")
        );

        assert_eq!(
            clock.day,
            Day {
                weekday: 3,
                month: 10,
                date: 25
            }
        );

        assert_eq!(clock.iso, "2026-11-24T21:14:23Z");
        assert_eq!(
            ShownTime::new(0, Some(-3600 * SECOND)).exact,
            "1969-12-31 23:00:00"
        );
    }

    #[test]
    fn a_time_in_utc_is_marked() {
        let clock = ShownTime::new(0, None);
        assert_eq!(
            (clock.short.as_str(), clock.exact.as_str()),
            ("00:00 UTC", "1970-01-01 00:00:00 UTC")
        );
    }

    proptest! {
        #[test]
        fn the_day_after_is_one_more_and_the_next_of_the_week(at in 0..4_102_444_800_000_u64, ahead in -14..15_i64) {
            let ahead = ahead * 3600 * SECOND;
            prop_assert_eq!(day(at + DAY as u64, ahead), day(at, ahead) + 1);
            let clock = |at| ShownTime::new(at, Some(ahead));
            prop_assert!(clock(at).exact < clock(at + DAY as u64).exact);
            prop_assert_eq!((clock(at).day.weekday + 1) % 7, clock(at + DAY as u64).day.weekday);
        }

        #[test]
        fn any_time_can_be_written(at: u64) {
            // It must not panic.
            let _ = ShownTime::new(at, None);
        }
    }
}
