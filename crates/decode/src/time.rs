//! Dates.

use std::fmt::Write as _;

/// Appends a date in UTC, with a fraction of so many digits if there is one.
pub(crate) fn date(seconds: i64, fraction: Option<(u64, usize)>, out: &mut String) {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since March of year 0, in eras of 400 years (Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    );
    if let Some((fraction, digits)) = fraction.filter(|(fraction, _)| *fraction != 0) {
        let _ = write!(out, ".{fraction:0digits$}");
    }
    out.push_str("+0000");
}

#[cfg(test)]
#[test]
fn dates() {
    let text = |seconds, fraction| {
        let mut out = String::new();
        date(seconds, fraction, &mut out);
        out
    };
    assert_eq!(text(0, None), "1970-01-01T00:00:00+0000");
    assert_eq!(text(1_795_783_646, None), "2026-11-27T12:47:26+0000");
    assert_eq!(
        text(951_782_400, Some((2, 6))),
        "2000-02-29T00:00:00.000002+0000"
    );
    assert_eq!(text(-1, None), "1969-12-31T23:59:59+0000");
}
