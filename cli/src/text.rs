//! Formats numbers, times and tables as text.

use std::time::Duration;

use crate::replay::Seconds;
use tollgate::Timestamp;

/// A timestamp before this one counts seconds from some start and is not shown as a date. 1 January
/// 1980.
const FIRST_DATE: Timestamp = Timestamp::from_secs(315_532_800);

/// `12,345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 line`, `2 lines`.
pub(crate) fn lines(number: u64) -> String {
    counted(number, "line", "lines")
}

/// `1 mouse`, `2 mice`.
pub(crate) fn counted(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

/// `12.3 %`. A share that is not zero is never shown as zero, nor one that is not all as all.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    let percent = if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
    if part > 0 && percent < 0.1 {
        "< 0.1 %".to_owned()
    } else if part < whole && percent > 99.9 {
        "> 99.9 %".to_owned()
    } else {
        format!("{percent:.1} %")
    }
}

/// The largest units of a duration: `8d 23h` for two units, `1m 30s`, `20ms`. `0s` for zero.
pub(crate) fn duration(duration: Duration, most_units: usize) -> String {
    const UNITS: [(&str, u128); 7] = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];
    let mut rest = duration.as_nanos();
    let mut parts = Vec::new();
    let begin = UNITS.iter().position(|(_, nanos)| rest >= *nanos).unwrap_or(UNITS.len());
    for (unit, nanos) in UNITS.iter().skip(begin).take(most_units) {
        if rest >= *nanos {
            parts.push(format!("{}{unit}", rest / nanos));
            rest %= nanos;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// A timestamp as a date in UTC, or as seconds if it is not a date. `format` is as for strftime.
pub(crate) fn moment(at: Timestamp, format: &str) -> String {
    if at < FIRST_DATE {
        return format!("{} s", Seconds(at));
    }
    let at = i128::from(at.as_nanos());
    jiff::Timestamp::from_nanosecond(at)
        .map_or_else(|_| String::new(), |at| at.strftime(format).to_string())
}

/// Whether a timestamp is shown as a date.
pub(crate) fn is_date(at: Timestamp) -> bool {
    at >= FIRST_DATE
}

/// `text` cut to `width` characters, with a mark at the end if any were cut off.
pub(crate) fn cut(text: &str, width: usize) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if clean.chars().count() <= width {
        return clean;
    }
    clean.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// `a`, `b` and `c`, each in quotes.
pub(crate) fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The one of `names` that `given` probably means, as a question.
pub(crate) fn did_you_mean<'a>(
    given: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let letters = |name: &str| given.chars().count().max(name.chars().count());
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(distance, name)| {
            *distance < letters(name) && *distance <= letters(name).max(3) / 3
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| format!("did you mean `{name}`?"))
}

/// Wraps lines at spaces to at most `width` characters. A line that begins with a space is kept as
/// it is.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with(' ') {
            lines.push(line.to_owned());
            continue;
        }
        let mut wrapped = String::new();
        for word in line.split(' ') {
            let room = width.saturating_sub(wrapped.chars().count() + 1);
            if !wrapped.is_empty() && word.chars().count() > room {
                lines.push(std::mem::take(&mut wrapped));
            }
            if !wrapped.is_empty() {
                wrapped.push(' ');
            }
            wrapped.push_str(word);
        }
        lines.push(wrapped);
    }
    lines
}

/// The alignment of a column of a table.
#[derive(Clone, Copy)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows as lines, with aligned columns two spaces apart.
pub(crate) fn table(rows: &[Vec<String>], align: &[Align]) -> Vec<String> {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..align.len()).map(|column| width(column).unwrap_or(0)).collect();
    let cell = |(cell, (width, align)): (&String, (&usize, &Align))| match align {
        Align::Left => format!("{cell:<width$}"),
        Align::Right => format!("{cell:>width$}"),
    };
    rows.iter()
        .map(|row| {
            let cells: Vec<String> = row.iter().zip(widths.iter().zip(align)).map(cell).collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(percent(0, 10), "0.0 %");
        assert_eq!(percent(1, 100_000), "< 0.1 %");
        assert_eq!(percent(99_999, 100_000), "> 99.9 %");
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(0, 0), "0.0 %");
    }

    #[test]
    fn durations() {
        for (nanos, most, text) in [
            (0, 2, "0s"),
            (20_000_000, 2, "20ms"),
            (90_000_000_000, 2, "1m 30s"),
            (86_400_000_000_001, 2, "1d"),
            (777_000_000_000_000, 2, "8d 23h"),
            (172_800_000_000, 7, "2m 52s 800ms"),
        ] {
            assert_eq!(duration(Duration::from_nanos(nanos), most), text);
        }
    }

    #[test]
    fn moments() {
        assert_eq!(moment(Timestamp::from_nanos(12_500_000_000), "%Y"), "12.5 s");
        assert_eq!(moment(Timestamp::from_secs(1_715_472_017), "%-d %b %H:%M"), "12 May 00:00");
        assert_eq!(moment(Timestamp::MAX, "%Y"), "2554");
    }

    #[test]
    fn wraps() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(
            wrap("incomprehensible a\n  b c d e f", 5),
            ["incomprehensible", "a", "  b c d e f"]
        );
        assert_eq!(wrap("one two three", 80), ["one two three"]);
    }

    #[test]
    fn guesses_and_lists() {
        assert_eq!(did_you_mean("polcy", ["seed", "policy"]).unwrap(), "did you mean `policy`?");
        assert_eq!(did_you_mean("x", ["y", "seed"]), None);
        assert_eq!(listed(&["a"]), "`a`");
        assert_eq!(listed(&["a", "b", "c"]), "`a`, `b` and `c`");
    }

    #[test]
    fn cuts() {
        assert_eq!(cut("user=42", 7), "user=42");
        assert_eq!(cut("user=42", 6), "user=…");
        assert_eq!(cut("a\x1b[1mb", 9), "a\u{fffd}[1mb");
    }
}
