//! Formats figures as text that needs no escaping. A non-breaking space joins a number and its
//! unit.

use std::time::Duration;

use crate::compare::Waits;

use crate::text;

/// How much more than the quota: `0`, `+4.5 %`, `+98 %`.
pub(super) fn over(share: f64) -> String {
    match share * 100.0 {
        ..=0.0 => "0".to_owned(),
        ..0.1 => "under +0.1\u{a0}%".to_owned(),
        percent @ ..10.0 => format!("+{percent:.1}\u{a0}%"),
        percent => format!("+{percent:.0}\u{a0}%"),
    }
}

/// A share: `0`, `4.5 %`, `all`. A share that is not zero is never shown as zero, nor one that is
/// not all as all.
pub(super) fn share(part: u64, whole: u64) -> String {
    let percent = part as f64 * 100.0 / whole.max(1) as f64;
    match percent {
        _ if part == 0 => "0".to_owned(),
        _ if part == whole => "all".to_owned(),
        ..0.1 => "under 0.1\u{a0}%".to_owned(),
        99.9.. => "over 99.9\u{a0}%".to_owned(),
        _ => format!("{percent:.1}\u{a0}%"),
    }
}

/// `4.5 ns`, `18 ns`, `1.8 µs`.
pub(super) fn nanos(nanos: f64) -> String {
    match nanos {
        ..9.95 => format!("{nanos:.1}\u{a0}ns"),
        ..9_950.0 => format!("{}\u{a0}ns", text::count(nanos.round() as u64)),
        _ => format!("{:.1}\u{a0}µs", nanos / 1e3),
    }
}

/// `24 B`, `9,450 B`.
pub(super) fn bytes(bytes: f64) -> String {
    if bytes < 9.95 {
        format!("{bytes:.1}\u{a0}B")
    } else {
        format!("{}\u{a0}B", text::count(bytes.round() as u64))
    }
}

pub(super) fn seconds(seconds: f64) -> String {
    text::duration(Duration::try_from_secs_f64(seconds).unwrap_or_default(), 2)
}

/// Two digits: `3 s`, `250 ms`; above a minute as [`seconds`].
pub(super) fn about(time_s: f64) -> String {
    match time_s {
        10.0..60.0 => format!("{time_s:.0}\u{a0}s"),
        1.0..10.0 => format!("{}\u{a0}s", (time_s * 10.0).round() / 10.0),
        0.001..1.0 => format!("{:.0}\u{a0}ms", time_s * 1e3),
        _ => seconds(time_s),
    }
}

/// A number on an axis: `0`, `250`, `1.5k`, `20M`.
pub(super) fn tick(value: f64) -> String {
    let (value, unit) = match value {
        ..1e4 => (value, ""),
        ..1e6 => (value / 1e3, "k"),
        ..1e9 => (value / 1e6, "M"),
        _ => (value / 1e9, "G"),
    };
    format!("{}{unit}", (value * 10.0).round() / 10.0)
}

/// How right the stated waits were, in a few words.
pub(super) fn waits(waits: &Waits) -> String {
    if waits.stated == 0 {
        return "states none".to_owned();
    }
    let off = |nanos, way: &str| {
        let text = text::duration(Duration::from_nanos(nanos), 1);
        (nanos > 0).then(|| format!("≤ {text} {way}"))
    };
    let wrong = (waits.wrong > 0).then(|| format!("{} wrong", text::count(waits.wrong)));
    let parts: Vec<String> = [off(waits.early_ns, "early"), off(waits.late_ns, "late"), wrong]
        .into_iter()
        .flatten()
        .collect();
    if parts.is_empty() { "exact".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        assert_eq!(
            [0.0, 0.0001, 0.045, 0.98, 12.0].map(over),
            ["0", "under +0.1\u{a0}%", "+4.5\u{a0}%", "+98\u{a0}%", "+1200\u{a0}%"]
        );
        assert_eq!(
            [4.51, 18.4, 1_800.0, 18_000.0].map(nanos),
            ["4.5\u{a0}ns", "18\u{a0}ns", "1,800\u{a0}ns", "18.0\u{a0}µs"]
        );
        assert_eq!(
            [0.0, 250.0, 9_999.0, 15_500.0, 2e7].map(tick),
            ["0", "250", "9999", "15.5k", "20M"]
        );
        assert_eq!(
            [(0, 0), (0, 9), (1, 9_999), (1, 8), (9_998, 9_999), (9, 9)]
                .map(|(part, whole)| share(part, whole)),
            ["0", "0", "under 0.1\u{a0}%", "12.5\u{a0}%", "over 99.9\u{a0}%", "all"]
        );
        assert_eq!(
            [12.3, 2.997, 0.25, 90.0].map(about),
            ["12\u{a0}s", "3\u{a0}s", "250\u{a0}ms", "1m 30s"]
        );
        let exact = Waits { sampled: 9, stated: 9, exact: 9, early_ns: 0, late_ns: 0, wrong: 0 };
        assert_eq!(waits(&exact), "exact");
        let off = Waits { exact: 1, early_ns: 2_500_000, late_ns: 1, wrong: 3, ..exact.clone() };
        assert_eq!(waits(&off), "≤ 2ms early, ≤ 1ns late, 3 wrong");
        assert_eq!(waits(&Waits { stated: 0, ..exact }), "states none");
    }
}
