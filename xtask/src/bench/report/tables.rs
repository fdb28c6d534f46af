//! Tables of Markdown.

use std::fmt::Write as _;

use super::super::record::{Record, median, row_json};

/// Figures by name in the order of columns, and how they are called; what is not here comes only with the single runs.
const COLUMNS: &[(&str, &str)] = &[
    ("wall_s", "wall s"),
    ("of_it_start_s", "of it start s"),
    ("median_s", "median leecher s"),
    ("mib_s", "MiB/s"),
    ("gib_s", "GiB/s"),
    ("seed_cpu_s_gib", "seed CPU s/GiB"),
    ("leecher_cpu_s_gib", "leecher CPU s/GiB"),
    ("seed_cores", "seed cores"),
    ("leecher_cores", "leecher cores"),
    ("cpu_s", "CPU s"),
    ("cpu_s_gib", "CPU s/GiB"),
    ("seed_peak_mib", "seed peak MiB"),
    ("leecher_peak_mib", "leecher peak MiB"),
    ("leecher_peak_anonymous_mib", "own"),
    ("peak_mib", "peak MiB"),
    ("first_ready_s", "first start s"),
    ("saved_ready_s", "from saved state s"),
    ("first_kib_each", "KiB each, first"),
    ("saved_kib_each", "KiB each, saved"),
    ("connected", "connected"),
    ("kib_each", "KiB each"),
    ("requests_s", "requests/s"),
    ("us_a_request", "us a request"),
    ("cpu_us_a_request", "CPU us a request"),
    ("p99_ms", "p99 ms"),
    ("of_one_server", "times one server"),
    ("resident_mib", "resident MiB"),
    ("idle_cores", "idle cores"),
];

/// The table of one comparison; nothing if it was not run.
pub(super) fn table(record: &Record, bench: &str, about: &str) -> String {
    let cases = record.cases(bench);
    if cases.is_empty() {
        return String::new();
    }
    let used = |name: &str| cases.iter().any(|case| record.figures(bench, case).contains_key(name));
    let columns: Vec<_> = COLUMNS.iter().filter(|(name, _)| used(name)).collect();
    let titles: Vec<&str> = columns.iter().map(|(_, title)| *title).collect();
    let who = if cases.iter().any(|c| c.contains(':')) { "seed:leecher" } else { "who" };
    let mut text =
        format!("\n## {bench}: {about}\n\n| {who} | {} |\n|{}\n", titles.join(" | "), "---|".repeat(titles.len() + 1));
    for case in &cases {
        let figures = record.figures(bench, case);
        let cells: Vec<String> =
            columns.iter().map(|(name, _)| figures.get(name).map_or_else(String::new, |f| cell(f))).collect();
        let _ = writeln!(text, "| {case} | {} |", cells.join(" | "));
    }
    text
}

fn cell(figures: &[f64]) -> String {
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let most = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let middle = number(median(figures));
    let (least, most) = (number(least), number(most));
    if least == most { middle } else { format!("{middle} ({least} to {most})") }
}

/// As many places as the figure is worth.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        a if a >= 100.0 => format!("{value:.0}"),
        a if a >= 10.0 => format!("{value:.1}"),
        a if a >= 0.1 || a == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// Every run by itself, folded away.
pub(super) fn raw(record: &Record, has: fn(&str) -> bool) -> String {
    let mut text = "\n<details>\n<summary>Every run</summary>\n\n```json\n".to_owned();
    for row in record.rows.iter().filter(|row| has(&row.bench)) {
        let _ = writeln!(text, "{}", row_json(row));
    }
    text.push_str("```\n\n</details>\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_median_and_range() {
        assert_eq!(cell(&[1.0, 3.0, 1.5]), "1.50 (1.00 to 3.00)");
        assert_eq!(cell(&[2.0, 2.0]), "2.00");
    }

    #[test]
    fn small_numbers_have_more_places() {
        for (value, text) in
            [(1234.4, "1234"), (12.34, "12.3"), (1.234, "1.23"), (0.0123, "0.0123"), (0.0, "0.00"), (-5.0, "-5.00")]
        {
            assert_eq!(number(value), text);
        }
    }
}
