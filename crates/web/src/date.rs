//! Dates for people and programs, in UTC.

/// Seconds since 1970 as in ISO 8601: `2026-11-23T17:05:00Z`.
pub(crate) fn iso(seconds: i64) -> String {
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z")
}

/// Year, month and day of a day since 1970, in the Gregorian calendar for all time. Years begin in March here, so that the
/// day that comes and goes is the last one.
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    // Since the first of March of the year 0.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(iso(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(iso(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(iso(1_795_453_500), "2026-11-23T17:05:00Z");
        assert_eq!(iso(-1), "1969-12-31T23:59:59Z");
        // Every day for 800 years is the one after the day before.
        let mut before = civil(-150_000);
        for day in -149_999..150_000 {
            let now = civil(day);
            let next = now == (before.0, before.1, before.2 + 1);
            assert!(next || (now.2 == 1 && before.2 >= 28 && (now.1 == before.1 + 1 || (now.1, before.1) == (1, 12))));
            before = now;
        }
    }
}
